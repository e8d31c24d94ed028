"""The rows of workers in shared memory: what each counts, and how it is.

A row belongs to a place among the workers and not to a process: when a worker is replaced, its successor
counts on, so that no count ever falls. A worker writes its own row, the supervisor that it is to drain.
"""

from enum import IntEnum

from verifier.counters import LEVELS, ROW_WORDS, Counters

# The state has a cache line of its own, or each heartbeat would take the line of the counts away.
_STATE_WORDS = 8
ROW_BYTES = 8 * (ROW_WORDS + _STATE_WORDS)

_PID, _PHASE, _DRAIN = 0, 1, 2  # words of the state
_HEARTBEAT = 3


class Phase(IntEnum):
    """How a worker is."""

    EMPTY = 0  # nobody is there
    STARTING = 1
    NOT_SERVING = 2  # it answers, with UNAVAILABLE: there is no key set or no mirror
    SERVING = 3
    DRAINING = 4


class Row:
    """One worker's place."""

    def __init__(self, memory: memoryview) -> None:
        """`memory` is ROW_BYTES long."""
        counts, state = memory[: 8 * ROW_WORDS], memory[8 * ROW_WORDS :]
        self.counters = Counters(counts.cast("Q"))
        self._words = state.cast("Q")
        self._seconds = state.cast("d")

    def clear(self) -> None:
        """Forget the process that was there; the supervisor does, before it starts another one."""
        for place in (_PID, _PHASE, _DRAIN):
            self._words[place] = 0
        self._seconds[_HEARTBEAT] = 0.0
        for level in LEVELS:
            self.counters.row[level] = 0

    @property
    def pid(self) -> int:
        """The process id, 0 when nobody is there."""
        return self._words[_PID]

    @pid.setter
    def pid(self, pid: int) -> None:
        self._words[_PID] = pid

    @property
    def phase(self) -> Phase:
        """How the worker says it is."""
        try:
            return Phase(self._words[_PHASE])
        except ValueError:
            return Phase.EMPTY

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._words[_PHASE] = phase

    @property
    def heartbeat_s(self) -> float:
        """When the worker last said that it lives, on the monotonic clock, which processes share."""
        return self._seconds[_HEARTBEAT]

    @heartbeat_s.setter
    def heartbeat_s(self, now_s: float) -> None:
        self._seconds[_HEARTBEAT] = now_s

    @property
    def is_to_drain(self) -> bool:
        """Whether the supervisor wants the worker to finish."""
        return bool(self._words[_DRAIN])

    def ask_to_drain(self) -> None:
        """Let the worker know that it is to finish."""
        self._words[_DRAIN] = 1
