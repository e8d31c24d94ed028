"""Connections to Redis that give up soon.

redis-py waits 5 s for a reply and tries ten times with growing pauses: most of a minute on a frozen
server. Whoever reads for a gate must know within seconds that there is nothing to read, so nothing is
tried again here: the loops above do that at their own pace.
"""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

CONNECT_TIMEOUT_S = 1.0


def connect(url: str, *, reply_timeout_s: float, client_name: str) -> redis.Redis:
    """Return a client that fails a call after `reply_timeout_s` without a byte; it connects when first used.

    Raises ValueError for a URL that is not one of Redis.
    """
    try:
        return redis.Redis.from_url(
            url,
            client_name=client_name,
            protocol=2,  # one form of reply from every server since 6.2
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=reply_timeout_s,
        )
    except ValueError:
        # The library's own text quotes the URL, and a piece of the password with it.
        raise ValueError(
            "expected a URL such as redis://host:6379/0, special characters of a password percent-encoded"
        ) from None
