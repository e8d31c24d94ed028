"""Memory that processes share; that it holds a mirror like any other: tests/verifier/test_mirror.py."""

import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest

from verifier.counters import Counter
from verifier.host.documents import Document, DocumentUnsettled, document_bytes
from verifier.host.rows import Phase
from verifier.host.shared import MAX_GATE_LIST_BYTES, SharedMemory, SharedMemoryError
from verifier.host.shared_mirror import FREE_AFTER_S, SharedMirror, SharedPartition
from verifier.wire.status_store import RECORDS_PER_SHARD, SHARD_BYTES

_MIB = 1 << 20


def test_memory_of_another_release_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"short", bytes(4_096)):
        (tmp_path / "file").write_bytes(content)
        descriptor = os.open(tmp_path / "file", os.O_RDWR)
        with pytest.raises(SharedMemoryError):
            SharedMemory.attach(descriptor)
        os.close(descriptor)
    shared = SharedMemory.create(partitions=1, capacity=16, rows=1)
    os.ftruncate(shared.descriptor, shared.layout.total_bytes + 1)
    with pytest.raises(SharedMemoryError, match="release"):
        SharedMemory.attach(shared.descriptor)


def test_another_process_reads_what_was_written_and_writes_its_row_alone() -> None:
    shared = SharedMemory.create(partitions=2, capacity=RECORDS_PER_SHARD + 8, rows=2)
    for number in (0, 1):
        partition = SharedPartition(shared, number, monotonic=lambda: 0.0)
        table = partition.new_table()
        table.apply([(number * RECORDS_PER_SHARD + 7, 11 + number)])
        partition.swap_in(table, 5.0)
    shared.key_sets.write(b"key sets")
    script = f"""
import sys
from verifier.host.rows import Phase
from verifier.host.shared import SharedMemory
from verifier.host.shared_mirror import SharedMirror
shared = SharedMemory.attach({shared.descriptor})
mirror = SharedMirror(shared, monotonic=lambda: 8.0)
assert mirror.look_up(7) == (11, 3.0)
assert mirror.look_up({RECORDS_PER_SHARD + 7}) == (12, 3.0)
assert shared.key_sets.read() == b"key sets"
shared.rows[1].counters.add(7)
shared.rows[1].phase = Phase.SERVING
for write in (lambda: shared.key_sets.write(b"x"), lambda: shared.generations.__setitem__(0, 9)):
    try:
        write()
    except TypeError:
        continue
    sys.exit("a worker could write what is not its own")
"""
    subprocess.run([sys.executable, "-c", script], pass_fds=[shared.descriptor], check=True, timeout=60)
    assert shared.rows[1].counters.get(7) == 1
    assert shared.rows[1].phase is Phase.SERVING
    assert shared.rows[0].phase is Phase.EMPTY


def _load(partition: SharedPartition, shards: range) -> None:
    table = partition.new_table()
    for shard in shards:
        table.load_shard(shard, b"\1" * SHARD_BYTES)
    partition.swap_in(table, 0.0)


@pytest.mark.parametrize("partitions", [1, 2])
def test_the_pages_of_a_half_out_of_use_are_given_back(partitions: int) -> None:
    now = [0.0]
    shared = SharedMemory.create(partitions=partitions, capacity=16 * RECORDS_PER_SHARD, rows=1)
    partition = SharedPartition(shared, 0, monotonic=lambda: now[0])
    shards = range(0, 16, partitions)
    _load(partition, shards)
    one = shared.used_bytes()
    assert len(shards) * SHARD_BYTES <= one < len(shards) * SHARD_BYTES + _MIB
    for _ in range(3):
        _load(partition, shards)
        assert shared.used_bytes() > 1.5 * one
        now[0] += FREE_AFTER_S - 1
        partition.free_old_half()
        assert shared.used_bytes() > 1.5 * one
        now[0] += 1
        partition.free_old_half()
        assert shared.used_bytes() <= one + 4_096


def test_a_new_load_is_not_freed_with_the_half_that_it_is_in() -> None:
    now = [0.0]
    shared = SharedMemory.create(partitions=1, capacity=16, rows=1)
    partition = SharedPartition(shared, 0, monotonic=lambda: now[0])
    _load(partition, range(1))
    _load(partition, range(1))
    table = partition.new_table()
    table.apply([(3, 7)])
    now[0] += FREE_AFTER_S
    partition.free_old_half()
    partition.swap_in(table, 0.0)
    assert SharedMirror(shared, monotonic=lambda: 0.0).look_up(3)[0] == 7


def test_a_table_that_was_not_the_last_one_made_is_not_swapped_in() -> None:
    shared = SharedMemory.create(partitions=1, capacity=16, rows=1)
    partition = SharedPartition(shared, 0, monotonic=lambda: 0.0)
    table = partition.new_table()
    partition.swap_in(table, 0.0)
    with pytest.raises(ValueError, match="last"):
        partition.swap_in(table, 0.0)


def test_the_memory_has_no_name() -> None:
    shared = SharedMemory.create(partitions=1, capacity=16, rows=1)
    assert os.fstat(shared.descriptor).st_nlink == 0


def test_a_document_is_replaced_whole_and_its_version_rises() -> None:
    document = Document(memoryview(bytearray(document_bytes(100))))
    assert (document.version, document.read()) == (0, b"")
    for version, content in enumerate((b"first", b"x" * 100, b"", b"third"), 1):
        document.write(content)
        assert (document.version, document.read()) == (version, content)


def test_a_document_that_is_too_long_is_refused_and_the_old_one_stays() -> None:
    document = Document(memoryview(bytearray(document_bytes(104))))
    document.write(b"old")
    with pytest.raises(ValueError, match="at most 104"):
        document.write(bytes(105))
    assert document.read() == b"old"


def test_a_writer_frozen_in_the_middle_holds_up_nobody() -> None:
    memory = memoryview(bytearray(document_bytes(100)))
    document = Document(memory)
    document.write(b"first")  # version 1, in the second slot
    memory[64 : 64 + 100] = b"?" * 100  # what a writer did to the first slot before it was frozen
    assert document.read() == b"first"


def test_a_damaged_document_is_not_handed_out() -> None:
    memory = memoryview(bytearray(document_bytes(100)))
    document = Document(memory)
    document.write(b"first")
    memory[len(memory) - 104] ^= 1
    with pytest.raises(DocumentUnsettled):
        document.read()


def test_a_gate_list_of_the_greatest_length_fits() -> None:
    shared = SharedMemory.create(partitions=1, capacity=16, rows=1)
    shared.gate_list.write(bytes(MAX_GATE_LIST_BYTES))
    assert len(shared.gate_list.read()) == MAX_GATE_LIST_BYTES


def test_counts_outlive_a_worker_and_levels_do_not() -> None:
    row = SharedMemory.create(partitions=1, capacity=16, rows=1).rows[0]
    row.counters.add(Counter.CALLS, 5)
    row.counters.add(Counter.STREAMS_OPEN, 3)
    row.pid, row.phase, row.heartbeat_s = 77, Phase.SERVING, 9.0
    row.ask_to_drain()
    row.clear()
    assert (row.counters.get(Counter.CALLS), row.counters.get(Counter.STREAMS_OPEN)) == (5, 0)
    assert (row.pid, row.phase, row.heartbeat_s, row.is_to_drain) == (0, Phase.EMPTY, 0.0, False)


_CAPACITY = 4_096
_WRITES = 3_000


def _write_for_others(descriptor: int, has_begun: int) -> None:
    """Write documents and mirrors of one pattern each, so that any mixture of two shows."""
    shared = SharedMemory.attach(descriptor)
    shared = SharedMemory(descriptor, shared.layout, is_writable=True)
    partition = SharedPartition(shared, 0, monotonic=lambda: 0.0)
    for number in range(1, _WRITES):
        shared.key_sets.write(bytes([number % 251]) * (1 + number % 10_000))
        table = partition.new_table()
        pattern = number.to_bytes(4, "little") * 2
        table.load_shard(0, pattern * _CAPACITY)
        # Younger with each load: the age of a load tells its least number.
        partition.swap_in(table, float(number))
        partition.free_old_half()
        if number == 1:
            os.write(has_begun, b".")


def test_readers_in_another_process_see_no_mixture_of_two_writes() -> None:
    shared = SharedMemory.create(partitions=1, capacity=_CAPACITY, rows=1)
    mirror = SharedMirror(SharedMemory.attach(shared.descriptor), monotonic=lambda: 0.0)
    begun, has_begun = os.pipe()
    writer = get_context("fork").Process(target=_write_for_others, args=(shared.descriptor, has_begun))
    writer.start()
    os.read(begun, 1)
    seen: set[int] = set()
    document = shared.key_sets
    for turn in range(200_000):
        bits, minus_number = mirror.look_up(turn % _CAPACITY)
        number = bits & 0xFFFF_FFFF
        assert number == bits >> 32
        assert number >= -minus_number  # a record older than its age says would open a gate
        seen.add(number)
        if turn % 16 == 0:
            try:
                content = document.read()
            except DocumentUnsettled:
                continue
            assert content == content[:1] * len(content)
        if not writer.is_alive():
            break
    writer.join(60)
    assert writer.exitcode == 0
    assert len(seen) > 1
    assert mirror.look_up(0)[0] & 0xFFFF_FFFF == _WRITES - 1
    os.close(begun)
    os.close(has_begun)
