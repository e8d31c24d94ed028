"""The mirror in memory."""

from collections.abc import Callable

import pytest

from verifier.errors import NotReady
from verifier.mirror import HeapTable, Mirror
from verifier.wire.status_record import NEVER_HEARD_OF
from verifier.wire.status_store import RECORDS_PER_SHARD


def test_a_new_table_has_heard_of_nobody() -> None:
    assert HeapTable(16).record(3) == NEVER_HEARD_OF


def test_an_update_is_read_back_and_touches_no_neighbour() -> None:
    table = HeapTable(16)
    table.apply([(3, 2**64 - 1)])
    assert [table.record(index) for index in (2, 3, 4)] == [NEVER_HEARD_OF, 2**64 - 1, NEVER_HEARD_OF]


def test_a_shard_lands_at_its_place_and_may_end_early() -> None:
    table = HeapTable(3 * RECORDS_PER_SHARD)
    table.load_shard(1, (7).to_bytes(8, "little") + (8).to_bytes(8, "little"))
    assert table.record(RECORDS_PER_SHARD) == 7
    assert table.record(RECORDS_PER_SHARD + 1) == 8
    assert table.record(RECORDS_PER_SHARD + 2) == NEVER_HEARD_OF


def test_beyond_its_capacity_a_table_has_heard_of_nobody_and_counts_what_it_left_out() -> None:
    table = HeapTable(4)
    assert table.apply([(4, 9), (2**32 - 1, 9), (3, 9)]) == 2
    assert table.load_shard(0, bytes(8 * 6)) == 2
    assert table.load_shard(5, bytes(8 * 6)) == 6
    assert table.record(4) == NEVER_HEARD_OF


def test_a_mirror_without_its_partitions_is_not_ready() -> None:
    mirror = Mirror(partitions=2, monotonic=lambda: 0.0)
    mirror.partitions[0].table = HeapTable(4)
    assert not mirror.is_loaded
    with pytest.raises(NotReady):
        mirror.status_age_s()
    with pytest.raises(NotReady):
        mirror.look_up(RECORDS_PER_SHARD)  # of partition 1


def test_each_partition_holds_its_shards_and_its_own_age() -> None:
    mirror = Mirror(partitions=2, monotonic=lambda: 100.0)
    for number, partition in enumerate(mirror.partitions):
        partition.table = HeapTable(4 * RECORDS_PER_SHARD)
        partition.current_at_s = 90.0 + number
    mirror.partitions[0].table.apply([(2 * RECORDS_PER_SHARD, 5)])  # type: ignore[union-attr]
    mirror.partitions[1].table.apply([(3 * RECORDS_PER_SHARD, 6)])  # type: ignore[union-attr]
    assert mirror.look_up(2 * RECORDS_PER_SHARD) == (5, 10.0)
    assert mirror.look_up(3 * RECORDS_PER_SHARD) == (6, 9.0)
    assert mirror.status_age_s() == 10.0


class Overtaken(HeapTable):
    """A table during whose reading the follower's thread has its turn."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.meanwhile: Callable[[], None] = lambda: None

    def record(self, credential_index: int) -> int:
        found = super().record(credential_index)
        self.meanwhile()
        return found


def test_an_old_record_never_has_the_age_of_the_new_mirror() -> None:
    mirror = Mirror(partitions=1, monotonic=lambda: 10_000.0)
    (partition,) = mirror.partitions
    old, new = Overtaken(4), HeapTable(4)
    old.apply([(1, 11)])
    new.apply([(1, 13)])
    partition.swap_in(old, 2_800.0)
    old.meanwhile = lambda: partition.swap_in(new, 10_000.0)
    assert mirror.look_up(1) == (11, 7_200.0)
    assert mirror.look_up(1) == (13, 0.0)


def test_an_age_is_never_negative() -> None:
    mirror = Mirror(partitions=1, monotonic=lambda: 0.0)
    (partition,) = mirror.partitions
    partition.swap_in(HeapTable(4), 99.0)

    def read_clock_then_lose_the_processor() -> float:
        partition.current_at_s = 100.004
        return 100.0

    mirror._monotonic = read_clock_then_lose_the_processor
    assert mirror.look_up(1)[1] == 1.0
    partition.current_at_s = 99.0
    assert mirror.status_age_s() == 1.0
