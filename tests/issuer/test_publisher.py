"""Register to Redis: a real register, a real Redis, turn by turn; real threads only where time matters."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from issuer import publisher as publisher_module
from issuer import status_writer
from issuer.cache_steps import Cache, Progress
from issuer.errors import CacheMismatch, CacheUnavailable, ForeignCache, RegisterUnavailable
from issuer.metrics import OUTBOX_ROWS
from issuer.publisher import HEARTBEAT_S, PUBLICATION_WAIT_S, Publisher
from issuer.register.database import Database
from issuer.register.outbox import FeedPosition, Outbox
from issuer.status_writer import Begun, Fence, StatusWriter
from loadtest.embedded_redis import EmbeddedRedis
from tests.eventually import eventually
from tests.issuer.publishing import ROOT, Publishing
from tests.issuer.stored_status import StoredStatus
from tests.redis_forms import everywhere
from verifier.errors import StatusUnavailable
from verifier.mirror import PartitionMirror
from verifier.mirror_follower import MirrorFollower
from verifier.redis_connection import connect
from verifier.status_reader import StatusReader
from verifier.wire.status_record import Colour, unpack
from verifier.wire.status_store import (
    FEED_MAX_ENTRIES,
    KEY_SET_KEY,
    MAX_UPDATES_PER_ENTRY,
    RECORDS_PER_SHARD,
    SHARD_BYTES,
    epoch_key,
    feed_key,
    new_epoch,
    owner_of,
    status_key,
)


@pytest.fixture
def publishing(sqlite_database: Database, any_redis_url: str) -> Iterator[Publishing]:
    publishing = Publishing(sqlite_database, any_redis_url)
    yield publishing
    publishing.close()


def written(writer: StatusWriter, records: Mapping[int, int]) -> FeedPosition:
    """Write records into a Redis of one partition as a rebuild does; return where the feed stands."""
    begun = writer.begin_rebuild()
    for shard in sorted({index // RECORDS_PER_SHARD for index in records}):
        of_shard = {
            index % RECORDS_PER_SHARD: at
            for index, at in records.items()
            if index // RECORDS_PER_SHARD == shard
        }
        content = b"".join(of_shard.get(at, 0).to_bytes(8, "little") for at in range(max(of_shard) + 1))
        writer.write_shard(shard, content, begun)
    return writer.give_epoch(begun)[0]


def test_a_redis_that_drops_keys_is_warned_of_once_at_the_start(
    sqlite_database: Database, own_redis: EmbeddedRedis
) -> None:
    with redis.Redis.from_url(own_redis.url) as client, capture_logs() as logs:
        for policy in ("allkeys-lru", "noeviction"):
            client.config_set("maxmemory-policy", policy)
            publishing = Publishing(sqlite_database, own_redis.url)
            for _ in range(2):
                publishing.publish_all()
            publishing.close()
    assert [log["maxmemory_policy"] for log in logs if log["log_level"] == "error"] == ["allkeys-lru"]


def test_a_redis_that_does_not_tell_what_it_drops_is_published_to(
    sqlite_database: Database, own_redis: EmbeddedRedis
) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.execute_command("ACL", "SETUSER", "issuer", "on", ">secret", "~*", "&*", "+@all", "-info")
    with capture_logs() as logs:
        publishing = Publishing(sqlite_database, own_redis.url.replace("redis://", "redis://issuer:secret@"))
        publishing.publish_all()
        publishing.close()
    assert not [log for log in logs if log["log_level"] == "error"]


# What lies in Redis


@everywhere
def test_a_new_register_is_published_whole_and_then_given_an_epoch(publishing: Publishing) -> None:
    publishing.issue(3)
    publishing.publish_all()
    assert publishing.status.records() == publishing.truth()
    epoch = publishing.redis.get(epoch_key(0))
    assert isinstance(epoch, bytes)
    assert owner_of(epoch) == ROOT.root_key_id
    assert {entry.epoch for entry in publishing.status.feed()} == {epoch}
    assert publishing.redis.get(KEY_SET_KEY) == publishing.keys.newest_key_set()


@everywhere
def test_a_change_is_written_as_record_and_feed_entry(publishing: Publishing) -> None:
    (index,) = publishing.issue()
    publishing.publish_all()
    before = len(publishing.status.feed())
    publishing.set_colour(index, Colour.RED)
    publishing.publish_all()
    record = publishing.truth()[index]
    assert unpack(record).colour is Colour.RED
    assert publishing.status.records() == {index: record}
    assert [entry.updates for entry in publishing.status.feed()[before:]] == [[(index, record)]]


def test_nothing_is_left_in_the_outbox(publishing: Publishing) -> None:
    publishing.publish_all()
    publishing.issue(3)
    publishing.publish_all()
    assert publishing.waiting() == 0


def test_only_the_last_record_of_a_batch_is_written(publishing: Publishing) -> None:
    one, two = publishing.issue(2)
    publishing.publish_all()
    before = len(publishing.status.feed())
    for colour in (Colour.RED, Colour.YELLOW, Colour.GREEN):
        publishing.set_colour(two, colour)
        publishing.set_colour(one, colour)
    publishing.publish_all()
    truth = publishing.truth()
    updates = [entry.updates for entry in publishing.status.feed()[before:]]
    assert updates == [[(one, truth[one]), (two, truth[two])]]


def test_a_long_outbox_is_published_in_order_in_entries_of_bounded_size(publishing: Publishing) -> None:
    publishing.publish_all()
    for _ in range(9):
        publishing.issue(1_000)
    publishing.publish_all()
    updates = [entry.updates for entry in publishing.status.feed() if entry.updates]
    assert [len(entry) for entry in updates] == [MAX_UPDATES_PER_ENTRY, MAX_UPDATES_PER_ENTRY, 808]
    assert [index for entry in updates for index, _ in entry] == list(range(1, 9_001))
    assert publishing.status.records() == publishing.truth()


def test_the_feed_is_bounded(publishing: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("issuer.status_writer.FEED_MAX_ENTRIES", 10)
    for _ in range(300):
        publishing.clock.now += HEARTBEAT_S
        publishing.publish_all()
    assert len(publishing.status.feed()) <= 10 + 100  # Redis trims whole nodes of a hundred entries
    assert FEED_MAX_ENTRIES == 1_000_000


@everywhere
def test_a_heartbeat_is_sent_each_second_and_not_before(publishing: Publishing) -> None:
    publishing.publish_all()
    before = len(publishing.status.feed())
    for _ in range(4):
        publishing.clock.now += HEARTBEAT_S / 2
        publishing.publish_all()
    heartbeats = publishing.status.feed()[before:]
    assert [entry.updates for entry in heartbeats] == [[], []]
    assert {entry.epoch for entry in heartbeats} == {publishing.redis.get(epoch_key(0))}


@everywhere
@pytest.mark.parametrize("damage", [None, b"nonsense"])
def test_a_key_set_that_is_gone_or_wrong_is_put_back_with_the_heartbeat(
    publishing: Publishing, damage: bytes | None
) -> None:
    publishing.publish_all()
    publishing.redis.delete(KEY_SET_KEY)
    if damage is not None:
        publishing.redis.set(KEY_SET_KEY, damage)
    publishing.clock.now += HEARTBEAT_S
    publishing.publish_all()
    assert publishing.redis.get(KEY_SET_KEY) == publishing.keys.newest_key_set()


@everywhere
def test_partitions_are_written_apart(sqlite_database: Database, any_redis_url: str) -> None:
    publishing = Publishing(sqlite_database, any_redis_url, partitions=3)
    publishing.issue(2)
    for shard in (1, 2, 3, 4):
        publishing.issue_at(shard * RECORDS_PER_SHARD + 5)
    publishing.publish_all()
    publishing.set_colour(1, Colour.RED)
    publishing.set_colour(4, Colour.RED)  # the credential in shard 2
    publishing.publish_all()
    assert publishing.status.records() == publishing.truth()
    fed = {
        partition: [index for entry in publishing.status.feed(partition) for index, _ in entry.updates]
        for partition in range(3)
    }
    assert fed == {0: [1], 1: [], 2: [2 * RECORDS_PER_SHARD + 5]}
    publishing.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.dictionaries(
            st.one_of(
                st.integers(1, 40),
                st.integers(RECORDS_PER_SHARD - 5, RECORDS_PER_SHARD + 5),
                st.integers(2**32 - 5, 2**32 - 1),
            ),
            st.integers(0, 2**64 - 1),
            min_size=1,
            max_size=30,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_updates_leave_exactly_their_records(redis_url: str, batches: list[dict[int, int]]) -> None:
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter("gatelight:*"):
            client.delete(key)
        writer = StatusWriter(redis_url, root_key_id=ROOT.root_key_id, partitions=1)
        first, *others = batches
        position = written(writer, first)
        truth = dict(first)
        for batch in others:
            truth |= batch
            position = writer.append(0, position, sorted(batch.items()))
        writer.close()
        assert StoredStatus(client).records() == {index: record for index, record in truth.items() if record}


# At least once, in order


class RegisterThatFailsToSettle(Outbox):
    """Redis is written, and then the machine stops."""

    def settle(self, last_seq: int, positions: object, *, without: object = ()) -> None:  # noqa: ARG002
        raise RegisterUnavailable("the machine stopped")


def test_a_crash_between_redis_and_register_publishes_the_batch_again_and_changes_nothing(
    publishing: Publishing,
) -> None:
    one, two = publishing.issue(2)
    publishing.publish_all()
    publishing.set_colour(one, Colour.RED)
    publishing.set_colour(two, Colour.YELLOW)
    publishing.publisher._outbox = RegisterThatFailsToSettle(publishing.database)
    with pytest.raises(RegisterUnavailable):
        publishing.publisher.turn()
    written = publishing.status.records()
    assert written == publishing.truth()

    publishing.publisher = publishing.new_publisher()
    publishing.publish_all()
    assert publishing.status.records() == written
    first, again = [entry.updates for entry in publishing.status.feed() if entry.updates]
    assert first == again
    assert publishing.waiting() == 0


def test_a_crash_at_the_end_of_a_rebuild_rebuilds_again(publishing: Publishing) -> None:
    publishing.issue(3)
    publishing.publisher._outbox = RegisterThatFailsToSettle(publishing.database)
    with pytest.raises(RegisterUnavailable):
        publishing.publisher.turn()
    first_epoch = publishing.redis.get(epoch_key(0))

    publishing.publisher = publishing.new_publisher()
    publishing.publish_all()
    assert publishing.redis.get(epoch_key(0)) != first_epoch
    assert publishing.status.records() == publishing.truth()
    assert publishing.waiting() == 0


@everywhere
def test_a_restarted_issuer_goes_on_without_a_rebuild(publishing: Publishing) -> None:
    (index,) = publishing.issue()
    publishing.publish_all()
    epoch = publishing.redis.get(epoch_key(0))
    publishing.set_colour(index, Colour.RED)
    publishing.publisher = publishing.new_publisher()
    publishing.publish_all()
    assert publishing.redis.get(epoch_key(0)) == epoch
    assert publishing.status.records() == publishing.truth()


@everywhere
def test_a_write_that_arrives_late_is_refused_by_redis(publishing: Publishing) -> None:
    """The packets of a connection that timed out reach Redis after newer ones."""
    (index,) = publishing.issue()
    publishing.publish_all()
    client = connect(publishing.redis_url, reply_timeout_s=1, client_name="late", key=epoch_key(0))
    late = client.pipeline()
    late.watch(epoch_key(0), feed_key(0))  # type: ignore[no-untyped-call]
    late.multi()
    late.setrange(status_key(0, 1), 8 * index, bytes(8))
    publishing.set_colour(index, Colour.RED)
    publishing.publish_all()
    with pytest.raises(redis.WatchError):
        late.execute()
    late.close()
    client.close()
    assert publishing.status.records() == publishing.truth()


def test_a_second_writer_in_the_middle_of_a_write_stops_it(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    (index,) = publishing.issue()
    publishing.publish_all()
    publishing.set_colour(index, Colour.RED)
    written = publishing.status.records()
    check = status_writer._check

    def check_then_flush(*arguments: object) -> None:
        check(*arguments)  # type: ignore[arg-type]
        publishing.redis.delete(epoch_key(0))

    monkeypatch.setattr(status_writer, "_check", check_then_flush)
    with pytest.raises(redis.WatchError):
        publishing.publisher.turn()
    assert publishing.status.records() == written
    assert publishing.waiting() == 1


# Rebuild


def lose_everything(client: redis.Redis) -> None:
    for key in client.scan_iter("gatelight:*"):
        client.delete(key)


def lose_the_epoch(client: redis.Redis) -> None:
    client.delete(epoch_key(0))


def get_another_epoch(client: redis.Redis) -> None:
    client.set(epoch_key(0), "not an epoch")


def lose_the_feed(client: redis.Redis) -> None:
    client.delete(feed_key(0))


def get_nonsense(client: redis.Redis) -> None:
    client.delete(feed_key(0), status_key(0, 1))
    client.set(feed_key(0), "nonsense")
    client.rpush(status_key(0, 1), "nonsense")


def get_types_that_are_wrong(client: redis.Redis) -> None:
    client.delete(epoch_key(0), KEY_SET_KEY)
    client.rpush(epoch_key(0), "nonsense")
    client.rpush(KEY_SET_KEY, "nonsense")


@pytest.mark.parametrize(
    "damage",
    [
        lose_everything,
        lose_the_epoch,
        get_another_epoch,
        lose_the_feed,
        get_nonsense,
        get_types_that_are_wrong,
    ],
)
def test_a_damaged_redis_is_rebuilt_under_a_new_epoch_at_the_next_heartbeat(
    publishing: Publishing, damage: Callable[[redis.Redis], None]
) -> None:
    publishing.issue(5)
    publishing.publish_all()
    epoch = publishing.redis.get(epoch_key(0))
    damage(publishing.redis)
    publishing.clock.now += HEARTBEAT_S
    publishing.publish_all()
    assert publishing.status.records() == publishing.truth()
    assert publishing.redis.get(epoch_key(0)) not in (None, epoch, b"not an epoch")
    assert publishing.redis.get(KEY_SET_KEY) == publishing.keys.newest_key_set()
    assert publishing.status.feed()[-1].epoch == publishing.redis.get(epoch_key(0))


@everywhere
def test_a_redis_set_back_to_an_earlier_state_is_rebuilt(publishing: Publishing) -> None:
    (index,) = publishing.issue()
    publishing.publish_all()
    keys = (status_key(0, 1), feed_key(0), epoch_key(0))
    snapshot = {key: publishing.redis.dump(key) for key in keys}
    publishing.set_colour(index, Colour.RED)
    publishing.publish_all()
    for key, content in snapshot.items():
        publishing.redis.restore(key, 0, content, replace=True)  # type: ignore[arg-type]
    assert publishing.status.records() != publishing.truth()

    publishing.clock.now += HEARTBEAT_S
    with capture_logs() as logs:
        publishing.publish_all()
    assert publishing.status.records() == publishing.truth()
    assert logs[0]["reason"] == "the feed lacks what was written"


@everywhere
def test_a_redis_that_lost_only_heartbeats_is_not_rebuilt(publishing: Publishing) -> None:
    publishing.issue()
    publishing.publish_all()
    epoch, feed = publishing.redis.get(epoch_key(0)), publishing.redis.dump(feed_key(0))
    publishing.clock.now += HEARTBEAT_S
    publishing.publish_all()
    publishing.redis.restore(feed_key(0), 0, feed, replace=True)  # type: ignore[arg-type]
    publishing.clock.now += HEARTBEAT_S
    publishing.publish_all()
    assert publishing.redis.get(epoch_key(0)) == epoch


@everywhere
def test_records_that_do_not_belong_there_are_gone_after_a_rebuild(publishing: Publishing) -> None:
    publishing.issue(2)
    publishing.redis.set(status_key(0, 1), b"\x05" * SHARD_BYTES)
    publishing.redis.set(status_key(7, 1), b"\x05" * 80)
    publishing.redis.set("gatelight:{3}:status:3", b"\x05" * 80)
    publishing.redis.set("gatelight:scans", "of the verifiers")
    publishing.redis.set("somebody else's", "{0}")
    publishing.publish_all()
    assert publishing.status.records() == publishing.truth()
    assert sorted(publishing.redis.scan_iter("gatelight:*")) == [
        b"gatelight:key_set",
        b"gatelight:scans",
        b"gatelight:{0}:epoch",
        b"gatelight:{0}:feed",
        b"gatelight:{0}:status:0",
    ]
    assert publishing.redis.delete("somebody else's") == 1


def test_another_number_of_partitions_is_another_cache(publishing: Publishing) -> None:
    publishing.issue(2)
    publishing.issue_at(RECORDS_PER_SHARD)
    publishing.publish_all()
    publishing.publisher = publishing.new_publisher(partitions=2)
    publishing.publish_all()
    assert StoredStatus(publishing.redis, 2).records() == publishing.truth()
    publishing.publisher = publishing.new_publisher(partitions=1)
    publishing.publish_all()
    assert publishing.status.records() == publishing.truth()
    assert publishing.redis.exists(epoch_key(1), feed_key(1), status_key(1, 2)) == 0


def test_a_verifier_with_another_number_of_partitions_keeps_what_it_has(publishing: Publishing) -> None:
    (index,) = publishing.issue()
    publishing.publish_all()
    reader = StatusReader(
        publishing.redis_url, root_key_id=ROOT.root_key_id, partition=0, partitions=1, block_ms=1
    )
    mirror = PartitionMirror()
    follower = MirrorFollower(reader=reader, mirror=mirror, monotonic=time.monotonic)
    follower.step()
    loaded = mirror.table
    publishing.publisher = publishing.new_publisher(partitions=2)
    publishing.publish_all()
    follower.step()
    with pytest.raises(StatusUnavailable, match="number of --partitions"):
        follower.step()
    assert mirror.table is loaded
    publishing.publisher = publishing.new_publisher(partitions=1)
    publishing.publish_all()
    follower.step()
    assert mirror.table is not loaded
    assert mirror.table is not None
    assert mirror.table.record(index) == publishing.truth()[index]
    reader.close()


def test_rows_of_the_outbox_that_a_rebuild_covers_are_not_published_after_it(publishing: Publishing) -> None:
    (index,) = publishing.issue()
    publishing.publish_all()
    publishing.set_colour(index, Colour.GREEN)
    publishing.set_colour(index, Colour.RED)
    lose_everything(publishing.redis)
    publishing.publish_all()
    assert [entry.updates for entry in publishing.status.feed() if entry.updates] == []
    assert publishing.status.records() == publishing.truth()
    assert publishing.waiting() == 0


def meanwhile(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Do something whenever a shard was read and is about to be written."""
    write_shard = StatusWriter.write_shard

    def act_then_write_shard(
        writer: StatusWriter, shard: int, content: bytes, fences: Mapping[int, Fence], *more: object
    ) -> None:
        action()
        write_shard(writer, shard, content, fences, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(StatusWriter, "write_shard", act_then_write_shard)


def test_a_change_made_during_a_rebuild_is_published_after_it(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    (index,) = publishing.issue()
    meanwhile(monkeypatch, lambda: publishing.set_colour(index, Colour.RED))
    publishing.publisher.turn()
    assert unpack(publishing.status.records()[index]).colour is Colour.NONE
    monkeypatch.undo()
    publishing.publish_all()
    assert publishing.status.records() == publishing.truth()
    assert unpack(publishing.status.records()[index]).colour is Colour.RED


def test_a_change_made_before_its_shard_is_written_is_in_it(publishing: Publishing) -> None:
    (index,) = publishing.issue()
    publishing.publish_all()
    lose_everything(publishing.redis)
    publishing.set_colour(index, Colour.RED)
    publishing.publisher.turn()
    assert unpack(publishing.status.records()[index]).colour is Colour.RED


def test_no_epoch_is_there_while_a_damaged_redis_is_rebuilt(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishing.issue()
    publishing.publish_all()
    lose_the_feed(publishing.redis)
    publishing.clock.now += HEARTBEAT_S
    seen: list[object] = []
    meanwhile(monkeypatch, lambda: seen.append(publishing.redis.get(epoch_key(0))))
    publishing.publish_all()
    assert seen == [None]
    assert publishing.redis.get(epoch_key(0)) is not None


@everywhere
def test_a_rebuild_begins_again_where_a_new_master_lacks_a_shard_of_it(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that was promoted when the rebuild had begun: it has the entry of that, and no more."""
    (index,) = publishing.issue()
    publishing.issue_at(RECORDS_PER_SHARD)
    publishing.set_colour(index, Colour.GREEN)
    publishing.publish_all()
    lose_the_epoch(publishing.redis)
    publishing.set_colour(index, Colour.RED)
    replica: dict[str, object] = {}

    def fail_over_after_the_first_shard() -> None:
        if not replica:
            replica.update({key: publishing.redis.dump(key) for key in (feed_key(0), status_key(0, 1))})
            return
        for key, content in replica.items():
            publishing.redis.restore(key, 0, content, replace=True)  # type: ignore[arg-type]

    meanwhile(monkeypatch, fail_over_after_the_first_shard)
    with pytest.raises(redis.WatchError):
        publishing.publisher.turn()
    assert publishing.redis.get(epoch_key(0)) is None
    monkeypatch.undo()
    publishing.publish_all()
    assert publishing.status.records() == publishing.truth()
    assert unpack(publishing.status.records()[index]).colour is Colour.RED


def test_a_key_set_is_put_while_a_damaged_redis_is_rebuilt(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishing.issue()
    publishing.issue_at(RECORDS_PER_SHARD)
    asking: list[threading.Thread] = []
    seen: list[object] = []

    def sign_and_look() -> None:
        seen.append(publishing.redis.get(KEY_SET_KEY))
        if not asking:
            publishing.sign_key_set()
            asking.append(threading.Thread(target=publishing.publisher.publish_key_set))
            asking[0].start()
            eventually(publishing.publisher._is_document_asked)

    former = publishing.keys.newest_key_set()
    meanwhile(monkeypatch, sign_and_look)
    publishing.publisher.turn()
    asking[0].join()
    assert seen == [former, publishing.keys.newest_key_set()]


def test_a_write_of_an_earlier_rebuild_that_arrives_late_is_refused_by_redis(publishing: Publishing) -> None:
    publishing.issue()
    late = redis.Redis.from_url(publishing.redis_url).pipeline()
    late.watch(epoch_key(0), feed_key(0))  # type: ignore[no-untyped-call]
    late.multi()
    late.set(status_key(0, 1), b"old")
    publishing.publish_all()
    with pytest.raises(redis.WatchError):
        late.execute()
    late.close()


def test_a_rebuild_is_logged_with_reason_count_and_time(publishing: Publishing) -> None:
    publishing.issue(5)
    with capture_logs() as logs:
        publishing.publish_all()
    begins, done = logs
    assert begins["reason"] == "the register has no note of an earlier write to Redis"
    assert done["records"] == 5
    assert done["seconds"] >= 0


@everywhere
def test_the_status_of_another_issuer_is_left_alone(publishing: Publishing) -> None:
    publishing.issue()
    publishing.publish_all()
    publishing.redis.set(epoch_key(0), new_epoch(b"stranger", b"e"))
    publishing.clock.now += HEARTBEAT_S
    before = publishing.redis.dump(feed_key(0)), publishing.redis.dump(status_key(0, 1))
    with pytest.raises(ForeignCache, match="another issuer"):
        publishing.publish_all()
    assert (publishing.redis.dump(feed_key(0)), publishing.redis.dump(status_key(0, 1))) == before


def test_two_issuers_that_rebuild_one_redis_do_not_mix_their_records(redis_url: str) -> None:
    ours = StatusWriter(redis_url, root_key_id=ROOT.root_key_id, partitions=1)
    theirs = StatusWriter(redis_url, root_key_id=b"stranger", partitions=1)

    begun = ours.begin_rebuild()
    ours.write_shard(0, b"\x0d" + bytes(7), begun)
    theirs.write_shard(0, b"\x05" + bytes(7), theirs.begin_rebuild())
    with pytest.raises(redis.WatchError):
        ours.write_shard(1, b"\x0d" + bytes(7), begun)
    with pytest.raises(redis.WatchError):
        ours.give_epoch(begun)
    with redis.Redis.from_url(redis_url) as client:
        assert client.get(epoch_key(0)) is None
    for writer in (ours, theirs):
        writer.close()


def test_a_mismatch_is_found_before_anything_is_written(publishing: Publishing) -> None:
    publishing.issue()
    publishing.publish_all()
    writer = StatusWriter(publishing.redis_url, root_key_id=ROOT.root_key_id, partitions=1)
    before = publishing.status.records(), publishing.status.feed()
    with pytest.raises(CacheMismatch, match="epoch is another one"):
        writer.append(0, FeedPosition("mine", "0-1"), [(1, 99)])
    writer.close()
    assert (publishing.status.records(), publishing.status.feed()) == before


# With a server of a Cluster that is silent


class HalfSilentWriter(StatusWriter):
    """Its partitions lie on servers of their own, some of which take a second to say nothing."""

    def __init__(self, publishing: Publishing) -> None:
        super().__init__(publishing.redis_url, root_key_id=ROOT.root_key_id, partitions=2)
        self._clock = publishing.clock
        self.silent: set[int] = set()
        self.holds_documents = 1
        self.written: list[tuple[int, int]] = []  # partition, and number of updates

    def server_of(self, partition: int) -> object:
        return partition

    @property
    def has_one_server(self) -> bool:
        return False

    def begin_partition(self, partition: int) -> Begun:
        self._wait_for(partition)
        return super().begin_partition(partition)

    def append(
        self, partition: int, position: FeedPosition, updates: Sequence[tuple[int, int]]
    ) -> FeedPosition:
        self.written.append((partition, len(updates)))
        self._wait_for(partition)
        return super().append(partition, position, updates)

    def put_key_set(self, signed: bytes) -> None:
        self._wait_for(self.holds_documents)
        super().put_key_set(signed)

    def eviction_policy(self) -> str | None:
        for partition in range(2):
            self._wait_for(partition)
        return super().eviction_policy()

    def _wait_for(self, partition: int) -> None:
        if partition in self.silent:
            self._clock.now += 1
            raise redis.TimeoutError


class HalfSilent(Publishing):
    """Two partitions, of which the first falls silent; credential 1 is in it, `other` is not."""

    def __init__(self, database: Database, redis_url: str) -> None:
        super().__init__(database, redis_url, partitions=2)
        self.issue()
        self.other = self.issue_at(RECORDS_PER_SHARD)
        self.publish_all()
        self.writer = HalfSilentWriter(self)
        self._writers.append(self.writer)
        self.publisher = Publisher(
            outbox=self.outbox, keys=self.keys, writer=self.writer, monotonic=self.clock
        )

    def fall_silent(self) -> None:
        """Let the publisher learn that it is."""
        self.writer.silent = {0}
        self.clock.now += HEARTBEAT_S
        self.fail_a_turn()
        self.writer.written.clear()

    def fail_a_turn(self) -> None:
        with pytest.raises(redis.TimeoutError):
            self.publisher.turn()


@pytest.fixture
def half_silent(sqlite_database: Database, redis_url: str) -> Iterator[HalfSilent]:
    publishing = HalfSilent(sqlite_database, redis_url)
    yield publishing
    publishing.close()


def test_a_silent_server_is_left_alone_four_times_as_long_as_it_took(half_silent: HalfSilent) -> None:
    half_silent.publish_all()
    half_silent.fall_silent()
    begun = half_silent.clock.now
    for _ in range(39):
        half_silent.clock.now += 0.1
        half_silent.fail_a_turn()
    assert 0 not in dict(half_silent.writer.written)
    assert half_silent.clock.now < begun + 4
    half_silent.clock.now = begun + 4
    half_silent.set_colour(half_silent.other, Colour.RED)
    half_silent.writer.written.clear()
    half_silent.fail_a_turn()
    assert half_silent.writer.written == [(1, 1), (0, 0)]  # behind the changes of others


def test_changes_of_a_silent_server_follow_as_soon_as_it_answers(half_silent: HalfSilent) -> None:
    half_silent.publish_all()
    half_silent.fall_silent()
    seq = half_silent.set_colour(1, Colour.RED)
    half_silent.fail_a_turn()
    half_silent.writer.silent.clear()
    half_silent.clock.now += 4
    half_silent.publish_all()
    assert half_silent.status.records() == half_silent.truth()
    assert half_silent.publisher._published_seq >= seq
    assert half_silent.waiting() == 0


def test_key_set_and_gate_list_are_left_alone_with_their_server(half_silent: HalfSilent) -> None:
    half_silent.writer.holds_documents = 0
    half_silent.publish_all()
    half_silent.fall_silent()
    begun = half_silent.clock.now
    half_silent.publisher._documents_asked += 1
    half_silent.redis.delete(KEY_SET_KEY)
    half_silent.clock.now += HEARTBEAT_S
    half_silent.fail_a_turn()
    assert half_silent.clock.now == begun + HEARTBEAT_S
    half_silent.writer.silent.clear()
    half_silent.clock.now += 4
    half_silent.publish_all()
    assert half_silent.redis.get(KEY_SET_KEY) == half_silent.keys.newest_key_set()


def test_key_set_and_gate_list_are_put_though_no_partition_answers(half_silent: HalfSilent) -> None:
    half_silent.writer.holds_documents = 2
    half_silent.publish_all()
    half_silent.writer.silent = {0, 1}
    signed = half_silent.sign_key_set()
    half_silent.clock.now += HEARTBEAT_S
    half_silent.fail_a_turn()
    assert half_silent.redis.get(KEY_SET_KEY) == signed


def test_key_set_and_gate_list_are_not_put_into_what_may_be_the_redis_of_another_issuer(
    half_silent: HalfSilent,
) -> None:
    half_silent.writer.holds_documents = 2
    half_silent.writer.silent = {0, 1}
    half_silent.redis.set(KEY_SET_KEY, b"of another issuer")
    half_silent.fail_a_turn()
    assert half_silent.redis.get(KEY_SET_KEY) == b"of another issuer"


def epochs_of(publishing: Publishing) -> list[object]:
    return [publishing.redis.get(epoch_key(partition)) for partition in (0, 1)]


def test_a_rebuild_leaves_a_silent_server_and_its_rows_as_they_were(half_silent: HalfSilent) -> None:
    half_silent.publish_all()
    silent, lost = epochs_of(half_silent)
    half_silent.fall_silent()
    seq = half_silent.set_colour(1, Colour.RED)
    half_silent.redis.delete(epoch_key(1), feed_key(1), status_key(1, 2))
    half_silent.clock.now += HEARTBEAT_S
    half_silent.publisher.turn()
    assert half_silent.waiting() == 1
    half_silent.set_colour(half_silent.other, Colour.RED)
    half_silent.fail_a_turn()
    assert unpack(half_silent.status.records()[RECORDS_PER_SHARD]).colour is Colour.RED
    assert half_silent.publisher._published_seq < seq
    half_silent.writer.silent.clear()
    half_silent.clock.now += 4
    half_silent.publish_all()
    assert half_silent.publisher._published_seq > seq
    assert half_silent.status.records() == half_silent.truth()
    assert epochs_of(half_silent)[0] == silent
    assert epochs_of(half_silent)[1] not in (None, lost)


def test_a_job_that_ends_in_a_rebuild_without_a_silent_server_does_not_claim_to_have_repaired_all(
    half_silent: HalfSilent,
) -> None:
    half_silent.publish_all()

    def lose_one_and_silence_the_other(_: Cache) -> Iterator[Progress]:
        half_silent.writer.silent = {0}
        raise CacheMismatch("the epoch is missing")
        yield

    with pytest.raises(CacheUnavailable):
        half_silent.carry_out(lose_one_and_silence_the_other)


def test_a_server_that_was_silent_during_a_rebuild_is_rebuilt_when_it_comes_back_as_another(
    half_silent: HalfSilent,
) -> None:
    half_silent.publish_all()
    half_silent.fall_silent()
    half_silent.set_colour(1, Colour.RED)
    lose_everything(half_silent.redis)
    half_silent.clock.now += HEARTBEAT_S
    half_silent.publisher.turn()
    assert epochs_of(half_silent)[0] is None
    half_silent.writer.silent.clear()
    half_silent.clock.now += 4
    half_silent.publish_all()
    assert None not in epochs_of(half_silent)
    assert half_silent.status.records() == half_silent.truth()
    assert half_silent.waiting() == 0


def test_a_silent_server_of_another_number_of_partitions_is_not_taken_for_ours(
    half_silent: HalfSilent,
) -> None:
    """Its feed and its epoch are as we left them, but its shards are those of another layout."""
    half_silent.issue_at(2 * RECORDS_PER_SHARD)
    half_silent.publisher = half_silent.new_publisher(partitions=1)
    half_silent.publish_all()
    half_silent.publisher = Publisher(
        outbox=half_silent.outbox,
        keys=half_silent.keys,
        writer=half_silent.writer,
        monotonic=half_silent.clock,
    )
    former = half_silent.redis.get(epoch_key(0))
    half_silent.writer.silent = {0}
    half_silent.publisher.turn()
    assert epochs_of(half_silent)[0] == former
    half_silent.writer.silent.clear()
    half_silent.clock.now += 4
    half_silent.publish_all()
    assert epochs_of(half_silent)[0] != former
    assert half_silent.status.records() == half_silent.truth()


def test_an_issuer_that_starts_beside_a_silent_server_publishes_to_the_others(
    half_silent: HalfSilent,
) -> None:
    half_silent.writer.silent = {0}
    half_silent.set_colour(half_silent.other, Colour.RED)
    half_silent.fail_a_turn()
    assert half_silent.waiting() == 0
    assert unpack(half_silent.status.records()[RECORDS_PER_SHARD]).colour is Colour.RED


def test_a_change_does_not_wait_out_the_pause_after_a_silent_server(
    half_silent: HalfSilent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "_RETRY_S", 1_000)
    half_silent.publish_all()
    half_silent.fall_silent()
    publisher = half_silent.publisher
    publisher.start()
    try:
        eventually(lambda: publisher._trouble is not None)
        half_silent.set_colour(half_silent.other, Colour.RED)
        publisher.wake()
        eventually(lambda: half_silent.waiting() == 0)
    finally:
        publisher.stop()


# Redis goes away, with real threads


@pytest.fixture
def on_own_redis(sqlite_database: Database, own_redis: EmbeddedRedis) -> Iterator[Publishing]:
    publishing = Publishing(sqlite_database, own_redis.url)
    publishing.issue()
    yield publishing
    publishing.close()


def set_red(publishing: Publishing, publisher: Publisher) -> bool:
    """Tell whether it was published when a caller would get its answer."""
    return publisher.wait_until_published(publishing.set_colour(1, Colour.RED))


def is_red(publishing: Publishing) -> bool:
    return publishing.colour_in_redis(1) is Colour.RED


def test_a_change_is_published_when_the_call_returns(on_own_redis: Publishing) -> None:
    with on_own_redis.running() as publisher:
        assert set_red(on_own_redis, publisher)
        assert is_red(on_own_redis)


def test_what_nobody_waits_for_is_published_when_the_publisher_is_woken(on_own_redis: Publishing) -> None:
    with on_own_redis.running() as publisher:
        assert set_red(on_own_redis, publisher)
        publisher._next_heartbeat_s = time.monotonic() + 1_000
        on_own_redis.set_colour(1, Colour.GREEN)
        publisher.wake()
        eventually(lambda: on_own_redis.colour_in_redis(1) is Colour.GREEN)


def test_a_key_set_is_put_when_the_call_returns(on_own_redis: Publishing) -> None:
    with on_own_redis.running() as publisher:
        assert set_red(on_own_redis, publisher)
        publisher._next_heartbeat_s = time.monotonic() + 1_000
        signed = on_own_redis.sign_key_set()
        assert publisher.publish_key_set()
        assert on_own_redis.redis.get(KEY_SET_KEY) == signed


def test_a_key_set_is_pending_while_redis_is_down_and_put_when_it_is_back(
    on_own_redis: Publishing, own_redis: EmbeddedRedis
) -> None:
    with on_own_redis.running() as publisher:
        assert publisher.publish_key_set()
        own_redis.kill()
        signed = on_own_redis.sign_key_set()
        assert not publisher.publish_key_set()
        own_redis.restart()
        eventually(lambda: on_own_redis.redis.get(KEY_SET_KEY) == signed)


def test_a_change_is_pending_while_redis_is_down_and_published_when_it_is_back(
    on_own_redis: Publishing, own_redis: EmbeddedRedis
) -> None:
    with on_own_redis.running() as publisher:
        assert set_red(on_own_redis, publisher)
        own_redis.kill()
        assert not set_red(on_own_redis, publisher)
        own_redis.restart()
        eventually(lambda: is_red(on_own_redis))
        eventually(lambda: set_red(on_own_redis, publisher))


def test_a_publisher_starts_without_redis(on_own_redis: Publishing, own_redis: EmbeddedRedis) -> None:
    own_redis.kill()
    with on_own_redis.running() as publisher:
        assert not set_red(on_own_redis, publisher)
        own_redis.restart()
        eventually(lambda: is_red(on_own_redis))


def test_a_frozen_redis_holds_no_caller_longer_than_the_bound(
    on_own_redis: Publishing, own_redis: EmbeddedRedis
) -> None:
    with on_own_redis.running() as publisher:
        eventually(lambda: on_own_redis.colour_in_redis(1) is Colour.NONE)
        own_redis.freeze()
        begun = time.monotonic()
        assert not set_red(on_own_redis, publisher)
        assert time.monotonic() - begun < PUBLICATION_WAIT_S + 0.4  # and some for a busy machine
        own_redis.thaw()
        eventually(lambda: is_red(on_own_redis))


def test_a_redis_that_freezes_in_the_middle_of_a_write_leaves_no_connection_behind(
    own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_writer, "_REPLY_TIMEOUT_S", 0.1)
    writer = StatusWriter(own_redis.url, root_key_id=ROOT.root_key_id, partitions=1)
    position = written(writer, {1: 5})
    check = status_writer._check

    def check_then_freeze(*arguments: object) -> None:
        check(*arguments)  # type: ignore[arg-type]
        own_redis.freeze()

    monkeypatch.setattr(status_writer, "_check", check_then_freeze)
    begun = time.monotonic()
    with pytest.raises(redis.TimeoutError):
        writer.append(0, position, [(1, 7)])
    assert time.monotonic() - begun < 1
    own_redis.thaw()
    monkeypatch.setattr(status_writer, "_check", check)
    writer.append(0, position, [(1, 9)])
    with redis.Redis.from_url(own_redis.url) as client:
        assert StoredStatus(client).records() == {1: 9}
        names = [found["name"] for found in client.client_list()]
    assert names.count("gatelight-publisher") == 1
    writer.close()


def test_a_redis_without_memory_leaves_changes_pending(on_own_redis: Publishing) -> None:
    with on_own_redis.running() as publisher:
        eventually(lambda: on_own_redis.colour_in_redis(1) is Colour.NONE)
        on_own_redis.redis.config_set("maxmemory", 1)
        assert not set_red(on_own_redis, publisher)
        assert on_own_redis.colour_in_redis(1) is Colour.NONE
        on_own_redis.redis.config_set("maxmemory", 0)
        eventually(lambda: is_red(on_own_redis))


def test_a_redis_that_runs_out_of_memory_in_the_middle_of_a_write_is_no_reason_to_rebuild(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    (index,) = publishing.issue()
    publishing.publish_all()
    epoch = publishing.redis.get(epoch_key(0))
    publishing.set_colour(index, Colour.RED)
    monkeypatch.setattr(status_writer, "_WRITE_RECORDS", "return redis.error_reply('OOM not allowed')")
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        publishing.publish_all()
    monkeypatch.undo()
    publishing.publish_all()
    assert publishing.redis.get(epoch_key(0)) == epoch
    assert publishing.status.records() == publishing.truth()


def test_nobody_waits_for_a_redis_that_is_known_to_be_away(
    on_own_redis: Publishing, own_redis: EmbeddedRedis
) -> None:
    with on_own_redis.running() as publisher:
        own_redis.kill()
        assert not set_red(on_own_redis, publisher)
        begun = time.monotonic()
        for _ in range(5):
            assert not set_red(on_own_redis, publisher)
        assert time.monotonic() - begun < PUBLICATION_WAIT_S


def test_the_backlog_is_told_while_redis_is_away(on_own_redis: Publishing, own_redis: EmbeddedRedis) -> None:
    def told() -> float:
        (sample,) = next(iter(OUTBOX_ROWS.collect())).samples
        return sample.value

    with on_own_redis.running() as publisher:
        assert set_red(on_own_redis, publisher)
        own_redis.kill()
        on_own_redis.issue(20)
        eventually(lambda: told() == 20)
        own_redis.restart()
        eventually(lambda: told() == 0)


def test_trouble_is_logged_when_it_begins_and_when_it_ends_and_not_between(
    on_own_redis: Publishing, own_redis: EmbeddedRedis
) -> None:
    with capture_logs() as logs, on_own_redis.running() as publisher:
        assert set_red(on_own_redis, publisher)
        logs.clear()
        own_redis.kill()
        eventually(lambda: logs)
        for _ in range(10):
            set_red(on_own_redis, publisher)
        own_redis.restart()
        eventually(lambda: any(line["event"] == "publishing again" for line in logs))
    events = [line["event"] for line in logs]
    pending = "changes are pending: they are safe, but do not reach Redis"
    assert events[0] == pending
    assert events[-3:] == ["rebuild of Redis begins", "rebuild of Redis done", "publishing again"]
    assert events.count(pending) <= 2  # a connection that breaks, then one that is refused


# Another process takes over


def test_whoever_lost_the_register_to_another_writes_no_more(postgres_url: str, redis_url: str) -> None:
    mine, others = Database.open(postgres_url), Database.open(postgres_url)
    before = Publishing(mine, redis_url)
    with contextlib.ExitStack() as ending:
        for database in (mine, others):
            ending.callback(database.close)
        ending.enter_context(mine.lock_for_serving())
        (index,) = before.issue()
        before.publish_all()
        before.set_colour(index, Colour.GREEN)
        assert mine._serving_lock is not None
        mine._serving_lock._disconnect()  # as when the server gives up a process that is frozen
        ending.enter_context(others.lock_for_serving())
        after = Publishing(others, redis_url)

        def freeze_before_it_is_written(*_: object) -> object:
            writer.append = append  # type: ignore[method-assign]
            after.set_colour(index, Colour.RED)
            after.publish_all()
            return append(*_)  # type: ignore[arg-type]

        writer = before.publisher._writer
        append, writer.append = writer.append, freeze_before_it_is_written  # type: ignore[method-assign, assignment]
        epoch = after.redis.get(epoch_key(0))
        for _ in range(2):
            with pytest.raises(RegisterUnavailable, match="another process serves"):
                before.publisher.turn()
            before.clock.now += HEARTBEAT_S
        assert after.colour_in_redis(index) == Colour.RED
        after.clock.now += HEARTBEAT_S
        after.publish_all()
        assert after.redis.get(epoch_key(0)) == epoch, "expected no rebuild"


def test_what_a_second_publisher_wrote_is_noticed_and_put_right_by_the_one_that_serves(
    publishing: Publishing,
) -> None:
    publishing.publish_all()
    epoch = publishing.redis.get(epoch_key(0))
    second = publishing.new_publisher()
    publishing.clock.now += HEARTBEAT_S
    second.turn()
    assert publishing.redis.get(epoch_key(0)) == epoch, "expected a restarted one to go on"
    publishing.publish_all()
    publishing.clock.now += HEARTBEAT_S
    publishing.publish_all()
    assert publishing.redis.get(epoch_key(0)) != epoch
