"""Redis as a witness of the time, where it runs on another machine and so has a clock of its own."""

import contextlib
from collections.abc import Callable

import redis

from verifier.boot_clock import boot_time_s
from verifier.listen import is_local
from verifier.redis_connection import connect
from verifier.redis_url import RedisUrl

# What takes longer to say what time it is says it too late.
_REPLY_TIMEOUT_S = 0.5


class RedisWitness:
    """Asks Redis for the time."""

    def __init__(
        self,
        redis_url: str,
        *,
        key: str,
        hear: Callable[[float, float], None],
        monotonic: Callable[[], float] = boot_time_s,
    ) -> None:
        """In a Cluster the node that holds `key` is asked; `hear` is ClockKeeper.hear.

        Raises ValueError for a URL that is not one of Redis.
        """
        self._redis = connect(
            redis_url, reply_timeout_s=_REPLY_TIMEOUT_S, client_name="gatelight-clock", key=key
        )
        self._hear = hear
        self._monotonic = monotonic

    def ask(self) -> None:
        """Ask once. Without an answer there is no witness: why, the other readers of Redis say."""
        with contextlib.suppress(redis.RedisError):
            self._redis.ping()  # so that no connecting counts
            asked_at_s = self._monotonic()
            seconds, microseconds = self._redis.time()
            heard_at_s = self._monotonic()
            if heard_at_s - asked_at_s <= _REPLY_TIMEOUT_S:  # or we stood still meanwhile
                self._hear(seconds + microseconds / 1e6, (asked_at_s + heard_at_s) / 2)


def has_own_clock(redis_url: str) -> bool:
    """Tell whether no server that a URL names is at an address that only this machine has, so has its clock.

    One at another address may run here all the same; ClockKeeper is not deceived by it once it leaps with us.
    """
    url = RedisUrl.parse(redis_url)
    if url.hosts:
        return not any(is_local(f"{host.host}:{host.port}") for host in url.hosts)
    return "path" not in url.options and not is_local(f"{url.options.get('host', 'localhost')}:0")
