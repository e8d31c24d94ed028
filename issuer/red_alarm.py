"""The alarm for reds set by hand: who sets more of them within an hour than an honest day's work needs.

It stops nobody, for a second person agreed to each of them; it tells those who watch the issuer.
"""

import threading

import structlog

from issuer.metrics import REDS_BY_HAND
from issuer.register.allowances import HOUR_S
from issuer.register.statuses import Statuses

_log = structlog.get_logger("issuer")


class RedAlarm:
    """Counts, and warns when an operator's alarm begins. Threads share it."""

    def __init__(self, *, statuses: Statuses, per_hour: int) -> None:
        """Warn of operators with more than `per_hour` reds by hand within an hour."""
        self._statuses = statuses
        self._per_hour = per_hour
        self._counted: set[str] = set()  # operators whose metric is not 0
        self._alarming: set[str] = set()
        self._lock = threading.Lock()

    def refresh(self, now: int) -> None:
        """Count the reds of the hour before `now`, Unix seconds; raises RegisterUnavailable."""
        with self._lock:
            counts = self._statuses.reds_by_hand(since=now - HOUR_S)
            for operator in self._counted - counts.keys():
                REDS_BY_HAND.labels(operator).set(0)
            for operator, count in counts.items():
                REDS_BY_HAND.labels(operator).set(count)
            self._counted = set(counts)
            alarming = {operator for operator, count in counts.items() if count > self._per_hour}
            for operator in sorted(alarming - self._alarming):
                _log.warning(
                    "many reds by hand",
                    operator=operator,
                    within_the_last_hour=counts[operator],
                    alarm_above=self._per_hour,
                )
            self._alarming = alarming
