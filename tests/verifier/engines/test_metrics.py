"""What each engine tells Prometheus about scans that were made, and what `status` makes of it."""

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from loadtest.embedded_redis import free_port
from tests.eventually import eventually
from tests.verifier.engines.serving import RED_INDEX, TIMEOUT_S, Served
from verifier.cli import main
from verifier.counters import CALL_BOUNDS_S, CODE_AGE_BOUNDS_S
from verifier.seen_metrics import PREFIX, SeenMetrics
from verifier.trouble import Part, Trouble
from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind

_METRICS = f"127.0.0.1:{free_port()}"
OPTIONS = ("--metrics-listen", _METRICS)
Gate = pb_grpc.VerifierServiceStub
_METHODS = ("VerifyCode", "VerifyCodes", "StreamVerify")


class Since:
    """What was counted since it was made, of a histogram's buckets each by itself."""

    def __init__(self) -> None:
        self._before = SeenMetrics.ask(_METRICS)

    def calls(self, method: str) -> int:
        now = SeenMetrics.ask(_METRICS)
        counts = [int(one.value("call_seconds_count", method=method) or 0) for one in (now, self._before)]
        assert now.value("call_seconds_bucket", method=method, le="+Inf") == counts[0]
        return counts[0] - counts[1]

    def ages(self) -> dict[str, int]:
        """Return how many codes were in which bucket, by its upper end."""
        now, before = (
            one.by_label("code_age_seconds_bucket", "le") for one in (SeenMetrics.ask(_METRICS), self._before)
        )
        ends = sorted(now, key=float)
        up_to = [int(now[end] - before[end]) for end in ends]
        each = [count - less for count, less in zip(up_to, [0, *up_to[:-1]], strict=True)]
        return {end: count for end, count in zip(ends, each, strict=True) if count}

    def count(self, name: str, **labels: str) -> int:
        now = SeenMetrics.ask(_METRICS)
        return int((now.value(name, **labels) or 0) - (self._before.value(name, **labels) or 0))


def _aged(served: Served, age_s: int, **more: Any) -> pb.VerifyCodeRequest:
    qr_text = served.signer.qr_text(not_before=int(time.time()) - age_s, window_s=60, **more)
    return pb.VerifyCodeRequest(qr_text=qr_text, scan_id="s", gate_id="north")


def test_each_call_is_in_the_histogram_of_its_method_once(served: Served, gate: Gate) -> None:
    since = Since()
    for _ in range(5):
        gate.VerifyCode(served.scan(RED_INDEX), timeout=TIMEOUT_S)
    gate.VerifyCodes(pb.VerifyCodesRequest(scans=[served.scan()] * 7), timeout=TIMEOUT_S)
    scans = iter([pb.StreamVerifyRequest(scan=served.scan())] * 3)
    assert len(list(gate.StreamVerify(scans, timeout=TIMEOUT_S))) == 3
    assert [since.calls(method) for method in _METHODS] == [5, 1, 3]
    assert since.count("verdicts_total", verdict="RED") == 5
    assert since.count("verdicts_total", verdict="GREEN") == 10
    seen = SeenMetrics.ask(_METRICS)
    assert 0 < (seen.value("call_seconds_sum", method="VerifyCode") or 0) < TIMEOUT_S
    assert seen.value("in_flight") == 0


def test_calls_without_an_answer_are_in_no_histogram_and_not_in_flight(served: Served, gate: Gate) -> None:
    since = Since()
    wrong = pb.VerifyCodeRequest(qr_text=b"x", scan_id="", gate_id="north")
    many = pb.VerifyCodesRequest(scans=[wrong])
    calls: list[Callable[[], object]] = [
        lambda: gate.VerifyCode(wrong, timeout=TIMEOUT_S),
        lambda: gate.VerifyCodes(many, timeout=TIMEOUT_S),
        lambda: list(gate.StreamVerify(iter([pb.StreamVerifyRequest(scan=wrong)]), timeout=TIMEOUT_S)),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError):
            call()
    assert since.count("invalid_total") == 3
    assert [since.calls(method) for method in _METHODS] == [0, 0, 0]
    assert SeenMetrics.ask(_METRICS).value("in_flight") == 0


def test_the_age_of_each_authentic_phone_code_is_counted_whatever_its_verdict(
    served: Served, gate: Gate
) -> None:
    since = Since()
    paper = CredentialKind.PAPER
    scans = [
        *(_aged(served, age_s) for age_s in (-400, -40, 20, 20, 500)),
        _aged(served, 20, kind=paper),
        pb.VerifyCodeRequest(qr_text=b"a parking ticket", scan_id="s", gate_id="north"),
    ]
    answers = gate.VerifyCodes(pb.VerifyCodesRequest(scans=scans), timeout=TIMEOUT_S).verdicts
    assert [answer.verdict for answer in answers[:2]] == [pb.VERDICT_NOT_YET_VALID] * 2
    assert answers[4].verdict == pb.VERDICT_EXPIRED
    assert since.ages() == {"-300.0": 1, "-30.0": 1, "30.0": 2, "600.0": 1}


def test_a_lane_without_a_scan_is_open_and_nothing_is_in_flight(served: Served, gate: Gate) -> None:
    call = gate.StreamVerify(iter(()), timeout=TIMEOUT_S)
    assert list(call) == []
    eventually(lambda: SeenMetrics.ask(_METRICS).value("streams_open") == 0)
    assert SeenMetrics.ask(_METRICS).value("in_flight") == 0


def test_labels_have_words_of_ours_and_never_what_a_gate_said(served: Served, gate: Gate) -> None:
    gate.VerifyCode(served.scan(scan_id="a-scan-of-mine"), timeout=TIMEOUT_S)
    text = _text()
    assert "a-scan-of-mine" not in text
    assert "north" not in text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        assert family.name.startswith(PREFIX) or not family.samples
        for sample in family.samples:
            for label, value in sample.labels.items():
                found.setdefault(label, set()).add(value)
    bounds = {str(float(bound)) for bound in (*CALL_BOUNDS_S, *CODE_AGE_BOUNDS_S)} | {"+Inf"}
    assert found.pop("le") == bounds
    assert found.pop("version")
    assert found == {
        "verdict": {verdict.name for verdict in Verdict},
        "worker": {"0"},
        "method": set(_METHODS),
        "part": set(Part),
        "kind": set(Trouble),
        "engine": {served.engine},
    }


def test_status_says_what_the_metrics_say(
    served: Served, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scan(_seconds: float) -> None:
        gate.VerifyCode(served.scan(), timeout=TIMEOUT_S)

    monkeypatch.setattr("verifier.status_command.time", SimpleNamespace(sleep=scan))  # between two looks
    shown = CliRunner().invoke(main, ["status", "--metrics", _METRICS, "--json"])
    told = json.loads(shown.output)
    # Its key set is valid for a day, and nobody sends it heartbeats.
    assert told["state"] == "degraded"
    assert shown.exit_code == 1
    assert told["engine"] == served.engine
    assert told["workers"]["serving"] == told["workers"]["wanted"] == 1
    assert told["verdicts"]["GREEN"] == 1
    assert 0 < told["VerifyCode"]["p50_s"] <= told["VerifyCode"]["p99_s"]
    assert {"key_set"} <= {problem["part"] for problem in told["problems"]} <= {"key_set", "mirror"}


def _text() -> str:
    import urllib.request

    with urllib.request.urlopen(f"http://{_METRICS}/metrics", timeout=TIMEOUT_S) as answer:
        return str(answer.read().decode())
