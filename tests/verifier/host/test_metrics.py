"""What Prometheus reads."""

import os
import resource
import socket
import sys
import time
import urllib.request
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from verifier.counters import LEVELS, Counter, MethodPlace
from verifier.errors import NotReady, SettingsError
from verifier.host.metrics import Gauge, PartsHealth, Skew, VerifierCollector, serve_metrics
from verifier.host.rows import Phase, Row
from verifier.host.shared import SharedMemory
from verifier.trouble import WELL, Part, PartHealth, Trouble
from verifier.verdict import Verdict


def _not_ready() -> float:
    raise NotReady("not yet")


_NOW_S = 1_000.0


def _collector() -> VerifierCollector:
    rows = SharedMemory.create(partitions=1, capacity=16, rows=3).rows
    for number, row in enumerate(rows[:2]):
        row.pid, row.phase, row.heartbeat_s = 70 + number, Phase.SERVING, _NOW_S
        row.counters.add(Verdict.GREEN, 10)
        row.counters.add(Counter.CALLS, 6 + number)
    rows[1].phase = Phase.DRAINING
    rows[0].counters.add(Counter.SHED, 3)
    gauges = [Gauge("key_set_version", "v", lambda: 7), Gauge("status_age_seconds", "a", _not_ready)]
    return VerifierCollector(rows, restarts=lambda: 4, skew=Skew(), gauges=gauges, monotonic=lambda: _NOW_S)


def test_counts_are_summed_over_workers_and_calls_told_apart() -> None:
    registry = CollectorRegistry()
    registry.register(_collector())
    lines = generate_latest(registry).decode().splitlines()
    for line in (
        'gatelight_verifier_verdicts_total{verdict="GREEN"} 20.0',
        'gatelight_verifier_verdicts_total{verdict="RED"} 0.0',
        'gatelight_verifier_calls_total{worker="0"} 6.0',
        'gatelight_verifier_calls_total{worker="1"} 7.0',
        "gatelight_verifier_shed_total 3.0",
        "gatelight_verifier_workers_serving 1.0",
        "gatelight_verifier_worker_restarts_total 4.0",
        "gatelight_verifier_key_set_version 7.0",
    ):
        assert line in lines
    text = "\n".join(lines)
    assert 'worker="2"' not in text  # nobody was ever there
    assert "status_age" not in text  # there is none yet


def _exposed(collector: VerifierCollector) -> list[str]:
    registry = CollectorRegistry()
    registry.register(collector)
    text: str = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    # The official parser takes it.
    assert list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
    return text.splitlines()


def _of_rows(rows: Sequence[Row], health: PartsHealth | None = None) -> VerifierCollector:
    return VerifierCollector(
        rows,
        restarts=lambda: 0,
        skew=Skew(),
        gauges=[],
        health=lambda: health or {},
        about={"engine": "grpcio"},
    )


@pytest.mark.parametrize(("silent_s", "serving"), [(0.0, 2), (1.5, 2), (1.501, 1), (900.0, 1)])
def test_a_worker_that_gives_no_sign_of_life_does_not_serve(silent_s: float, serving: int) -> None:
    rows = SharedMemory.create(partitions=1, capacity=16, rows=3).rows
    for row in rows[:2]:
        row.phase, row.heartbeat_s = Phase.SERVING, _NOW_S
    rows[1].heartbeat_s = _NOW_S - silent_s
    rows[2].phase, rows[2].heartbeat_s = Phase.NOT_SERVING, _NOW_S
    collector = VerifierCollector(rows, restarts=lambda: 0, skew=Skew(), gauges=[], monotonic=lambda: _NOW_S)
    assert f"gatelight_verifier_workers_serving {float(serving)}" in _exposed(collector)


def test_histograms_are_summed_over_workers_and_each_bucket_holds_those_before_it() -> None:
    rows = SharedMemory.create(partitions=1, capacity=16, rows=3).rows
    for row, took_s in zip(rows, (0.0002, 0.02, 9.0), strict=True):
        row.counters.begin()
        row.counters.end(MethodPlace.VERIFY_CODES, time.monotonic_ns() - int(took_s * 1e9))
        row.counters.code_age(-5)
    rows[0].counters.begin()
    lines = _exposed(_of_rows(rows))
    for line in (
        'gatelight_verifier_call_seconds_bucket{le="0.0001",method="VerifyCodes"} 0.0',
        'gatelight_verifier_call_seconds_bucket{le="0.01",method="VerifyCodes"} 1.0',
        'gatelight_verifier_call_seconds_bucket{le="0.025",method="VerifyCodes"} 2.0',
        'gatelight_verifier_call_seconds_bucket{le="2.5",method="VerifyCodes"} 2.0',
        'gatelight_verifier_call_seconds_bucket{le="+Inf",method="VerifyCodes"} 3.0',
        'gatelight_verifier_call_seconds_count{method="VerifyCodes"} 3.0',
        'gatelight_verifier_call_seconds_count{method="VerifyCode"} 0.0',
        'gatelight_verifier_code_age_seconds_bucket{le="-10.0"} 0.0',
        'gatelight_verifier_code_age_seconds_bucket{le="0.0"} 3.0',
        "gatelight_verifier_in_flight 1.0",
        'gatelight_verifier_info{engine="grpcio"} 1.0',
    ):
        assert line in lines
    assert not any("code_age_seconds_sum" in line for line in lines)  # OpenMetrics forbids it here


def test_every_part_and_kind_is_told_of_and_those_that_fail_are_one() -> None:
    rows = SharedMemory.create(partitions=1, capacity=16, rows=2).rows
    rows[1].counters.set_trouble(Counter.JOURNAL_TROUBLE, Trouble.DISK_FULL)
    health = {
        Part.MIRROR: [WELL, PartHealth(Trouble.REDIS_TIMEOUT, 43.0), PartHealth(Trouble.NOT_STATUS, 3.0)]
    }
    lines = _exposed(_of_rows(rows, health))
    troubles = [line for line in lines if line.startswith("gatelight_verifier_trouble{")]
    assert len(troubles) == len(Part) * len(Trouble)
    assert {line for line in troubles if not line.endswith(" 0.0")} == {
        'gatelight_verifier_trouble{kind="redis_timeout",part="mirror"} 1.0',
        'gatelight_verifier_trouble{kind="not_status",part="mirror"} 1.0',
        'gatelight_verifier_trouble{kind="disk_full",part="journal"} 1.0',
    }
    assert 'gatelight_verifier_trouble_seconds{part="mirror"} 43.0' in lines
    assert 'gatelight_verifier_trouble_seconds{part="scan_log"} 0.0' in lines
    (journal,) = [
        line for line in lines if line.startswith('gatelight_verifier_trouble_seconds{part="journal"}')
    ]
    assert 0 < float(journal.rpartition(" ")[2]) < 60


def test_levels_end_with_the_process_and_counts_do_not() -> None:
    rows = SharedMemory.create(partitions=1, capacity=16, rows=1).rows
    counters = rows[0].counters
    counters.end(MethodPlace.VERIFY_CODE, counters.begin())
    counters.begin()
    counters.set_trouble(Counter.ENTRIES_TROUBLE, Trouble.REDIS_TIMEOUT)
    rows[0].clear()
    assert [counters.get(level) for level in LEVELS] == [0] * len(LEVELS)
    assert sum(counters.call_buckets(MethodPlace.VERIFY_CODE)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_descriptors_of_the_worker_nearest_to_its_limit_are_told() -> None:
    rows = SharedMemory.create(partitions=1, capacity=16, rows=3).rows
    rows[0].pid = os.getpid()
    rows[1].pid = 2**22 + 1  # nobody has that
    lines = _exposed(_of_rows(rows))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert f"gatelight_verifier_descriptors_limit {float(limit)}" in lines
    assert any(line.startswith("gatelight_verifier_descriptors_open ") for line in lines)


def test_metrics_are_served_and_a_taken_port_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serve_metrics(f"127.0.0.1:{port}", _collector()):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            assert b"gatelight_verifier_shed_total 3.0" in reply.read()
        with (
            pytest.raises(SettingsError, match="--metrics-listen"),
            serve_metrics(f"127.0.0.1:{port}", _collector()),
        ):
            pass


def test_skew_is_the_busiest_workers_calls_over_the_mean() -> None:
    skew = Skew()
    assert skew.ratio == 1.0
    skew.sample([300, 100, 0], serving=2)  # the third place is empty
    assert skew.ratio == 1.5
    skew.sample([400, 200, 0], serving=2)
    assert skew.ratio == 1.0
    skew.sample([419, 200, 0], serving=2)  # too few to say
    assert skew.ratio == 1.0


def test_workers_that_get_no_call_count_as_well() -> None:
    skew = Skew()
    skew.sample([30, 0, 0, 0], serving=3)
    assert skew.ratio == 3.0
    skew.sample([60, 30, 30, 0], serving=2)  # one has gone meanwhile
    assert skew.ratio == 1.0
    skew.sample([100, 30, 30, 0], serving=0)
    assert skew.ratio == 1.0
