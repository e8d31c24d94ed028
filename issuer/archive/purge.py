"""The daily purge: scans older than the retention are removed, a slice at a time.

What was removed cannot be brought back, so nothing is removed by a clock that is not trusted
(issuer/clock_guard.py). The first slice of a day is made as soon as a day has passed since the last purge, or
the retention is another one; one that was cut short goes on.
"""

from collections.abc import Callable

import structlog

from issuer.archive import metrics
from issuer.clock_guard import ClockGuard
from issuer.register.purges import PurgeEntry, Purges

_DAY_S = 86_400
# Between looks whether a purge is due. Slices follow each other at the pace of the loop.
_LOOK_EVERY_S = 60.0

_log = structlog.get_logger("archive")


class DailyPurge:
    """Makes a slice at a time; used by one thread."""

    def __init__(
        self,
        *,
        purges: Purges,
        retention_days: int,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        clock_guard: ClockGuard,
    ) -> None:
        """`clock` gives Unix seconds."""
        self._purges = purges
        self._retention_days = retention_days
        self._clock = clock
        self._monotonic = monotonic
        self._clock_guard = clock_guard
        self._under_way: PurgeEntry | None = None
        self._next_look = float("-inf")

    def step(self) -> None:
        """Remove a slice if a purge is due; raises RegisterUnavailable."""
        exact_now = self._clock()
        if not self._clock_guard.is_steady(exact_now):
            return
        if self._under_way is None:
            if self._monotonic() < self._next_look:
                return
            self._next_look = self._monotonic() + _LOOK_EVERY_S
            self._under_way = self._due(int(exact_now))
            if self._under_way is None:
                return
        before = self._under_way
        purge = self._purges.remove_slice(before)
        metrics.PURGED.inc(purge.scans - before.scans)
        self._under_way = None if purge.is_done else purge
        if purge.is_done:
            _log.info(
                "old scans removed",
                seq=purge.seq,
                retention_days=purge.retention_days,
                scans=purge.scans,
                suspects=purge.suspects,
            )

    def _due(self, now: int) -> PurgeEntry | None:
        last = self._purges.last_daily()
        if last is not None and last.retention_days == self._retention_days:
            if not last.is_done:
                return last
            if now < last.purged_at + _DAY_S:
                return None
        return self._purges.begin(retention_days=self._retention_days, now=now, is_daily=True)
