"""What Prometheus reads."""

import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from verifier.counters import Counter
from verifier.errors import NotReady, SettingsError
from verifier.host.metrics import Gauge, Skew, VerifierCollector, serve_metrics
from verifier.host.rows import Phase
from verifier.host.shared import SharedMemory
from verifier.verdict import Verdict


def _not_ready() -> float:
    raise NotReady("not yet")


def _collector() -> VerifierCollector:
    rows = SharedMemory.create(partitions=1, capacity=16, rows=3).rows
    for number, row in enumerate(rows[:2]):
        row.pid, row.phase = 70 + number, Phase.SERVING
        row.counters.add(Verdict.GREEN, 10)
        row.counters.add(Counter.CALLS, 6 + number)
    rows[1].phase = Phase.DRAINING
    rows[0].counters.add(Counter.SHED, 3)
    gauges = [Gauge("key_set_version", "v", lambda: 7), Gauge("status_age_seconds", "a", _not_ready)]
    return VerifierCollector(rows, restarts=lambda: 4, skew=Skew(), gauges=gauges)


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
