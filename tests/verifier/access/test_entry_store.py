"""Claims in a real Redis: kept, shared, bounded in time, and never waited for."""

import socket
from collections.abc import Iterator

import pytest
import redis

from loadtest.embedded_redis import EmbeddedRedis, free_port
from tests.eventually import eventually
from verifier.access.breaker import FAILURES, PAUSE_S
from verifier.access.entry_store import KEY_PREFIX, EntryStore
from verifier.access.late_claims import MAX_BATCH
from verifier.trouble import Trouble

_TTL_MS = 60_000
# Enough for a machine that does ten other things: what is told apart here is an answer from none at all.
_LONG_S = 10.0

# What a verifier needs: to read all that is Gatelight's, and to write entries and the scan log.
ACL = (
    "ACL SETUSER gatelight-verifier on >{password} resetkeys resetchannels -@all "
    "%R~gatelight:* %RW~gatelight:used:* %RW~gatelight:scans %RW~gatelight:scans:shipped:* "
    "+get +set +getrange +hget +time +xadd +xlen +xrange +xrevrange +xread +multi +exec +discard +watch "
    "+unwatch +ping +select +auth +hello +client|setname +client|setinfo"
)


def _store(url: str) -> EntryStore:
    return EntryStore(url, budget_s=_LONG_S)


@pytest.fixture
def store(redis_url: str) -> Iterator[EntryStore]:
    store = _store(redis_url)
    yield store
    store.close()


@pytest.fixture
def other(redis_url: str) -> Iterator[EntryStore]:
    store = _store(redis_url)
    yield store
    store.close()


class _SteppedClock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_claim_holds_for_its_scan_and_for_no_other_at_any_verifier(
    store: EntryStore, other: EntryStore
) -> None:
    assert store.claim("1:aa", b"first", _TTL_MS) is True
    assert other.claim("1:aa", b"second", _TTL_MS) is False
    assert other.claim("1:aa", b"first", _TTL_MS) is True
    assert store.claim("1:aa", b"second", _TTL_MS) is False
    assert other.claim("1:bb", b"second", _TTL_MS) is True


def test_a_claim_expires_by_itself_and_a_second_one_does_not_make_it_last(
    store: EntryStore, redis_url: str
) -> None:
    store.claim("1:aa", b"first", _TTL_MS)
    store.claim("1:aa", b"first", 100 * _TTL_MS)
    with redis.Redis.from_url(redis_url) as client:
        assert [key.decode() for key in client.scan_iter("gatelight:*")] == [KEY_PREFIX + "1:aa"]
        assert 0 < client.pttl(KEY_PREFIX + "1:aa") <= _TTL_MS


def test_a_frozen_redis_gives_no_answer_a_few_times_and_is_not_asked_again_before_the_pause_is_over(
    own_redis: EmbeddedRedis,
) -> None:
    clock = _SteppedClock()
    store = EntryStore(own_redis.url, budget_s=_LONG_S, monotonic=clock)
    try:
        assert store.claim("1:aa", b"first", _TTL_MS) is True
        own_redis.freeze()
        store._budget_s = 0.005
        for _ in range(FAILURES):
            assert store.claim("1:bb", b"first", _TTL_MS) is None
            clock.now += 0.005
        own_redis.thaw()
        store._budget_s = _LONG_S
        clock.now += 0.9 * PAUSE_S
        assert store.claim("1:cc", b"first", _TTL_MS) is None  # so Redis never heard of it
        with redis.Redis.from_url(own_redis.url) as client:
            assert client.exists(KEY_PREFIX + "1:cc") == 0
        clock.now += 0.2 * PAUSE_S
        assert store.claim("1:aa", b"second", _TTL_MS) is False
    finally:
        own_redis.thaw()
        store.close()


def test_one_late_answer_sends_no_later_claim_away(own_redis: EmbeddedRedis) -> None:
    store = _store(own_redis.url)
    try:
        assert store.claim("1:aa", b"first", _TTL_MS) is True
        own_redis.freeze()
        store._budget_s = 0.005
        assert store.claim("1:bb", b"first", _TTL_MS) is None
        own_redis.thaw()
        store._budget_s = _LONG_S
        assert store.claim("1:aa", b"second", _TTL_MS) is False
    finally:
        own_redis.thaw()
        store.close()


def test_claims_that_redis_did_not_hear_reach_it_when_it_is_back_and_cover_no_other(
    own_redis: EmbeddedRedis,
) -> None:
    store = _store(own_redis.url)
    many = [f"1:{number}" for number in range(2 * MAX_BATCH + 1)]
    try:
        store.claim("1:first", b"first", _TTL_MS)
        with redis.Redis.from_url(own_redis.url) as client:
            client.set(KEY_PREFIX + "1:aa", b"another's")
            own_redis.freeze()
            for key in ["1:aa", *many]:
                store.claim_later(key, b"late", _TTL_MS)
            own_redis.thaw()
            eventually(lambda: len(store._late) == 0)
            assert client.mget([KEY_PREFIX + key for key in many]) == [b"late"] * len(many)
            assert 0 < client.pttl(KEY_PREFIX + many[0]) <= _TTL_MS
            assert client.get(KEY_PREFIX + "1:aa") == b"another's"
    finally:
        own_redis.thaw()
        store.close()


def test_a_worker_that_ends_sends_what_redis_did_not_hear(redis_url: str) -> None:
    store = _store(redis_url)
    store.claim_later("1:aa", b"late", _TTL_MS)
    store.close()
    with redis.Redis.from_url(redis_url) as client:
        assert client.get(KEY_PREFIX + "1:aa") == b"late"


def test_a_redis_that_accepts_and_never_says_a_word_gives_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = EntryStore(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        assert store.claim("1:aa", b"first", _TTL_MS) is None
        assert store.claim("1:aa", b"first", _TTL_MS) is None
    store.close()


def test_claims_wait_for_a_cluster_that_is_away_until_it_was_looked_for_and_no_longer() -> None:
    store = _store(f"redis+cluster://127.0.0.1:{free_port()}")
    try:
        assert store.claim("1:aa", b"first", _TTL_MS) is None
        assert store._looked.is_set()  # within its budget, and what comes now has none to wait for
        assert store.claim("1:aa", b"first", _TTL_MS) is None
    finally:
        store.close()


def test_after_a_restart_the_first_claim_is_answered_though_its_connection_is_gone(
    own_redis: EmbeddedRedis,
) -> None:
    store = _store(own_redis.url)
    try:
        assert store.claim("1:aa", b"first", _TTL_MS) is True
        own_redis.restart()
        assert store.claim("1:aa", b"second", _TTL_MS) is True  # a restarted Redis is empty
    finally:
        store.close()


def test_a_redis_that_is_gone_and_comes_back_is_found_again(own_redis: EmbeddedRedis) -> None:
    clock = _SteppedClock()
    store = EntryStore(own_redis.url, monotonic=clock)
    own_redis.kill()
    try:
        assert store.claim("1:aa", b"first", _TTL_MS) is None
        eventually(lambda: store.is_down)
        own_redis.restart()
        store._budget_s = _LONG_S
        eventually(lambda: not store.is_down)
        clock.now += PAUSE_S
        assert store.claim("1:aa", b"first", _TTL_MS) is True
    finally:
        store.close()


def test_trouble_is_told_when_it_is_more_than_a_late_answer_and_ends_without_another_claim(
    own_redis: EmbeddedRedis,
) -> None:
    told: list[Trouble | None] = []
    clock = _SteppedClock()
    store = EntryStore(own_redis.url, budget_s=_LONG_S, monotonic=clock, tell=told.append)
    try:
        assert store.claim("1:aa", b"first", _TTL_MS) is True
        with redis.Redis.from_url(own_redis.url) as client:
            client.replicaof("127.0.0.1", 1)
            for _ in range(FAILURES):
                assert told == []
                clock.now += PAUSE_S
                assert store.claim("1:bb", b"first", _TTL_MS) is None
            eventually(lambda: told[-1:] == [None])  # to read, it answers
            assert told[0] is Trouble.REDIS_READ_ONLY
            store.claim_later("1:bb", b"first", _TTL_MS)  # which it does not take
            eventually(lambda: told[-1] is Trouble.REDIS_READ_ONLY)
            client.replicaof("NO", "ONE")
        eventually(lambda: told[-1] is None)
    finally:
        store.close()


def test_an_error_of_redis_is_no_answer(redis_url: str, store: EntryStore) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.rpush(KEY_PREFIX + "1:aa", "not a string")
    assert store.claim("1:aa", b"first", _TTL_MS) is None


def test_a_user_with_the_rights_in_the_readme_may_claim_and_do_no_more(own_redis: EmbeddedRedis) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.execute_command(*ACL.format(password="secret").split())
        client.set("gatelight:gates", b"signed")
        client.set("other", b"1")
    url = own_redis.url.replace("redis://", "redis://gatelight-verifier:secret@")
    store = _store(url)
    try:
        assert store.claim("1:aa", b"first", _TTL_MS) is True
    finally:
        store.close()
    with redis.Redis.from_url(url) as verifier:
        assert verifier.getrange("gatelight:gates", -3, -1) == b"ned"
        assert verifier.xread({"gatelight:{0}:feed": "0"}, block=1) == []
        assert verifier.xrevrange("gatelight:{0}:feed", count=1) == []
        assert verifier.hget("gatelight:scans:archived", "1") is None
        with verifier.pipeline() as transaction:
            transaction.watch("gatelight:scans:shipped:1")
            transaction.multi()
            transaction.xadd("gatelight:scans", {"b": b"x"}).set("gatelight:scans:shipped:1", b"1").time()
            assert all(transaction.execute())
        for forbidden in (
            lambda: verifier.set("gatelight:gates", b"mine"),
            lambda: verifier.setrange("gatelight:{0}:status:0", 0, b"x"),
            lambda: verifier.xadd("gatelight:{0}:feed", {"e": b"x"}),
            lambda: verifier.get("other"),
            verifier.flushall,
            lambda: verifier.delete(KEY_PREFIX + "1:aa"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                forbidden()
