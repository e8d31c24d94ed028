"""The daily purge: scans older than the retention are removed, a slice at a time.

What was removed cannot be brought back, so nothing is removed by a clock that is not trusted
(issuer/clock_guard.py). A clock may also be wrong and steady: so the retention is counted back from a day
after the newest scan if that is earlier than now. Where no scan comes any more the last ones stay, and a
warning says so, until somebody purges by hand.

Only the archive that holds the lease purges: one that stands by may have another retention. The first slice
of a day is made as soon as a day has passed since the last purge, or at the start if the retention is another
one; one that was cut short goes on.
"""

from collections.abc import Callable

import structlog

from issuer.archive import metrics
from issuer.clock_guard import ClockGuard
from issuer.register.purges import PurgeEntry, Purges
from issuer.register.scans import Scans

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
        scans: Scans,
        retention_days: int,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        clock_guard: ClockGuard,
        is_working: Callable[[], bool],
    ) -> None:
        """`clock` gives Unix seconds; `is_working` tells whether this archive holds the lease."""
        self._purges = purges
        self._scans = scans
        self._retention_days = retention_days
        self._clock = clock
        self._monotonic = monotonic
        self._clock_guard = clock_guard
        self._is_working = is_working
        # It may be, until this process has begun a purge, or seen that it is not.
        self._is_retention_new = True
        self._under_way: PurgeEntry | None = None
        self._next_look = float("-inf")

    def step(self) -> None:
        """Remove a slice if a purge is due; raises RegisterUnavailable."""
        exact_now = self._clock()
        if not self._clock_guard.is_steady(exact_now):
            return
        if not self._is_working():
            # Another archive may go on with it meanwhile.
            self._under_way = None
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
        if last is not None:
            is_ours = last.retention_days == self._retention_days
            if is_ours and not last.is_done:
                return last
            # One of the future was made by a wrong clock, and holds up none.
            is_of_today = abs(now - last.purged_at) < _DAY_S
            if is_of_today and (is_ours or not self._is_retention_new):
                self._is_retention_new = False
                return None
        newest_ms = self._scans.newest_ms()
        from_s = now if newest_ms is None else min(now, newest_ms // 1000 + _DAY_S)
        purge = self._purges.begin(retention_days=self._retention_days, now=now, is_daily=True, from_s=from_s)
        self._is_retention_new = False
        if from_s < now:
            _log.warning(
                "no scan for over a day: if the clock is right, the last need gatelight-issuer scan purge",
                seq=purge.seq,
                newest_scan_age_s=now - newest_ms // 1000 if newest_ms else None,
            )
        return purge
