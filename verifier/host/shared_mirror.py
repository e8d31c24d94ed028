"""The status mirror in shared memory: written by the supervisor, read by every worker without a lock.

There are two halves, each with room for every record. A partition's generation g says which one is in use for
its shards: half g mod 2, none while g is 0. A new load goes into the other half, whose pages were given back
before, and raises g when it is whole. The pages of the half that went out of use are given back some seconds
later: a reader that was held up in it all that time sees that g was raised, and reads again.

All that rests on stores and loads being seen in their order, as on x86-64. Python has no barrier to ask for
where a processor keeps no order, as ARM does not: there a record might be read just before an update comes,
and its age just after, which is then a heartbeat too young; and of a table just swapped in, a record might
not be seen yet, which leaves the gate closed. Either is over in nanoseconds, where Python takes microseconds.
"""

from collections.abc import Callable

from verifier.errors import NotReady
from verifier.host.shared import SharedMemory
from verifier.mirror import MemoryTable, StatusTable
from verifier.wire.status_record import NEVER_HEARD_OF
from verifier.wire.status_store import SHARD_BYTES, partition_of, shard_of

# Longer than a reader is held up on any machine that still answers scans in time.
FREE_AFTER_S = 5.0
# A second try is needed when a load was swapped in during the first, which takes seconds to be made.
_TRIES = 3
_NOT_LOADED = "the status mirror is not loaded yet"


class SharedMirror:
    """All partitions together, as a scan sees them: a verifier.mirror.StatusMirror."""

    def __init__(self, shared: SharedMemory, *, monotonic: Callable[[], float]) -> None:
        """`monotonic` is the clock by which the follower says when status was current."""
        self._partitions = shared.layout.partitions
        self._generations = shared.generations
        self._current_at_s = shared.current_at_s
        self._halves = tuple(half.cast("Q") for half in shared.halves)
        self._monotonic = monotonic

    @property
    def is_loaded(self) -> bool:
        """Tell whether every partition has been loaded once."""
        return all(self._generations)

    def look_up(self, credential_index: int) -> tuple[int, float]:
        """Return a credential's record and the age of its status in seconds; raises NotReady."""
        # With one partition, as nearly everywhere, the calls are half of all that is done here.
        partitions = self._partitions
        partition = 0 if partitions == 1 else partition_of(shard_of(credential_index), partitions)
        for _ in range(_TRIES):
            # Age before generation and record: between them the follower may bring newer records, which then
            # are told older than they are. The other way round an old green would pass for a fresh one. And
            # the clock after the moment it is compared with, or an age could be negative.
            current_at_s = self._current_at_s[partition]
            age_s = self._monotonic() - current_at_s
            generation = self._generations[partition]
            if not generation:
                raise NotReady(_NOT_LOADED)
            try:
                bits = self._halves[generation & 1][credential_index]
            except IndexError:
                bits = NEVER_HEARD_OF
            if self._generations[partition] == generation:
                return bits, age_s
        raise NotReady("the status mirror was replaced several times during one scan")

    def status_age_s(self) -> float:
        """Return the age of the oldest partition's status in seconds; raises NotReady."""
        if not self.is_loaded:
            raise NotReady(_NOT_LOADED)
        current_at_s = min(self._current_at_s)
        return self._monotonic() - current_at_s


class SharedPartition:
    """The mirror of one partition as its follower sees it: a verifier.mirror.FollowedPartition.

    For one thread of the supervisor.
    """

    def __init__(self, shared: SharedMemory, partition: int, *, monotonic: Callable[[], float]) -> None:
        self._shared = shared
        self._partition = partition
        self._monotonic = monotonic
        self._tables = tuple(MemoryTable(half) for half in shared.halves)
        self._free_at_s: float | None = (
            None  # None: in the half out of use is nothing, or a load that has begun
        )
        self._has_swapped_in = False

    @property
    def table(self) -> StatusTable | None:
        """The table in use; None until one was swapped in."""
        generation = self._shared.generations[self._partition]
        return self._tables[generation & 1] if generation else None

    @property
    def current_at_s(self) -> float:
        """When the table was last known to be current, on the clock of ages (verifier.boot_clock)."""
        return self._shared.current_at_s[self._partition]

    @current_at_s.setter
    def current_at_s(self, current_at_s: float) -> None:
        self._shared.current_at_s[self._partition] = current_at_s

    def new_table(self) -> StatusTable:
        """Return an empty table to load, in the half that is out of use."""
        self._clear_other_half()
        return self._tables[self._other_half]

    def swap_in(self, table: StatusTable, current_at_s: float) -> None:
        """Take the table from new_table() into use. A scan in between sees new records with the old age."""
        if table is not self._tables[self._other_half]:
            raise ValueError("expected the table that new_table() returned last")
        if not self._shared.generations[self._partition]:
            self.current_at_s = current_at_s
        self._shared.generations[self._partition] += 1
        self.current_at_s = current_at_s
        self._has_swapped_in = True
        self._free_at_s = self._monotonic() + FREE_AFTER_S

    def drop_what_was_there(self) -> None:
        """Take out of use what another swapped in, from the disk, before our first: as if never loaded."""
        if not self._has_swapped_in:
            self._shared.generations[self._partition] = 0

    def free_old_half(self) -> None:
        """Give back the pages of the table before this one, if it went out of use long enough ago."""
        if self._free_at_s is not None and self._monotonic() >= self._free_at_s:
            self._clear_other_half()

    @property
    def _other_half(self) -> int:
        return (self._shared.generations[self._partition] + 1) & 1

    def _clear_other_half(self) -> None:
        self._free_at_s = None
        layout = self._shared.layout
        if layout.partitions == 1:
            self._shared.clear(self._other_half, 0, layout.half_bytes)
            return
        step = layout.partitions * SHARD_BYTES
        for start in range(self._partition * SHARD_BYTES, layout.half_bytes, step):
            self._shared.clear(self._other_half, start, SHARD_BYTES)
