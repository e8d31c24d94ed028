"""End what ends by itself: colours and credentials whose valid_until has come.

Once a second, in batches, so that a million colours that end at midnight hold up no clerk. Nothing ends by
a clock that leapt (issuer/clock_guard.py). The same loop lets the count of reds by hand go down as the hour
passes.
"""

from collections.abc import Callable
from typing import Protocol

from issuer.clock_guard import ClockGuard
from issuer.red_alarm import RedAlarm
from issuer.register.credentials import Credentials
from issuer.register.statuses import Statuses
from verifier.loop import Loop

# A transaction of some tens of milliseconds.
BATCH = 1_000
# Some seconds of work at most, or stopping would wait too long for it.
_MAX_BATCHES_PER_STEP = 50
_PAUSE_S = 1.0
_ALARM_REFRESH_S = 60


class Publishes(Protocol):
    """What the ending needs of a publisher."""

    def wake(self) -> None:
        """Publish what is in the outbox now."""


class Ending:
    """Ends colours and credentials in a thread of its own."""

    def __init__(
        self,
        *,
        statuses: Statuses,
        credentials: Credentials,
        publisher: Publishes,
        red_alarm: RedAlarm,
        clock: Callable[[], float],
        clock_guard: ClockGuard,
    ) -> None:
        """`clock` gives Unix seconds."""
        self._statuses = statuses
        self._credentials = credentials
        self._publisher = publisher
        self._red_alarm = red_alarm
        self._clock = clock
        self._guard = clock_guard
        self._refreshed_at: int | None = None
        self._loop = Loop(self.step, name="ending", pause_s=_PAUSE_S, retry_s=_PAUSE_S)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    def stop(self) -> None:
        """Stop; what has not ended yet ends after the next start."""
        self._loop.stop()

    def step(self) -> None:
        """End what is due now, up to a bound; the rest is for the next step. Raises RegisterUnavailable."""
        exact_now = self._clock()
        now = int(exact_now)
        if self._guard.is_steady(exact_now):
            self._end_due(now)
        # Also when the clock was set back.
        if self._refreshed_at is None or not 0 <= now - self._refreshed_at < _ALARM_REFRESH_S:
            self._red_alarm.refresh(now)
            self._refreshed_at = now

    def _end_due(self, now: int) -> None:
        for _ in range(_MAX_BATCHES_PER_STEP):
            colours, colours_seq = self._statuses.end_due(now=now, limit=BATCH)
            expired, expired_seq = self._credentials.expire_due(now=now, limit=BATCH)
            if colours_seq or expired_seq:
                self._publisher.wake()
            if max(colours, expired) < BATCH:
                break
