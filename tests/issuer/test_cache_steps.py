"""Rebuild, check and repair: on a real Redis, turn by turn, and beside a verifier's mirror that follows."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import pytest
import redis

from issuer.cache_steps import CacheSteps, check, rebuild, repair
from issuer.errors import CacheUnavailable, FailedPrecondition, RegisterUnavailable
from issuer.publisher import HEARTBEAT_S, Publisher
from issuer.register.database import Database
from issuer.register.outbox import Outbox
from issuer.status_writer import Fence, StatusWriter
from loadtest.embedded_redis import EmbeddedRedis
from tests.eventually import eventually
from tests.issuer.publishing import ROOT, Follower, Publishing
from verifier.mirror import PartitionMirror
from verifier.mirror_follower import MirrorFollower
from verifier.status_reader import StatusReader
from verifier.wire.status_record import Colour, unpack
from verifier.wire.status_store import (
    KEY_SET_KEY,
    RECORDS_PER_SHARD,
    SHARD_BYTES,
    epoch_key,
    feed_key,
    new_epoch,
    status_key,
)

FAR = 2 * RECORDS_PER_SHARD + 5


@pytest.fixture
def published(sqlite_database: Database, redis_url: str) -> Iterator[Publishing]:
    """A register of three shards, in Redis whole."""
    publishing = Publishing(sqlite_database, redis_url)
    publishing.issue(5)
    publishing.issue_at(RECORDS_PER_SHARD + 1)
    publishing.issue_at(FAR)
    publishing.set_colour(2, Colour.GREEN)
    publishing.publish_all()
    yield publishing
    publishing.close()


@pytest.fixture
def follower(published: Publishing) -> Iterator[Follower]:
    follower = Follower(published.redis_url)
    yield follower
    follower.close()


def before_each_shard(monkeypatch: pytest.MonkeyPatch, action: Callable[[int], object]) -> None:
    """Do something whenever a shard was read and is about to be written."""
    write_shard = StatusWriter.write_shard

    def act_then_write_shard(
        writer: StatusWriter, shard: int, content: bytes, fences: Mapping[int, Fence], *more: object
    ) -> None:
        action(shard)
        write_shard(writer, shard, content, fences, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(StatusWriter, "write_shard", act_then_write_shard)


def everything(client: redis.Redis) -> dict[bytes, bytes | None]:
    """Return all of Redis but the heartbeats."""
    return {key: client.dump(key) for key in client.scan_iter("gatelight:*") if key != feed_key(0).encode()}


# Rebuild beside running verifiers


def test_a_rebuild_writes_every_byte_under_a_new_epoch(published: Publishing) -> None:
    epoch = published.redis.get(epoch_key(0))
    published.redis.set(status_key(0, 1), b"\x05" * SHARD_BYTES)
    published.redis.delete(status_key(1, 1))
    published.redis.set(status_key(7, 1), b"\x05" * 80)
    published.redis.set("gatelight:{3}:epoch", b"of another time")
    done = published.carry_out(rebuild)
    assert (done.is_done, done.shards_done, done.shards_total, done.records) == (True, 3, 3, 7)
    assert published.status.records() == published.truth()
    assert published.redis.get(epoch_key(0)) not in (None, epoch)
    assert published.status.feed()[-1].epoch == published.redis.get(epoch_key(0))
    assert not published.redis.exists(status_key(7, 1), "gatelight:{3}:epoch")


def test_the_epoch_stays_until_everything_is_rewritten(
    published: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = published.redis.get(epoch_key(0))
    seen: list[object] = []
    before_each_shard(monkeypatch, lambda _: seen.append(published.redis.get(epoch_key(0))))
    published.carry_out(rebuild)
    assert seen == [epoch, epoch, epoch]


def test_partitions_are_rebuilt_apart(sqlite_database: Database, redis_url: str) -> None:
    published = Publishing(sqlite_database, redis_url, partitions=2)
    published.issue(2)
    published.issue_at(RECORDS_PER_SHARD)
    published.publish_all()
    epochs = [published.redis.get(epoch_key(partition)) for partition in (0, 1)]
    published.redis.delete(status_key(1, 2))
    published.redis.set("gatelight:{1}:status:0", b"\x05" * 80)  # the other partition's shard
    published.carry_out(rebuild)
    assert published.status.records() == published.truth()
    assert not published.redis.exists("gatelight:{1}:status:0")
    assert all(
        published.redis.get(epoch_key(partition)) not in (None, epochs[partition]) for partition in (0, 1)
    )
    published.close()


def test_a_running_mirror_has_no_gap_during_a_rebuild(
    published: Publishing, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    ages: list[float] = []
    arrived: list[Colour] = []
    first_table = follower.mirror.table

    def change_and_wait_until_the_last_change_arrived(shard: int) -> None:
        ages.append(follower.status_age_s())
        if shard > 0:
            eventually(lambda: unpack(follower.record(1)).colour is Colour(shard))
            arrived.append(unpack(follower.record(1)).colour)
            assert follower.mirror.table is first_table
        if shard < 2:
            published.set_colour(1, Colour(shard + 1))

    before_each_shard(monkeypatch, change_and_wait_until_the_last_change_arrived)
    with published.running() as publisher:
        ages += [follower.status_age_s() for _ in publisher.carry_out(rebuild)]
        eventually(lambda: follower.mirror.table is not first_table)
        ages.append(follower.status_age_s())
    assert arrived == [Colour.GREEN, Colour.YELLOW]
    assert max(ages) < HEARTBEAT_S + 1  # and some for a busy machine
    assert {index: follower.record(index) for index in published.truth()} == published.truth()


def test_a_change_between_two_shards_is_not_covered_by_what_was_read_before(
    published: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard was read before the change; what the change writes comes after it, not before."""
    before_each_shard(monkeypatch, lambda _: published.set_colour(1, Colour.RED))
    published.carry_out(rebuild)
    monkeypatch.undo()
    published.publish_all()
    assert published.status.records() == published.truth()
    assert unpack(published.status.records()[1]).colour is Colour.RED


def test_credentials_issued_during_a_rebuild_stay(
    published: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued: list[int] = []

    def issue(shard: int) -> None:
        if shard == 2:
            issued.append(published.issue_at(3 * RECORDS_PER_SHARD))

    before_each_shard(monkeypatch, issue)
    done = published.carry_out(rebuild)
    published.publish_all()
    assert len(issued) == 1
    assert done.shards_total == 4
    assert published.status.records() == published.truth()


def test_a_shard_written_late_is_refused_by_redis(
    published: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packet of a shard that timed out reaches Redis after the next one was written."""
    late = redis.Redis.from_url(published.redis_url).pipeline()

    def watch(shard: int) -> None:
        if shard == 0:
            late.watch(epoch_key(0), feed_key(0))  # type: ignore[no-untyped-call]
            late.multi()
            late.set(status_key(0, 1), b"old")

    before_each_shard(monkeypatch, watch)
    published.carry_out(rebuild)
    with pytest.raises(redis.WatchError):
        late.execute()
    late.close()


def test_a_restart_after_a_rebuild_goes_on_without_another(published: Publishing) -> None:
    published.carry_out(rebuild)
    epoch = published.redis.get(epoch_key(0))
    published.publisher = published.new_publisher()
    published.issue()
    published.publish_all()
    assert published.redis.get(epoch_key(0)) == epoch
    assert published.status.records() == published.truth()


def test_a_rebuild_killed_half_way_leaves_redis_right(
    published: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = published.redis.get(epoch_key(0))
    published.redis.set(status_key(0, 1), b"\x05" * 80)

    def die(shard: int) -> None:
        if shard == 1:
            raise RegisterUnavailable("the machine stopped")

    before_each_shard(monkeypatch, die)
    with pytest.raises(RegisterUnavailable):
        published.carry_out(rebuild)
    monkeypatch.undo()
    published.publisher = published.new_publisher()
    published.issue()
    published.publish_all()
    assert published.redis.get(epoch_key(0)) == epoch
    assert published.status.records() == published.truth()


class RegisterThatFailsToSettle(Outbox):
    """Redis is written, and then the machine stops."""

    def settle(self, last_seq: int, positions: object, *, without: object = ()) -> None:  # noqa: ARG002
        raise RegisterUnavailable("the machine stopped")


def test_a_rebuild_killed_after_the_new_epoch_is_followed_by_another(published: Publishing) -> None:
    published.publisher._outbox = RegisterThatFailsToSettle(published.database)
    with pytest.raises(RegisterUnavailable):
        published.carry_out(rebuild)
    epoch = published.redis.get(epoch_key(0))
    published.publisher = published.new_publisher()
    published.clock.now += HEARTBEAT_S
    published.publish_all()
    assert published.redis.get(epoch_key(0)) not in (None, epoch)
    assert published.status.records() == published.truth()


def test_a_redis_that_empties_during_a_rebuild_is_rebuilt_whole(
    published: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[int] = []

    def empty_once(shard: int) -> None:
        if shard == 1 and not emptied:
            emptied.append(shard)
            for key in published.redis.scan_iter("gatelight:*"):
                published.redis.delete(key)

    before_each_shard(monkeypatch, empty_once)
    done = published.carry_out(rebuild)
    assert (done.is_done, done.records) == (True, 7)
    assert published.status.records() == published.truth()
    assert published.redis.get(KEY_SET_KEY) == published.keys.newest_key_set()


@pytest.mark.parametrize("steps", [rebuild, repair])
def test_a_new_master_that_lacks_a_shard_of_a_rebuild_or_repair_is_rebuilt_whole(
    published: Publishing, monkeypatch: pytest.MonkeyPatch, steps: CacheSteps
) -> None:
    """Its feed lacks an entry of ours, which was no heartbeat, though the register knows of none since."""
    for shard in (0, 1):
        published.redis.setrange(status_key(shard, 1), 8, b"\xff")
    replica: dict[str, object] = {}
    failed_over: list[int] = []

    def fail_over_after_the_first_shard(shard: int) -> None:
        if shard == 0 and not replica:
            replica.update({key: published.redis.dump(key) for key in (feed_key(0), status_key(0, 1))})
        if shard == 1 and not failed_over:
            failed_over.append(shard)
            for key, content in replica.items():
                published.redis.restore(key, 0, content, replace=True)  # type: ignore[arg-type]

    before_each_shard(monkeypatch, fail_over_after_the_first_shard)
    done = published.carry_out(steps)
    assert failed_over
    assert (done.is_repaired, list(done.problems)) == (True, ["the feed lacks what was written"])
    assert published.status.records() == published.truth()


def lengths(client: redis.Redis) -> dict[int, int]:
    return {shard: int(client.strlen(status_key(shard, 1))) for shard in (0, 1, 2, 7)}


@pytest.mark.parametrize("steps", [rebuild, repair])
def test_no_shard_is_cut_or_goes_away_before_the_new_epoch(
    published: Publishing, monkeypatch: pytest.MonkeyPatch, steps: CacheSteps
) -> None:
    epoch = published.redis.get(epoch_key(0))
    published.redis.setrange(status_key(0, 1), 8 * 50, b"\x05" + bytes(7))
    published.redis.set(status_key(7, 1), b"\x05" * 80)
    before = lengths(published.redis)
    give_epoch = StatusWriter.give_epoch

    def die(*_: object) -> None:
        raise RegisterUnavailable("the machine stopped")

    monkeypatch.setattr(StatusWriter, "give_epoch", die)
    with pytest.raises(RegisterUnavailable):
        published.carry_out(steps)
    assert published.redis.get(epoch_key(0)) == epoch
    assert lengths(published.redis) == before
    assert published.status.records() == published.truth()

    # Whoever begins again finds what is left, and takes it away with the epoch.
    monkeypatch.setattr(StatusWriter, "give_epoch", give_epoch)
    published.publisher = published.new_publisher()
    assert list(published.carry_out(check).problems) == ["gatelight:{0}:status:7: does not belong there"]
    published.carry_out(steps)
    assert published.redis.get(epoch_key(0)) != epoch
    assert not published.redis.exists(status_key(7, 1))


def test_a_surplus_shard_that_the_register_grows_into_stays(
    published: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.redis.set(status_key(7, 1), b"\x05" * 80)
    put_key_set = StatusWriter.put_key_set
    issued: list[int] = []

    def issue_then_put_key_set(writer: StatusWriter, signed: bytes) -> None:
        if published.redis.get(status_key(7, 1)) == bytes(80) and not issued:  # it was found, and cleared
            issued.append(published.issue_at(7 * RECORDS_PER_SHARD))
        put_key_set(writer, signed)

    monkeypatch.setattr(StatusWriter, "put_key_set", issue_then_put_key_set)
    published.carry_out(rebuild)
    assert issued
    assert published.redis.strlen(status_key(7, 1)) == 80
    published.publish_all()
    assert published.status.records() == published.truth()


def test_a_mirror_is_loaded_again_after_a_rebuild_that_was_given_up(
    published: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last credential of a shard was erased: the register has one less than Redis and the mirror."""
    published.redis.setrange(status_key(0, 1), 8 * 50, b"\x05" + bytes(7))
    reader = StatusReader(
        published.redis_url, root_key_id=ROOT.root_key_id, partition=0, partitions=1, block_ms=1
    )
    mirror = PartitionMirror()
    follower = MirrorFollower(reader=reader, mirror=mirror, monotonic=time.monotonic)
    follower.step()

    def die(shard: int) -> None:
        if shard == 1:
            raise RegisterUnavailable("the machine stopped")

    before_each_shard(monkeypatch, die)
    with pytest.raises(RegisterUnavailable):
        published.carry_out(rebuild)
    follower._followed = None  # as after a feed that was trimmed
    follower.step()
    assert follower.loads == 2
    assert mirror.table is not None
    assert mirror.table.record(50) == 0
    reader.close()


# Check and repair

Damage = Callable[[redis.Redis], object]


def flip(client: redis.Redis) -> None:
    client.setrange(status_key(0, 1), 8 * 2, b"\xff")


def lose_a_record(client: redis.Redis) -> None:
    client.setrange(status_key(2, 1), 8 * 5, bytes(8))


def cut_a_shard(client: redis.Redis) -> None:
    client.set(status_key(0, 1), bytes(8))


def add_a_record(client: redis.Redis) -> None:
    client.setrange(status_key(0, 1), 8 * 50, b"\x05")
    client.append(status_key(0, 1), bytes(7))


def lose_a_shard(client: redis.Redis) -> None:
    client.delete(status_key(1, 1))


def mistype_a_shard(client: redis.Redis) -> None:
    client.delete(status_key(1, 1))
    client.rpush(status_key(1, 1), "nonsense")


def lengthen_a_shard(client: redis.Redis) -> None:
    client.setrange(status_key(1, 1), SHARD_BYTES, b"\0")


def add_half_a_record(client: redis.Redis) -> None:
    client.append(status_key(1, 1), b"\0\0\0")


def add_a_shard(client: redis.Redis) -> None:
    client.set(status_key(7, 1), b"\x05" * 8)


def add_a_partition(client: redis.Redis) -> None:
    client.set("gatelight:{1}:epoch", "of another time")


def misname_a_shard(client: redis.Redis) -> None:
    client.set("gatelight:{0}:status:01", b"\x05" * 8)


def lose_the_key_set(client: redis.Redis) -> None:
    client.delete(KEY_SET_KEY)


def lose_the_epoch(client: redis.Redis) -> None:
    client.delete(epoch_key(0))


def lose_the_feed(client: redis.Redis) -> None:
    client.delete(feed_key(0))


def mistype_the_feed(client: redis.Redis) -> None:
    client.delete(feed_key(0))
    client.set(feed_key(0), "nonsense")


KINDS: list[tuple[Damage, list[int], list[str]]] = [
    (flip, [2], []),
    (lose_a_record, [FAR], []),
    (cut_a_shard, [1, 2, 3, 4, 5], []),
    (add_a_record, [50], []),
    (lose_a_shard, [RECORDS_PER_SHARD + 1], ["gatelight:{0}:status:1: is missing"]),
    (mistype_a_shard, [RECORDS_PER_SHARD + 1], ["gatelight:{0}:status:1: is no string"]),
    (lengthen_a_shard, [], ["gatelight:{0}:status:1: has a length that no shard has"]),
    (add_half_a_record, [], ["gatelight:{0}:status:1: has a length that no shard has"]),
    (add_a_shard, [], ["gatelight:{0}:status:7: does not belong there"]),
    (add_a_partition, [], ["gatelight:{1}:epoch: does not belong there"]),
    (misname_a_shard, [], ["gatelight:{0}:status:01: does not belong there"]),
    (lose_the_key_set, [], ["gatelight:key_set: not the newest key set of the register"]),
    (lose_the_epoch, [], ["partition 0: the epoch is missing"]),
    (lose_the_feed, [], ["partition 0: the feed lacks what was written"]),
    (mistype_the_feed, [], ["partition 0: a key holds something else than status"]),
]


def test_a_check_of_a_redis_that_is_right_finds_nothing(published: Publishing) -> None:
    done = published.carry_out(check)
    assert (done.is_done, done.shards_done, done.shards_total, done.records) == (True, 3, 3, 7)
    assert (done.differing_records, list(done.differing_indices), list(done.problems)) == (0, [], [])
    assert not done.is_repaired


@pytest.mark.parametrize(("damage", "indices", "problems"), KINDS)
def test_a_check_finds_each_kind_of_difference_and_leaves_it(
    published: Publishing, damage: Damage, indices: list[int], problems: list[str]
) -> None:
    damage(published.redis)
    before = everything(published.redis)
    done = published.carry_out(check)
    assert (done.differing_records, list(done.differing_indices)) == (len(indices), indices)
    assert list(done.problems) == problems
    assert not done.is_repaired
    assert everything(published.redis) == before


@pytest.mark.parametrize(("damage", "indices", "problems"), KINDS)
def test_a_repair_mends_each_kind_of_difference(
    published: Publishing, damage: Damage, indices: list[int], problems: list[str]
) -> None:
    epoch = published.redis.get(epoch_key(0))
    damage(published.redis)
    done = published.carry_out(repair)
    assert (done.is_done, done.is_repaired, done.differing_records) == (True, True, len(indices))
    assert published.status.records() == published.truth()
    assert published.redis.get(epoch_key(0)) not in (None, epoch)
    again = published.carry_out(check)
    assert (again.differing_records, list(again.problems)) == (0, [])


@pytest.mark.parametrize("damage", [flip, add_a_record, lose_a_shard])
def test_a_running_mirror_is_right_after_a_repair(published: Publishing, damage: Damage) -> None:
    damage(published.redis)
    published.issue()
    published.publish_all()
    with closing(Follower(published.redis_url)) as follower:
        truth = {index: published.truth().get(index, 0) for index in (*published.truth(), 50)}
        assert {index: follower.record(index) for index in truth} != truth
        published.carry_out(repair)
        eventually(lambda: {index: follower.record(index) for index in truth} == truth)


def test_a_running_mirror_is_right_even_if_the_issuer_dies_before_the_new_epoch(
    published: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(published.redis)
    lose_a_shard(published.redis)
    with closing(Follower(published.redis_url)) as follower:

        def die(*_: object) -> None:
            raise RegisterUnavailable("the machine stopped")

        monkeypatch.setattr(StatusWriter, "give_epoch", die)
        with pytest.raises(RegisterUnavailable):
            published.carry_out(repair)
        truth = published.truth()
        eventually(lambda: {index: follower.record(index) for index in truth} == truth)


def test_a_repair_of_nothing_changes_nothing(published: Publishing) -> None:
    before = everything(published.redis)
    assert not published.carry_out(repair).is_repaired
    assert everything(published.redis) == before


def test_what_waits_in_the_outbox_is_no_difference(
    published: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    compare = Outbox.compare

    def change_then_compare(outbox: Outbox, number: int, held: bytes) -> object:
        published.set_colour(1, Colour.RED)
        published.set_colour(6, Colour.RED)  # in shard 1
        compared.append(number)
        return compare(outbox, number, held)

    monkeypatch.setattr(Outbox, "compare", change_then_compare)
    assert published.carry_out(check).differing_records == 0
    assert compared == [0, 1, 2]


def test_what_others_keep_in_redis_is_not_judged(published: Publishing) -> None:
    for key in ("gatelight:scans", "gatelight:bundle_limit:5", "gatelight:{0}:something", "somebody else's"):
        published.redis.set(key, "theirs")
    before = everything(published.redis)
    assert list(published.carry_out(check).problems) == []
    assert not published.carry_out(repair).is_repaired
    assert everything(published.redis) == before
    published.redis.delete("gatelight:{0}:something", "somebody else's")


def test_what_is_found_is_told_in_bounded_size(published: Publishing) -> None:
    published.issue_at(1_000)
    published.publish_all()
    published.redis.set(status_key(0, 1), b"\x07" + bytes(7) * 0 + b"\x07" * (8 * 300 - 1))
    for number in range(150):
        published.redis.set(f"gatelight:{{0}}:status:x{number}", "nonsense")
    done = published.carry_out(check)
    assert done.differing_records == 301
    assert list(done.differing_indices) == list(range(100))
    assert len(done.problems) == 100
    published.carry_out(repair)
    assert published.status.records() == published.truth()


def test_a_long_repair_is_fed_in_entries_of_bounded_size(published: Publishing) -> None:
    published.redis.set(status_key(0, 1), b"\x07" * 8 * 10_000)
    before = len(published.status.feed())
    assert published.carry_out(repair).differing_records == 10_000
    fed = [len(entry.updates) for entry in published.status.feed()[before:]]
    assert [count for count in fed if count] == [4_096, 4_096, 1_808]


# Jobs


def test_one_job_at_a_time(published: Publishing) -> None:
    with closing(published.publisher.carry_out(check)) as first:
        caller = threading.Thread(target=next, args=(first,))
        caller.start()
        eventually(lambda: published.publisher._job is not None)
        with pytest.raises(FailedPrecondition, match="already"):
            next(published.publisher.carry_out(rebuild))
        published.publisher.turn()
        caller.join()


def test_a_job_ends_when_its_caller_goes_away(published: Publishing) -> None:
    epoch = published.redis.get(epoch_key(0))
    with published.running() as publisher:
        running = publisher.carry_out(rebuild)
        next(running)
        running.close()
        eventually(lambda: publisher._job is None)
    assert published.status.records() == published.truth()
    assert published.carry_out(check).differing_records == 0
    assert published.redis.get(epoch_key(0)) is not None
    assert epoch is not None


def test_a_caller_hears_each_second_of_a_job_that_makes_no_progress(
    published: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("issuer.cache_job._REPEAT_S", 0.01)
    stuck = published.publisher.carry_out(check)  # nobody turns the publisher
    assert [next(stuck).shards_done for _ in range(3)] == [0, 0, 0]
    stuck.close()
    published.publisher.turn()
    assert published.publisher._job is None


def test_the_redis_of_another_issuer_is_left_alone(published: Publishing) -> None:
    published.redis.set(epoch_key(0), new_epoch(b"stranger", b"e"))
    before = everything(published.redis)
    for steps in (check, repair, rebuild):
        with pytest.raises(FailedPrecondition, match="another issuer"):
            published.carry_out(steps)
    assert everything(published.redis) == before
    published.redis.delete(epoch_key(0))


def test_a_job_on_a_redis_that_is_down_or_frozen_fails_in_bounded_time(
    sqlite_database: Database, own_redis: EmbeddedRedis
) -> None:
    published = Publishing(sqlite_database, own_redis.url)
    published.issue(3)
    with published.running() as publisher:
        eventually(lambda: publisher.wait_until_published(published.outbox.last_seq()))
        for disturb, mend in ((own_redis.freeze, own_redis.thaw), (own_redis.kill, own_redis.restart)):
            disturb()
            for steps in (check, rebuild, repair):
                begun = time.monotonic()
                with pytest.raises(CacheUnavailable):
                    list(publisher.carry_out(steps))
                assert time.monotonic() - begun < 4  # a second for an answer, and some for a busy machine
            mend()
            eventually(publisher.publish_key_set)

        def is_rebuilt() -> bool:
            with contextlib.suppress(FailedPrecondition):  # it does so by itself as well
                return list(publisher.carry_out(rebuild))[-1].is_done
            return False

        assert eventually(is_rebuilt)
    assert published.status.records() == published.truth()
    published.close()


def test_a_redis_that_freezes_in_the_middle_of_a_rebuild_is_right_afterwards(
    sqlite_database: Database, own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = Publishing(sqlite_database, own_redis.url)
    published.issue(3)
    published.issue_at(RECORDS_PER_SHARD)
    with published.running() as publisher:
        assert publisher.wait_until_published(published.set_colour(1, Colour.GREEN))
        before_each_shard(monkeypatch, lambda shard: own_redis.freeze() if shard == 1 else None)
        with pytest.raises(CacheUnavailable):
            list(publisher.carry_out(rebuild))
        published.set_colour(1, Colour.RED)
        own_redis.thaw()
        monkeypatch.undo()
        eventually(lambda: published.colour_in_redis(1) is Colour.RED)
    assert published.status.records() == published.truth()
    published.close()


def test_a_job_ends_with_the_issuer(published: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = StatusWriter(published.redis_url, root_key_id=b"8 bytes.", partitions=1)
    publisher = Publisher(outbox=published.outbox, keys=published.keys, writer=writer)
    publisher._thread.start = lambda: None  # type: ignore[method-assign]
    running = publisher.carry_out(check)
    next(running)
    publisher._thread.join = lambda *_: None  # type: ignore[method-assign]
    publisher.stop()
    with pytest.raises(CacheUnavailable, match="stops"):
        next(running)
    with pytest.raises(CacheUnavailable, match="stops"):
        next(publisher.carry_out(check))
