"""Write status to Redis, as verifier/wire/status_store.py lays it out. Nothing else in Gatelight can.

Records and their feed entry go into one MULTI. A write that got lost on its way can arrive late: we time
out, connect again, write newer things, and then the network delivers the old packet. So each MULTI is
fenced by WATCH on epoch and feed, and each moves the feed on: whatever was sent before is refused by Redis
from then on, and an old record never covers a newer one. The same WATCH makes the check of what is there,
and the write, one. And a Redis that lost a write, such as a replica that became the master without it, shows
so by its feed; but a lost heartbeat is no loss.

Every method raises redis.RedisError when Redis does not answer in time or answers with an error,
CacheMismatch when Redis is not as the position says, and ForeignCache when another issuer's status is there.
"""

import contextlib
import re
import secrets
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.connection import AbstractConnection
from redis.exceptions import ResponseError, WatchError

from issuer.errors import CacheMismatch, ForeignCache
from issuer.register.outbox import FeedPosition
from verifier.redis_connection import RedisServers
from verifier.wire.ed25519 import SIGNATURE_BYTES
from verifier.wire.status_record import RECORD_BYTES
from verifier.wire.status_store import (
    EPOCH_FIELD,
    FEED_MAX_ENTRIES,
    GATE_LIST_KEY,
    KEY_SET_KEY,
    MAX_UPDATES_PER_ENTRY,
    PARTITIONS_FIELD,
    RECORDS_PER_SHARD,
    SHARD_BYTES,
    UPDATES_FIELD,
    encode_updates,
    epoch_key,
    feed_key,
    new_epoch,
    owner_of,
    partition_of,
    shard_of,
    status_key,
)

# What a frozen Redis may cost the thread that writes; nobody else waits for it.
_REPLY_TIMEOUT_S = 1.0
# Keys that look like those of status. What else lies under gatelight: is not ours to judge.
_STATUS_KEYS = "gatelight:{*}:*"
_STATUS_KEY = re.compile(rb"gatelight:\{[^}]*\}:(?:feed|epoch|status:(\d{1,5})|status:.*)", re.DOTALL)
_KEYS_PER_SCAN = 1_000
_UPDATE_BYTES = 12
_DROPS_NOTHING = "noeviction"
_NOT_STATUS = "a key holds something else than status"
_LACKS = "the feed lacks what was written"

# KEYS are shards, ARGV the updates of each, as feed entries have them. As commands of their own 4 096 changes
# all over a city took 17 ms, and take 7.5 ms like this. Beside a thread that computes, each packet in which
# Redis answers costs up to 5 ms more, and there were dozens.
_WRITE_RECORDS = """
for number, key in ipairs(KEYS) do
  local updates = ARGV[number]
  for at = 1, #updates, 12 do
    local index = struct.unpack('<I4', updates, at)
    redis.call('SETRANGE', key, index % 65536 * 8, string.sub(updates, at + 4, at + 11))
  end
end
"""

_Command = tuple[str | bytes | int, ...]


@dataclass(frozen=True, slots=True)
class Begun:
    """A rebuild that has taken a partition's epoch away; the newest entry of the feed is to be its own."""

    epoch: str  # which the partition will have


# What a write is fenced by.
Fence = FeedPosition | Begun


class StatusWriter:
    """Writes the status of all partitions."""

    def __init__(self, redis_url: str, *, root_key_id: bytes, partitions: int) -> None:
        """Write for the issuer with that root; raises ValueError for a URL that is not one of Redis."""
        self._servers = RedisServers(
            redis_url, reply_timeout_s=_REPLY_TIMEOUT_S, client_name="gatelight-publisher"
        )
        self._root_key_id = root_key_id
        self.partitions = partitions
        # By partition: the entry that this process wrote last. A newer one is that of a second publisher,
        # such as one that took over while we were frozen: what we are about to write may be older than its.
        self._newest: dict[int, bytes] = {}
        # The newest of those that came with more than a heartbeat: Redis must still have heard of it. The
        # position that the register keeps does not know of shards that were written since.
        self._needed: dict[int, bytes] = {}
        # The highest id of each feed that Redis told us, which it may have lost since.
        self._highest: dict[int, bytes] = {}

    def server_of(self, partition: int) -> object:
        """Return something that is the same for all partitions on one server, as far as is known."""
        return self._servers.known(feed_key(partition))

    @property
    def has_one_server(self) -> bool:
        """Whether everything lies on one server, and not on the nodes of a Cluster."""
        return not self._servers.is_cluster

    def append(
        self, partition: int, position: FeedPosition, updates: Sequence[tuple[int, int]]
    ) -> FeedPosition:
        """Write records (credential_index and record, by index) of a partition, and feed them.

        Without updates it is a heartbeat. Returns where the feed stands then. Raises CacheMismatch, and
        writes nothing, when Redis has another epoch than ours or has lost entries that we wrote.
        """
        encoded = _encode(updates)
        entries = [self._entry(partition, position.epoch, entry) for entry in encoded or [b""]]
        written = self._write(updates, b"".join(encoded))
        feed_id = self._transact(partition, *written, *entries, fence=position)
        return FeedPosition(position.epoch, feed_id.decode())

    def begin_rebuild(self) -> Mapping[int, Begun]:
        """Take the epoch away, so that no verifier loads what is half written.

        Verifiers that run keep their mirrors until there is an epoch again.
        """
        return {partition: self.begin_partition(partition) for partition in range(self.partitions)}

    def begin_partition(self, partition: int) -> Begun:
        """Take the epoch of one partition away, as begin_rebuild() does."""
        epoch = self._new_epoch()
        server = self._servers.of(feed_key(partition))
        for key, kind in ((feed_key(partition), b"stream"), (epoch_key(partition), b"string")):
            if server.type(key) not in (kind, b"none"):
                server.delete(key)
        # The entry says nothing to verifiers, and no more do those with the shards. It fences off writes of
        # an earlier attempt; and as long as the newest is ours, nobody else rebuilds the same Redis, whose
        # records would end up under our epoch, and no shard before it is lost.
        self._transact(partition, ("DEL", epoch_key(partition)), self._entry(partition, epoch))
        return Begun(epoch)

    def write_shard(
        self,
        shard: int,
        content: bytes,
        fences: Mapping[int, Fence],
        updates: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Write a whole shard, and feed `updates`, which are records of it.

        Where there is an epoch, zeros keep the shard as long as it was: verifiers do not load one that was
        cut.
        """
        partition = partition_of(shard, self.partitions)
        fence = fences[partition]
        if isinstance(fence, FeedPosition):
            content = content.ljust(self._length(shard), b"\0")
        command = ("SET", status_key(shard, self.partitions), content)
        self._transact(partition, command, *self._entries(partition, fence.epoch, updates), fence=fence)

    def delete(self, key: bytes, fences: Mapping[int, Fence]) -> None:
        """Delete a key that does not belong into the status, and is no shard: those go with the epoch."""
        for partition, fence in fences.items():
            if key.startswith(b"gatelight:{%d}:" % partition):
                self._transact(partition, ("DEL", key), *self._entries(partition, fence.epoch), fence=fence)
                return
        self._servers.of(key).delete(key)  # of a partition that we never write

    def give_epoch(
        self, fences: Mapping[int, Fence], surplus: Sequence[int] = ()
    ) -> Mapping[int, FeedPosition]:
        """Give a Redis that is right its new epoch: verifiers load it. Return where the feeds stand then.

        With the old epoch go the shards that are `surplus`.
        """
        epoch = self._new_epoch()
        positions = {}
        for partition, fence in fences.items():
            given = fence.epoch if isinstance(fence, Begun) else epoch
            set_epoch = ("SET", epoch_key(partition), given)
            keys = [
                status_key(shard, self.partitions)
                for shard in surplus
                if partition_of(shard, self.partitions) == partition
            ]
            delete = [("DEL", *keys)] if keys else []
            feed_id = self._transact(
                partition, *delete, set_epoch, self._entry(partition, given), fence=fence
            )
            positions[partition] = FeedPosition(given, feed_id.decode())
        return positions

    def put_key_set(self, signed: bytes) -> None:
        """Put the key set where verifiers look for it, unless it is there."""
        if self.key_set() != signed:
            self._servers.of(KEY_SET_KEY).set(KEY_SET_KEY, signed)

    def key_set(self) -> bytes | None:
        """Return the key set that is there; None for none, or for something else."""
        try:
            held: Any = self._servers.of(KEY_SET_KEY).get(KEY_SET_KEY)
        except ResponseError as error:
            _require_wrong_type(error)
            return None
        return held  # type: ignore[no-any-return]

    def put_gate_list(self, signed: bytes) -> None:
        """Put the gate list where verifiers look for it, unless it is there.

        It may be megabytes, so its length and its signature are looked at, and nothing else.
        """
        if self._is_there(GATE_LIST_KEY, signed):
            return
        self.write_gate_list(signed)

    def write_gate_list(self, signed: bytes) -> None:
        """Put the gate list where verifiers look for it, whatever is there."""
        self._servers.of(GATE_LIST_KEY).set(GATE_LIST_KEY, signed)

    def gate_list(self) -> bytes | None:
        """Return the gate list that is there, whole; None for none, or for something else."""
        try:
            held: Any = self._servers.of(GATE_LIST_KEY).get(GATE_LIST_KEY)
        except ResponseError as error:
            _require_wrong_type(error)
            return None
        return held  # type: ignore[no-any-return]

    def shard(self, shard: int) -> bytes | None:
        """Return the bytes of a shard, empty without the key; None where it is no string.

        One byte more than a shard may have is as far as it reads.
        """
        key = status_key(shard, self.partitions)
        try:
            found: Any = self._servers.of(key).getrange(key, 0, SHARD_BYTES)
        except ResponseError as error:
            _require_wrong_type(error)
            return None
        return found  # type: ignore[no-any-return]

    def mismatch(self, partition: int, position: FeedPosition) -> str | None:
        """Return in words how a partition is not as we left it; None when it is."""
        server = self._servers.of(feed_key(partition))
        try:
            epoch = server.get(epoch_key(partition))
            newest = server.xrevrange(feed_key(partition), count=1)
        except ResponseError as error:
            _require_wrong_type(error)
            return _NOT_STATUS
        self._refuse_foreign(partition, epoch)  # type: ignore[arg-type]
        try:
            _check(epoch, newest, position)
        except CacheMismatch as mismatch:
            return str(mismatch)
        return None

    def status_keys(self, partitions: Iterable[int] | None = None) -> Iterator[Sequence[bytes]]:
        """Give the keys that look like those of status, page by page; a page may be empty.

        With `partitions`, servers that hold none of them may be silent; their keys are missing then.
        """
        needed = None if partitions is None else {self._servers.of(feed_key(one)) for one in partitions}
        for server in self._servers.all():
            try:
                yield from _status_keys_of(server)
            except redis.RedisError:
                if needed is None or server in needed:
                    raise

    def shard_at(self, key: bytes) -> int | None:
        """Return which shard lies at a key; None for the key of no shard."""
        found = _STATUS_KEY.fullmatch(key)
        if found is None or found[1] is None:
            return None
        shard = int(found[1])
        return shard if key == status_key(shard, self.partitions).encode() else None

    def is_feed_or_epoch(self, key: bytes) -> bool:
        """Tell whether a key is that of a feed or an epoch of a partition that there is."""
        return any(
            key in (feed_key(partition).encode(), epoch_key(partition).encode())
            for partition in range(self.partitions)
        )

    def eviction_policy(self) -> str | None:
        """Return what Redis does when its memory is full, as it calls it; None where we may not ask.

        Of several servers, one that drops keys speaks for all.
        """
        policies = [_eviction_policy(server) for server in self._servers.all()]
        return max(policies, key=lambda policy: policy not in (None, _DROPS_NOTHING), default=None)

    def close(self) -> None:
        """Close the connections."""
        self._servers.close()

    def _length(self, shard: int) -> int:
        """Return how long a shard is, in bytes of whole records; 0 where it is none."""
        key = status_key(shard, self.partitions)
        try:
            length: Any = self._servers.of(key).strlen(key)
        except ResponseError as error:
            _require_wrong_type(error)
            return 0
        return min(int(length), SHARD_BYTES) // RECORD_BYTES * RECORD_BYTES

    def _is_there(self, key: str, signed: bytes) -> bool:
        """Tell whether what lies at a key has the length and the signature of what should."""
        server = self._servers.of(key)
        try:
            length: Any = server.strlen(key)
            signature: Any = server.getrange(key, -SIGNATURE_BYTES, -1)
        except ResponseError as error:
            _require_wrong_type(error)
            return False
        return bool(length == len(signed) and signature == signed[-SIGNATURE_BYTES:])

    def _new_epoch(self) -> str:
        return new_epoch(self._root_key_id, secrets.token_bytes(16))

    def _write(self, updates: Sequence[tuple[int, int]], encoded: bytes) -> Sequence[_Command]:
        """Return the command that writes records, or nothing for none."""
        keys: list[str] = []
        of_shards: list[bytes] = []
        begin = 0
        while begin < len(updates):
            shard = shard_of(updates[begin][0])
            end = bisect_left(updates, ((shard + 1) * RECORDS_PER_SHARD, 0), begin)
            keys.append(status_key(shard, self.partitions))
            of_shards.append(encoded[begin * _UPDATE_BYTES : end * _UPDATE_BYTES])
            begin = end
        return [("EVAL", _WRITE_RECORDS, len(keys), *keys, *of_shards)] if keys else []

    def _entry(self, partition: int, epoch: str, encoded: bytes = b"") -> _Command:
        """Return the command that adds an entry to a feed; without updates it is a heartbeat."""
        trim = ("MAXLEN", "~", FEED_MAX_ENTRIES)
        fields = (EPOCH_FIELD, epoch, PARTITIONS_FIELD, self.partitions)
        updates = (UPDATES_FIELD, encoded) if encoded else ()
        return ("XADD", feed_key(partition), *trim, "*", *fields, *updates)

    def _entries(
        self, partition: int, epoch: str, updates: Sequence[tuple[int, int]] = ()
    ) -> Sequence[_Command]:
        """Return the commands that feed any number of updates, or a heartbeat."""
        return [self._entry(partition, epoch, entry) for entry in _encode(updates) or [b""]]

    def _transact(self, partition: int, *commands: _Command, fence: Fence | None = None) -> Any:
        """Carry out one MULTI, of which the last command feeds, unless somebody else writes meanwhile.

        Returns the id of its last entry.
        """
        with self._connection(partition) as connection:
            lost = self._look(connection, partition, fence)
            if lost is not None:
                commands = _behind(lost, commands)
            newest = self._newest.pop(
                partition, None
            )  # until Redis answers, nobody knows which is the newest
            *_, replies = _ask(connection, (("MULTI",), *commands, ("EXEC",)))
        # Redis carries out the rest of a MULTI of which one command fails.
        if replies and isinstance(replies[-1], bytes):
            newest = replies[-1]
            if len(commands) > 1:
                self._needed[partition] = newest
        if newest:
            self._newest[partition] = self._highest[partition] = newest
        if replies is None:
            raise WatchError("somebody else writes to the feed")
        for reply in replies:
            if isinstance(
                reply, ResponseError
            ):  # Redis finds it in the middle of a MULTI: the rest is written
                _require_wrong_type(reply)
                raise CacheMismatch(_NOT_STATUS)
        return replies[-1]

    def _look(self, connection: AbstractConnection, partition: int, fence: Fence | None) -> bytes | None:
        """Watch a partition and see whether it is ours, and as the fence says; None takes any.

        Returns the id of our newest entry where the feed has lost it, which was a heartbeat then: a replica
        that becomes the master may not have heard of it.
        """
        epoch_is_at, feed_is_at = epoch_key(partition), feed_key(partition)
        try:
            _, epoch, newest = _ask(
                connection,
                (
                    ("WATCH", epoch_is_at, feed_is_at),
                    ("GET", epoch_is_at),
                    ("XREVRANGE", feed_is_at, "+", "-", "COUNT", 1),
                ),
            )
        except ResponseError as error:
            _require_wrong_type(error)
            raise CacheMismatch(_NOT_STATUS) from None
        self._refuse_foreign(partition, epoch)
        if isinstance(fence, FeedPosition):
            _check(epoch, newest, fence)
            ours = self._newest.get(partition)
            if ours is not None and _order(newest[0][0].decode()) > _order(ours.decode()):
                raise CacheMismatch("somebody else wrote to the feed")
            needed = self._needed.get(partition)
            if needed is not None and _order(newest[0][0].decode()) < _order(needed.decode()):
                raise CacheMismatch(_LACKS)
            highest = self._highest.get(partition)
            if highest is not None and _order(newest[0][0].decode()) < _order(highest.decode()):
                return highest
        elif isinstance(fence, Begun) and (not newest or newest[0][0] != self._newest.get(partition)):
            raise WatchError("somebody else writes to the feed, or it lacks what the rebuild has written")
        return None

    def _refuse_foreign(self, partition: int, epoch: bytes | None) -> None:
        owner = owner_of(epoch) if epoch else None
        if owner not in (None, self._root_key_id):
            raise ForeignCache(
                "Redis holds the status of another issuer: use another database (--redis-url), or delete "
                f"{epoch_key(partition)} there if that issuer is gone for good"
            )

    @contextlib.contextmanager
    def _connection(self, partition: int) -> Iterator[AbstractConnection]:
        """Lend a connection, and drop it if anything goes wrong.

        redis-py's own pipeline would first ask a frozen Redis to UNWATCH, twice, and wait for it.
        """
        pool = self._servers.of(feed_key(partition)).connection_pool
        connection = pool.get_connection()
        try:
            yield connection
        except BaseException:
            connection.disconnect()  # type: ignore[no-untyped-call]
            raise
        finally:
            pool.release(connection)


def _status_keys_of(server: redis.Redis) -> Iterator[Sequence[bytes]]:
    cursor = 0
    while True:
        page: Any = server.scan(cursor, match=_STATUS_KEYS, count=_KEYS_PER_SCAN)
        cursor, found = page
        yield [key for key in found if _STATUS_KEY.fullmatch(key)]
        if cursor == 0:
            return


def _eviction_policy(server: redis.Redis) -> str | None:
    try:
        memory: Any = server.info("memory")
    except ResponseError:  # managed ones hide it, and a user may lack the right
        return None
    policy = memory.get("maxmemory_policy")
    return policy if isinstance(policy, str) else None


def _ask(connection: AbstractConnection, commands: Sequence[_Command]) -> list[Any]:
    """Send commands in one packet; return their replies. After an error the connection must be dropped."""
    packed = connection.pack_commands(commands)  # type: ignore[no-untyped-call]
    connection.send_packed_command(packed)  # type: ignore[no-untyped-call]
    return [connection.read_response() for _ in commands]


def _behind(lost: bytes, commands: Sequence[_Command]) -> tuple[_Command, ...]:
    """Return the commands with the first entry of a feed behind one that was lost.

    A verifier that has read it believes nothing with an earlier id, and a new master's clock may be behind.
    """
    unix_ms, sequence = _order(lost.decode())
    following = f"{unix_ms}-{sequence + 1}"
    first = next(at for at, command in enumerate(commands) if command[0] == "XADD")
    entry = tuple(following if part == "*" else part for part in commands[first])
    return (*commands[:first], entry, *commands[first + 1 :])


def _encode(updates: Sequence[tuple[int, int]]) -> Sequence[bytes]:
    """Return the updates of as many entries as it takes."""
    return [
        encode_updates(updates[at : at + MAX_UPDATES_PER_ENTRY])
        for at in range(0, len(updates), MAX_UPDATES_PER_ENTRY)
    ]


def _require_wrong_type(error: ResponseError) -> None:
    """Raise the error unless it says that a key holds another type than asked for."""
    if "WRONGTYPE" not in str(error):  # a script says so in the middle of its own text
        raise error


def _check(epoch: Any, newest: Any, expected: FeedPosition) -> None:
    """Raise CacheMismatch unless Redis is the one that we left: not emptied, not set back to a snapshot."""
    if epoch is None:
        raise CacheMismatch("the epoch is missing")
    if epoch != expected.epoch.encode():
        raise CacheMismatch("the epoch is another one")
    if not newest or _order(newest[0][0].decode()) < _order(expected.feed_id):
        raise CacheMismatch(_LACKS)


def _order(feed_id: str) -> tuple[int, int]:
    unix_ms, _, sequence = feed_id.partition("-")
    return int(unix_ms), int(sequence)
