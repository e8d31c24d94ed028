"""One verifier with one worker on the first core, a crowd on the last, and a few honest gates beside it.

Capacity is what a closed crowd gets: each gate asks again when it is answered. It is measured before and
after each overload, since a machine is not the same machine a minute later. k times the capacity are k times
as many gates, at which k times as many scans are due, whatever becomes of them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from loadtest.bench.measured import first_core, last_core, on_core
from loadtest.bench.messages import Messages
from loadtest.bench.running import RunningVerifier
from loadtest.city import City
from loadtest.embedded_redis import EmbeddedRedis
from loadtest.overload.crowd import Outcome, Plan
from loadtest.process_tree import tree
from loadtest.processes import ProcessError
from verifier.v1 import verifier_pb2 as pb
from verifier.wire import base45
from verifier.wire.code import PREFIX

GATES = 256  # of which each asks again when it is answered: they saturate a worker
_CREDENTIALS = 10_000
_HONEST_GATES, _HONEST_PER_S = 16, 40.0
_CAPACITY_S, _CAPACITY_ROUNDS = 3.0, 2
# Beside an overload, honest gates scan so long before it and after it.
_BEFORE_S, _AFTER_S = 3.0, 8.0
# How long a crowd may take to connect.
_CONNECT_S = 3.0
_PATIENCE_S = 60.0
_LOOK_S = 0.2
# After an overload, an honest gate that waits longer than this, and than thrice the longest wait before it,
# still suffers.
_LEAST_SUFFERING_S = 0.05
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """What became of an overload. Rates are a second, times milliseconds, memory MiB."""

    engine: str
    factor: float
    offered: float
    calls: float  # that reached the server, with those after a refusal
    goodput: float
    capacity_before: float
    capacity_after: float
    refused: float
    refusal_p50_ms: float | None
    refusal_p99_ms: float | None
    refusals_without_delay: int
    wrong: int
    failed: int
    verdict_p99_ms: float | None
    honest_before_p99_ms: float | None
    honest_p99_ms: float | None
    rss_before: float
    rss_peak: float
    recovered_s: float | None  # None: not while we looked

    @property
    def share(self) -> float:
        """The goodput as a share of the larger capacity: who is left crippled shall not look better."""
        peak = max(self.capacity_before, self.capacity_after)
        return self.goodput / peak if peak else 0.0

    @property
    def left(self) -> float:
        """What is left of the capacity after it, as a share."""
        return self.capacity_after / self.capacity_before if self.capacity_before else 0.0


@dataclass(frozen=True, slots=True)
class Flood:
    """What a flood of forged codes did to honest gates, in milliseconds."""

    engine: str
    forged: float  # due a second
    answered: float
    honest_before_p99_ms: float | None  # at half of the capacity
    honest_p99_ms: float | None
    honest_not_right: int
    wrong: int
    failed: int


@dataclass(frozen=True, slots=True)
class Runs:
    """What was run for one overload, and measured beside it."""

    before: Sequence[Outcome]  # saturate()
    crowd: Outcome
    beside: Outcome  # with its scans
    after: Sequence[Outcome]
    begins_at_s: float  # on the monotonic clock
    rss_before: float  # MiB
    rss_peak: float


class Trial:
    """A verifier of a city, pinned."""

    def __init__(self, verifier: RunningVerifier, city: City) -> None:
        self._verifier = verifier
        self._key = city.gate_key
        self._scan = Messages(city).scan
        self._forged = _forge(self._scan)

    def saturate(self) -> Sequence[Outcome]:
        """Return what closed crowds get, in some rounds."""
        return [self._run(_CAPACITY_S, per_s=0) for _ in range(_CAPACITY_ROUNDS)]

    def overload(self, factor: float, seconds: float) -> Row:
        """Ask for `factor` times the capacity."""
        before = self.saturate()
        per_s = factor * capacity_of(before)
        rss_before, rss_peak = self._rss_mib(), 0.0
        begins_at_s = time.monotonic() + _CONNECT_S + _BEFORE_S
        with self._honest(begins_at_s - _BEFORE_S, _BEFORE_S + seconds + _AFTER_S) as honest:
            crowd = self._start(seconds, per_s=per_s, gates=round(factor * GATES), begins_at_s=begins_at_s)
            outcome = None
            while outcome is None:
                outcome = _outcome_of(crowd, _LOOK_S)
                rss_peak = max(rss_peak, self._rss_mib())
            beside = _result_of(honest, _AFTER_S)
        after = self.saturate()
        runs = Runs(before, outcome, beside, after, begins_at_s, rss_before, rss_peak)
        return row_of(self._verifier.name, factor, seconds, runs)

    def flood(self, factor: float, seconds: float) -> Flood:
        """Show forged codes, `factor` times the capacity for good ones, beside a few of those."""
        rounds = self.saturate()
        good = capacity_of(rounds)
        half, before = self._beside(seconds, per_s=_HALF * good, gates=GATES, is_forged=False)
        outcome, during = self._beside(
            seconds, per_s=factor * good, gates=round(factor * GATES), is_forged=True
        )
        wrong, failed = wrong_and_failed([*rounds, half, before, outcome, during])
        return Flood(
            engine=self._verifier.name,
            forged=outcome.due / seconds,
            answered=outcome.right / seconds,
            honest_before_p99_ms=_p99_ms(_times_s(before)),
            honest_p99_ms=_p99_ms(_times_s(during)),
            honest_not_right=sum(not is_right for _, _, is_right in during.scans),
            wrong=wrong,
            failed=failed,
        )

    def _beside(self, seconds: float, **plan: Any) -> tuple[Outcome, Outcome]:
        begins_at_s = time.monotonic() + _CONNECT_S
        crowd = self._start(seconds, begins_at_s=begins_at_s, **plan)
        # It begins last and ends first: honest gates see the crowd all the time.
        with self._honest(begins_at_s + 0.1 * seconds, 0.85 * seconds) as honest:
            return _result_of(crowd, seconds), _result_of(honest, seconds)

    @contextmanager
    def _honest(self, begins_at_s: float, seconds: float) -> "Iterator[subprocess.Popen[bytes]]":
        gates = self._start(
            seconds, per_s=_HONEST_PER_S, gates=_HONEST_GATES, begins_at_s=begins_at_s, keeps_scans=True
        )
        with gates:
            try:
                yield gates
            finally:
                gates.kill()

    def _run(self, seconds: float, **plan: Any) -> Outcome:
        return _result_of(self._start(seconds, begins_at_s=0.0, **plan), seconds)

    def _start(
        self,
        seconds: float,
        *,
        per_s: float,
        begins_at_s: float,
        gates: int = GATES,
        is_forged: bool = False,
        keeps_scans: bool = False,
    ) -> "subprocess.Popen[bytes]":
        plan = Plan(
            address=self._verifier.address,
            key=self._key,
            message=(self._forged if is_forged else self._scan).hex(),
            verdict=pb.VERDICT_BAD_SIGNATURE if is_forged else pb.VERDICT_GREEN,
            gates=gates,
            per_s=per_s,
            seconds=seconds,
            begins_at_s=begins_at_s,
            keeps_scans=keeps_scans,
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.overload.crowd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {last_core()})
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        with process.stdin as pipe:
            pipe.write(json.dumps(asdict(plan)).encode())
        process.stdin = None
        return process

    def _rss_mib(self) -> float:
        return sum(one.memory_info().rss for one in tree(self._verifier.process)) / 2**20


@contextmanager
def trial(engine: str) -> Iterator[Trial]:
    """Set up Redis, a city and a verifier, and tear them down again; raises ProcessError."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatelight-overload-")))
        redis = stack.enter_context(EmbeddedRedis(folder))
        (folder / "city").mkdir()
        city = City(redis.url, folder=folder / "city", credentials=_CREDENTIALS)
        stack.enter_context(city.heartbeats())
        verifier = RunningVerifier(city, engine=engine, workers=1, folder=folder)
        stack.callback(verifier.process.stop)
        try:
            stack.enter_context(on_core(first_core(), *tree(verifier.process)))
        except psutil.Error:
            raise ProcessError(f"the verifier has ended:\n{verifier.process.tail()}") from None
        yield Trial(verifier, city)


def row_of(engine: str, factor: float, seconds: float, runs: Runs) -> Row:
    """Return what became of an overload of so many seconds."""
    crowd, scans = runs.crowd, runs.beside.scans
    ends_at_s = max(runs.begins_at_s, crowd.began_at_s) + seconds
    quiet = _times_s(runs.beside, 0.0, runs.begins_at_s)
    limit_s = max(_LEAST_SUFFERING_S, 3 * (quiet[-1] if quiet else 0.0))
    wrong, failed = wrong_and_failed([*runs.before, crowd, runs.beside, *runs.after])
    return Row(
        engine=engine,
        factor=factor,
        offered=crowd.due / seconds,
        calls=crowd.calls / seconds,
        goodput=crowd.right / seconds,
        capacity_before=capacity_of(runs.before),
        capacity_after=capacity_of(runs.after),
        refused=crowd.refusals / seconds,
        refusal_p50_ms=crowd.refusal_ms["p50"],
        refusal_p99_ms=crowd.refusal_ms["p99"],
        refusals_without_delay=crowd.refusals_without_delay,
        wrong=wrong,
        failed=failed,
        verdict_p99_ms=crowd.verdict_ms["p99"],
        honest_before_p99_ms=_p99_ms(quiet),
        honest_p99_ms=_p99_ms(_times_s(runs.beside, runs.begins_at_s, ends_at_s)),
        rss_before=runs.rss_before,
        rss_peak=runs.rss_peak,
        recovered_s=recovered_s(scans, ends_at_s, limit_s),
    )


def capacity_of(rounds: Sequence[Outcome]) -> float:
    """Return how many right verdicts a second closed crowds got (saturate()), in the best of some rounds."""
    return max(one.right for one in rounds) / _CAPACITY_S


def wrong_and_failed(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """Return how many wrong verdicts there were, and how many calls with neither verdict nor refusal."""
    return sum(one.wrong for one in outcomes), sum(sum(one.failed.values()) for one in outcomes)


def recovered_s(scans: Sequence[Sequence[float]], ended_at_s: float, limit_s: float) -> float | None:
    """Return after how many seconds scans were right again, and took no longer than `limit_s`.

    `scans` are those of Outcome. None: the last one still suffered, or there was none.
    """
    after = [scan for scan in scans if scan[0] >= ended_at_s]
    suffered = [at + took - ended_at_s for at, took, is_right in after if not is_right or took > limit_s]
    if not after or (suffered and suffered[-1] >= after[-1][0] + after[-1][1] - ended_at_s):
        return None
    return max(suffered, default=0.0)


def _result_of(crowd: "subprocess.Popen[bytes]", seconds: float) -> Outcome:
    """Return what came of a crowd that was to last so many seconds; raises ProcessError."""
    outcome = _outcome_of(crowd, seconds + _PATIENCE_S)
    if outcome is None:
        crowd.kill()
        raise ProcessError("the crowd did not come to an end")
    return outcome


def _outcome_of(crowd: "subprocess.Popen[bytes]", timeout_s: float) -> Outcome | None:
    """Return what came of a crowd; None while it goes on after `timeout_s`."""
    try:
        text, _ = crowd.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return None
    if crowd.returncode != 0:
        raise ProcessError(f"the crowd ended with {crowd.returncode}")
    return Outcome.from_json(text)


def _times_s(outcome: Outcome, from_s: float = 0.0, to_s: float = float("inf")) -> list[float]:
    """Return how long the right verdicts took of scans that began in a time, sorted."""
    return sorted(took for at, took, is_right in outcome.scans if is_right and from_s <= at < to_s)


def _p99_ms(times_s: Sequence[float]) -> float | None:
    return times_s[min(len(times_s) - 1, len(times_s) * 99 // 100)] * 1e3 if times_s else None


def _forge(message: bytes) -> bytes:
    """Return the scan with a code whose signature is none."""
    scan = pb.VerifyCodeRequest.FromString(message)
    code = bytearray(base45.decode(scan.qr_text[len(PREFIX) :]))
    code[-40] ^= 1
    scan.qr_text = PREFIX + base45.encode(bytes(code))
    return scan.SerializeToString()
