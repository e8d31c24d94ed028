"""Whether the wall clock can be trusted with what cannot be undone: a colour that it ends stays ended.

A clock that leaps a year ahead, by a wrong time server or a flat battery, would turn every red green for
good. Nobody can tell from inside which time is right, but a leap shows: the monotonic clock does not make
it. After one, and after a start at a time that does not fit the register, nothing is trusted until the
clock has been steady for so long that somebody can have acted on the warning.
"""

import threading
from collections.abc import Callable

import structlog

# Far above what a time server corrects of an honest clock, or a busy machine adds between two readings.
TOLERANCE_S = 60.0
# So long whoever watches the log has to set the clock right, or to stop the issuer.
STEADY_S = 300.0
# An issuer that was off for longer, or whose clock is ahead: at the start nothing else tells the two apart.
MAX_SILENCE_S = 7 * 86_400

_ADVICE = "set the clock right, or stop the issuer: what ends by a wrong clock cannot be taken back"

_log = structlog.get_logger("issuer")


class ClockGuard:
    """Compares the clocks at each reading. Threads share it."""

    def __init__(self, *, monotonic: Callable[[], float], last_recorded_at: Callable[[], int | None]) -> None:
        """`last_recorded_at` gives the newest time in the register, Unix seconds; None: it has none."""
        self._monotonic = monotonic
        self._last_recorded_at = last_recorded_at
        self._before: tuple[float, float] | None = None  # wall and monotonic clock at the last reading
        self._waits_until: float | None = None  # on the monotonic clock
        self._lock = threading.Lock()

    def is_steady(self, now: float) -> bool:
        """Tell whether `now`, just read, Unix seconds, can be trusted; raises RegisterUnavailable."""
        monotonic = self._monotonic()  # before the lock: waiting for it would look like a leap
        with self._lock:
            return self._is_steady(now, monotonic)

    def _is_steady(self, now: float, monotonic: float) -> bool:
        if self._before is None:
            problem = self._problem_at_start(now)
        else:
            problem = _problem_since(self._before, now, monotonic)
        self._before = now, monotonic
        if problem:
            self._waits_until = monotonic + STEADY_S
            _log.warning(
                "the clock is not trusted: nothing ends for now",
                problem=problem,
                steady_for_s=STEADY_S,
                advice=_ADVICE,
            )
        if self._waits_until is None:
            return True
        if monotonic < self._waits_until:
            return False
        self._waits_until = None
        _log.info("the clock is trusted again", steady_for_s=STEADY_S)
        return True

    def _problem_at_start(self, now: float) -> str:
        last = self._last_recorded_at()
        if last is None:
            return ""
        if last > now + TOLERANCE_S:
            return f"the register has an entry {last - now:.0f} s ahead of the clock"
        if now > last + MAX_SILENCE_S:
            return f"the newest entry of the register is {now - last:.0f} s behind the clock"
        return ""


def _problem_since(before: tuple[float, float], now: float, monotonic: float) -> str:
    leap = (now - before[0]) - (monotonic - before[1])
    if abs(leap) <= TOLERANCE_S:
        return ""
    return f"the clock leapt {leap:+.0f} s"
