"""Places on a worker for lanes and batches, whatever engine it is: so many in all, and so many of one caller.

A lane keeps its place all day, and a batch is the work of a thousand calls. With a bound on all of them only,
one gate or one connection would have every place, and the other gates none.
"""

import contextlib
import math
import threading
from collections import Counter as Counts
from collections.abc import Hashable, Iterator

from verifier.access.callers import Caller
from verifier.calls import Calls
from verifier.counters import Counter


class Places:
    """Gives calls of one kind their places. Threads share it."""

    def __init__(
        self, calls: Calls, *, per_caller: int, most: float = math.inf, counter: Counter | None = None
    ) -> None:
        """At most `most` are taken at once, by one caller `per_caller`; `counter` says how many are.

        `calls` counts what is taken and what is refused.
        """
        self._calls = calls
        self._per_caller = per_caller
        self._most = most
        self._counter = counter
        self._lock = threading.Lock()
        self._taken: Counts[Hashable] = Counts()

    @contextlib.contextmanager
    def place(self, caller: Caller, connection: Hashable) -> Iterator[int]:
        """Keep a place until the end of the block; raises CallError where there is none.

        Return how many the caller has then.

        `connection` stands for a caller without a credential.
        """
        gate_id = caller.shown_gate_id
        key = ("gate", gate_id) if gate_id is not None else ("connection", connection)
        with self._lock:
            if self._taken.total() >= self._most or self._taken[key] >= self._per_caller:
                raise self._calls.overloaded()
            self._taken[key] += 1
            number = self._taken[key]
            self._count(1)
        try:
            yield number
        finally:
            with self._lock:
                self._taken[key] -= 1
                if not self._taken[key]:
                    del self._taken[key]
                self._count(-1)

    def _count(self, number: int) -> None:
        if self._counter is not None:
            self._calls.counters.add(self._counter, number)
