"""Write status to Redis, as verifier/wire/status_store.py lays it out. Nothing else in Gatelight can.

Records and their feed entry go into one MULTI. A write that got lost on its way can arrive late: we time
out, connect again, write newer things, and then the network delivers the old packet. So each MULTI is
fenced by WATCH on epoch and feed: whatever was sent before the feed moved on is refused by Redis, and an
old record never covers a newer one. The same WATCH makes the check of what is there, and the write, one.

Every method raises redis.RedisError when Redis does not answer in time or answers with an error, and
ForeignCache when another issuer's status is there.
"""

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from redis.connection import AbstractConnection
from redis.exceptions import ResponseError, WatchError

from issuer.errors import CacheMismatch, ForeignCache
from issuer.register.outbox import FeedPosition
from verifier.redis_connection import connect
from verifier.wire.status_record import RECORD_BYTES
from verifier.wire.status_store import (
    EPOCH_FIELD,
    FEED_MAX_ENTRIES,
    KEY_SET_KEY,
    UPDATES_FIELD,
    encode_updates,
    epoch_key,
    feed_key,
    new_epoch,
    offset_of,
    owner_of,
    partition_of,
    shard_of,
    status_key,
)

# What a frozen Redis may cost the thread that writes; nobody else waits for it.
_REPLY_TIMEOUT_S = 1.0
_KEYS_OF_PARTITIONS = "gatelight:{*}:*"
_KEYS_PER_SCAN = 1_000

_Command = tuple[str | bytes | int, ...]


class StatusWriter:
    """Writes the status of all partitions."""

    def __init__(self, redis_url: str, *, root_key_id: bytes, partitions: int) -> None:
        """Write for the issuer with that root; raises ValueError for a URL that is not one of Redis."""
        self._redis = connect(redis_url, reply_timeout_s=_REPLY_TIMEOUT_S, client_name="gatelight-publisher")
        self._root_key_id = root_key_id
        self.partitions = partitions

    def append(
        self, partition: int, position: FeedPosition, updates: Sequence[tuple[int, int]]
    ) -> FeedPosition:
        """Write up to 4 096 records (credential_index and record, by index) of a partition, and feed them.

        Without updates it is a heartbeat. Returns where the feed stands then. Raises CacheMismatch, and
        writes nothing, when Redis has another epoch than ours or has lost entries that we wrote.
        """
        commands = [
            ("SETRANGE", status_key(shard, self.partitions), offset, content)
            for shard, offset, content in _runs(updates)
        ]
        entry = _entry(partition, position.epoch, updates)
        feed_id = self._transact(partition, *commands, entry, expected=position)
        return FeedPosition(position.epoch, feed_id.decode())

    def put_key_set(self, signed: bytes) -> None:
        """Put the key set where verifiers look for it, unless it is there."""
        if self._held_key_set() != signed:
            self._redis.set(KEY_SET_KEY, signed)

    def rebuild(
        self, records: Iterable[tuple[int, int]], *, signed_key_set: bytes
    ) -> Mapping[int, FeedPosition]:
        """Write every byte of Redis anew from all records, by index; return where the feeds stand then.

        1. Take the epoch away, so that no verifier loads what is half written. Those that run keep
           their mirrors.
        2. Write all shards, one at a time, and delete what does not belong there.
        3. Give the new epoch: verifiers load again.
        """
        epoch = new_epoch(self._root_key_id, secrets.token_bytes(16))
        begun = [self._begin_rebuild(partition, epoch) for partition in range(self.partitions)]
        kept = {key(partition) for partition in range(self.partitions) for key in (epoch_key, feed_key)}
        for shard, content in _shards(records):
            kept.add(self._write_shard(shard, content, begun))
        self._delete_all_but(kept)
        self.put_key_set(signed_key_set)
        return {partition: self._give_epoch(partition, epoch, begun) for partition in range(self.partitions)}

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _held_key_set(self) -> bytes | None:
        try:
            held = self._redis.get(KEY_SET_KEY)
        except ResponseError:  # of another type
            return None
        return held if isinstance(held, bytes) else None

    def _begin_rebuild(self, partition: int, epoch: str) -> bytes:
        for key, kind in ((feed_key(partition), b"stream"), (epoch_key(partition), b"string")):
            if self._redis.type(key) not in (kind, b"none"):
                self._redis.delete(key)
        # The entry says nothing to verifiers. It fences off writes of an earlier attempt; and as long as it
        # is the newest, nobody else rebuilds the same Redis, whose records would end up under our epoch.
        begun: bytes = self._transact(partition, ("DEL", epoch_key(partition)), _entry(partition, epoch))
        return begun

    def _write_shard(self, shard: int, content: bytes, begun: Sequence[bytes]) -> str:
        key = status_key(shard, self.partitions)
        partition = partition_of(shard, self.partitions)
        self._transact(partition, ("SET", key, content), newest_id=begun[partition])
        return key

    def _give_epoch(self, partition: int, epoch: str, begun: Sequence[bytes]) -> FeedPosition:
        set_epoch = ("SET", epoch_key(partition), epoch)
        feed_id = self._transact(partition, set_epoch, _entry(partition, epoch), newest_id=begun[partition])
        return FeedPosition(epoch, feed_id.decode())

    def _delete_all_but(self, kept: set[str]) -> None:
        for key in self._redis.scan_iter(match=_KEYS_OF_PARTITIONS, count=_KEYS_PER_SCAN):
            if key.decode(errors="replace") not in kept:
                self._redis.delete(key)

    def _transact(
        self,
        partition: int,
        *commands: _Command,
        expected: FeedPosition | None = None,
        newest_id: bytes | None = None,
    ) -> Any:
        """Carry out one MULTI, unless somebody else writes meanwhile; return its last reply.

        `newest_id` is that of the entry that has to be the newest still; None takes any.
        """
        epoch_is_at, feed_is_at = epoch_key(partition), feed_key(partition)
        look = (
            ("WATCH", epoch_is_at, feed_is_at),
            ("GET", epoch_is_at),
            ("XREVRANGE", feed_is_at, "+", "-", "COUNT", 1),
        )
        try:
            with self._connection() as connection:
                _, epoch, newest = _ask(connection, look)
                self._refuse_foreign(partition, epoch)
                if expected is not None:
                    _check(epoch, newest, expected)
                if newest_id is not None and (not newest or newest[0][0] != newest_id):
                    raise WatchError("somebody else writes to the feed")
                *_, replies = _ask(connection, (("MULTI",), *commands, ("EXEC",)))
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise CacheMismatch("a key holds something else than status") from None
            raise
        if replies is None:
            raise WatchError("somebody else writes to the feed")
        # What Redis refuses only in the middle of a MULTI is a key of the wrong type; the rest is written.
        if any(isinstance(reply, ResponseError) for reply in replies):
            raise CacheMismatch("a key holds something else than status")
        return replies[-1]

    def _refuse_foreign(self, partition: int, epoch: bytes | None) -> None:
        owner = owner_of(epoch) if epoch else None
        if owner not in (None, self._root_key_id):
            raise ForeignCache(
                "Redis holds the status of another issuer: use another database (--redis-url), or delete "
                f"{epoch_key(partition)} there if that issuer is gone for good"
            )

    @contextlib.contextmanager
    def _connection(self) -> Iterator[AbstractConnection]:
        """Lend a connection, and drop it if anything goes wrong.

        redis-py's own pipeline would first ask a frozen Redis to UNWATCH, twice, and wait for it.
        """
        connection = self._redis.connection_pool.get_connection()
        try:
            yield connection
        except BaseException:
            connection.disconnect()  # type: ignore[no-untyped-call]
            raise
        finally:
            self._redis.connection_pool.release(connection)


def _ask(connection: AbstractConnection, commands: Sequence[_Command]) -> list[Any]:
    """Send commands in one packet; return their replies. After an error the connection must be dropped."""
    packed = connection.pack_commands(commands)  # type: ignore[no-untyped-call]
    connection.send_packed_command(packed)  # type: ignore[no-untyped-call]
    return [connection.read_response() for _ in commands]


def _entry(partition: int, epoch: str, updates: Sequence[tuple[int, int]] = ()) -> _Command:
    """Return the command that adds an entry to a feed; without updates it is a heartbeat."""
    fields = (UPDATES_FIELD, encode_updates(updates)) if updates else ()
    trim = ("MAXLEN", "~", FEED_MAX_ENTRIES)
    return ("XADD", feed_key(partition), *trim, "*", EPOCH_FIELD, epoch, *fields)


def _check(epoch: Any, newest: Any, expected: FeedPosition) -> None:
    """Raise CacheMismatch unless Redis is the one that we left: not emptied, not set back to a snapshot."""
    if epoch is None:
        raise CacheMismatch("the epoch is missing")
    if epoch != expected.epoch.encode():
        raise CacheMismatch("the epoch is another one")
    if not newest or _order(newest[0][0].decode()) < _order(expected.feed_id):
        raise CacheMismatch("the feed lacks what was written")


def _order(feed_id: str) -> tuple[int, int]:
    unix_ms, _, sequence = feed_id.partition("-")
    return int(unix_ms), int(sequence)


def _runs(updates: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, bytes]]:
    """Give shard, offset and bytes of the neighbouring records in `updates`, which are sorted by index."""
    content = bytearray()
    begin = 0
    for index, record in updates:
        is_next = content and index == begin + len(content) // RECORD_BYTES and offset_of(index) != 0
        if not is_next:
            if content:
                yield shard_of(begin), offset_of(begin), bytes(content)
            begin, content = index, bytearray()
        content += record.to_bytes(RECORD_BYTES, "little")
    if content:
        yield shard_of(begin), offset_of(begin), bytes(content)


def _shards(records: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """Give number and bytes of each shard that has records, up to its last record."""
    content = bytearray()
    current = 0
    for index, record in records:
        shard = shard_of(index)
        if shard != current:
            if content:
                yield current, bytes(content)
            current, content = shard, bytearray()
        content.extend(bytes(offset_of(index) - len(content)))
        content += record.to_bytes(RECORD_BYTES, "little")
    if content:
        yield current, bytes(content)
