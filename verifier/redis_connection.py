"""Connections to Redis that give up soon, whether it is one server, a master with Sentinels, or a Cluster.

redis-py waits 5 s for a reply and tries ten times with growing pauses: most of a minute on a frozen
server. Whoever reads for a gate must know within seconds that there is nothing to read, so nothing is
tried again here: the loops above do that at their own pace.

For the same reason its clients for Sentinel and Cluster are not used. Here every connection finds its way by
itself (verifier/redis_guides.py) when it is made. One that turns out to lead to the wrong server (READONLY,
MOVED, ASK and the like) is closed and fails with redis.ConnectionError; the next one goes right. While a slot
is on its way from node to node, with some keys here and some there (ASK), all fail until it has arrived: half
of what is asked for would be wrong. To callers each server is a plain redis.Redis, with MULTI and WATCH.
"""

import threading
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    TryAgainError,
)
from redis.retry import Retry

from verifier.redis_guides import ASK_TIMEOUT_S, ClusterMap, Guide, MasterGuide, NodeGuide, SlotGuide
from verifier.redis_url import Address, Form, RedisUrl

CONNECT_TIMEOUT_S = 1.0

_ELSEWHERE = (AskError, ClusterDownError, MasterDownError, MovedError, ReadOnlyError, TryAgainError)


class Elsewhere(redis.ConnectionError):
    """What was asked for is at another server, or on its way there."""


def connect(url: str, *, reply_timeout_s: float, client_name: str, key: str = "") -> redis.Redis:
    """Return a client that fails a call after `reply_timeout_s` without a byte; it connects when first used.

    In a Cluster it is one of the node that holds `key`, and follows it when that moves: for all keys with the
    same hash tag. Raises ValueError for a URL that is not one of Redis.
    """
    return RedisServers(url, reply_timeout_s=reply_timeout_s, client_name=client_name).follow(key)


class RedisServers:
    """All servers behind a URL, for who has keys on several. Threads share it."""

    def __init__(self, url: str, *, reply_timeout_s: float, client_name: str) -> None:
        """Nothing is connected yet. Raises ValueError for a URL that is not one of Redis."""
        self._url = RedisUrl.parse(url)
        # Whatever a URL says: who waits for Redis relies on them.
        self._options = {
            "client_name": client_name,
            "protocol": 2,  # one form of reply from every server since 6.2
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "socket_timeout": reply_timeout_s,
        }
        self._making = threading.Lock()
        self._nodes: dict[Address, redis.Redis] = {}  # of a Cluster
        self._only: redis.Redis | None = None  # where there is one server at a time
        self._cluster: ClusterMap | None = None
        self._master: MasterGuide | None = None
        match self._url.form:
            case Form.SERVER:
                options: dict[str, Any] = {**self._url.options, **self._options}
                self._only = redis.Redis.from_pool(redis.ConnectionPool(**options))
            case Form.SENTINEL:
                self._master = MasterGuide(self._url.hosts, self._url.service, self._asking)
                self._only = self._client(self._master)
            case Form.CLUSTER:
                self._cluster = ClusterMap(self._url.hosts, self._asking)

    @property
    def is_cluster(self) -> bool:
        """Whether keys lie on several servers at a time."""
        return self._cluster is not None

    def of(self, key: str | bytes) -> redis.Redis:
        """Return a client of the server that holds a key; raises redis.RedisError where nobody says which."""
        if self._cluster is None:
            return self._one_server()
        return self._node(self._cluster.holder(_slot(key)), self._cluster)

    def known(self, key: str) -> redis.Redis | None:
        """Return the same without asking anybody; None where that is not known."""
        if self._cluster is None:
            return self._one_server()
        address = self._cluster.known(_slot(key))
        return None if address is None else self._node(address, self._cluster)

    def look(self) -> None:
        """Ask where everything is, where it is time to: for who holds connections without using them.

        Raises redis.RedisError.
        """
        if self._master is not None:
            self._master.check()
        if self._cluster is not None:
            self._cluster.refresh()

    def all(self) -> Sequence[redis.Redis]:
        """Return clients of all servers that hold anything; raises redis.RedisError."""
        if self._cluster is None:
            return (self._one_server(),)
        return [self._node(address, self._cluster) for address in self._cluster.masters()]

    def follow(self, key: str) -> redis.Redis:
        """Return a client that goes wherever a key is; for the caller to close."""
        if self._cluster is None:
            return self._one_server()
        return self._client(SlotGuide(self._cluster, _slot(key)))

    def close(self) -> None:
        """Close the connections."""
        for client in (*self._nodes.values(), *([self._only] if self._only else [])):
            client.close()

    def _one_server(self) -> redis.Redis:
        if self._only is None:
            raise AssertionError("a Cluster has many")
        return self._only

    def _node(self, address: Address, cluster: ClusterMap) -> redis.Redis:
        if (client := self._nodes.get(address)) is not None:
            return client
        with self._making:
            # Nodes come and go in a Cluster that lives long.
            for gone in set(self._nodes) - {*cluster.known_masters(), address}:
                self._nodes.pop(gone).connection_pool.disconnect(inuse_connections=False)
            return self._nodes.setdefault(address, self._client(NodeGuide(cluster, address)))

    def _client(self, guide: Guide) -> redis.Redis:
        kind = _GuidedTls if self._url.is_tls else _Guided
        options = {**self._url.options, **self._options}
        return redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, guide=guide, **options))

    def _asking(self, address: Address) -> redis.Redis:
        """Return a client for a question about where to connect to."""
        is_sentinel = self._url.form is Form.SENTINEL
        options: dict[str, Any] = {
            **(self._url.sentinel_options if is_sentinel else self._url.options),
            **self._options,
            "socket_connect_timeout": ASK_TIMEOUT_S,
            "socket_timeout": ASK_TIMEOUT_S,
        }
        kind = SSLConnection if self._url.is_tls else Connection
        pool = redis.ConnectionPool(connection_class=kind, host=address.host, port=address.port, **options)
        return redis.Redis.from_pool(pool)


class _Guided(Connection):
    """A connection that asks its guide where to go."""

    def __init__(self, *, guide: Guide, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._guide = guide

    @property
    def is_astray(self) -> bool:
        """Whether it leads where nothing is to be found any more, as far as is known without asking."""
        return not self._guide.may_use(Address(self.host, self.port))

    def connect(self) -> None:
        """Connect, unless we are; also when the connection that there is leads to the wrong server by now."""
        if self._sock is not None and not self._guide.is_current(Address(self.host, self.port)):
            self.disconnect()
        try:
            super().connect()  # type: ignore[no-untyped-call]
        except (redis.ConnectionError, redis.TimeoutError):
            self._guide.lost(Address(self.host, self.port))
            raise

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Shake hands; raises Elsewhere where a Sentinel that is behind the times named a replica."""
        super().on_connect_check_health(check_health)
        if isinstance(self._guide, MasterGuide) and self._is_replica():
            raise Elsewhere(f"{self.host}:{self.port} is a replica")

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Return a reply; raises Elsewhere, and the connection is closed, if the wrong server gave it."""
        here = Address(self.host, self.port)
        try:
            return super().read_response(*arguments, **options)
        except _ELSEWHERE as error:
            if isinstance(error, MovedError):
                self._guide.moved(error.slot_id, Address(error.host or here.host, error.port))
            else:
                self._guide.lost(here)
            self.disconnect()  # type: ignore[no-untyped-call]
            raise Elsewhere(f"{here.host}:{here.port} answers {type(error).__name__}") from None
        except (redis.ConnectionError, redis.TimeoutError):
            self._guide.lost(here)
            raise

    def _is_replica(self) -> bool:
        """Tell whether the server says that it is one; one round trip."""
        # HELLO tells it as ROLE does, for which a user would need one more right.
        self.send_command("HELLO", check_health=False)  # type: ignore[no-untyped-call]
        try:
            said = self.read_response(disable_decoding=True)
        except redis.ResponseError:
            return False
        return isinstance(said, list) and (b"role", b"replica") in zip(said[::2], said[1::2], strict=False)

    def _connect(self) -> Any:
        self.host, self.port = self._guide.address()
        return super()._connect()  # type: ignore[no-untyped-call]


class _GuidedTls(_Guided, SSLConnection):
    """The same over TLS."""


def _slot(key: str | bytes) -> int:
    return key_slot(key.encode() if isinstance(key, str) else key)
