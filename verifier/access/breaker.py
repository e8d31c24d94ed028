"""When to ask Redis for a claim, and when not to: a breaker for something that answers within milliseconds.

One late reply says nothing: a thread waited for its turn, a packet was lost. Several in a row are a Redis
that is away, and each thread that asks it waits in vain. Claims that fail at the same time have met the same
trouble and count once, so 16 threads that stand still for a moment do not close it to all that come after.
While it is open, one claim a pause tries; the others have no answer at once.
"""

import threading

# How many failures in a row make a pause. At a frozen Redis a thread waits so often, and then no more.
FAILURES = 3
# How long no claim is tried then, before the one that finds out. Redis on a busy machine may stand still for
# some 20 ms, and what is claimed in a pause is known at one verifier alone for that long.
PAUSE_S = 0.1


class Breaker:
    """Counts failures in a row. Threads share it; times are of a monotonic clock, seconds."""

    def __init__(self) -> None:
        self._failures = 0  # in a row
        self._failed_at = 0.0
        self._silent_until = 0.0
        self._changing = threading.Lock()  # for microseconds

    @property
    def is_open(self) -> bool:
        """Whether there were failures enough, and no answer since."""
        return self._failures >= FAILURES

    def may_try(self, now: float) -> bool:
        """Tell whether to ask now. Whoever was told so reports what came of it, by one of the two below."""
        if self._failures < FAILURES:
            return True
        with self._changing:
            if now < self._silent_until:
                return False
            self._silent_until = now + PAUSE_S  # for all others: this one finds out
            return True

    def succeeded(self) -> None:
        """There was an answer."""
        self._failures = 0

    def failed(self, begun_at: float, now: float) -> None:
        """There was none, to a claim that began at `begun_at`."""
        with self._changing:
            if begun_at < self._failed_at:  # it met the same trouble as the one that failed before it
                return
            self._failed_at = now
            self._failures += 1
            if self._failures >= FAILURES:
                self._silent_until = now + PAUSE_S
