"""The forms of a Redis URL: one server, the master that Sentinels name, or a Cluster.

    redis://  rediss://  unix://                               one server, as redis-py has it
    redis+sentinel://[user:password@]host:port,…/service[/db]  the master of `service`, named by Sentinels
    redis+cluster://[user:password@]host:port,…                a Cluster, some of whose nodes are these

With `rediss+` instead of `redis+` everything is TLS. User and password are those of the Redis servers; those
of Sentinels, where they want any, stand behind the `?` as `sentinel_username=` and `sentinel_password=`, as
other options of redis-py may; what verifier/redis_connection.py sets itself, such as timeouts, stays.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url

_ADVICE = (
    "expected a URL such as redis://host:6379/0, redis+sentinel://host:26379,host:26379/service or "
    "redis+cluster://host:6379,host:6379, special characters of a password percent-encoded"
)
_SENTINEL_PORT = 26_379
_REDIS_PORT = 6_379
# What a client of ours decides for itself, whatever a URL says.
_OURS = ("host", "port", "path", "connection_class")
_LIKE_AN_OPTION = re.compile("[a-z_]+")
_OF_SENTINELS = ("sentinel_username", "sentinel_password")


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


class Form(Enum):
    """What stands behind a URL."""

    SERVER = "server"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL, read. What it holds is a secret: never print it."""

    form: Form
    hosts: Sequence[Address]  # Sentinels, or nodes; for one server none
    service: str  # of the Sentinels
    is_tls: bool
    options: Mapping[str, Any] = field(repr=False)  # for connections to Redis servers
    sentinel_options: Mapping[str, Any] = field(repr=False)  # for connections to Sentinels

    @classmethod
    def parse(cls, url: str) -> "RedisUrl":
        """Raises ValueError, whose text has nothing of the URL in it but the name of an unknown option."""
        try:
            read = _parse(url)
            unknown = _unknown_options(url, read.form)
        except (ValueError, TypeError, KeyError):
            # redis-py's own text quotes the URL, and a piece of the password with it.
            raise ValueError(_ADVICE) from None
        if unknown:
            # Else it would be found out at the first connection, and again at each.
            raise ValueError(f"expected options of redis-py behind the ?, got {unknown[0]}")
        return read


def _parse(url: str) -> RedisUrl:
    scheme, _, rest = url.partition("://")
    kind, _, form = scheme.partition("+")
    if not form:
        return RedisUrl(Form.SERVER, (), "", kind == "rediss", parse_url(url), {})  # type: ignore[no-untyped-call]
    is_tls = {"redis": False, "rediss": True}[kind]
    if form not in ("sentinel", "cluster"):
        raise ValueError(_ADVICE)
    # An "@", "/" or "?" in a password has to be percent-encoded, as everywhere.
    parts = urlsplit(f"//{rest}")
    user, at, hosts = parts.netloc.rpartition("@")
    path = [unquote(part) for part in parts.path.strip("/").split("/")]
    is_sentinel = form == "sentinel"
    service, database = (path[0], path[1:]) if is_sentinel else ("", [one for one in path if one])
    if is_sentinel is not bool(service) or len(database) > int(is_sentinel):
        raise ValueError(_ADVICE)
    if not "".join(database or "0").isdigit():
        raise ValueError(_ADVICE)
    # redis-py reads all the rest, options of TLS included, from the URL of one server.
    options = parse_url(f"{kind}://{user}{at}host/{''.join(database)}?{parts.query}")  # type: ignore[no-untyped-call]
    sentinel_options = {
        name.removeprefix("sentinel_"): options.pop(name) for name in _OF_SENTINELS if name in options
    }
    for name in _OURS:
        options.pop(name, None)
    if not is_sentinel and options.pop("db", 0):
        raise ValueError(_ADVICE)  # a Cluster has one database
    shared = {name: value for name, value in options.items() if name.startswith(("ssl_", "socket_keepalive"))}
    default_port = _SENTINEL_PORT if is_sentinel else _REDIS_PORT
    return RedisUrl(
        Form.SENTINEL if is_sentinel else Form.CLUSTER,
        tuple(_address(host, default_port) for host in hosts.split(",")),
        service,
        is_tls,
        options,
        {**shared, **sentinel_options},
    )


def _unknown_options(url: str, form: Form) -> Sequence[str]:
    """Return the names of options that no connection takes; raises ValueError where one may be a secret."""
    scheme, _, rest = url.partition("://")
    query = urlsplit(f"//{rest}").query
    kinds = {"unix": UnixDomainSocketConnection, "rediss": SSLConnection}
    kind: type = kinds.get(scheme.partition("+")[0], Connection)
    known = {"max_connections"}.union(_OF_SENTINELS if form is Form.SENTINEL else ())
    for one in kind.__mro__:
        known.update(inspect.signature(one).parameters)
    unknown = [name for name in parse_qs(query) if name not in known]
    # The ? stands in a password, perhaps.
    if unknown and ("@" in query or not _LIKE_AN_OPTION.fullmatch(unknown[0])):
        raise ValueError(_ADVICE)
    return unknown


def _address(host: str, default_port: int) -> Address:
    parts = urlsplit(f"//{host}")  # knows [::1]:6379
    if not parts.hostname:
        raise ValueError(_ADVICE)
    return Address(parts.hostname, parts.port or default_port)
