"""When a worker that died may start again. Pure: the caller has the clock.

A worker that dies at once would otherwise be started for ever, at the cost of all others; and what a restart
does not mend, whoever runs the machine has to know.
"""

from collections import deque

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 10.0
# At this many deaths of one worker within the time below, the verifier gives up if no other one answers.
MAX_DEATHS = 10
WITHIN_S = 60.0


class Restarts:
    """The deaths of one worker within the last minute."""

    def __init__(self) -> None:
        self._died_at_s: deque[float] = deque(maxlen=MAX_DEATHS)
        self._failed_starts = 0  # one after another

    def died(self, now_s: float) -> float | None:
        """Note a death; return in how many seconds to start again, None for never."""
        while self._died_at_s and now_s - self._died_at_s[0] >= WITHIN_S:
            self._died_at_s.popleft()
        self._died_at_s.append(now_s)
        if len(self._died_at_s) == MAX_DEATHS:
            return None
        return _delay_s(len(self._died_at_s))

    def could_not_start(self) -> float:
        """Note that there is no process at all, for want of descriptors or memory: return when to try again.

        That is nobody's death and may pass, so it never ends in giving up.
        """
        self._failed_starts += 1
        return _delay_s(self._failed_starts)

    def started(self) -> None:
        """Note that there is a process."""
        self._failed_starts = 0


def _delay_s(trouble: int) -> float:
    # Bounded before it is a power of two: these may be many.
    return float(min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** min(trouble - 1, 16)))
