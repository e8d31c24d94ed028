"""The mirror in memory: one suite for the one of a process and for the one that processes share."""

from collections.abc import Callable

import pytest

from verifier.errors import NotReady
from verifier.host.shared import SharedMemory
from verifier.host.shared_mirror import SharedMirror, SharedPartition
from verifier.mirror import (
    FollowedPartition,
    HeapTable,
    Mirror,
    PartitionMirror,
    StatusMirror,
    StatusTable,
)
from verifier.wire.status_record import NEVER_HEARD_OF
from verifier.wire.status_store import RECORDS_PER_SHARD


class FakeMonotonic:
    """A clock that stands still until it is moved; `meanwhile` happens once, right after a look at it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.meanwhile: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        now, meanwhile = self.now, self.meanwhile
        self.meanwhile = lambda: None
        meanwhile()
        return now


class OnHeap:
    """The mirror of one process."""

    def __init__(self, *, capacity: int, partitions: int = 1) -> None:
        self.clock = FakeMonotonic()
        self._capacity = capacity
        self._mirror = Mirror(partitions=partitions, monotonic=self.clock)
        self.mirror: StatusMirror = self._mirror
        self.partitions: tuple[FollowedPartition, ...] = self._mirror.partitions

    def new_table(self, partition: int = 0) -> StatusTable:  # noqa: ARG002 - as in shared memory
        return HeapTable(self._capacity)


class InSharedMemory:
    """The mirror of several processes, read through a second mapping, as another process has it."""

    def __init__(self, *, capacity: int, partitions: int = 1) -> None:
        self.clock = FakeMonotonic()
        self.memory = SharedMemory.create(partitions=partitions, capacity=capacity, rows=1)
        self.mirror: StatusMirror = SharedMirror(
            SharedMemory.attach(self.memory.descriptor), monotonic=self.clock
        )
        self.shared_partitions = tuple(
            SharedPartition(self.memory, number, monotonic=self.clock) for number in range(partitions)
        )
        self.partitions: tuple[FollowedPartition, ...] = self.shared_partitions

    def new_table(self, partition: int = 0) -> StatusTable:
        return self.shared_partitions[partition].new_table()


Kind = type[OnHeap] | type[InSharedMemory]
both = pytest.mark.parametrize("kind", [OnHeap, InSharedMemory])


def swap_in(mirror: OnHeap | InSharedMemory, records: dict[int, int], current_at_s: float = 99.0) -> None:
    table = mirror.new_table()
    table.apply(records.items())
    mirror.partitions[0].swap_in(table, current_at_s)


@both
def test_a_new_table_has_heard_of_nobody(kind: Kind) -> None:
    assert kind(capacity=16).new_table().record(3) == NEVER_HEARD_OF


@both
def test_an_update_is_read_back_and_touches_no_neighbour(kind: Kind) -> None:
    mirror = kind(capacity=16)
    swap_in(mirror, {3: 2**64 - 1})
    read = [mirror.mirror.look_up(index)[0] for index in (2, 3, 4)]
    assert read == [NEVER_HEARD_OF, 2**64 - 1, NEVER_HEARD_OF]


@both
def test_an_update_to_the_table_in_use_is_read_at_once(kind: Kind) -> None:
    mirror = kind(capacity=16)
    swap_in(mirror, {3: 5})
    table = mirror.partitions[0].table
    assert table is not None
    table.apply([(3, 6)])
    assert mirror.mirror.look_up(3)[0] == 6


@both
def test_a_shard_lands_at_its_place_and_may_end_early(kind: Kind) -> None:
    table = kind(capacity=3 * RECORDS_PER_SHARD).new_table()
    table.load_shard(1, (7).to_bytes(8, "little") + (8).to_bytes(8, "little"))
    assert table.record(RECORDS_PER_SHARD) == 7
    assert table.record(RECORDS_PER_SHARD + 1) == 8
    assert table.record(RECORDS_PER_SHARD + 2) == NEVER_HEARD_OF


@both
@pytest.mark.parametrize("capacity", [1, 4, RECORDS_PER_SHARD, RECORDS_PER_SHARD + 1])
def test_beyond_its_capacity_a_mirror_has_heard_of_nobody_and_counts_what_it_left_out(
    kind: Kind, capacity: int
) -> None:
    mirror = kind(capacity=capacity)
    table = mirror.new_table()
    assert table.apply([(capacity, 9), (2**32 - 1, 9), (capacity - 1, 9)]) == 2
    assert table.load_shard(5, bytes(8 * 6)) == 6
    mirror.partitions[0].swap_in(table, 0.0)
    assert mirror.mirror.look_up(capacity - 1)[0] == 9
    assert mirror.mirror.look_up(capacity)[0] == NEVER_HEARD_OF
    assert mirror.mirror.look_up(2**32 - 1)[0] == NEVER_HEARD_OF


@both
def test_a_shard_that_goes_beyond_the_capacity_is_cut(kind: Kind) -> None:
    mirror = kind(capacity=4)
    table = mirror.new_table()
    assert table.load_shard(0, b"\1" * (8 * 6)) == 2
    mirror.partitions[0].swap_in(table, 0.0)
    swap_in(mirror, {0: 7})
    assert mirror.mirror.look_up(0)[0] == 7


@both
def test_a_mirror_without_its_partitions_is_not_ready(kind: Kind) -> None:
    mirror = kind(capacity=4, partitions=2)
    mirror.partitions[0].swap_in(mirror.new_table(), 0.0)
    assert not mirror.mirror.is_loaded
    with pytest.raises(NotReady):
        mirror.mirror.status_age_s()
    with pytest.raises(NotReady):
        mirror.mirror.look_up(RECORDS_PER_SHARD)  # of partition 1


@both
def test_each_partition_holds_its_shards_and_its_own_age(kind: Kind) -> None:
    mirror = kind(capacity=4 * RECORDS_PER_SHARD, partitions=2)
    for number, partition in enumerate(mirror.partitions):
        table = mirror.new_table(number)
        table.apply([((2 + number) * RECORDS_PER_SHARD, 5 + number)])
        partition.swap_in(table, 90.0 + number)
    assert mirror.mirror.look_up(2 * RECORDS_PER_SHARD) == (5, 10.0)
    assert mirror.mirror.look_up(3 * RECORDS_PER_SHARD) == (6, 9.0)
    assert mirror.mirror.status_age_s() == 10.0


@both
def test_a_partition_that_is_loaded_again_leaves_the_others_alone(kind: Kind) -> None:
    mirror = kind(capacity=4 * RECORDS_PER_SHARD, partitions=2)
    for number, partition in enumerate(mirror.partitions):
        table = mirror.new_table(number)
        table.apply([(number * RECORDS_PER_SHARD, 5), ((2 + number) * RECORDS_PER_SHARD, 6)])
        partition.swap_in(table, 90.0)
    for turn in range(3):
        table = mirror.new_table(0)
        table.apply([(0, 10 + turn)])
        mirror.partitions[0].swap_in(table, 95.0)
        shards = [mirror.mirror.look_up(shard * RECORDS_PER_SHARD)[0] for shard in range(4)]
        assert shards == [10 + turn, 5, NEVER_HEARD_OF, 6]


@both
def test_nothing_of_the_table_before_is_in_the_next_one(kind: Kind) -> None:
    mirror = kind(capacity=16)
    for turn in range(4):
        swap_in(mirror, {turn: 7})
        assert [mirror.mirror.look_up(index)[0] for index in range(4)] == [7 * (n == turn) for n in range(4)]


@both
def test_a_load_that_was_broken_off_leaves_nothing_in_the_next_one(kind: Kind) -> None:
    mirror = kind(capacity=16)
    swap_in(mirror, {1: 7})
    mirror.new_table().apply([(2, 8)])
    assert mirror.mirror.look_up(2)[0] == NEVER_HEARD_OF
    swap_in(mirror, {3: 9})
    assert [mirror.mirror.look_up(index)[0] for index in (1, 2, 3)] == [0, 0, 9]


@both
def test_an_old_record_never_has_the_age_of_the_new_mirror(kind: Kind) -> None:
    mirror = kind(capacity=4)
    mirror.clock.now = 10_000.0
    swap_in(mirror, {1: 11}, 2_800.0)
    mirror.clock.meanwhile = lambda: swap_in(mirror, {1: 13}, 10_000.0)
    assert mirror.mirror.look_up(1)[1] == 7_200.0
    assert mirror.mirror.look_up(1) == (13, 0.0)


@both
def test_an_age_is_never_negative(kind: Kind) -> None:
    mirror = kind(capacity=4)
    swap_in(mirror, {}, 99.0)

    def lose_the_processor() -> None:
        mirror.partitions[0].current_at_s = 100.004

    mirror.clock.meanwhile = lose_the_processor
    assert mirror.mirror.look_up(1)[1] == 1.0
    mirror.partitions[0].current_at_s = 99.0
    mirror.clock.meanwhile = lose_the_processor
    assert mirror.mirror.status_age_s() == 1.0


class Overtaken(HeapTable):
    """A table during whose reading the follower's thread has its turn."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.meanwhile: Callable[[], None] = lambda: None

    def record(self, credential_index: int) -> int:
        found = super().record(credential_index)
        self.meanwhile()
        return found


def test_a_table_that_is_replaced_while_it_is_read_tells_its_own_age() -> None:
    mirror = Mirror(partitions=1, monotonic=lambda: 10_000.0)
    partition: PartitionMirror = mirror.partitions[0]
    old = Overtaken(4)
    old.apply([(1, 11)])
    partition.swap_in(old, 2_800.0)
    old.meanwhile = lambda: partition.swap_in(HeapTable(4), 10_000.0)
    assert mirror.look_up(1) == (11, 7_200.0)
