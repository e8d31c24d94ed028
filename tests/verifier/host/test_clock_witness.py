"""What Redis says of the time."""

import time

import pytest

from loadtest.embedded_redis import free_port
from verifier.host.clock_witness import RedisWitness, has_own_clock


@pytest.mark.parametrize(
    "url",
    [
        "redis://10.0.0.7:6379/0",
        "rediss://:secret@redis.city:6380",
        "redis+sentinel://10.0.0.1,10.0.0.2:26380/city",
        "redis+cluster://10.0.0.1,10.0.0.2",
    ],
)
def test_a_redis_elsewhere_has_a_clock_of_its_own(url: str) -> None:
    assert has_own_clock(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://127.0.0.1:6379/0",
        "redis://localhost",
        "redis://[::1]:6379",
        "unix:///run/redis.sock",
        "redis+sentinel://127.0.0.1,10.0.0.2/city",
        "redis+cluster://10.0.0.1,localhost:7001",
    ],
)
def test_a_redis_on_this_machine_has_its_clock(url: str) -> None:
    assert not has_own_clock(url)


def test_it_is_asked_what_time_it_is(redis_url: str) -> None:
    heard: list[tuple[float, float]] = []
    before_s = time.monotonic()
    witness = RedisWitness(redis_url, key="x", hear=lambda *one: heard.append(one), monotonic=time.monotonic)
    witness.ask()
    ((time_s, at_s),) = heard
    assert time_s == pytest.approx(time.time(), abs=5)
    assert before_s < at_s < time.monotonic()


def test_a_redis_that_is_gone_says_nothing() -> None:
    heard: list[tuple[float, float]] = []
    RedisWitness(f"redis://127.0.0.1:{free_port()}", key="x", hear=lambda *one: heard.append(one)).ask()
    assert heard == []
