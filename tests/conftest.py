"""Fixtures that every test may use: a real Redis, shared or of the test's own."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from loadtest.embedded_redis import EmbeddedRedis


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes test: one more than cores, since many tests wait for servers."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def shared_redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis for the whole run: the one at GATELIGHT_REDIS_URL, or an embedded one.

    Each worker process has a database of its own there. One that holds anything is refused: the variable
    is also that of a real issuer and verifier, and tests wipe what they find.
    """
    if url := os.environ.get("GATELIGHT_REDIS_URL"):
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
        url = urlsplit(url)._replace(path=f"/{1 + int(worker.removeprefix('gw'))}").geturl()
        with redis.Redis.from_url(url) as client:
            if client.dbsize():
                pytest.exit(
                    "the Redis at GATELIGHT_REDIS_URL is in use: give the tests an empty one", returncode=2
                )
            yield url
            client.flushdb()
        return
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def redis_url(shared_redis_url: str) -> str:
    """The URL of a Redis without a trace of other tests: keys under gatelight: are removed."""
    with redis.Redis.from_url(shared_redis_url) as client:
        for key in client.scan_iter("gatelight:*"):
            client.delete(key)
    return shared_redis_url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of the test's own, to freeze, kill and restart."""
    with EmbeddedRedis(tmp_path) as server:
        yield server
