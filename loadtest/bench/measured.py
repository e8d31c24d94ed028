"""What a measurement is: samples of one quantity, and ratios between two of the same run."""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

_CALLS_A_SAMPLE = 2_000


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity over the rounds."""

    what: str
    unit: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.samples)

    @property
    def p99(self) -> float:
        """The sample that 99 in 100 do not exceed."""
        return sorted(self.samples)[min(len(self.samples) - 1, len(self.samples) * 99 // 100)]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A subject against its limit, with the aim that was set for it."""

    what: str
    value: float
    aim: float

    is_floor: bool = False  # the aim is the least, not the most

    @property
    def is_met(self) -> bool:
        """Whether the aim was met."""
        return self.value >= self.aim if self.is_floor else self.value <= self.aim


def cpu_us(call: Callable[[], object]) -> float:
    """Return the CPU time of one call, microseconds, from many in a row."""
    began = time.process_time()
    for _ in range(_CALLS_A_SAMPLE):
        call()
    return (time.process_time() - began) / _CALLS_A_SAMPLE * 1e6


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
