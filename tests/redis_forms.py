"""The forms in which Redis comes, and redis-py's own clients for them: other eyes than those we test."""

from typing import Any, cast

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

from verifier.redis_connection import RedisServers
from verifier.redis_url import Form, RedisUrl

# Marks a test that is done to each form in turn; its fixtures ask for `any_redis_url`.
everywhere = pytest.mark.parametrize(
    "any_redis_url",
    ["redis_url", "shared_sentinel_url", "shared_cluster_url"],
    ids=["one", "sentinel", "cluster"],
    indirect=True,
)


def client_of(url: str) -> redis.Redis:
    """Return a client of what a URL names."""
    parsed = RedisUrl.parse(url)
    if parsed.form is Form.SERVER:
        return redis.Redis.from_url(url)
    if parsed.form is Form.SENTINEL:
        master: Any = Sentinel(list(parsed.hosts)).master_for(parsed.service)  # type: ignore[no-untyped-call]
        return cast("redis.Redis", master)
    nodes = [ClusterNode(*host) for host in parsed.hosts]  # type: ignore[no-untyped-call]
    # It has all that tests ask for, though it is no subclass.
    return cast("redis.Redis", RedisCluster(startup_nodes=nodes))


def empty(url: str) -> None:
    """Remove all that is in there."""
    servers = RedisServers(url, reply_timeout_s=5, client_name="tests")
    for server in servers.all():
        server.flushall()
    servers.close()
