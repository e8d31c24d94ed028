"""One Redis server as claims meet it: connections that stand open, and a breaker for when it is silent.

SET NX and GET go out together: one round trip, and the form that every Redis since 6.2 knows. Who asks waits
for the reply alone. Connecting, with its look-up of names and its handshake, is done beside it by a loop.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

import redis

from verifier.access.breaker import Breaker
from verifier.trouble import Trouble, classify

# A claim holds a connection for a tenth of a millisecond or two, and a worker's threads share a core.
CONNECTIONS = 4

# redis.connection.ConnectionInterface, most of which has no types.
_Connection = Any


class EntryServer:
    """Claims at one server. Threads share it."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        monotonic: Callable[[], float],
        wake: Callable[[], None],
        in_trouble: Callable[[Trouble], None],
    ) -> None:
        """`wake` has connect() called soon; `in_trouble` hears of more than a late reply."""
        self._client = client
        self._monotonic = monotonic
        self._wake = wake
        self._in_trouble = in_trouble
        self._idle: queue.LifoQueue[_Connection] = queue.LifoQueue(CONNECTIONS)
        self._missing = threading.Semaphore(CONNECTIONS)
        self._breaker = Breaker()
        self.is_down = False  # the last attempt to connect failed

    def claim(self, name: str, scan: bytes, ttl_ms: int, *, ends_at: float) -> bool | None:
        """Claim a name for a scan until `ends_at`, monotonic seconds; None for no answer. Never raises."""
        begun_at = self._monotonic()
        if self.is_down or not self._breaker.may_try(begun_at):
            return None
        connection = self._take(ends_at)
        if connection is None:  # it is being opened still, or those there are wait for Redis
            self._failed(begun_at, Trouble.REDIS_TIMEOUT)
            return None
        try:
            connection.send_packed_command(
                connection.pack_commands([("SET", name, scan, "NX", "PX", ttl_ms), ("GET", name)]),
                check_health=False,
            )
            is_first = self._read(connection, ends_at) is not None
            # Nobody else may have set it in between; gone already, it has expired with the code.
            is_ours = self._read(connection, ends_at) == scan
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer, and the loop must know
            self._failed(begun_at, classify(error))
            self._replace(connection)
            return None
        self._idle.put_nowait(connection)
        self._breaker.succeeded()
        return is_first or is_ours

    def connect(self) -> None:
        """Open the connections that are missing; raises what connecting raises."""
        for _ in range(CONNECTIONS):
            if not self._missing.acquire(blocking=False):
                return
            connection: _Connection = self._client.connection_pool.make_connection()
            try:
                connection.connect()
            except Exception:
                self.is_down = True
                self._replace(connection)
                raise
            self.is_down = False
            self._idle.put_nowait(connection)

    def ping(self) -> float:
        """Return how long it took to answer, seconds; raises redis.RedisError."""
        begun_at = self._monotonic()
        self._client.ping()
        return self._monotonic() - begun_at

    def close(self) -> None:
        """Close the connections."""
        while True:
            try:
                self._idle.get_nowait().disconnect()
            except queue.Empty:
                return

    def _failed(self, begun_at: float, trouble: Trouble) -> None:
        self._breaker.failed(begun_at, self._monotonic())
        if self._breaker.is_open:
            self._in_trouble(trouble)

    def _take(self, ends_at: float) -> _Connection | None:
        """Return an open connection, and None where there is none until `ends_at`."""
        while True:
            try:
                connection = self._idle.get(timeout=max(0.0, ends_at - self._monotonic()))
            except queue.Empty:
                return None
            # With nothing asked there is nothing to read, except that the server has closed it: after a
            # restart, or a night without scans.
            with contextlib.suppress(Exception):
                if not connection.can_read(timeout=0) and not getattr(connection, "is_astray", False):
                    return connection
            self._replace(connection)

    def _read(self, connection: _Connection, ends_at: float) -> object:
        # An answer that is here already is worth reading, however late it is.
        return connection.read_response(
            disable_decoding=True, timeout=max(0.0005, ends_at - self._monotonic())
        )

    def _replace(self, connection: _Connection) -> None:
        with contextlib.suppress(Exception):
            connection.disconnect()
        self._missing.release()
        self._wake()
