"""Read status from Redis, as verifier/wire/status_store.py lays it out. Nothing in this package can write it.

Every method raises redis.RedisError when Redis does not answer in time or answers with an error, and
StatusUnavailable when it answers with something that is not status.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from verifier.boot_clock import boot_time_s
from verifier.errors import StatusMissing, StatusUnavailable
from verifier.redis_connection import connect
from verifier.wire.status_record import RECORD_BYTES
from verifier.wire.status_store import (
    EPOCH_FIELD,
    MAX_SHARD,
    PARTITIONS_FIELD,
    SHARD_BYTES,
    UPDATES_FIELD,
    epoch_key,
    feed_key,
    owner_of,
    status_key,
)

# A call to the feed blocks this long when there is nothing new, twice the time between heartbeats.
BLOCK_MS = 2_000
# How much longer than a blocking call we wait for its reply, or silence would pass for failure.
_REPLY_MARGIN_S = 1.0
# 3 MiB of updates at most: a mirror that fell behind catches up in large steps, in bounded memory.
ENTRIES_PER_PAGE = 64
# By so much two Redis servers may differ when one takes over from the other: less than a heartbeat.
_SKEW_S = 1.0
# 8 MiB a round trip. Indices are dense, so shards have no gaps: a whole round of nothing is the end.
_SHARDS_PER_READ = 16
_ENTRY_ID = re.compile(rb"(\d{1,20})-(\d{1,20})")


@dataclass(frozen=True, slots=True, order=True)
class EntryId:
    """The id of a feed entry; Redis gives them out in order."""

    unix_ms: int  # by the clock of Redis
    sequence: int

    def __str__(self) -> str:
        return f"{self.unix_ms}-{self.sequence}"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a feed stands."""

    epoch: bytes
    entry_id: EntryId  # of the newest entry
    current_at_s: float  # when that entry was written, on our clock of ages, or a moment before


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One entry of the feed; without updates it is a heartbeat."""

    entry_id: EntryId
    epoch: bytes
    updates: bytes  # for status_store.decode_updates; empty for a heartbeat


@dataclass(frozen=True, slots=True)
class Page:
    """What followed in the feed."""

    entries: Sequence[FeedEntry]
    epoch: bytes | None  # the epoch after reading
    is_continuous: bool  # nothing can be missing between the entry asked from and these
    current_at_s: float | None  # as in Position, for the last entry of the epoch; None: none, or unknown


class StatusReader:
    """Reads the status of one partition."""

    def __init__(
        self,
        redis_url: str,
        *,
        root_key_id: bytes,
        partition: int,
        partitions: int,
        block_ms: int = BLOCK_MS,
        monotonic: Callable[[], float] = boot_time_s,
    ) -> None:
        """Read what the issuer with that root wrote, and nobody else.

        `block_ms` is how long read_feed waits; nothing waits more than a second longer for a reply.
        """
        self._redis = connect(
            redis_url,
            reply_timeout_s=block_ms / 1000 + _REPLY_MARGIN_S,
            client_name="gatelight-mirror",
            key=feed_key(partition),
        )
        self._block_ms = block_ms
        self._root_key_id = root_key_id
        self._partition = partition
        self._partitions = partitions
        self._monotonic = monotonic
        self._looked: tuple[EntryId, float] | None = None  # which entry was the newest, and when

    def position(self) -> Position:
        """Return where the feed stands now.

        Of an entry from the future of Redis's clock nobody knows how old it is, so the next one is waited
        for, up to `block_ms`, and returned; raises StatusUnavailable when none comes.
        """
        asked_at_s = self._monotonic()
        with self._redis.pipeline() as pipeline:
            pipeline.get(epoch_key(self._partition))
            pipeline.xrevrange(feed_key(self._partition), count=1)
            pipeline.time()
            epoch, newest, redis_time = pipeline.execute()
        if not epoch or not newest:
            raise StatusMissing("Redis holds no status yet: the issuer has not written it")
        if owner_of(epoch) != self._root_key_id:
            raise StatusUnavailable("the status in Redis is of another issuer than the one of --root-key")
        entry = _entry(*newest[0])
        if entry.epoch != epoch:
            raise StatusUnavailable("the newest entry of the feed is of another epoch")
        # Shards would be looked for where they are not, and be taken for empty.
        partitions = newest[0][1].get(PARTITIONS_FIELD)
        if partitions not in (None, str(self._partitions).encode()):
            raise StatusUnavailable("the status in Redis is of another number of --partitions than ours")
        current_at_s = self._current_at_s(entry.entry_id, redis_time, asked_at_s)
        self._looked = entry.entry_id, asked_at_s
        if current_at_s is not None:
            return Position(epoch, entry.entry_id, current_at_s)
        page = self.read_feed(entry.entry_id)
        if page.epoch != epoch or page.current_at_s is None:
            raise StatusUnavailable(
                "the newest entry of the feed is from the future: waiting for a further one"
            )
        return Position(epoch, page.entries[-1].entry_id, page.current_at_s)

    def shards(self) -> Iterator[tuple[int, bytes]]:
        """Return number and bytes of each shard, in order; a shard may end early, the rest being zeros."""
        shard = self._partition
        while shard <= MAX_SHARD:  # whatever answers, this comes to an end
            numbers = range(shard, shard + _SHARDS_PER_READ * self._partitions, self._partitions)
            with self._redis.pipeline(transaction=False) as pipeline:
                for number in numbers:
                    # A byte more than a shard may have: enough to see that it is none, whatever lies there.
                    pipeline.getrange(status_key(number, self._partitions), 0, SHARD_BYTES)
                found = pipeline.execute()
            for number, content in zip(numbers, found, strict=True):
                if not content:
                    continue
                if len(content) > SHARD_BYTES or len(content) % RECORD_BYTES:
                    raise StatusUnavailable(f"shard {number} has {len(content)} bytes")
                yield number, content
            if not any(found):
                return
            shard = numbers[-1] + self._partitions

    def read_feed(self, after: EntryId) -> Page:
        """Wait up to `block_ms` for entries after `after` and return what came, possibly nothing."""
        key = feed_key(self._partition)
        looked_at_s = self._monotonic()
        reply: Any = self._redis.xread({key: str(after)}, count=ENTRIES_PER_PAGE, block=self._block_ms)
        # Asked for after the reading: Redis trims from the oldest end, so while `after` itself is still
        # there, nothing behind it was trimmed before we read.
        asked_at_s = self._monotonic()
        with self._redis.pipeline() as pipeline:
            pipeline.xrange(key, str(after), str(after), count=1)
            pipeline.get(epoch_key(self._partition))
            pipeline.time()
            anchor, epoch, redis_time = pipeline.execute()
        entries = [_entry(entry_id, fields) for _, entries in reply for entry_id, fields in entries]
        # What somebody else wrote into the feed is no proof that our issuer lives.
        ours = [entry.entry_id for entry in entries if entry.epoch == epoch]
        current_at_s = self._current_at_s(ours[-1], redis_time, asked_at_s) if ours else None
        if 0 < len(entries) < ENTRIES_PER_PAGE:  # all there was
            self._looked = entries[-1].entry_id, looked_at_s
        return Page(entries, epoch, bool(anchor), current_at_s)

    def _current_at_s(
        self, entry_id: EntryId, redis_time: tuple[int, int], asked_at_s: float
    ) -> float | None:
        """Return when an entry was written, on our clock of ages, or a moment before; None: nobody knows."""
        seconds, microseconds = redis_time
        age_s = seconds + microseconds / 1e6 - entry_id.unix_ms / 1e3
        if age_s >= -_SKEW_S:
            return asked_at_s - max(0.0, age_s)
        # Redis keeps ids in order when its clock is set back: such an entry may have been there for hours. If
        # it was not there when we looked last, it came since then.
        return self._looked[1] if self._looked is not None and entry_id > self._looked[0] else None

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> FeedEntry:
    return FeedEntry(_entry_id(entry_id), fields.get(EPOCH_FIELD, b""), fields.get(UPDATES_FIELD, b""))


def _entry_id(encoded: bytes) -> EntryId:
    found = _ENTRY_ID.fullmatch(encoded)
    if found is None:
        raise StatusUnavailable("an entry of the feed has an id that no Redis gives")
    return EntryId(int(found[1]), int(found[2]))
