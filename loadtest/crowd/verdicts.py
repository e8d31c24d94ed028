"""Compares each answer with what had to come, and keeps Locust's table of failures short."""

from loadtest.crowd.arrival import Arrival
from loadtest.crowd.tally import Tally
from loadtest.recording import WrongVerdict
from verifier.verdict import Verdict

_NAMES = {int(verdict): verdict.name for verdict in Verdict}


class WrongAnswer(Exception):
    """A verifier answered, and not what it had to."""


class NoVerdict(Exception):
    """A scan ended without a verdict."""


class Verdicts:
    """The judge of one process."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        # Locust has a row for each text of a failure: one a scan would drown everything else.
        self._wrong: dict[tuple[str, str, str], WrongAnswer] = {}
        self._none: dict[str, NoVerdict] = {}

    def answered(self, arrival: Arrival, now: float, scan_id: str, verdict: int) -> Exception | None:
        """Count an answer; return why it is wrong, None if it is right.

        An answer to another scan is wrong, whatever it says: it would open the gate for somebody else.
        """
        got = _NAMES.get(verdict, str(verdict))
        is_of_another = scan_id != arrival.scan_id
        is_right = verdict == arrival.scan.verdict and not is_of_another
        self._tally.answered(arrival.due, arrival.scan, now, got, is_right=is_right)
        if is_right:
            return None
        if is_of_another:
            got += " of another scan"
        expected = arrival.scan.verdict.name
        self._tally.is_wrong(WrongVerdict(arrival.scan_id, arrival.scan.kind, expected, got))
        key = (arrival.scan.kind, expected, got)
        if key not in self._wrong:
            self._wrong[key] = WrongAnswer(
                f"{arrival.scan.kind}: expected {expected}, got {got} (the first: {arrival.scan_id})"
            )
        return self._wrong[key]

    def gave_up(self, arrival: Arrival, now: float, status: str) -> Exception:
        """Count a scan that got no verdict, and return that for Locust."""
        self._tally.failed(arrival.due, arrival.scan, now)
        return self._none.setdefault(status, NoVerdict(status))
