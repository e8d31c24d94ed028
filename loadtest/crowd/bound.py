"""At most so many scans under way at once, of one process; the others stand in line."""

from collections import deque
from collections.abc import Callable, Sequence

from loadtest.crowd.arrival import Arrival, Sender
from loadtest.crowd.tally import Tally

# Longer than a busy event loop takes for a turn, and shorter than anybody at a gate notices.
LATE_S = 0.05


class Bound:
    """Decides what becomes of an arrival: sent, sent late, held, or missed, and through whose fault."""

    def __init__(
        self, *, most: int, patience_s: float, tally: Tally, now: Callable[[], float], is_closed: bool = False
    ) -> None:
        """`patience_s` is how long somebody waits to be scanned. Closed arrivals are never late."""
        self._most, self._patience_s = most, patience_s
        self._tally, self._now, self._is_closed = tally, now, is_closed
        self._line: deque[Arrival] = deque()

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def arrive(self, arrivals: Sequence[Arrival], wanted_at: float) -> None:
        """Take people of one site who are to be sent together at `wanted_at`, Unix time."""
        now = self._now()
        behind_s = 0.0 if self._is_closed else now - wanted_at
        for arrival in arrivals:
            self._tally.due(arrival.due)
        if behind_s > self._patience_s:
            for arrival in arrivals:
                self._tally.missed(arrival.due, arrival.scan, now)
                arrival.sender.leave(1)
            return
        fits = 0 if self._line else max(0, self._most - self._tally.under_way)
        for arrival in arrivals[fits:]:
            self._tally.held(arrival.due)
            self._line.append(arrival)
        if behind_s > LATE_S:
            for arrival in arrivals[:fits]:
                self._tally.late(arrival.due)
        if fits and arrivals:
            self._send(arrivals[0].sender, arrivals[:fits], now)

    def advance(self) -> None:
        """Send those in line for whom there is room by now; the impatient leave."""
        now = self._now()
        while self._line and now - self._line[0].due > self._patience_s:
            arrival = self._line.popleft()
            self._tally.missed_by_server(arrival.due, arrival.scan, now)
            arrival.sender.leave(1)
        room = min(len(self._line), self._most - self._tally.under_way)
        by_sender: dict[Sender, list[Arrival]] = {}
        for _ in range(room):
            arrival = self._line.popleft()
            by_sender.setdefault(arrival.sender, []).append(arrival)
        for sender, arrivals in by_sender.items():
            self._send(sender, arrivals, now)

    def clear(self) -> None:
        """Send nobody any more."""
        while self._line:
            self._line.popleft().sender.leave(1)

    def _send(self, sender: Sender, arrivals: Sequence[Arrival], now: float) -> None:
        self._tally.sent(now, len(arrivals))
        sender.send(arrivals)
