"""What a gate waits at half of what the machine holds: unary, batch and lane.

Unary calls come from h2load, over 500 connections, timed from when each is sent. Batches and lanes come from
a generator in Python, timed from when each is due: its own share of the waiting counts. Half of what is held
is half of what the same generator gets in a closed loop, so for batches and lanes it is what the verifier
and a Python client hold together.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from loadtest.bench.measured import Measured, percentile
from loadtest.bench.messages import BATCH_SCANS
from loadtest.bench.result import Result, three_digits
from loadtest.bench.setting import Setting

_ROUNDS = 3
_ROUND_S = 1.5
_LOAD = 0.5  # of what was held
_PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_CLOSED_BATCHES, _CLOSED_MESSAGES = 150, 4_000
_CONNECTIONS = 500


def measure(setting: Setting, result: Result, *, unary_per_s: float) -> None:
    """Add p50 to p99.9 of each; `unary_per_s` is what two workers hold.

    A percentile is of each round; where a round has too few samples above it, of all together, or of none.
    """
    loads, verifier = setting.loads(), setting.verifier(setting.best, workers=2)
    unary_s = _LOAD * unary_per_s
    batches_s = _LOAD * loads.batches_generated(verifier, calls=_CLOSED_BATCHES).per_s
    messages_s = _LOAD * loads.lanes_generated(verifier, calls=_CLOSED_MESSAGES).per_s
    rounds: Mapping[str, Callable[[], Sequence[float]]] = {
        f"unary, {_per_s(unary_s)}": lambda: (
            loads.unary_paced(verifier, per_s=unary_s, calls=_calls(unary_s, _CONNECTIONS)).took_ms
        ),
        f"batch of {BATCH_SCANS}, {_per_s(batches_s * BATCH_SCANS)}": lambda: (
            loads.batches_generated(verifier, per_s=batches_s, calls=_calls(batches_s)).took_ms
        ),
        f"lane, {_per_s(messages_s)}": lambda: (
            loads.lanes_generated(verifier, per_s=messages_s, calls=_calls(messages_s)).took_ms
        ),
    }
    found: Mapping[str, list[Sequence[float]]] = {what: [] for what in rounds}
    for _ in range(_ROUNDS):
        for what, one in rounds.items():
            found[what].append(one())
    for what, took_ms in found.items():
        for percent in _PERCENTILES:
            result.add("latency", Measured(f"{what}: p{percent:g}", "ms", of_rounds(took_ms, percent)))


def of_rounds(rounds: Sequence[Sequence[float]], percent: float) -> tuple[float, ...]:
    """Return a percentile of each round, or else of all together, or none, where samples are too few."""
    each = [found for one in rounds if (found := percentile(one, percent)) is not None]
    if len(each) == len(rounds):
        return tuple(each)
    together = percentile(list(chain.from_iterable(rounds)), percent)
    return () if together is None else (together,)


def _per_s(rate: float) -> str:
    return f"{three_digits(rate)} scans/s"


def _calls(per_s: float, multiple: int = 1) -> int:
    """Return how many make a round."""
    return max(1, round(per_s * _ROUND_S / multiple)) * multiple
