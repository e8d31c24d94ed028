"""The memory that supervisor and workers share: one descriptor without a name, handed down to every worker.

    header       what lies where follows from these numbers: magic, partitions, capacity, rows
    clock        how far Unix time is ahead of our clock          verifier.host.steady_clock
    partitions   generation and age of each partition's mirror    verifier.host.shared_mirror
    rows         what each worker counts, and how it is           verifier.host.rows
    documents    key sets, gate list                              verifier.host.documents
    mirror       two halves, each a whole table of records        verifier.host.shared_mirror

A page that was never written costs no memory. Nothing has a name in a file system, so nothing is left behind
when the last process that has it is gone, however it went. Only the supervisor can write: a worker's mapping
is read-only but for the rows.
"""

import contextlib
import mmap
import os
import sys
import tempfile
import time
from dataclasses import dataclass

from verifier.boot_clock import boot_time_s
from verifier.errors import VerifierError
from verifier.host.documents import Document, document_bytes
from verifier.host.rows import ROW_BYTES, Row
from verifier.wire.key_set import MAX_SIGNED_KEY_SET_BYTES
from verifier.wire.status_store import RECORDS_PER_SHARD, SHARD_BYTES

# As many as KeySets keeps: a worker that starts now comes to know what an older one knows.
MAX_KEY_SETS = 4
MAX_KEY_SETS_BYTES = MAX_KEY_SETS * (4 + MAX_SIGNED_KEY_SET_BYTES)
MAX_GATE_LIST_BYTES = 16 << 20

_MAGIC = int.from_bytes(b"GLshare2", "little")
_HEADER_BYTES = 8 * 4
_CLOCK_BYTES = 8
_PARTITION_BYTES = 8 * 2


class SharedMemoryError(VerifierError):
    """The descriptor is not of memory that this release of the verifier laid out."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies where, in bytes from the start. Rows and halves begin at pages of their own."""

    partitions: int
    capacity: int  # records
    rows: int

    @property
    def rows_at(self) -> int:
        """Where the rows begin."""
        return _whole_pages(_HEADER_BYTES + _CLOCK_BYTES + _PARTITION_BYTES * self.partitions)

    @property
    def rows_bytes(self) -> int:
        """How long the rows are, to the end of their last page."""
        return _whole_pages(ROW_BYTES * self.rows)

    @property
    def key_sets_at(self) -> int:
        """Where the document of key sets begins."""
        return self.rows_at + self.rows_bytes

    @property
    def gate_list_at(self) -> int:
        """Where the document of the gate list begins."""
        return self.key_sets_at + _whole_pages(document_bytes(MAX_KEY_SETS_BYTES))

    @property
    def half_bytes(self) -> int:
        """How long half a mirror is: whole shards."""
        return -(-self.capacity // RECORDS_PER_SHARD) * SHARD_BYTES

    @property
    def halves_at(self) -> int:
        """Where the mirror begins."""
        return self.gate_list_at + _whole_pages(document_bytes(MAX_GATE_LIST_BYTES))

    @property
    def total_bytes(self) -> int:
        """How long it all is."""
        return self.halves_at + 2 * self.half_bytes


class SharedMemory:
    """The parts of the memory, as views."""

    def __init__(self, descriptor: int, layout: Layout, *, is_writable: bool) -> None:
        """Map what create() or attach() found sound."""
        self.descriptor = descriptor
        self.layout = layout
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0)
        self.pages = mmap.mmap(descriptor, layout.total_bytes, flags=mmap.MAP_SHARED, prot=prot)
        whole = memoryview(self.pages)
        at = _HEADER_BYTES + _CLOCK_BYTES
        self.clock_lead = whole[_HEADER_BYTES:at].cast("d")
        self.generations = whole[at : at + 8 * layout.partitions].cast("Q")
        at += 8 * layout.partitions
        self.current_at_s = whole[at : at + 8 * layout.partitions].cast("d")
        at = layout.halves_at
        # Cut at the capacity, so that an index beyond it is an IndexError and no neighbour's record.
        self.halves = tuple(
            whole[start : start + 8 * layout.capacity] for start in (at, at + layout.half_bytes)
        )
        self.key_sets = _document(whole, layout.key_sets_at, MAX_KEY_SETS_BYTES)
        self.gate_list = _document(whole, layout.gate_list_at, MAX_GATE_LIST_BYTES)
        rows = memoryview(
            mmap.mmap(descriptor, layout.rows_bytes, flags=mmap.MAP_SHARED, offset=layout.rows_at)
        )
        self.rows = tuple(
            Row(rows[start : start + ROW_BYTES]) for start in range(0, ROW_BYTES * layout.rows, ROW_BYTES)
        )

    @classmethod
    def create(cls, *, partitions: int, capacity: int, rows: int) -> "SharedMemory":
        """Return new memory that holds zeros."""
        layout = Layout(partitions, capacity, rows)
        descriptor = _new_file()
        os.ftruncate(descriptor, layout.total_bytes)
        shared = cls(descriptor, layout, is_writable=True)
        header = memoryview(shared.pages)[:_HEADER_BYTES].cast("Q")
        header[1], header[2], header[3] = partitions, capacity, rows
        header[0] = _MAGIC
        shared.clock_lead[0] = _lead()
        return shared

    @classmethod
    def attach(cls, descriptor: int) -> "SharedMemory":
        """Return the memory behind a descriptor that was inherited; raises SharedMemoryError."""
        header = memoryview(os.pread(descriptor, _HEADER_BYTES, 0))
        if len(header) != _HEADER_BYTES or header.cast("Q")[0] != _MAGIC:
            raise SharedMemoryError("the descriptor is not of a verifier's shared memory")
        layout = Layout(*header.cast("Q")[1:])
        if os.fstat(descriptor).st_size != layout.total_bytes:
            raise SharedMemoryError("the shared memory is of another release of the verifier")
        return cls(descriptor, layout, is_writable=False)

    def used_bytes(self) -> int:
        """Return how much memory the pages take that were ever written."""
        return 512 * os.fstat(self.descriptor).st_blocks

    def has_data(self, half: int, shard: int) -> bool:
        """Tell whether a shard of a half was ever written since it was cleared, without reading it."""
        at = self.layout.halves_at + half * self.layout.half_bytes + shard * SHARD_BYTES
        try:
            return os.lseek(self.descriptor, at, os.SEEK_DATA) < at + SHARD_BYTES
        except OSError:  # nothing from there to the end
            return False

    def clear(self, half: int, start: int, length: int) -> None:
        """Make a part of a half zeros again and give its pages back; both numbers are of whole shards."""
        at = self.layout.halves_at + half * self.layout.half_bytes + start
        if sys.platform == "linux":
            self.pages.madvise(mmap.MADV_REMOVE, at, length)
            return
        whole, zeros = memoryview(self.pages), bytes(SHARD_BYTES)
        for shard_at in range(at, at + length, SHARD_BYTES):
            shard = whole[shard_at : shard_at + SHARD_BYTES]
            if shard != zeros:  # so that a page that was never written stays that way
                shard[:] = zeros


def _lead() -> float:
    """Return how far Unix time is ahead of our clock, by the one of some readings that took least."""
    readings = [(boot_time_s(), time.time(), boot_time_s()) for _ in range(5)]
    before_s, wall_s, _ = min(readings, key=lambda reading: reading[2] - reading[0])
    return wall_s - before_s


def _document(whole: memoryview, at: int, capacity: int) -> Document:
    return Document(whole[at : at + document_bytes(capacity)])


def _whole_pages(length: int) -> int:
    return -(-length // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY


def _new_file() -> int:
    if sys.platform == "linux":
        return os.memfd_create("gatelight-verifier")
    descriptor, path = tempfile.mkstemp(prefix="gatelight-verifier-")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - of a path that is text
    return descriptor
