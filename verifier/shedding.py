"""What overload is met with, whatever engine it is: who is told to come back when, and whose turn is last.

A refusal costs what an empty call costs, two fifths of a verdict, most of it in HTTP/2. Ten times as many
callers as can be answered, who come back after a quarter of a second each, would leave no time for verdicts.
So the delay that they are told grows until few enough come back.
"""

import itertools
import time
from collections.abc import Callable, Hashable

from verifier.allowance import Allowance
from verifier.limits import RETRY_DELAY_MS
from verifier.verdict import Verdict

# Refusals a second that cost a twentieth of a core.
_AFFORDABLE_PER_S = 400
_WINDOW_S = 0.2
# A gate's client gives up after two seconds: who is told to wait longer does not come back at all.
_LONGEST_DELAY_MS = 2_000
# Those who were refused together do not come back together.
_SPREAD = (1.0, 1.25, 0.75, 1.5, 0.875, 1.125)
_MAX_SUSPECTS = 4_096
# Forged codes one after the other, with no authentic one between them, that no gate sees by chance.
_OF_A_FORGER = 8
# Verdicts a second for all forgers of a worker together: an eighth of a core.
_FORGERS_PER_S = 400
# They are held rather than refused: who waits asks nothing meanwhile, and a refusal is worth another try.
FORGERS_PATIENCE = 4  # times that of others
FORGERS_PAUSE_S = 0.01  # between looks at who of them may go
_FORGED = int(Verdict.BAD_SIGNATURE)
# They cost nothing to make, and so say nothing of who sends them.
_OF_ANYBODY = frozenset((int(Verdict.MALFORMED), int(Verdict.UNKNOWN_KEY)))


class RetryDelay:
    """Says after how long a refused caller may ask again. Threads share it."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._delay_ms = RETRY_DELAY_MS
        self._spread = itertools.cycle(_SPREAD)
        self._window_ends_s = 0.0
        self._refusals = 0  # in this window

    def next_ms(self) -> int:
        """Count a refusal, and return what to tell."""
        now = self._monotonic()
        if now >= self._window_ends_s:
            self._turn_window(now)
        self._refusals += 1
        return int(self._delay_ms * next(self._spread))

    def _turn_window(self, now: float) -> None:
        affordable = _AFFORDABLE_PER_S * _WINDOW_S
        if now >= self._window_ends_s + _WINDOW_S or self._refusals < affordable / 2:
            self._delay_ms = max(RETRY_DELAY_MS, self._delay_ms // 2)
        elif self._refusals > affordable:
            self._delay_ms = min(_LONGEST_DELAY_MS, self._delay_ms * 2)
        self._refusals = 0
        self._window_ends_s = now + _WINDOW_S


class Suspects:
    """Connections that had no authentic code since a forged one: their calls wait behind those of all others.

    A forged code costs as much as a good one. Whoever sends many of them takes only the time that others
    leave; a gate at which one was shown has its place again with the next code that is authentic, whatever
    its verdict. Whoever sends nothing else is a forger: all of them together get a few verdicts a second,
    since calls that nobody has looked at yet wait in the order in which they came, and those of others among
    them. Threads share it.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._forged: dict[Hashable, int] = {}  # in a row
        self._allowance = Allowance(_FORGERS_PER_S, at_once=_FORGERS_PER_S * 0.1, monotonic=monotonic)

    def __contains__(self, connection: Hashable) -> bool:
        """Tell whether a connection is one of them."""
        return connection in self._forged

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._forged)

    def is_forger(self, connection: Hashable) -> bool:
        """Tell whether forged codes are all that a connection sends."""
        return self._forged.get(connection, 0) >= _OF_A_FORGER

    def may_forger_go(self) -> bool:
        """Tell whether a forger's call may be answered now, and count it."""
        return self._allowance.take()

    def note(self, connection: Hashable, verdict: int) -> None:
        """Take notice of the verdict on a code."""
        if verdict != _FORGED:
            if verdict not in _OF_ANYBODY:
                self._forged.pop(connection, None)
            return
        # Most have gone; those that have not, show again.
        if connection not in self._forged and len(self._forged) >= _MAX_SUSPECTS:
            self._forged.clear()
        self._forged[connection] = self._forged.get(connection, 0) + 1
