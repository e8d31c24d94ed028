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

A load that Redis answered, and that was of no use, is made again after seconds only, or in another epoch: a
city's shards are 200 MB, for every verifier. One that a lost connection ended is made again at once.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import redis
import structlog

from verifier.errors import StatusUnavailable
from verifier.mirror import FollowedPartition, HeapTable, StatusTable
from verifier.status_reader import ENTRIES_PER_PAGE, Page, Position, StatusReader
from verifier.wire.errors import StatusError
from verifier.wire.status_record import RECORD_BYTES
from verifier.wire.status_store import RECORDS_PER_SHARD, decode_updates

# Ages are known to the time that a reply takes. A load refused for less is made at the next heartbeat.
_CLOCK_TOLERANCE_S = 1.0
# What Redis holds is mended by a rebuild, and then the epoch changes; the rest is a matter of patience.
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 16.0

_log = structlog.get_logger("verifier.mirror")


@dataclass(frozen=True, slots=True)
class _Failure:
    """A load that was of no use."""

    error: Exception
    epoch: bytes
    wait_s: float
    until_s: float  # on the clock of ages


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
        self._failure: _Failure | None = None  # since the last load that went well
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
        failure = self._failure
        if failure is not None and failure.epoch != noted.epoch:
            failure = None
        if failure is not None and self._monotonic() < failure.until_s:
            raise failure.error.with_traceback(None)
        try:
            self._load_from(noted)
        except redis.ConnectionError:
            raise
        except (redis.RedisError, StatusUnavailable) as error:
            wait_s = _FIRST_WAIT_S if failure is None else min(2 * failure.wait_s, _LONGEST_WAIT_S)
            self._failure = _Failure(error, noted.epoch, wait_s, self._monotonic() + wait_s)
            raise

    def _load_from(self, noted: Position) -> None:
        table = self._new_table()
        is_same_epoch = self._last_seen is not None and self._last_seen.epoch == noted.epoch
        due = deque(sorted(self._lengths.items()) if is_same_epoch else ())
        lengths: dict[int, int] = {}
        left_out = 0
        for shard, content in self._reader.shards():
            lengths[shard] = len(content)
            # Here already, so that what is of no use is not read to its end.
            while due and due[0][0] <= shard:
                self._require_uncut(*due.popleft(), lengths)
            left_out += table.load_shard(shard, content)
        for shard, length in due:
            self._require_uncut(shard, length, lengths)
        loaded = self._reader.position()
        if loaded.epoch != noted.epoch or loaded.entry_id < noted.entry_id:
            raise StatusUnavailable("Redis was rebuilt or set back while it was being loaded")
        self._lengths = lengths
        self._failure = None
        # As old as what was noted: the shards took their time, and are no newer for it.
        self._mirror.swap_in(table, noted.current_at_s)
        self._followed = self._last_seen = noted
        self.loads += 1
        self.lag_s = 0.0
        _log.info("mirror loaded", status_age_s=round(self._monotonic() - noted.current_at_s, 3))
        _warn_of(left_out)

    def _require_uncut(self, shard: int, length: int, lengths: Mapping[int, int]) -> None:
        """Raise StatusUnavailable where the mirror has records in what a shard of `length` bytes has lost.

        Without, nothing is lost with that part, and no rebuild might ever come.
        """
        table = self._mirror.table
        first = shard * RECORDS_PER_SHARD
        indices = range(first + lengths.get(shard, 0) // RECORD_BYTES, first + length // RECORD_BYTES)
        if table is not None and any(map(table.record, indices)):
            raise StatusUnavailable(f"shard {shard} was cut: waiting for a rebuild")

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
