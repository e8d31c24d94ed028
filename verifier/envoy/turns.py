"""Whose call is answered next on the event loop.

The event loop answers in the order in which calls came, and looks for new ones when all that it has are
answered: with a thousand calls there, a new one is not even refused before a fifth of a second is over. So no
more than a millisecond of verdicts is given in one round of the loop; the other calls wait here, and in each
round new ones are let in or refused. Each scan of a lane is a call here.
"""

import asyncio
import time
from collections import deque
from collections.abc import Hashable

from verifier.limits import Limits
from verifier.shedding import FORGERS_PATIENCE, FORGERS_PAUSE_S, Suspects

# Of verdicts in one round of the event loop: a millisecond.
_ROUND = 8

_Waiting = tuple[float, "asyncio.Future[None]"]


class Turns:
    """Gives calls their turns; used on the event loop only."""

    def __init__(self, limits: Limits, suspects: Suspects) -> None:
        self._max_wait_s = limits.max_wait_s
        self._suspects = suspects
        self._left = _ROUND
        self._is_counting = False
        self._waiting: deque[_Waiting] = deque()
        self._suspects_waiting: deque[_Waiting] = deque()
        self._forgers_waiting: deque[_Waiting] = deque()
        self._is_pacing = False

    def __len__(self) -> int:
        """Return how many calls wait."""
        return len(self._waiting) + len(self._suspects_waiting) + len(self._forgers_waiting)

    def is_long(self, connection: Hashable) -> bool:
        """Tell whether a call of this connection is to be refused: another has waited too long."""
        queue = self._queue(connection)
        max_wait_s = self._max_wait_s * (FORGERS_PATIENCE if queue is self._forgers_waiting else 1)
        return bool(queue) and time.monotonic() - queue[0][0] > max_wait_s

    def take(self, connection: Hashable) -> bool:
        """Tell whether a call may go on now, without waiting, and take that turn."""
        is_free = self._left and not self._waiting and not self._suspects_waiting
        if not is_free or self._suspects.is_forger(connection):
            return False
        self._take()
        return True

    async def turn(self, connection: Hashable) -> None:
        """Return when it is the call's turn."""
        if self.take(connection):
            return
        queue = self._queue(connection)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append((time.monotonic(), future))
        if queue is self._forgers_waiting:
            if not self._is_pacing:
                self._let_forgers_go()
        else:
            self._count()
        await future

    def _queue(self, connection: Hashable) -> deque[_Waiting]:
        if connection not in self._suspects:
            return self._waiting
        return self._forgers_waiting if self._suspects.is_forger(connection) else self._suspects_waiting

    def _let_forgers_go(self) -> None:
        """Queue as many of them behind all others as may go now; look again while there are more."""
        while self._forgers_waiting and self._suspects.may_forger_go():
            self._suspects_waiting.append(self._forgers_waiting.popleft())
            self._count()
        self._is_pacing = bool(self._forgers_waiting)
        if self._is_pacing:
            asyncio.get_running_loop().call_later(FORGERS_PAUSE_S, self._let_forgers_go)

    def _take(self) -> None:
        self._left -= 1
        self._count()

    def _count(self) -> None:
        if not self._is_counting:
            self._is_counting = True
            asyncio.get_running_loop().call_soon(self._begin_round)

    def _begin_round(self) -> None:
        """Give the turns of this round; whoever has one goes on before the next round."""
        self._is_counting = False
        self._left = _ROUND
        while self._left and (queue := self._waiting or self._suspects_waiting):
            _, future = queue.popleft()
            if not future.done():  # it is when the caller has gone
                future.set_result(None)
                self._take()
        if self._waiting or self._suspects_waiting:
            self._count()
