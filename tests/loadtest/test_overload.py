"""Overload, small: a verifier that lets four calls wait, and a crowd of which most are refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtest.overload.command import missed_by, missed_by_flood
from loadtest.overload.crowd import Crowd, Outcome, Plan
from loadtest.overload.trial import Flood, Row, Runs, recovered_s, row_of, wrong_and_failed
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
        engine="grpcio", factor=2, offered=2_000, calls=2_100, goodput=900, capacity_before=1_000,
        capacity_after=700, refused=100, refusal_p50_ms=1,
        refusal_p99_ms=10, refusals_without_delay=0, wrong=0, failed=0, verdict_p99_ms=500,
        honest_before_p99_ms=5, honest_p99_ms=500, rss_before=100, rss_peak=200, recovered_s=0.5,
    )  # fmt: skip
    assert missed_by(row) == []
    worse = {name: getattr(row, name) for name in Row.__slots__} | {
        "goodput": 899, "refusal_p99_ms": 10.1, "refusals_without_delay": 1, "wrong": 1, "recovered_s": None,
        "rss_peak": 700, "failed": 1, "capacity_after": 699,
    }  # fmt: skip
    assert len(missed_by(Row(**worse))) == 8
    flood = Flood(
        engine="grpcio", forged=2_000, answered=900, honest_before_p99_ms=5, honest_p99_ms=10,
        honest_not_right=0, wrong=0, failed=0,
    )  # fmt: skip
    assert missed_by_flood(flood) == []
    assert (
        len(missed_by_flood(replace(flood, honest_p99_ms=10.1, honest_not_right=1, wrong=1, failed=1))) == 4
    )


def saturated(per_s: int, **came: Any) -> Sequence[Outcome]:
    return [Outcome(right=3 * per_s, **came)] * 2


def overloaded(after: Sequence[Outcome], beside: Outcome) -> Row:
    times_ms = {"p50": 1.0, "p99": 2.0}
    crowd = Outcome(due=40_000, right=2_000, verdict_ms=times_ms, refusal_ms=times_ms)
    return row_of("grpcio", 10, 1.0, Runs(saturated(2_000), crowd, beside, after, 100.0, 100.0, 200.0))


WELL_BESIDE = Outcome(scans=[(at, 0.01, True) for at in (99.0, 100.5, 102.0)])


def test_a_verifier_that_an_overload_cripples_is_measured_by_what_it_was() -> None:
    assert missed_by(overloaded(saturated(2_000), WELL_BESIDE)) == []
    row = overloaded(saturated(200), WELL_BESIDE)
    assert (row.share, row.left) == (1.0, 0.1)
    assert missed_by(row) == ["grpcio, 10 times: 10% of the capacity left, at least 70%"]
    faster = overloaded(saturated(4_000), WELL_BESIDE)
    assert (faster.share, faster.left) == (0.5, 2.0)


def test_what_is_wrong_or_fails_in_any_run_counts() -> None:
    beside = replace(WELL_BESIDE, wrong=2, failed={"status 13": 3})
    row = overloaded(saturated(2_000, wrong=1, failed={"status 13": 4, "connection closed": 1}), beside)
    assert (row.wrong, row.failed) == (2 + 2 * 1, 3 + 2 * 5)
    assert wrong_and_failed([]) == (0, 0)


def test_a_crowd_that_tells_nothing_proves_nothing() -> None:
    with pytest.raises(ProcessError):
        Outcome.from_json("")
