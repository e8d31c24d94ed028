"""A TCP proxy that delays what goes through it, both ways, as a long or crowded network does.

What waits lies in queues of fixed size: whoever sends more is slowed down by TCP itself.
"""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 1 << 16
# 1 MiB each way for each connection.
_MOST_CHUNKS = 16
_READY_S = 10.0


class SlowProxy:
    """Passes connections to a loopback port on to another one, from a thread of its own."""

    def __init__(self, to_port: int) -> None:
        """Listen on a free port, with no delay at first."""
        self.delay_s = 0.0  # of each reply: half of it on the way there, half on the way back
        self.port = 0
        self._to_port = to_port
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._pairs: set[asyncio.Task[None]] = set()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._is_ready.wait(_READY_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    @property
    def redis_url(self) -> str:
        """Where a Redis behind it is asked."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0, limit=_CHUNK_BYTES)
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await self._ending.wait()
        server.close()
        for pair in self._pairs:
            pair.cancel()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = self._loop.create_task(self._join(reader, writer))
        self._pairs.add(pair)
        pair.add_done_callback(self._pairs.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on both ways until one end closes."""
        writers = [writer]
        # Whatever ends a connection, the other end sees that it has ended.
        with contextlib.suppress(OSError):
            try:
                there, back = await asyncio.open_connection("127.0.0.1", self._to_port, limit=_CHUNK_BYTES)
                writers.append(back)
                ways = [
                    self._loop.create_task(self._pass_on(*way)) for way in ((reader, back), (there, writer))
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
            finally:
                for one in writers:
                    one.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS)
        taking = self._loop.create_task(self._take(reader, waiting))
        try:
            while True:
                due_at_s, chunk = await waiting.get()
                await asyncio.sleep(max(0.0, due_at_s - self._loop.time()))
                if not chunk:
                    return
                writer.write(chunk)
                await writer.drain()
        finally:
            taking.cancel()

    async def _take(
        self, reader: asyncio.StreamReader, waiting: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        chunk = b"to begin with"
        while chunk:
            chunk = b""
            with contextlib.suppress(OSError):
                chunk = await reader.read(_CHUNK_BYTES)
            await waiting.put((self._loop.time() + self.delay_s / 2, chunk))
