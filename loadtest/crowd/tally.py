"""What one process counts, by second of the clock, until it is reported."""

import math
from collections import Counter

from loadtest.corpus_file import Scan
from loadtest.recording import Second, WrongVerdict

# Of one process. A verifier that gets everything wrong is proven wrong by fewer.
MOST_WRONG = 100


class Tally:
    """Counts; recording.Second says what counts in which second. All times are Unix times."""

    def __init__(self) -> None:
        self.under_way = 0
        self.wrong_count = 0
        self._seconds: dict[int, Second] = {}
        self._wrong: list[WrongVerdict] = []

    def due(self, at: float) -> None:
        """A scan's moment came."""
        self._second(at).due += 1

    def late(self, due: float) -> None:
        """It is sent late, and nothing but this process held it up."""
        self._second(due).late += 1

    def missed(self, due: float, scan: Scan, now: float) -> None:
        """It is not sent any more, for the same reason; who stood there waited all the same."""
        self._second(due).missed += 1
        self._waited(due, scan, now)

    def held(self, due: float) -> None:
        """It has to wait until fewer are under way."""
        self._second(due).held += 1

    def missed_by_server(self, due: float, scan: Scan, now: float) -> None:
        """It waited so long for that that it is not sent any more."""
        self._second(due).missed_by_server += 1
        self._waited(due, scan, now)

    def sent(self, now: float, count: int) -> None:
        """Scans are sent."""
        self.under_way += count
        second = self._second(now)
        second.sent += count
        second.in_flight = max(second.in_flight, self.under_way)

    def ended(self, count: int) -> None:
        """Scans that were sent make room for others."""
        self.under_way -= count

    def retried(self, now: float, count: int) -> None:
        """Scans are sent once more."""
        self._second(now).retries += count

    def attempt_failed(self, now: float, status: str, count: int) -> None:
        """An attempt to send scans ended without an answer."""
        self._second(now).errors[status] += count

    def answered(self, due: float, scan: Scan, now: float, verdict: str, *, is_right: bool) -> None:
        """A verdict came."""
        second = self._second(now)
        second.verdicts[verdict] += 1
        if is_right:
            second.right += 1
        else:
            second.wrong += 1
        self._waited(due, scan, now)

    def failed(self, due: float, scan: Scan, now: float) -> None:
        """A scan was given up; who stood there waited all the same."""
        self._second(now).failed += 1
        self._waited(due, scan, now)

    def is_wrong(self, wrong: WrongVerdict) -> None:
        """Keep what a verdict was and had to be; of the first ones."""
        self.wrong_count += 1
        if self.wrong_count <= MOST_WRONG:
            self._wrong.append(wrong)

    def pass_time(self, now: float, cpu_s: float) -> None:
        """Note the CPU time since the last call, and that scans under way still are."""
        second = self._second(now)
        second.generator_cpu_s += cpu_s
        second.in_flight = max(second.in_flight, self.under_way)

    def take(self, before: float = math.inf) -> dict[int, Second]:
        """Return what was counted in seconds that ended by `before`, and forget it.

        More may come of the same second later, to be added to it: latencies of scans that were due then. But
        in_flight and what was sent is whole, as a second ended before it is taken.
        """
        ended = [at for at in self._seconds if at + 1 <= before]
        return {at: self._seconds.pop(at) for at in ended}

    def take_wrong(self) -> list[WrongVerdict]:
        """Return the wrong verdicts since the last call."""
        taken, self._wrong = self._wrong, []
        return taken

    def _waited(self, due: float, scan: Scan, now: float) -> None:
        second = self._second(due)
        (second.hostile if scan.is_hostile else second.honest).record(now - due)

    def _second(self, at: float) -> Second:
        key = int(at)
        second = self._seconds.get(key)
        if second is None:
            second = self._seconds[key] = Second(verdicts=Counter(), errors=Counter())
        return second
