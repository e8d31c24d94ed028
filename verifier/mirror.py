"""The status mirror: every status record in memory, so that a scan costs an array read and no round trip.

One table a partition, replaced whole when it is loaded again. Readers take no lock: they read one
reference, and one aligned 8-byte value that is stored at once, so nobody sees half a record. Writing
is for the thread that follows the feed (verifier.mirror_follower).

A verifier's workers share a mirror in memory of the whole group (verifier.host.shared_mirror). The one here
is of one process: for tests, and for tools that follow the status beside a verifier.
"""

import mmap
import sys
from collections.abc import Callable, Iterable
from typing import Protocol

from verifier.errors import NotReady
from verifier.wire.status_record import NEVER_HEARD_OF, RECORD_BYTES
from verifier.wire.status_store import RECORDS_PER_SHARD, partition_of, shard_of

# 512 MiB of address space. Pages that hold no record cost no memory, so only more than 67 million
# credentials need another number.
DEFAULT_CAPACITY = 1 << 26


class StatusTable(Protocol):
    """Storage for the records of a partition: the seam for memory shared between processes."""

    def record(self, credential_index: int) -> int:
        """Return the 64 bits of a record; NEVER_HEARD_OF for an index beyond the capacity."""

    def load_shard(self, shard: int, content: bytes) -> int:
        """Store the records of a shard; return how many were left out, being beyond the capacity."""

    def apply(self, updates: Iterable[tuple[int, int]]) -> int:
        """Store pairs of credential_index and record; return how many were left out."""


class MemoryTable:
    """A StatusTable in memory that is given: 8 bytes a record, zeros at first."""

    def __init__(self, memory: memoryview) -> None:
        if sys.byteorder != "little":
            raise NotImplementedError("records are little-endian, and are read without being swapped")
        self._bytes = memory
        self._records = memory.cast("Q")

    def record(self, credential_index: int) -> int:
        """Return the 64 bits of a record; NEVER_HEARD_OF for an index beyond the capacity."""
        try:
            return self._records[credential_index]
        except IndexError:
            return NEVER_HEARD_OF

    def load_shard(self, shard: int, content: bytes) -> int:
        """Store the records of a shard; return how many were left out, being beyond the capacity."""
        start = shard * RECORDS_PER_SHARD * RECORD_BYTES
        kept = min(len(content), max(0, len(self._bytes) - start))
        self._bytes[start : start + kept] = content[:kept]
        return (len(content) - kept) // RECORD_BYTES

    def apply(self, updates: Iterable[tuple[int, int]]) -> int:
        """Store pairs of credential_index and record; return how many were left out."""
        records = self._records
        capacity = len(records)
        left_out = 0
        for credential_index, record in updates:
            if credential_index < capacity:
                records[credential_index] = record
            else:
                left_out += 1
        return left_out


class HeapTable(MemoryTable):
    """A StatusTable in the memory of this process, filled page by page as shards come."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        # Private, because reading an untouched page of shared memory would allocate it.
        pages = mmap.mmap(-1, capacity * RECORD_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        super().__init__(memoryview(pages))


class StatusMirror(Protocol):
    """The mirror as a scan sees it."""

    @property
    def is_loaded(self) -> bool:
        """Tell whether every partition has been loaded once."""

    def look_up(self, credential_index: int) -> tuple[int, float]:
        """Return a credential's record and the age of its status in seconds; raises NotReady."""

    def status_age_s(self) -> float:
        """Return the age of the oldest partition's status in seconds; raises NotReady."""


class FollowedPartition(Protocol):
    """The mirror of one partition as its follower sees it."""

    current_at_s: float  # on the clock of ages (verifier.boot_clock)

    @property
    def table(self) -> StatusTable | None:
        """The table in use; None until one was swapped in."""

    def swap_in(self, table: StatusTable, current_at_s: float) -> None:
        """Replace the table whole."""


class PartitionMirror:
    """The mirror of one partition: a table, and when it was last known to be current."""

    def __init__(self) -> None:
        self.table: StatusTable | None = None
        self.current_at_s = 0.0

    def swap_in(self, table: StatusTable, current_at_s: float) -> None:
        """Replace the table whole. A scan in between sees new records with the old age, never the reverse."""
        if self.table is None:
            self.current_at_s = current_at_s
        self.table = table
        self.current_at_s = current_at_s


class Mirror:
    """All partitions together, as a scan sees them."""

    def __init__(self, *, partitions: int, monotonic: Callable[[], float]) -> None:
        self.partitions = tuple(PartitionMirror() for _ in range(partitions))
        self._monotonic = monotonic

    @property
    def is_loaded(self) -> bool:
        """Tell whether every partition has been loaded once."""
        return all(partition.table is not None for partition in self.partitions)

    def look_up(self, credential_index: int) -> tuple[int, float]:
        """Return a credential's record and the age of its status in seconds; raises NotReady."""
        partition = self.partitions[partition_of(shard_of(credential_index), len(self.partitions))]
        # Age before record: between the two the follower may bring newer records, which then are told older
        # than they are. The other way round an old green would pass for a fresh one.
        age_s = self._age_s(partition.current_at_s)
        table = partition.table
        if table is None:
            raise NotReady("the status mirror is not loaded yet")
        return table.record(credential_index), age_s

    def status_age_s(self) -> float:
        """Return the age of the oldest partition's status in seconds; raises NotReady."""
        if not self.is_loaded:
            raise NotReady("the status mirror is not loaded yet")
        return self._age_s(min(partition.current_at_s for partition in self.partitions))

    def _age_s(self, current_at_s: float) -> float:
        # The caller has read `current_at_s` before we look at the clock, so an age is never negative.
        return self._monotonic() - current_at_s
