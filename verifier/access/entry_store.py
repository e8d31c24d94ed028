"""Entries at all verifiers: claims in Redis, within milliseconds or not at all.

    gatelight:used:<credential_index>:<code hash>   the scan that came first; expires with the code

Each server has connections that stand open (verifier/access/entry_server.py): a Cluster spreads the keys, and
has a node that is silent for its own alone. A frozen Redis costs a thread five milliseconds a few times
(verifier/access/breaker.py); then one claim in a tenth of a second tries, until connecting fails as well, and
the others have no answer at once.

Who was let in without an answer is told to Redis by the loop as soon as it answers (late_claims.py): SET NX
again, so an entry that another verifier has noted meanwhile stays.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

import redis

from verifier.access.entry_server import EntryServer
from verifier.access.late_claims import LateClaim, LateClaims
from verifier.loop import Loop
from verifier.redis_connection import RedisServers
from verifier.trouble import Part, Trouble, classify

KEY_PREFIX = "gatelight:used:"
# All that a claim may take: a tenth of it is usual, and a person at a turnstile does not feel ten times it.
BUDGET_S = 0.005
# How often the loop looks whether it is to stop, when nothing wakes it.
_LOOK_S = 0.2
# Between two batches of late claims, of which there may be hundreds: gates go first.
_STEP_PAUSE_S = 0.005
# How long connecting and late claims wait for a reply, and for the next attempt after one that failed.
_RETRY_S = 1.0
# As many are still sent by a worker that ends.
_LAST_BATCHES = 20


class EntryStore:
    """Claims codes in Redis. Threads share it. It connects when it is first asked."""

    def __init__(
        self,
        redis_url: str,
        *,
        budget_s: float = BUDGET_S,
        monotonic: Callable[[], float] = time.monotonic,
        tell: Callable[[Trouble | None], None] = lambda _: None,
    ) -> None:
        """`tell` hears of trouble with Redis that is more than a late reply, and of its end: from any thread.

        Raises ValueError for a URL that is not one of Redis.
        """
        # For the handshake; a claim reads with what is left of its own budget.
        self._redis = RedisServers(redis_url, reply_timeout_s=_RETRY_S, client_name="gatelight-entries")
        self._servers: dict[redis.Redis, EntryServer] = {}
        self._budget_s = budget_s
        self._monotonic = monotonic
        self._looked = threading.Event()  # for which server has what, whether or not anybody said it
        self._tell = tell
        self._is_in_trouble = False
        self._late = LateClaims()
        self._woken = threading.Event()
        self._is_started = False
        self._starting = threading.Lock()
        self._loop = Loop(self._work, name=Part.ENTRIES, pause_s=_STEP_PAUSE_S, retry_s=_RETRY_S)

    @property
    def is_down(self) -> bool:
        """Whether the last attempt to connect to some server failed."""
        return any(server.is_down for server in list(self._servers.values()))

    def claim(self, key: str, scan: bytes, ttl_ms: int) -> bool | None:
        """Claim a key, without its prefix, for a scan; tell whether it is that scan's, or another's already.

        None where Redis does not answer in time; the claim may then have been made or not: whoever lets the
        scan in all the same says so by claim_later. It is forgotten after `ttl_ms`, from 1 on. Never raises.
        """
        if not self._is_started:
            self._start()
        ends_at = self._monotonic() + self._budget_s
        name = KEY_PREFIX + key
        client = self._redis.known(name)
        if client is None:  # of a Cluster that nobody has looked at yet
            self._looked.wait(self._budget_s)
            client = self._redis.known(name)
        return None if client is None else self._server(client).claim(name, scan, ttl_ms, ends_at=ends_at)

    def claim_later(self, key: str, scan: bytes, ttl_ms: int) -> None:
        """Claim a key for a scan as soon as Redis answers, unless it is another's by then. Never waits."""
        self._late.add(LateClaim(key, scan, self._monotonic() + ttl_ms / 1_000))
        self._woken.set()

    def close(self) -> None:
        """Tell Redis what it has not heard, and close the connections. No claim may be made after it."""
        if self._is_started:
            self._loop.stop()
        if not self.is_down:
            with contextlib.suppress(Exception):
                for _ in range(_LAST_BATCHES):
                    self._send_late()
        for server in self._servers.values():
            server.close()
        self._redis.close()

    def _start(self) -> None:
        with self._starting:
            if not self._is_started:
                # Where the system has no thread for it, the next claim tries again.
                with contextlib.suppress(RuntimeError):
                    self._loop.start()
                    self._is_started = True

    def _server(self, client: redis.Redis) -> EntryServer:
        if (server := self._servers.get(client)) is not None:
            return server
        with self._starting:
            new = EntryServer(
                client, monotonic=self._monotonic, wake=self._woken.set, in_trouble=self._in_trouble
            )
            server = self._servers.setdefault(client, new)
        self._woken.set()
        return server

    def _in_trouble(self, trouble: Trouble) -> None:
        self._is_in_trouble = True
        self._tell(trouble)

    def _work(self) -> None:
        """Open the connections that are missing and send late claims; a step of the loop.

        Raises what connecting raises, and redis.RedisError; it then goes on after a pause.
        """
        if len(self._late) == 0 and not self.is_down:
            self._woken.wait(_LOOK_S)
        self._woken.clear()
        try:
            is_quick = self._look_after_servers()
            self._send_late()
        except Exception as error:
            self._in_trouble(classify(error))
            raise
        if self._is_in_trouble and is_quick:
            self._is_in_trouble = False
            self._tell(None)

    def _look_after_servers(self) -> bool:
        """Return whether all answer in time for a claim; told only while there is trouble.

        Claims may not come for hours, so it is this that finds out that there is none any more. Raises the
        first trouble that there is with any, when all have been looked after.
        """
        try:
            self._redis.look()
            servers = [self._server(client) for client in self._redis.all()]
        finally:
            # Claims that do not know where to go have no answer at once from now on.
            self._looked.set()
        with self._starting:
            gone = [client for client, server in self._servers.items() if server not in servers]
            closing = [self._servers.pop(client) for client in gone]
        for server in closing:
            server.close()
        troubles = []
        longest_s = 0.0
        for server in servers:
            try:
                server.connect()
                if self._is_in_trouble:
                    longest_s = max(longest_s, server.ping())
            except Exception as error:  # noqa: BLE001 - the other servers are no worse for it
                troubles.append(error)
        if troubles:
            raise troubles[0]
        return longest_s <= self._budget_s

    def _send_late(self) -> None:
        """Send one batch of late claims; what raises redis.RedisError is late still, behind the others."""
        now = self._monotonic()
        apart: dict[redis.Redis, list[LateClaim]] = {}
        for claim in self._late.first(now):
            apart.setdefault(self._redis.of(KEY_PREFIX + claim.key), []).append(claim)
        troubles = []
        for client, claims in apart.items():
            try:
                self._send(client, claims, now)
            except redis.RedisError as error:
                self._late.postpone(claims)
                troubles.append(error)
            else:
                self._late.remove(claims)
        if troubles:
            raise troubles[0]

    def _send(self, client: redis.Redis, claims: Sequence[LateClaim], now: float) -> None:
        with client.pipeline(transaction=False) as pipeline:
            for claim in claims:
                left_ms = max(1, int(1_000 * (claim.forget_at - now)))
                pipeline.set(KEY_PREFIX + claim.key, claim.scan, nx=True, px=left_ms)
            pipeline.execute()
