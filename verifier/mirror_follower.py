"""Keep one partition of the mirror current: load it, follow the feed, load again when that breaks.

1. Note the newest entry of the feed.
2. Load every shard. What changes meanwhile comes after the entry noted; updates carry whole records,
   so applying one that the shard already had is harmless.
3. Follow the feed from the entry noted.
Load again, and swap the new table in whole, when the epoch changes (the issuer rebuilt Redis) or the
feed was trimmed beyond the last entry seen. Never when Redis vanishes, is empty, or answers nonsense:
the mirror stays, and its age grows until proof comes that it is current. Nor does it go back in time: a
Redis that was set back, also to before its last rebuild, is not loaded until the issuer has rebuilt it. Nor
is one whose shards were cut since an earlier load, so that records are gone: within an epoch they only grow.
"""

from collections.abc import Callable

import structlog

from verifier.errors import StatusUnavailable
from verifier.mirror import FollowedPartition, HeapTable, StatusTable
from verifier.status_reader import ENTRIES_PER_PAGE, Page, Position, StatusReader
from verifier.wire.errors import StatusError
from verifier.wire.status_record import RECORD_BYTES
from verifier.wire.status_store import RECORDS_PER_SHARD, decode_updates

# Ages are known to the time that a reply takes. A load refused for less is made at the next heartbeat.
_CLOCK_TOLERANCE_S = 1.0

_log = structlog.get_logger("verifier.mirror")


class MirrorFollower:
    """Keeps one partition current, a step at a time; a verifier.loop.Loop makes the steps."""

    def __init__(
        self,
        *,
        reader: StatusReader,
        mirror: FollowedPartition,
        monotonic: Callable[[], float],
        new_table: Callable[[], StatusTable] = HeapTable,
    ) -> None:
        self._reader = reader
        self._mirror = mirror
        self._monotonic = monotonic
        self._new_table = new_table
        self._followed: Position | None = None  # None: the mirror has to be loaded
        self._last_seen: Position | None = None  # the same, but kept while the mirror waits to be loaded
        self._lengths: dict[int, int] = {}  # of the shards, in bytes, when they were loaded last
        # For metrics, since the start.
        self.loads = 0
        self.gaps = 0  # the feed went on without us: it was trimmed, or cut
        self.refused_entries = 0  # of the feed: not of our issuer, or not to be understood
        self.refused_at_s: float | None = None  # when the last one was, on the clock of ages
        self.lag_s = 0.0  # by the clock of Redis: how far the feed goes on behind what was applied

    def step(self) -> None:
        """Load, or wait for the feed and apply what comes: one turn of a loop.

        Raises redis.RedisError, StatusUnavailable or StatusError, the mirror being as it was.
        """
        if self._followed is None:
            self._load()
        else:
            self._apply(self._reader.read_feed(self._followed.entry_id), self._followed)

    def _load(self) -> None:
        noted = self._reader.position()
        if self._is_set_back(noted):
            raise StatusUnavailable("Redis was set back to an earlier state: waiting for a rebuild")
        table = self._new_table()
        lengths: dict[int, int] = {}
        left_out = 0
        for shard, content in self._reader.shards():
            lengths[shard] = len(content)
            left_out += table.load_shard(shard, content)
        loaded = self._reader.position()
        if loaded.epoch != noted.epoch or loaded.entry_id < noted.entry_id:
            raise StatusUnavailable("Redis was rebuilt or set back while it was being loaded")
        if self._last_seen is not None and self._last_seen.epoch == noted.epoch:
            for shard, length in self._lengths.items():
                if self._has_records(shard, lengths.get(shard, 0), length):
                    raise StatusUnavailable(f"shard {shard} was cut: waiting for a rebuild")
        self._lengths = lengths
        # As old as what was noted: the shards took their time, and are no newer for it.
        self._mirror.swap_in(table, noted.current_at_s)
        self._followed = self._last_seen = noted
        self.loads += 1
        self.lag_s = 0.0
        _log.info("mirror loaded", status_age_s=round(self._monotonic() - noted.current_at_s, 3))
        _warn_of(left_out)

    def _has_records(self, shard: int, begin: int, end: int) -> bool:
        """Tell whether the mirror has records in a part of a shard, from byte to byte.

        Without, nothing is lost with that part, and no rebuild might ever come.
        """
        table = self._mirror.table
        first = shard * RECORDS_PER_SHARD
        indices = range(first + begin // RECORD_BYTES, first + end // RECORD_BYTES)
        return table is not None and any(map(table.record, indices))

    def _is_set_back(self, noted: Position) -> bool:
        seen = self._last_seen
        if seen is not None and noted.epoch == seen.epoch and noted.entry_id < seen.entry_id:
            return True
        # Epochs have no order, so a snapshot from before a rebuild shows by its age alone; and so does one
        # that is older than the mirror which a verifier had on its disk.
        age_limit_s = self._mirror.current_at_s - _CLOCK_TOLERANCE_S
        return self._mirror.table is not None and noted.current_at_s < age_limit_s

    def _apply(self, page: Page, followed: Position) -> None:
        if page.epoch != followed.epoch or not page.is_continuous:
            self._followed = None
            self.gaps += page.epoch == followed.epoch
            return
        table = self._mirror.table
        if table is None or not page.entries:
            return
        try:
            for entry in page.entries:
                if entry.epoch != followed.epoch:
                    self._refuse()
                elif entry.updates:
                    _warn_of(table.apply(decode_updates(entry.updates)))
        except StatusError:
            # Somebody else wrote into the feed, or a part of it is lost: only a new load is sure.
            self._followed = None
            self._refuse()
            raise
        if page.current_at_s is not None:
            self._mirror.current_at_s = page.current_at_s
            # A page that is not full was all there was.
            is_full = len(page.entries) >= ENTRIES_PER_PAGE
            self.lag_s = max(0.0, self._monotonic() - page.current_at_s) if is_full else 0.0
        self._followed = self._last_seen = Position(
            followed.epoch, page.entries[-1].entry_id, self._mirror.current_at_s
        )

    def _refuse(self) -> None:
        self.refused_entries += 1
        self.refused_at_s = self._monotonic()


def _warn_of(left_out: int) -> None:
    if left_out:
        _log.error("mirror too small: credentials beyond its capacity answer NO_STATUS", left_out=left_out)
