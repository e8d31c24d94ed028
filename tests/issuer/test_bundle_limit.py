import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
import redis
from prometheus_client import REGISTRY

from issuer.bundle_limit import BUNDLE_LIMIT_KEY_PREFIX, BundleLimit, bundle_limit_key
from loadtest.embedded_redis import EmbeddedRedis
from verifier.wire.status_store import KEY_SET_KEY


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """The clock of the limits that are made."""
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Iterator[Callable[..., BundleLimit]]:
    """Makes limits that are closed at the end."""
    made: list[BundleLimit] = []

    def make_one(url: str, *, burst: int = 3, per_hour: int = 60) -> BundleLimit:
        made.append(BundleLimit(url, burst=burst, per_hour=per_hour, monotonic=clock))
        return made[-1]

    yield make_one
    for one in made:
        one.close()


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(f"gatelight_issuer_{name}_total") or 0.0


def test_a_burst_is_let_through_and_the_next_is_not(make: Callable[..., BundleLimit], redis_url: str) -> None:
    limit = make(redis_url, burst=3)
    assert [limit.take([7]) for _ in range(3)] == [{}, {}, {}]
    assert 59 <= limit.take([7])[7] <= 60


def test_each_credential_has_a_bucket_of_its_own(make: Callable[..., BundleLimit], redis_url: str) -> None:
    limit = make(redis_url, burst=1)
    assert limit.take([1, 2, 3]) == {}
    assert limit.take([2, 4]).keys() == {2}


def test_being_refused_costs_nothing(make: Callable[..., BundleLimit], redis_url: str) -> None:
    limit = make(redis_url, burst=1, per_hour=60)
    limit.take([7])
    waits = [limit.take([7])[7] for _ in range(5)]
    assert max(waits) <= 60


def test_a_token_comes_back_in_time(make: Callable[..., BundleLimit], redis_url: str) -> None:
    limit = make(redis_url, burst=1, per_hour=60)
    limit.take([7])
    with redis.Redis.from_url(redis_url) as client:
        full_at = int(client.get(bundle_limit_key(7)))
        client.set(bundle_limit_key(7), full_at - 60_000)
    assert limit.take([7]) == {}


def test_issuers_share_the_buckets(make: Callable[..., BundleLimit], redis_url: str) -> None:
    make(redis_url, burst=1).take([7])
    assert make(redis_url, burst=1).take([7])


def test_a_long_list_is_taken_in_pieces(make: Callable[..., BundleLimit], redis_url: str) -> None:
    limit = make(redis_url, burst=1)
    indices = list(range(1, 1_202))
    assert limit.take(indices) == {}
    assert limit.take(indices).keys() == set(indices)


def test_a_bucket_ends_by_itself_once_it_is_full(make: Callable[..., BundleLimit], redis_url: str) -> None:
    make(redis_url, burst=10, per_hour=60).take([7])
    with redis.Redis.from_url(redis_url) as client:
        assert 59_000 <= int(client.pttl(bundle_limit_key(7))) <= 60_000
        keys = [key.decode() for key in client.keys("gatelight:*")]
    assert keys == [f"{BUNDLE_LIMIT_KEY_PREFIX}7"]
    assert KEY_SET_KEY not in keys


@pytest.mark.parametrize("content", [b"nonsense", b"", b"9" * 18])
def test_nonsense_in_a_bucket_is_a_full_one(
    make: Callable[..., BundleLimit], redis_url: str, content: bytes
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set(bundle_limit_key(7), content)
    limit = make(redis_url, burst=1)
    assert limit.take([7]) == {}
    assert limit.take([7])


def test_refusals_are_counted(make: Callable[..., BundleLimit], redis_url: str) -> None:
    limit = make(redis_url, burst=1)
    before = counted("bundles_refused")
    limit.take([1, 2])
    limit.take([1, 2, 3])
    assert counted("bundles_refused") == before + 2


def test_without_redis_everybody_is_let_through_and_counted(
    make: Callable[..., BundleLimit], own_redis: EmbeddedRedis
) -> None:
    limit = make(own_redis.url, burst=1)
    limit.take([1])
    own_redis.kill()
    before = counted("bundles_unlimited")
    assert limit.take([1, 2]) == {}
    assert counted("bundles_unlimited") == before + 2


def test_a_frozen_redis_costs_its_timeout_once(
    make: Callable[..., BundleLimit], own_redis: EmbeddedRedis, clock: Clock
) -> None:
    limit = make(own_redis.url, burst=1)
    limit.take([1])
    own_redis.freeze()
    began = time.monotonic()
    for _ in range(1_000):
        assert limit.take([1]) == {}
    waited_s = time.monotonic() - began
    own_redis.thaw()
    assert waited_s < 5, "expected one timeout of a tenth of a second, not a thousand"


@pytest.mark.parametrize("url", ["redis+sentinel://{}/city", "redis+cluster://{}"])
def test_calls_at_once_wait_together_where_nobody_says_where_redis_is(
    make: Callable[..., BundleLimit], url: str
) -> None:
    with ExitStack() as open_until_the_end:
        # They take connections, and answer nothing.
        silent = [open_until_the_end.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        limit = make(url.format(",".join(f"127.0.0.1:{one.getsockname()[1]}" for one in silent)))
        all_there = threading.Barrier(6)

        def take() -> object:
            all_there.wait(10)
            return limit.take([1])

        with ThreadPoolExecutor(6) as pool:
            taken = [pool.submit(take) for _ in range(6)]
            assert [one.result() for one in taken] == [{}] * 6
        asked = sum(_connections(one) for one in silent)
    assert asked == 3, "expected one call to ask the three of them, not each"


def _connections(server: socket.socket) -> int:
    server.setblocking(False)
    found = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            found += 1
    return found


def test_redis_is_asked_again_after_a_while(
    make: Callable[..., BundleLimit], own_redis: EmbeddedRedis, clock: Clock
) -> None:
    limit = make(own_redis.url, burst=1)
    own_redis.kill()
    limit.take([1])
    own_redis.restart()
    clock.now_s += 4.9
    assert limit.take([1]) == {}
    assert limit.take([1]) == {}
    clock.now_s += 0.1
    assert limit.take([1]) == {}
    assert limit.take([1])


def test_a_url_that_is_not_one_of_redis_is_refused(make: Callable[..., BundleLimit]) -> None:
    with pytest.raises(ValueError, match="redis://"):
        make("http://127.0.0.1")
