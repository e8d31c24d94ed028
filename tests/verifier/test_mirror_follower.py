"""The mirror follows a real Redis, and outlives it; both the one of a process and the one that is shared."""

import functools
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from redis.exceptions import RedisError

from loadtest.embedded_redis import EmbeddedRedis
from tests.eventually import eventually
from tests.redis_forms import client_of, everywhere
from tests.verifier.status_in_redis import ROOT_KEY_ID, StatusInRedis
from tests.verifier.test_mirror import InSharedMemory, Kind, OnHeap, both
from verifier.errors import StatusUnavailable
from verifier.loop import Loop
from verifier.mirror import Mirror
from verifier.mirror_follower import MirrorFollower
from verifier.status_reader import ENTRIES_PER_PAGE, EntryId, Page, StatusReader
from verifier.wire.errors import StatusError
from verifier.wire.status_store import RECORDS_PER_SHARD, epoch_key, feed_key, new_epoch, status_key

CAPACITY = 4 * RECORDS_PER_SHARD


def new_reader(
    redis_url: str,
    *,
    partition: int = 0,
    partitions: int = 1,
    monotonic: Callable[[], float] = time.monotonic,
) -> StatusReader:
    return StatusReader(
        redis_url,
        root_key_id=ROOT_KEY_ID,
        partition=partition,
        partitions=partitions,
        block_ms=100,
        monotonic=monotonic,
    )


class Followed:
    """A mirror of a Redis, moved step by step."""

    def __init__(self, redis_url: str, kind: Kind) -> None:
        mirrored = kind(capacity=CAPACITY)
        self.clock = mirrored.clock
        self.client = client_of(redis_url)
        self.status = StatusInRedis(self.client)
        self.mirror = mirrored.mirror
        self.reader = new_reader(redis_url, monotonic=self.clock)
        self.follower = MirrorFollower(
            reader=self.reader,
            mirror=mirrored.partitions[0],
            monotonic=self.clock,
            new_table=mirrored.new_table,
        )

    def record(self, index: int) -> int:
        return self.mirror.look_up(index)[0]


@pytest.fixture(params=[OnHeap, InSharedMemory])
def followed(any_redis_url: str, request: pytest.FixtureRequest) -> Iterator[Followed]:
    followed = Followed(any_redis_url, request.param)
    yield followed
    followed.reader.close()
    followed.client.close()


@everywhere
def test_an_empty_redis_gives_no_mirror(followed: Followed) -> None:
    with pytest.raises(StatusUnavailable, match="no status yet"):
        followed.follower.step()
    assert not followed.mirror.is_loaded


@everywhere
@pytest.mark.parametrize("epoch", [new_epoch(b"stranger", b"e"), "e1", "-e1"])
def test_the_status_of_another_issuer_gives_no_mirror(followed: Followed, epoch: str) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.client.set(epoch_key(0), epoch)
    with pytest.raises(StatusUnavailable, match="another issuer"):
        followed.follower.step()
    assert not followed.mirror.is_loaded


def test_a_mirror_stays_when_another_issuer_takes_the_redis(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.status.set_record(1, 12)
    followed.client.set(epoch_key(0), new_epoch(b"stranger", b"e"))
    followed.status.heartbeat()
    followed.follower.step()
    with pytest.raises(StatusUnavailable, match="another issuer"):
        followed.follower.step()
    assert followed.record(1) == 11


@everywhere
def test_shards_are_loaded_with_gaps_between_them(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11, 3 * RECORDS_PER_SHARD + 7: 13})
    followed.follower.step()
    assert followed.record(1) == 11
    assert followed.record(3 * RECORDS_PER_SHARD + 7) == 13
    assert followed.record(2) == 0


@everywhere
def test_a_change_in_the_feed_reaches_the_mirror(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.status.change(1, 12)
    followed.follower.step()
    assert followed.record(1) == 12


def test_what_changes_while_the_shards_are_read_is_not_missed(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    read_shards = followed.reader.shards

    def shards_then_change() -> Iterator[tuple[int, bytes]]:
        yield from read_shards()
        followed.status.change(1, 12)

    followed.reader.shards = shards_then_change  # type: ignore[method-assign]
    followed.follower.step()
    followed.follower.step()
    assert followed.record(1) == 12


@everywhere
def test_a_new_epoch_loads_the_mirror_again(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.status.set_record(1, 12)  # not in the feed: only loading can find it
    followed.status.rebuild(b"e2")
    followed.follower.step()  # notices
    assert followed.record(1) == 11
    followed.follower.step()  # loads
    assert followed.record(1) == 12


@everywhere
def test_a_feed_trimmed_past_the_mirror_loads_it_again(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.status.change(1, 12)
    followed.status.heartbeat()
    followed.client.xtrim(feed_key(0), maxlen=1, approximate=False)
    followed.follower.step()
    followed.follower.step()
    assert followed.record(1) == 12
    assert (followed.follower.gaps, followed.follower.loads) == (1, 2)


def test_a_mirror_that_has_more_to_read_says_how_far_it_is_behind(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    for _ in range(ENTRIES_PER_PAGE):
        followed.status.heartbeat()
    followed.status.change(1, 12)
    followed.follower.step()
    assert 0 < followed.follower.lag_s < 10
    followed.follower.step()
    assert (followed.record(1), followed.follower.lag_s) == (12, 0.0)
    assert (followed.follower.gaps, followed.follower.loads) == (0, 1)


@everywhere
def test_an_emptied_redis_leaves_the_mirror_and_its_age_grows(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.client.delete(feed_key(0), epoch_key(0), status_key(0, 1))
    followed.follower.step()
    followed.clock.now += 30
    with pytest.raises(StatusUnavailable):
        followed.follower.step()
    assert followed.record(1) == 11
    assert followed.mirror.status_age_s() == pytest.approx(30, abs=1)


def test_a_rebuilt_redis_is_loaded_after_it_was_empty(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.client.delete(feed_key(0), epoch_key(0), status_key(0, 1))
    followed.follower.step()
    followed.status.rebuild(b"e2", {1: 12})
    followed.follower.step()
    assert followed.record(1) == 12


@everywhere
def test_a_redis_set_back_to_an_earlier_state_is_not_believed(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    earlier = followed.client.dump(feed_key(0)) or b""
    followed.status.change(1, 13)
    followed.follower.step()
    followed.client.restore(feed_key(0), 0, earlier, replace=True)
    followed.status.set_record(1, 11)
    followed.follower.step()  # notices that its place in the feed is gone
    with pytest.raises(StatusUnavailable, match="set back"):
        followed.follower.step()
    assert followed.record(1) == 13


@everywhere
def test_the_age_counts_from_the_heartbeat_and_not_from_reading_it(followed: Followed) -> None:
    seconds, _ = followed.client.time()
    followed.status.epoch = new_epoch(ROOT_KEY_ID, b"e1").encode()
    followed.client.set(epoch_key(0), followed.status.epoch)
    followed.status.heartbeat(entry_id=f"{(seconds - 7200) * 1000}-0")
    followed.follower.step()
    assert followed.mirror.status_age_s() == pytest.approx(7200, abs=2)


def _future(followed: Followed, seconds: float) -> str:
    now, _ = followed.client.time()
    return f"{round((now + seconds) * 1000)}-0"


def _begin_epoch(followed: Followed, entry_id: str) -> None:
    followed.status.set_record(1, 11)
    followed.status.epoch = new_epoch(ROOT_KEY_ID, b"e1").encode()
    followed.client.set(epoch_key(0), followed.status.epoch)
    followed.status.heartbeat(entry_id=entry_id)


@everywhere
def test_a_feed_ahead_of_redis_is_no_status_until_a_further_heartbeat_comes(followed: Followed) -> None:
    _begin_epoch(followed, _future(followed, 3_600))
    for _ in range(2):
        with pytest.raises(StatusUnavailable, match="from the future"):
            followed.follower.step()
    assert not followed.mirror.is_loaded
    read_feed = followed.reader.read_feed

    def heartbeat_then_read(after: EntryId) -> Page:
        followed.status.heartbeat()
        followed.clock.now += 0.5
        return read_feed(after)

    followed.reader.read_feed = heartbeat_then_read  # type: ignore[method-assign]
    followed.follower.step()
    assert followed.record(1) == 11
    # It came since we had looked, and when is not known.
    assert followed.mirror.status_age_s() == pytest.approx(1.0)


def test_a_feed_ahead_of_redis_by_less_than_a_second_is_loaded_at_once(followed: Followed) -> None:
    _begin_epoch(followed, _future(followed, 0.9))
    followed.follower.step()
    assert followed.mirror.status_age_s() < 30  # Redis may have gone on for a while until it was read


def test_entries_from_the_future_are_as_old_as_the_look_before_them(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.status.change(1, 12)
    followed.status.heartbeat(entry_id=_future(followed, 3_600))
    followed.clock.now += 60  # we were cut off, and it may have come at any time since
    followed.follower.step()
    assert followed.record(1) == 12
    assert followed.mirror.status_age_s() == pytest.approx(60)
    followed.status.heartbeat()
    followed.clock.now += 1
    followed.follower.step()
    assert followed.mirror.status_age_s() == pytest.approx(1)


def test_a_heartbeat_makes_the_mirror_young_again(followed: Followed) -> None:
    followed.status.rebuild(b"e1")
    followed.follower.step()
    followed.clock.now += 60
    assert followed.mirror.status_age_s() >= 60
    followed.status.heartbeat()
    followed.follower.step()
    assert followed.mirror.status_age_s() < 2


@pytest.mark.parametrize("updates", [b"", b"x", bytes(13), bytes(12 * 4097)])
def test_nonsense_in_the_feed_changes_nothing_and_loads_the_mirror_again(
    followed: Followed, updates: bytes
) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.status.set_record(1, 12)
    followed.client.xadd(feed_key(0), {"e": followed.status.epoch, "u": updates})
    if updates:
        with pytest.raises(StatusError):
            followed.follower.step()
        assert followed.follower.refused_entries == 1
        followed.follower.step()
        assert followed.record(1) == 12
    else:
        followed.follower.step()
        assert followed.record(1) == 11


def test_an_entry_of_a_foreign_epoch_is_passed_over(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.client.xadd(feed_key(0), {"e": b"stranger", "u": b"\x01\0\0\0" + b"\x05" * 8})
    followed.follower.step()
    assert followed.record(1) == 11
    assert followed.follower.refused_entries == 1
    assert followed.follower.refused_at_s is not None


@everywhere
def test_a_shard_that_is_no_string_leaves_the_mirror(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.client.delete(status_key(0, 1))
    followed.client.lpush(status_key(0, 1), b"x")
    followed.status.rebuild(b"e2")
    followed.follower.step()
    with pytest.raises(RedisError):
        followed.follower.step()
    assert followed.record(1) == 11


def test_a_truncated_shard_leaves_the_mirror(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.client.set(status_key(0, 1), bytes(8 * 5 + 3))
    followed.status.rebuild(b"e2")
    followed.follower.step()
    with pytest.raises(StatusUnavailable, match="43 bytes"):
        followed.follower.step()
    assert followed.record(1) == 11


@pytest.mark.parametrize("left", [bytes(8 * 2), None])
def test_a_shard_that_was_cut_or_removed_leaves_the_mirror_until_a_rebuild(
    followed: Followed, left: bytes | None
) -> None:
    followed.status.rebuild(b"e1", {1: 11, 9: 19})
    followed.follower.step()
    followed.client.delete(status_key(0, 1))
    if left:
        followed.client.set(status_key(0, 1), left)
    followed.status.heartbeat()
    followed.status.heartbeat()
    followed.client.xtrim(feed_key(0), maxlen=1, approximate=False)
    followed.follower.step()
    with pytest.raises(StatusUnavailable, match="shard 0 was cut"):
        followed.follower.step()
    assert followed.record(9) == 19
    followed.status.rebuild(b"e2", {1: 12})
    followed.follower.step()
    assert (followed.record(1), followed.record(9)) == (12, 0)


def _cut(followed: Followed, shard: int) -> None:
    """Remove a shard, and let the follower notice that it has to load."""
    followed.client.delete(status_key(shard, 1))
    followed.status.heartbeat()
    followed.status.heartbeat()
    followed.client.xtrim(feed_key(0), maxlen=1, approximate=False)
    followed.follower.step()


def _counted_shards(followed: Followed) -> list[int]:
    """Return a list that grows by the number of each shard that is read."""
    counted: list[int] = []
    read_shards = followed.reader.shards

    def shards() -> Iterator[tuple[int, bytes]]:
        for shard, content in read_shards():
            counted.append(shard)
            yield shard, content

    followed.reader.shards = shards  # type: ignore[method-assign]
    return counted


def test_shards_are_read_no_further_than_to_one_that_was_cut(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {shard * RECORDS_PER_SHARD: 11 for shard in range(4)})
    followed.follower.step()
    _cut(followed, 1)
    counted = _counted_shards(followed)
    with pytest.raises(StatusUnavailable, match="shard 1 was cut"):
        followed.follower.step()
    assert counted == [0, 2]


def test_a_load_that_was_of_no_use_is_made_again_after_longer_and_longer_or_in_another_epoch(
    followed: Followed,
) -> None:
    followed.status.rebuild(b"e1", {1: 11, RECORDS_PER_SHARD: 12})
    followed.follower.step()
    _cut(followed, 1)
    counted = _counted_shards(followed)
    loads = []
    for seconds in (0, 0.75, 0.25, 1.75, 0.25, 3.75, 0.25, 7.75, 0.25, 15.75, 0.25, 15.75, 0.25):
        followed.clock.now += seconds
        with pytest.raises(StatusUnavailable, match="shard 1 was cut"):
            followed.follower.step()
        loads.append(len(counted))
    assert loads == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]
    followed.status.rebuild(b"e2", {1: 13})
    followed.follower.step()
    assert followed.record(1) == 13


def test_a_load_that_a_lost_connection_ended_is_made_again_at_once(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    read_shards = followed.reader.shards

    def lose_the_connection() -> Iterator[tuple[int, bytes]]:
        raise redis.ConnectionError

    for _ in range(3):
        followed.reader.shards = lose_the_connection  # type: ignore[method-assign]
        with pytest.raises(redis.ConnectionError):
            followed.follower.step()
    followed.reader.shards = read_shards  # type: ignore[method-assign]
    followed.follower.step()
    assert followed.record(1) == 11


@pytest.mark.parametrize("left", [b"\x0b" + bytes(7), None])
def test_a_shard_that_was_cut_where_nobody_has_status_is_loaded(
    followed: Followed, left: bytes | None
) -> None:
    followed.status.rebuild(b"e1", {1: 11, RECORDS_PER_SHARD: 12, RECORDS_PER_SHARD + 9: 19})
    followed.follower.step()
    followed.status.change(RECORDS_PER_SHARD + 9, 0)
    if left is None:
        followed.status.change(RECORDS_PER_SHARD, 0)
    followed.follower.step()
    followed.client.delete(status_key(1, 1))
    if left:
        followed.client.set(status_key(1, 1), left)
    followed.status.heartbeat()
    followed.status.heartbeat()
    followed.client.xtrim(feed_key(0), maxlen=1, approximate=False)
    followed.follower.step()
    followed.follower.step()
    assert followed.follower.loads == 2
    assert followed.record(RECORDS_PER_SHARD) == (11 if left else 0)


def test_a_mirror_too_small_leaves_the_rest_without_status(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11, CAPACITY: 14})
    followed.follower.step()
    assert followed.record(1) == 11
    assert followed.record(CAPACITY) == 0


def test_the_age_of_a_mirror_counts_from_before_its_shards_were_read(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    read_shards = followed.reader.shards

    def slow_shards() -> Iterator[tuple[int, bytes]]:
        yield from read_shards()
        followed.clock.now += 120

    followed.reader.shards = slow_shards  # type: ignore[method-assign]
    followed.follower.step()
    assert followed.mirror.status_age_s() >= 120


def _dump(followed: Followed) -> dict[str, bytes]:
    return {key: followed.client.dump(key) or b"" for key in (epoch_key(0), feed_key(0), status_key(0, 1))}


def _set_back(followed: Followed, earlier: dict[str, bytes]) -> None:
    for key, content in earlier.items():
        followed.client.restore(key, 0, content, replace=True)


def test_a_redis_set_back_to_before_its_last_rebuild_is_not_believed(followed: Followed) -> None:
    seconds, _ = followed.client.time()
    followed.status.epoch = new_epoch(ROOT_KEY_ID, b"e1").encode()
    followed.client.set(epoch_key(0), followed.status.epoch)
    followed.status.set_record(1, 11)
    followed.status.heartbeat(entry_id=f"{(seconds - 60) * 1000}-0")
    earlier = _dump(followed)
    followed.status.rebuild(b"e2", {1: 13})
    followed.follower.step()
    _set_back(followed, earlier)
    followed.follower.step()  # notices another epoch
    with pytest.raises(StatusUnavailable, match="set back"):
        followed.follower.step()
    assert followed.record(1) == 13
    followed.status.rebuild(b"e3", {1: 14})
    followed.follower.step()
    assert followed.record(1) == 14


def test_a_redis_set_back_while_it_is_loaded_is_not_believed(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    earlier = _dump(followed)
    followed.status.change(1, 13)
    followed.follower.step()
    followed.client.xtrim(feed_key(0), maxlen=0)
    followed.status.heartbeat()
    followed.follower.step()  # notices that its place in the feed is gone
    read_shards = followed.reader.shards

    def shards_of_a_restarted_redis() -> Iterator[tuple[int, bytes]]:
        _set_back(followed, earlier)
        yield from read_shards()

    followed.reader.shards = shards_of_a_restarted_redis  # type: ignore[method-assign]
    with pytest.raises(StatusUnavailable, match="set back while it was being loaded"):
        followed.follower.step()
    assert followed.record(1) == 13


def test_an_entry_of_a_foreign_epoch_makes_nothing_young(followed: Followed) -> None:
    followed.status.rebuild(b"e1", {1: 11})
    followed.follower.step()
    followed.clock.now += 60
    followed.client.xadd(feed_key(0), {"e": b"stranger"})
    followed.follower.step()
    assert followed.mirror.status_age_s() >= 60


@pytest.mark.parametrize("entry_id", [b"", b"1", b"1-", b"-1-1", b"1-1-1", b"a-b", b"9" * 5_000 + b"-0"])
def test_an_entry_with_an_id_that_no_redis_gives_is_no_status(followed: Followed, entry_id: bytes) -> None:
    followed.status.rebuild(b"e1", {1: 11})

    epoch = followed.status.epoch
    followed.reader._redis.set_response_callback("XREVRANGE", lambda *_, **__: [(entry_id, {b"e": epoch})])
    with pytest.raises(StatusUnavailable, match="an id that no Redis gives"):
        followed.follower.step()
    assert not followed.mirror.is_loaded


class Live:
    """A mirror that follows a Redis of the test's own in its thread."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.client = redis.Redis.from_url(server.url, socket_timeout=1)
        self.status = StatusInRedis(self.client)
        self.status.rebuild(b"e1", {1: 11})
        self.mirror = Mirror(partitions=1, monotonic=time.monotonic)
        self.reader = new_reader(server.url)
        follower = MirrorFollower(
            reader=self.reader, mirror=self.mirror.partitions[0], monotonic=time.monotonic
        )
        self.loop = Loop(follower.step, name="mirror", pause_s=0, retry_s=0.01)
        self.loop.start()
        eventually(lambda: self.mirror.is_loaded)

    def record(self) -> int:
        return self.mirror.look_up(1)[0]


@pytest.fixture
def live(own_redis: EmbeddedRedis) -> Iterator[Live]:
    live = Live(own_redis)
    yield live
    live.loop.stop()
    live.reader.close()
    live.client.close()


def test_a_killed_redis_leaves_the_mirror_until_a_rebuilt_one_is_loaded(
    live: Live, own_redis: EmbeddedRedis
) -> None:
    own_redis.kill()
    eventually(lambda: live.mirror.status_age_s() > 0.3)
    assert live.record() == 11
    own_redis.restart()
    live.status.rebuild(b"e2", {1: 12})
    eventually(lambda: live.record() == 12)


def test_a_frozen_redis_leaves_the_mirror_and_is_followed_again_once_it_thaws(
    live: Live, own_redis: EmbeddedRedis
) -> None:
    own_redis.freeze()
    eventually(lambda: live.mirror.status_age_s() > 0.3)
    assert live.record() == 11
    own_redis.thaw()
    live.status.change(1, 12)
    eventually(lambda: live.record() == 12)
    assert live.mirror.status_age_s() < 5


def test_a_loop_stops_soon_also_when_redis_is_frozen(own_redis: EmbeddedRedis, live: Live) -> None:
    own_redis.freeze()
    began = time.monotonic()
    live.loop.stop()
    assert time.monotonic() - began < 10


@everywhere
@both
def test_each_partition_is_loaded_and_followed_by_itself(any_redis_url: str, kind: Kind) -> None:
    mirrored = kind(capacity=CAPACITY, partitions=2)
    mirror = mirrored.mirror
    readers = [new_reader(any_redis_url, partition=one, partitions=2) for one in (0, 1)]
    followers = [
        MirrorFollower(
            reader=reader,
            mirror=partition,
            monotonic=mirrored.clock,
            new_table=functools.partial(mirrored.new_table, number),
        )
        for number, (reader, partition) in enumerate(zip(readers, mirrored.partitions, strict=True))
    ]
    indices = [shard * RECORDS_PER_SHARD + 7 for shard in range(4)]
    with client_of(any_redis_url) as client:
        status = StatusInRedis(client, partitions=2)
        status.rebuild(b"e1", {index: 10 + index for index in indices})
        for follower in followers:
            follower.step()
        assert [mirror.look_up(index)[0] for index in indices] == [10 + index for index in indices]
        status.change(indices[3], 99)
        followers[0].step()
        assert mirror.look_up(indices[3])[0] == 10 + indices[3]
        followers[1].step()
        assert mirror.look_up(indices[3])[0] == 99
    for reader in readers:
        reader.close()
