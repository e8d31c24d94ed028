"""Keep one partition of the mirror current: load it, follow the feed, load again when that breaks.

1. Note the newest entry of the feed.
2. Load every shard. What changes meanwhile comes after the entry noted; updates carry whole records,
   so applying one that the shard already had is harmless.
3. Follow the feed from the entry noted.
Load again, and swap the new table in whole, when the epoch changes (the issuer rebuilt Redis) or the
feed was trimmed beyond the last entry seen. Never when Redis vanishes, is empty, or answers nonsense:
the mirror stays, and its age grows until proof comes that it is current.
"""

from collections.abc import Callable

import structlog

from verifier.errors import StatusUnavailable
from verifier.mirror import HeapTable, PartitionMirror, StatusTable
from verifier.status_reader import Page, Position, StatusReader
from verifier.wire.errors import StatusError
from verifier.wire.status_store import decode_updates

_log = structlog.get_logger("verifier.mirror")


class MirrorFollower:
    """Keeps one partition current, a step at a time; a verifier.loop.Loop makes the steps."""

    def __init__(
        self,
        *,
        reader: StatusReader,
        mirror: PartitionMirror,
        monotonic: Callable[[], float],
        new_table: Callable[[], StatusTable] = HeapTable,
    ) -> None:
        self._reader = reader
        self._mirror = mirror
        self._monotonic = monotonic
        self._new_table = new_table
        self._followed: Position | None = None  # None: the mirror has to be loaded
        self._last_seen: Position | None = None  # the same, but kept while the mirror waits to be loaded

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
        if self._is_rolled_back(noted):
            raise StatusUnavailable("Redis was set back to an earlier state: waiting for a rebuild")
        table = self._new_table()
        left_out = sum(table.load_shard(shard, content) for shard, content in self._reader.shards())
        if self._reader.position().epoch != noted.epoch:
            raise StatusUnavailable("Redis was rebuilt while it was being loaded")
        self._mirror.current_at_s = self._monotonic() - noted.age_s
        self._mirror.table = table
        self._followed = self._last_seen = noted
        _log.info("mirror loaded", status_age_s=round(noted.age_s, 3))
        _warn_of(left_out)

    def _is_rolled_back(self, noted: Position) -> bool:
        seen = self._last_seen
        return seen is not None and noted.epoch == seen.epoch and noted.entry_id < seen.entry_id

    def _apply(self, page: Page, followed: Position) -> None:
        if page.epoch != followed.epoch or not page.is_continuous:
            self._followed = None
            return
        table = self._mirror.table
        if table is None or not page.entries:
            return
        try:
            for entry in page.entries:
                if entry.updates and entry.epoch == followed.epoch:
                    _warn_of(table.apply(decode_updates(entry.updates)))
        except StatusError:
            # Somebody else wrote into the feed, or a part of it is lost: only a new load is sure.
            self._followed = None
            raise
        self._mirror.current_at_s = self._monotonic() - page.age_s
        self._followed = self._last_seen = Position(followed.epoch, page.entries[-1].entry_id, page.age_s)


def _warn_of(left_out: int) -> None:
    if left_out:
        _log.error("mirror too small: credentials beyond its capacity answer NO_STATUS", left_out=left_out)
