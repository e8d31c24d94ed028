"""Overload, small: a verifier that lets four calls wait, and a crowd of which most are refused."""

from pathlib import Path

import pytest

from loadtest.overload.command import missed_by
from loadtest.overload.crowd import Crowd, Outcome, Plan
from loadtest.overload.trial import Row, recovered_s
from loadtest.processes import ProcessError
from tests.verifier.engines.serving import ENGINES, publish, serving
from verifier.v1 import verifier_pb2 as pb


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_too_much_is_refused_with_a_delay_and_the_verifier_goes_on(
    engine: str, shared_redis_url: str, tmp_path: Path
) -> None:
    publish(shared_redis_url)
    with serving(engine, shared_redis_url, tmp_path, "--max-backlog", "4", "--threads", "1") as served:

        def ask(gates: int, per_s: float, seconds: float) -> Outcome:
            message = served.scan().SerializeToString().hex()
            plan = Plan(served.address, "", message, pb.VERDICT_GREEN, gates, per_s, seconds)
            return Crowd(plan).run()

        crowd = ask(gates=150, per_s=0, seconds=1.5)
        assert crowd.right > 0
        assert crowd.refusals > 0
        assert (crowd.wrong, crowd.refusals_without_delay, crowd.failed) == (0, 0, {})
        after = ask(gates=2, per_s=20, seconds=0.5)
        assert after.right > 0
        assert (after.wrong, after.refusals, after.failed) == (0, 0, {})


def test_recovered_is_when_the_last_gate_that_suffered_was_answered() -> None:
    scans = [(9.0, 5.0, False), (10.0, 0.6, True), (11.0, 0.01, False), (12.0, 0.01, True)]
    assert recovered_s(scans, ended_at_s=10.0, limit_s=0.5) == pytest.approx(1.01)
    assert recovered_s(scans[3:], ended_at_s=10.0, limit_s=0.5) == 0.0
    assert recovered_s(scans[:3], ended_at_s=10.0, limit_s=0.5) is None, (
        "it still suffered when we looked away"
    )
    assert recovered_s([], ended_at_s=10.0, limit_s=0.5) is None


def test_what_is_missed_is_said() -> None:
    row = Row(
        engine="grpcio", factor=2, offered=2_000, calls=2_100, goodput=900, peak=1_000, refused=100,
        refusal_p50_ms=1, refusal_p99_ms=10, refusals_without_delay=0, wrong=0, failed=0, verdict_p99_ms=500,
        honest_before_p99_ms=5, honest_p99_ms=500, rss_before=100, rss_peak=200, recovered_s=0.5,
    )  # fmt: skip
    assert missed_by(row) == []
    worse = {name: getattr(row, name) for name in Row.__slots__} | {
        "goodput": 899, "refusal_p99_ms": 10.1, "refusals_without_delay": 1, "wrong": 1, "recovered_s": None,
        "rss_peak": 700, "failed": 1,
    }  # fmt: skip
    assert len(missed_by(Row(**worse))) == 7


def test_a_crowd_that_tells_nothing_proves_nothing() -> None:
    with pytest.raises(ProcessError):
        Outcome.from_json("")
