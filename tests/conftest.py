"""How tests run, and fixtures that every test may use: a real Redis, shared or of the test's own."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import hypothesis
import pytest
import redis

from loadtest.embedded_redis import EmbeddedRedis
from loadtest.redis_sets import ClusterSet, SentinelSet
from tests.redis_forms import empty

_BYTECODE = Path(__file__).parents[1] / "build" / "bytecode"

# How long an example takes says what else the machine does.
hypothesis.settings.register_profile("gatelight", deadline=None)
hypothesis.settings.load_profile("gatelight")


def _keep_bytecode() -> None:
    """Keep bytecode in a folder of our own, where the environment wants none beside the sources.

    Otherwise each of the hundreds of processes that are tested compiles all that it imports, which takes
    longer than what it is started for, and so does each process that tests.
    """
    if sys.dont_write_bytecode:
        sys.dont_write_bytecode = False
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(_BYTECODE)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


_keep_bytecode()


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes test: one more than cores, since many tests wait for servers."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Take thousands of tests, which stay until the end, out of what is searched for garbage each time."""
    gc.collect()
    gc.freeze()


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
def redis_url(shared_redis_url: str) -> Iterator[str]:
    """The URL of a Redis without a trace of other tests: our keys are removed, afterwards too."""
    _remove_ours(shared_redis_url)
    yield shared_redis_url
    _remove_ours(shared_redis_url)


def _remove_ours(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter("gatelight:*"):
            client.delete(key)


@pytest.fixture(scope="session")
def shared_sentinel_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A master with a replica and a Sentinel, for the whole run."""
    with SentinelSet(tmp_path_factory.mktemp("sentinel"), sentinels=1) as servers:
        yield servers.url


@pytest.fixture(scope="session")
def shared_cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Cluster of three nodes, for the whole run."""
    with ClusterSet(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers.url


@pytest.fixture
def any_redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of a Redis without a trace of other tests; `everywhere` makes it that of each form in turn."""
    name = getattr(request, "param", "redis_url")
    url: str = request.getfixturevalue(name)
    if name != "redis_url":
        empty(url)
    return url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of the test's own, to freeze, kill and restart."""
    with EmbeddedRedis(tmp_path) as server:
        yield server
