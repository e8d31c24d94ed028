"""The lanes that are open on a worker, whatever engine it is: so many in all, and so many of one caller.

A lane keeps its place all day. With a bound on all of them only, one gate or one connection would have every
place, and the other gates none.
"""

import contextlib
import threading
from collections import Counter as Counts
from collections.abc import Hashable, Iterator

from verifier.access.callers import Caller
from verifier.calls import Calls
from verifier.counters import Counter
from verifier.limits import Limits


class LanePlaces:
    """Gives lanes their places. Threads share it."""

    def __init__(self, calls: Calls, limits: Limits) -> None:
        """What is open and what is refused is counted by `calls`."""
        self._calls = calls
        self._limits = limits
        self._lock = threading.Lock()
        self._open: Counts[Hashable] = Counts()

    @contextlib.contextmanager
    def place(self, caller: Caller, connection: Hashable) -> Iterator[None]:
        """Keep a place until the end of the block; raises CallError where there is none.

        `connection` stands for a caller without a credential.
        """
        gate_id = caller.shown_gate_id
        key = ("gate", gate_id) if gate_id is not None else ("connection", connection)
        limits = self._limits
        with self._lock:
            is_full = self._open.total() >= limits.max_streams
            if is_full or self._open[key] >= limits.max_streams_per_caller:
                raise self._calls.overloaded()
            self._open[key] += 1
            self._calls.counters.add(Counter.STREAMS_OPEN)
        try:
            yield
        finally:
            with self._lock:
                self._open[key] -= 1
                if not self._open[key]:
                    del self._open[key]
                self._calls.counters.add(Counter.STREAMS_OPEN, -1)
