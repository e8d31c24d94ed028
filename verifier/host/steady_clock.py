"""The time that verdicts are given by: one for all workers, which no leap of the machine's clock makes wrong.

A wall clock that is set by five minutes, by a wrong time server or a hand, would expire every code in the
city at once. So workers read the clock that is never set (boot_clock.py) and add what it lacks to Unix time,
a number in shared memory. The supervisor keeps it up: small corrections of the wall clock are followed, a
leap is not until there is reason to believe it. Which of two times is right cannot be told from inside, so:

1. Redis on another machine has a clock of its own. Where one of the two times is close to it, that one holds,
   for as long as it is heard. One that leapt as we did, or shortly before, says nothing for the new time: it
   may have the very clock that we have.
2. The system says whether its clock is kept by a time server. One that was not, and is since it leapt, was
   set right: a machine that has just started does this.
3. Otherwise the old time holds for HOLD_S, in which somebody can act on the alarm. Then the new one is
   believed, as it is at the start, and for an hour it is told that it was.

A virtual machine that was paused pays for the second half of 1: the clock that is never set stood still
meanwhile, so wall clock and witness leap alike, as they do when both are set wrong. From inside the two cases
are one, and so verdicts go by the old time for HOLD_S after a pause, unless 2 speaks for the new one.

(A time server that corrects slowly moves both clocks: whatever shows here was set.)
"""

import ctypes
import math
import threading
from collections.abc import Callable

import structlog

from verifier.boot_clock import boot_time_s

# In a minute. Above what a time server sets of an honest clock, far below what a code's window allows.
TOLERANCE_S = 1.0
_MINUTE_S = 60.0
# Two honest clocks differ by less; a code's window is twice as wide on either side.
AGREES_S = 10.0
HOLD_S = 300.0
# So long it is told that a leap was followed that nothing but time spoke for.
_TOLD_FOR_S = 3_600.0
# How old a witness's word may be.
_HEARD_WITHIN_S = 30.0
# Two clocks are compared by reading both: who was held up between the readings has compared nothing.
READ_WITHIN_S = 0.1
_TIME_ERROR = 5  # ntp_adjtime(2): the clock is not kept by anybody
_MOST_TIMEX_BYTES = 512  # it takes 208 on Linux

_log = structlog.get_logger("verifier")


def is_kept_by_time_server() -> bool:
    """Tell what the system says of its clock."""
    nothing_to_change = ctypes.create_string_buffer(_MOST_TIMEX_BYTES)
    try:
        state: int = ctypes.CDLL(None).ntp_adjtime(nothing_to_change)
    except (AttributeError, OSError):  # a C library without it
        return False
    return 0 <= state < _TIME_ERROR


class SteadyClock:
    """Reads the time, Unix seconds; for any process that has the memory."""

    def __init__(self, lead: "memoryview[float]", *, monotonic: Callable[[], float] = boot_time_s) -> None:
        """`lead` is the double in shared memory that a ClockKeeper keeps."""
        self._lead = lead
        self._monotonic = monotonic

    def __call__(self) -> float:
        """Return the time."""
        return self._monotonic() + self._lead[0]


class ClockKeeper:
    """Says by how much Unix time is ahead of the clock that is never set. Threads may share it."""

    def __init__(
        self,
        lead: "memoryview[float]",
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float] = boot_time_s,
        is_kept: Callable[[], bool] = is_kept_by_time_server,
        before_leap: Callable[[float], None] | None = None,
    ) -> None:
        """Keep up `lead`, which holds what was right at the start; `wall` returns Unix seconds.

        `before_leap` is told by how many seconds a leap goes that is followed right after it.
        """
        self._lead = lead
        self._wall = wall
        self._monotonic = monotonic
        self._is_kept = is_kept
        self._before_leap = before_leap
        self._was_kept = is_kept()  # before it leapt
        self._leapt: tuple[float, float] | None = None  # to which lead, and since when it is held
        self._minute = lead[0], monotonic()  # the lead at its beginning, and when that was
        self._heard: tuple[float, float] | None = None  # the lead of the witness, and when
        self._witness_leapt_at_s = -math.inf
        self._followed: tuple[float, float] | None = None  # a leap, for want of anything better, and when
        self._lock = threading.Lock()

    @property
    def step_s(self) -> float:
        """By how much the machine's clock differs from the time in force: 0 unless it leapt."""
        difference_s = self._wall() - self._monotonic() - self._lead[0]
        return difference_s if abs(difference_s) > TOLERANCE_S else 0.0

    @property
    def followed_s(self) -> float:
        """By how much it leapt when it was followed for no better reason than time; for an hour, then 0."""
        followed = self._followed
        return followed[0] if followed is not None and self._monotonic() - followed[1] < _TOLD_FOR_S else 0.0

    @property
    def witness_difference_s(self) -> float | None:
        """By how much the time in force is ahead of Redis's clock; None while that is not heard."""
        heard = self._heard_of(self._monotonic())
        return None if heard is None else self._lead[0] - heard

    def hear(self, time_s: float, at_s: float) -> None:
        """Take the word of a clock on another machine: it showed `time_s` at our monotonic `at_s`."""
        with self._lock:
            before = self._heard
            self._heard = time_s - at_s, at_s
            if before is not None and abs(self._heard[0] - before[0]) > TOLERANCE_S:
                self._witness_leapt_at_s = at_s

    def look(self) -> None:
        """Follow the wall clock, or not; to be called every second or so."""
        with self._lock:
            before_s = self._monotonic()
            lead = self._wall() - before_s
            now_s = self._monotonic()
            if now_s - before_s > READ_WITHIN_S:
                return
            step_s = lead - self._lead[0]
            if max(abs(step_s), abs(lead - self._minute[0])) <= TOLERANCE_S:
                if self._leapt is not None:
                    _log.info("the machine's clock is back at the time that verdicts go by")
                self._follow(lead, now_s, is_leap=False)
                self._was_kept = self._is_kept()
            elif self._is_believed(lead, now_s):
                _log.warning("the machine's clock is believed", step_s=round(step_s, 3))
                self._follow(lead, now_s, is_leap=True)

    def _follow(self, lead: float, now_s: float, *, is_leap: bool) -> None:
        self._leapt = None
        if is_leap and self._before_leap is not None:
            self._before_leap(lead - self._lead[0])
        self._lead[0] = lead
        if is_leap or now_s - self._minute[1] >= _MINUTE_S:
            self._minute = lead, now_s

    def _is_believed(self, lead: float, now_s: float) -> bool:
        """Tell whether a leap is right by all that is known, and note one that is new."""
        if self._leapt is None or abs(lead - self._leapt[0]) > TOLERANCE_S:
            self._leapt = lead, now_s
            _log.error(
                "the machine's clock leapt: verdicts go by the time before",
                step_s=round(lead - self._lead[0], 3),
                held_for_s=HOLD_S,
                advice="set the clock right, or restart the verifier if the new time is the right one",
            )
        witness = self._heard_of(now_s)
        if witness is not None:
            from_new_s, from_old_s = abs(lead - witness), abs(self._lead[0] - witness)
            if from_old_s <= min(from_new_s, AGREES_S):
                self._leapt = lead, now_s  # when the witness is gone, it is held for the whole time again
                return False
            # One that leapt at about the time we did is where our clock is, and so no proof that it is right.
            if from_new_s <= AGREES_S and self._witness_leapt_at_s < self._leapt[1] - HOLD_S:
                return True
        if not self._was_kept and self._is_kept():
            return True
        if now_s - self._leapt[1] < HOLD_S:
            return False
        self._followed = lead - self._lead[0], now_s
        return True

    def _heard_of(self, now_s: float) -> float | None:
        heard = self._heard
        return heard[0] if heard is not None and now_s - heard[1] <= _HEARD_WITHIN_S else None
