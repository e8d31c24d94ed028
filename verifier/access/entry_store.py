"""Entries at all verifiers: claims in Redis, within milliseconds or not at all.

    gatelight:used:<credential_index>:<code hash>   the scan that came first; expires with the code

SET NX and GET go out together: one round trip, and the form that every Redis since 6.2 knows. Who asks waits
for the reply alone. Connecting, with its look-up of names and its handshake, is done beside it by a loop:
where no connection is open, or the last answer failed to come, there is no answer at once. So a frozen Redis
costs each claim that is under way five milliseconds once, and the next ones nothing.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from verifier.loop import Loop
from verifier.redis_connection import connect

KEY_PREFIX = "gatelight:used:"
# All that a claim may take: a tenth of it is usual, and a person at a turnstile does not feel ten times it.
BUDGET_S = 0.005
# How long no claim is tried after one that failed.
PAUSE_S = 1.0
# A claim holds a connection for a tenth of a millisecond or two, and few threads ask at once.
_CONNECTIONS = 2
# How often the loop looks whether it is to stop.
_LOOK_S = 0.2

# redis.connection.ConnectionInterface, most of which has no types.
_Connection = Any


class EntryStore:
    """Claims codes in Redis. Threads share it. It connects when it is first asked."""

    def __init__(
        self, redis_url: str, *, budget_s: float = BUDGET_S, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises ValueError for a URL that is not one of Redis."""
        # For the handshake; a claim reads with what is left of its own budget.
        self._redis = connect(redis_url, reply_timeout_s=PAUSE_S, client_name="gatelight-entries")
        self._budget_s = budget_s
        self._monotonic = monotonic
        self._idle: queue.LifoQueue[_Connection] = queue.LifoQueue(_CONNECTIONS)
        self._missing = threading.Semaphore(_CONNECTIONS)
        self._is_down = False  # the last attempt to connect failed
        self._silent_until = 0.0
        self._is_started = False
        self._starting = threading.Lock()
        self._loop = Loop(self._connect_one, name="entries", pause_s=0.0, retry_s=PAUSE_S)

    def claim(self, key: str, scan: bytes, ttl_ms: int) -> bool | None:
        """Claim a key, without its prefix, for a scan; tell whether it is that scan's, or another's already.

        None where Redis does not answer in time; the claim may then have been made or not. It is forgotten
        after `ttl_ms`, from 1 on. Never raises.
        """
        if not self._is_started:
            self._start()
        begun_at = self._monotonic()
        if self._is_down or begun_at < self._silent_until:
            return None
        connection = self._take(begun_at + self._budget_s)
        if connection is None:  # it is being opened still, or those there are wait for Redis
            self._silent_until = self._monotonic() + PAUSE_S
            return None
        try:
            name = KEY_PREFIX + key
            connection.send_packed_command(
                connection.pack_commands([("SET", name, scan, "NX", "PX", ttl_ms), ("GET", name)]),
                check_health=False,
            )
            is_first = self._read(connection, begun_at) is not None
            # Nobody else may have set it in between; gone already, it has expired with the code.
            is_ours = self._read(connection, begun_at) == scan
        except Exception:  # noqa: BLE001 - whatever it is, there is no answer, and the loop above must know
            self._silent_until = self._monotonic() + PAUSE_S
            self._replace(connection)
            return None
        self._idle.put_nowait(connection)
        return is_first or is_ours

    def close(self) -> None:
        """Close the connections. No claim may be made after it."""
        if self._is_started:
            self._loop.stop()
        while True:
            try:
                self._idle.get_nowait().disconnect()
            except queue.Empty:
                break
        self._redis.close()

    def _start(self) -> None:
        with self._starting:
            if not self._is_started:
                self._is_started = True
                self._loop.start()

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
                if not connection.can_read(timeout=0):
                    return connection
            self._replace(connection)

    def _read(self, connection: _Connection, begun_at: float) -> object:
        left_s = begun_at + self._budget_s - self._monotonic()
        # An answer that is here already is worth reading, however late it is.
        return connection.read_response(disable_decoding=True, timeout=max(0.0005, left_s))

    def _replace(self, connection: _Connection) -> None:
        with contextlib.suppress(Exception):
            connection.disconnect()
        self._missing.release()

    def _connect_one(self) -> None:
        """Open one connection that is missing; a step of the loop. Raises what connecting raises."""
        if not self._missing.acquire(timeout=_LOOK_S):
            return
        connection: _Connection = self._redis.connection_pool.make_connection()
        try:
            connection.connect()
        except Exception:
            self._is_down = True
            self._replace(connection)
            raise
        self._is_down = False
        self._idle.put_nowait(connection)
