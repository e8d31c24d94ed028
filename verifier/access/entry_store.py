"""Entries at all verifiers: claims in Redis, within milliseconds or not at all.

    gatelight:used:<credential_index>:<code hash>   the scan that came first; expires with the code

SET NX and GET go out together: one round trip, and the form that every Redis since 6.2 knows. Who asks waits
for the reply alone. Connecting, with its look-up of names and its handshake, is done beside it by a loop.
A frozen Redis costs a thread five milliseconds a few times (verifier/access/breaker.py); then one claim in a
tenth of a second tries, until connecting fails as well, and the others have no answer at once.

Who was let in without an answer is told to Redis by the loop as soon as it answers (late_claims.py): SET NX
again, so an entry that another verifier has noted meanwhile stays.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from verifier.access.breaker import Breaker
from verifier.access.late_claims import LateClaim, LateClaims
from verifier.loop import Loop
from verifier.redis_connection import connect

KEY_PREFIX = "gatelight:used:"
# All that a claim may take: a tenth of it is usual, and a person at a turnstile does not feel ten times it.
BUDGET_S = 0.005
# A claim holds a connection for a tenth of a millisecond or two, and a worker's threads share a core.
_CONNECTIONS = 4
# How often the loop looks whether it is to stop, when nothing wakes it.
_LOOK_S = 0.2
# Between two batches of late claims, of which there may be hundreds: gates go first.
_STEP_PAUSE_S = 0.005
# How long connecting and late claims wait for a reply, and for the next attempt after one that failed.
_RETRY_S = 1.0
# As many are still sent by a worker that ends.
_LAST_BATCHES = 20

# redis.connection.ConnectionInterface, most of which has no types.
_Connection = Any


class EntryStore:
    """Claims codes in Redis. Threads share it. It connects when it is first asked."""

    def __init__(
        self, redis_url: str, *, budget_s: float = BUDGET_S, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises ValueError for a URL that is not one of Redis."""
        # For the handshake; a claim reads with what is left of its own budget.
        self._redis = connect(redis_url, reply_timeout_s=_RETRY_S, client_name="gatelight-entries")
        self._budget_s = budget_s
        self._monotonic = monotonic
        self._idle: queue.LifoQueue[_Connection] = queue.LifoQueue(_CONNECTIONS)
        self._missing = threading.Semaphore(_CONNECTIONS)
        self._is_down = False  # the last attempt to connect failed
        self._breaker = Breaker()
        self._late = LateClaims()
        self._woken = threading.Event()
        self._is_started = False
        self._starting = threading.Lock()
        self._loop = Loop(self._work, name="entries", pause_s=_STEP_PAUSE_S, retry_s=_RETRY_S)

    def claim(self, key: str, scan: bytes, ttl_ms: int) -> bool | None:
        """Claim a key, without its prefix, for a scan; tell whether it is that scan's, or another's already.

        None where Redis does not answer in time; the claim may then have been made or not: whoever lets the
        scan in all the same says so by claim_later. It is forgotten after `ttl_ms`, from 1 on. Never raises.
        """
        if not self._is_started:
            self._start()
        begun_at = self._monotonic()
        if self._is_down or not self._breaker.may_try(begun_at):
            return None
        connection = self._take(begun_at + self._budget_s)
        if connection is None:  # it is being opened still, or those there are wait for Redis
            self._breaker.failed(begun_at, self._monotonic())
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
            self._breaker.failed(begun_at, self._monotonic())
            self._replace(connection)
            return None
        self._idle.put_nowait(connection)
        self._breaker.succeeded()
        return is_first or is_ours

    def claim_later(self, key: str, scan: bytes, ttl_ms: int) -> None:
        """Claim a key for a scan as soon as Redis answers, unless it is another's by then. Never waits."""
        self._late.add(LateClaim(key, scan, self._monotonic() + ttl_ms / 1_000))
        self._woken.set()

    def close(self) -> None:
        """Tell Redis what it has not heard, and close the connections. No claim may be made after it."""
        if self._is_started:
            self._loop.stop()
        if not self._is_down:
            with contextlib.suppress(Exception):
                for _ in range(_LAST_BATCHES):
                    self._send_late()
        while True:
            try:
                self._idle.get_nowait().disconnect()
            except queue.Empty:
                break
        self._redis.close()

    def _start(self) -> None:
        with self._starting:
            if not self._is_started:
                # Where the system has no thread for it, the next claim tries again.
                with contextlib.suppress(RuntimeError):
                    self._loop.start()
                    self._is_started = True

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
        self._woken.set()

    def _work(self) -> None:
        """Open the connections that are missing and send late claims; a step of the loop.

        Raises what connecting raises, and redis.RedisError; it then goes on after a pause.
        """
        if len(self._late) == 0 and not self._is_down:
            self._woken.wait(_LOOK_S)
        self._woken.clear()
        for _ in range(_CONNECTIONS):
            if self._missing.acquire(blocking=False):
                self._connect_one()
        self._send_late()

    def _send_late(self) -> None:
        """Send one batch of late claims; they are late still when it raises redis.RedisError."""
        now = self._monotonic()
        claims = self._late.first(now)
        if not claims:
            return
        with self._redis.pipeline(transaction=False) as pipeline:
            for claim in claims:
                left_ms = max(1, int(1_000 * (claim.forget_at - now)))
                pipeline.set(KEY_PREFIX + claim.key, claim.scan, nx=True, px=left_ms)
            pipeline.execute()
        self._late.remove(claims)

    def _connect_one(self) -> None:
        """Open a connection that was missing; raises what connecting raises."""
        connection: _Connection = self._redis.connection_pool.make_connection()
        try:
            connection.connect()
        except Exception:
            self._is_down = True
            self._replace(connection)
            raise
        self._is_down = False
        self._idle.put_nowait(connection)
