"""What a measurement is: samples of one quantity, one a round, and ratios of the same rounds."""

import contextlib
import math
import os
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self, TypeVar

import psutil

from loadtest import aim

ROUNDS = 5
# A percentile with fewer samples above it is chance.
_LEAST_ABOVE = 10
_CALLS_A_SAMPLE = 2_000
_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity over the rounds; no samples where there were too few to tell."""

    what: str
    unit: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle sample; raises StatisticsError where there is none."""
        return statistics.median(self.samples)

    def __add__(self, other: "Measured") -> "Measured":
        """Return what both take together, round by round."""
        together = tuple(a + b for a, b in zip(self.samples, other.samples, strict=True))
        return Measured(f"{self.what} and {other.what}", self.unit, together)

    def a_core_second(self, what: str) -> "Measured":
        """Return how many of what takes so many microseconds of CPU a core makes in a second."""
        return Measured(f"{what} a core-second", "1/s", tuple(1e6 / sample for sample in self.samples))


@dataclass(frozen=True, slots=True)
class Ratio:
    """A subject against a limit or another figure, by round, and the aim for the median, if one was set."""

    group: str
    what: str
    samples: tuple[float, ...]
    aim: float | None = None
    is_floor: bool = False  # the aim is the least, not the most

    @classmethod
    def of(
        cls,
        group: str,
        what: str,
        subject: Measured,
        other: Measured | float,
        *,
        aim: float | None = None,
        is_floor: bool = False,
    ) -> Self:
        """Return the ratio of each round, so that what slows a whole round down does not count."""
        others = other.samples if isinstance(other, Measured) else (other,) * len(subject.samples)
        samples = tuple(a / b for a, b in zip(subject.samples, others, strict=True))
        return cls(group, what, samples, aim, is_floor)

    @property
    def median(self) -> float:
        """The middle ratio: not the ratio of the medians, which may come from different rounds."""
        return statistics.median(self.samples)

    @property
    def is_met(self) -> bool | None:
        """Whether the aim was met; None where there is none."""
        return aim.is_met(self.median, self.aim, is_floor=self.is_floor)


def in_turns(
    calls: Mapping[_Key, Callable[[], float]], rounds: int = ROUNDS
) -> Mapping[_Key, tuple[float, ...]]:
    """Call each in turn, round after round; return what they returned.

    What else the machine does then falls on all of them alike.
    """
    samples: Mapping[_Key, list[float]] = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            samples[key].append(call())
    return {key: tuple(found) for key, found in samples.items()}


def percentile(samples: Sequence[float], percent: float) -> float | None:
    """Return the sample that `percent` in 100 do not exceed (nearest rank); None if too few lie above it."""
    # Rounded first: 99.9 % of 1 000 are 999, whatever binary fractions say.
    rank = math.ceil(round(len(samples) * percent / 100, 6))
    return None if len(samples) - rank < _LEAST_ABOVE else sorted(samples)[rank - 1]


def cpu_us(call: Callable[[], object]) -> float:
    """Return the CPU time of one call, microseconds, from many in a row on the first core."""
    with on_core(first_core(), psutil.Process()):
        began = time.process_time()
        for _ in range(_CALLS_A_SAMPLE):
            call()
        return (time.process_time() - began) / _CALLS_A_SAMPLE * 1e6


def first_core() -> int:
    """Return the core for what is measured, of those that this process may use."""
    return min(_cores())


def last_core() -> int:
    """Return the core for the generator."""
    return max(_cores())


def _cores() -> Collection[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


@contextmanager
def on_core(core: int, *processes: psutil.Process) -> Iterator[None]:
    """Keep all threads of some processes on one core, where the system knows how; new ones inherit it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(processes[0].pid)
    _set_affinity(processes, {core})
    try:
        yield
    finally:
        _set_affinity(processes, before)


def _set_affinity(processes: Sequence[psutil.Process], cores: set[int]) -> None:
    for process in processes:
        for thread in process.threads():
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.sched_setaffinity(thread.id, cores)
