"""Whose batch has the next thread.

A full batch is a tenth of a second's work. In the order in which they came, one gate's many would keep a hub
that sends one after the other waiting for longer than its deadline. So a caller's first goes before all that
are others' second and more.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

_Waiting = deque["asyncio.Future[None]"]


class BatchTurns:
    """Gives batches their turns, as many at once as there are threads; used on the event loop only."""

    def __init__(self, threads: int) -> None:
        self._free = threads
        self._first: _Waiting = deque()
        self._others: _Waiting = deque()

    @contextlib.asynccontextmanager
    async def turn(self, *, is_first: bool) -> AsyncIterator[None]:
        """Have a turn until the end of the block."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(self._first if is_first else self._others)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, waiting: _Waiting) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if not future.cancelled():  # it had its turn just now
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while waiting := self._first or self._others:
            future = waiting.popleft()
            if not future.done():  # it is when the caller has gone
                future.set_result(None)
                return
        self._free += 1
