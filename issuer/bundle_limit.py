"""How often a credential may fetch a bundle: a token bucket for each, in Redis, for all issuers' threads.

A bucket is one number, the time at which it will be full again (GCRA, the generic cell rate algorithm of
ITU-T I.371), in a key of its own that ends by itself:

    gatelight:bundle_limit:<credential_index>   string, Unix milliseconds

One key a call, so that Redis Cluster may spread them. The time is that of Redis.

It is there to keep one broken app from taking the signing that a city needs, not to protect status; so
when Redis is dead or frozen, bundles are let through, and counted. A call waits a tenth of a second for a
reply; where nobody takes a connection a second, and where no Sentinel or node of a Cluster says where to go
one and a half, together with all who come meanwhile. After one that failed Redis is left alone for a while,
and asked by one thread first.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import redis
import structlog

from issuer import metrics
from verifier.redis_connection import RedisServers

# What the check of the cache has to know as ours.
BUNDLE_LIMIT_KEY_PREFIX = "gatelight:bundle_limit:"

_REPLY_TIMEOUT_S = 0.1
_LEFT_ALONE_S = 5.0
# Few enough that Redis answers them all in a few milliseconds.
_CREDENTIALS_PER_PIPELINE = 500

# KEYS[1] the bucket; ARGV[1] milliseconds in which one token comes back; ARGV[2] tokens in a full bucket.
# Returns 0, or the milliseconds until there is a token.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or 0) or 0
if full_at < now or full_at > now + interval * burst then full_at = now end
local wait = full_at + interval - interval * burst - now
if wait > 0 then return math.ceil(wait) end
full_at = full_at + interval
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', string.format('%.0f', full_at - now))
return 0
"""

_log = structlog.get_logger("issuer")


def bundle_limit_key(credential_index: int) -> str:
    """Return the key of a credential's bucket."""
    return f"{BUNDLE_LIMIT_KEY_PREFIX}{credential_index}"


class BundleLimit:
    """Asks Redis. Threads share it."""

    def __init__(
        self, redis_url: str, *, burst: int, per_hour: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Let each credential fetch `burst` bundles at once, and `per_hour` in the long run.

        Raises ValueError for a URL that is not one of Redis.
        """
        self._servers = RedisServers(
            redis_url, reply_timeout_s=_REPLY_TIMEOUT_S, client_name="gatelight-bundle-limit"
        )
        self._arguments = (max(1, 3_600_000 // per_hour), burst)
        self._monotonic = monotonic
        self._left_alone_until_s = 0.0
        self._noting = threading.Lock()
        self._asking_again = threading.Lock()

    def take(self, credential_indices: Sequence[int]) -> Mapping[int, int]:
        """Take a token for each credential; return those that have none, with the seconds until they have."""
        refused: dict[int, int] = {}
        for start in range(0, len(credential_indices), _CREDENTIALS_PER_PIPELINE):
            indices = credential_indices[start : start + _CREDENTIALS_PER_PIPELINE]
            waits_ms = self._ask(indices)
            if waits_ms is None:
                metrics.BUNDLES_UNLIMITED.inc(len(indices))
                continue
            waits = zip(indices, waits_ms, strict=True)
            refused |= {index: -(-wait_ms // 1_000) for index, wait_ms in waits if wait_ms}
        if refused:
            metrics.BUNDLES_REFUSED.inc(len(refused))
        return refused

    def close(self) -> None:
        """Close the connections."""
        self._servers.close()

    def _ask(self, indices: Sequence[int]) -> Sequence[int] | None:
        """Return the milliseconds that each has to wait, 0 for none; None when Redis does not answer."""
        if not self._left_alone_until_s:
            return self._take_tokens(indices)
        if self._monotonic() < self._left_alone_until_s or not self._asking_again.acquire(blocking=False):
            return None
        try:
            return self._take_tokens(indices)
        finally:
            self._asking_again.release()

    def _take_tokens(self, indices: Sequence[int]) -> Sequence[int] | None:
        try:
            waits_ms = self._take_apart(indices)
        except redis.RedisError as error:
            with self._noting:
                is_news = not self._left_alone_until_s
                self._left_alone_until_s = self._monotonic() + _LEFT_ALONE_S
            if is_news:
                _log.warning("bundles are not limited: Redis does not answer", error=type(error).__name__)
            return None
        if self._left_alone_until_s:
            _log.info("bundles are limited again")
            self._left_alone_until_s = 0.0
        return waits_ms

    def _take_apart(self, indices: Sequence[int]) -> Sequence[int]:
        """Ask each server for what it holds; raises redis.RedisError, and some tokens may be taken then."""
        apart: dict[redis.Redis, list[int]] = {}
        for at, index in enumerate(indices):
            apart.setdefault(self._servers.of(bundle_limit_key(index)), []).append(at)
        waits_ms = [0] * len(indices)
        for server, places in apart.items():
            take = server.register_script(_TAKE)
            with server.pipeline(transaction=False) as pipeline:
                for at in places:
                    take(keys=[bundle_limit_key(indices[at])], args=self._arguments, client=pipeline)
                for at, wait in zip(places, pipeline.execute(), strict=True):
                    waits_ms[at] = int(wait)
        return waits_ms
