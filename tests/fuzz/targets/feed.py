"""Status as Redis gives it, through StatusReader into a mirror that MirrorFollower keeps.

The input is what happens to a Redis: what an issuer does, what somebody else writes there, and what replies
are made of when it is no Redis at all. Whatever it is, a step raises errors of the family alone, a mirror
that was loaded stays, no record appears that was never written, and status is never told younger than it is.
While only an issuer writes, the mirror comes to hold what the issuer wrote.
"""

from collections.abc import Callable
from typing import Any, Self

import redis

from tests.fuzz.keys import NOW, ROOT, STRANGER
from tests.fuzz.target import Input, Target, only, piece
from verifier.errors import StatusUnavailable
from verifier.mirror import MemoryTable, PartitionMirror
from verifier.mirror_follower import MirrorFollower
from verifier.status_reader import StatusReader
from verifier.wire.errors import StatusError
from verifier.wire.status_record import RECORD_BYTES
from verifier.wire.status_store import (
    RECORDS_PER_SHARD,
    SHARD_BYTES,
    encode_updates,
    new_epoch,
    offset_of,
    shard_of,
    status_key,
)

_CAPACITY = 64  # a shard has more: what is beyond is left out
_ZEROS = bytes(_CAPACITY * RECORD_BYTES)
_FEED_BOUND = 6
(
    _CHANGE,
    _HEARTBEAT,
    _REBUILD,
    _WAIT,
    _STEP,
    _ODD_ENTRY,
    _ODD_SHARD,
    _ODD_EPOCH,
    _EMPTIED,
    _SET_BACK,
    _GONE,
    _ODD_REPLY,
) = range(12)


class FakeRedis:
    """The few commands of Redis that a reader uses, on a model of one partition."""

    def __init__(self) -> None:
        self.strings: dict[str, bytes] = {}
        self.feed: list[tuple[bytes, dict[bytes, bytes]]] = []
        self.last_id = (0, 0)
        self.now_ms = NOW * 1000
        self.failure: Exception | None = None
        self.odd: Callable[[Any], Any] | None = None  # changes a reply

    def add(self, fields: dict[bytes, bytes]) -> None:
        """XADD, with an id of the server's own, and the bound of the feed."""
        self.last_id = max((self.now_ms, 0), (self.last_id[0], self.last_id[1] + 1))
        self.feed.append(("{}-{}".format(*self.last_id).encode(), fields))
        del self.feed[:-_FEED_BOUND]

    def _reply(self, value: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        return value if self.odd is None else self.odd(value)

    def get(self, key: str) -> Any:
        return self._reply(self.strings.get(key))

    def getrange(self, key: str, start: int, end: int) -> Any:
        return self._reply(self.strings.get(key, b"")[start : end + 1])

    def time(self) -> Any:
        return self._reply((self.now_ms // 1000, self.now_ms % 1000 * 1000))

    def xrevrange(self, _key: str, count: int) -> Any:
        return self._reply(self.feed[::-1][:count])

    def xrange(self, _key: str, first: str, _last: str, count: int) -> Any:
        return self._reply([entry for entry in self.feed if entry[0] == first.encode()][:count])

    def xread(self, streams: dict[str, str], count: int, **_: int) -> Any:
        ((key, after),) = streams.items()  # `block` is how long to wait, and nothing comes by waiting here
        entries = [entry for entry in self.feed if _order(entry[0]) > _order(after.encode())][:count]
        return self._reply([[key.encode(), entries]] if entries else [])

    def pipeline(self, **_: bool) -> "_Pipeline":
        return _Pipeline(self)

    def close(self) -> None:
        pass


class _Pipeline:
    def __init__(self, server: FakeRedis) -> None:
        self._server = server
        self._calls: list[Callable[[], Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        command = getattr(self._server, name)
        return lambda *args, **options: self._calls.append(lambda: command(*args, **options))

    def execute(self) -> list[Any]:
        return [call() for call in self._calls]


def _order(entry_id: bytes) -> tuple[int, int]:
    unix_ms, _, sequence = entry_id.partition(b"-")
    return int(unix_ms), int(sequence)


class _World:
    """A Redis, who writes to it, and a verifier that follows."""

    def __init__(self) -> None:
        self.redis = FakeRedis()
        self.clock_s = 1_000.0
        reader = StatusReader(
            "redis://127.0.0.1:1",
            root_key_id=ROOT.key_id,
            partition=0,
            partitions=1,
            monotonic=lambda: self.clock_s,
        )
        reader._redis = self.redis  # type: ignore[assignment]
        self.mirror = PartitionMirror()
        self.follower = MirrorFollower(
            reader=reader,
            mirror=self.mirror,
            monotonic=lambda: self.clock_s,
            new_table=lambda: MemoryTable(memoryview(bytearray(_ZEROS))),
        )
        self.records: dict[int, int] = {}
        self.ever: dict[int, set[int]] = {}
        self.epochs = 0
        self.epoch = b""
        self.is_honest = True
        self.last_proof_s = 0.0  # the clock of ages, when anybody last added an entry
        self.kept: tuple[dict[str, bytes], list[tuple[bytes, dict[bytes, bytes]]], tuple[int, int]] | None = (
            None
        )

    def advance(self, ms: int) -> None:
        self.clock_s += ms / 1000
        self.redis.now_ms += ms

    def add(self, fields: dict[bytes, bytes]) -> None:
        self.redis.add(fields)
        self.last_proof_s = self.clock_s

    def note(self, index: int, record: int) -> None:
        self.ever.setdefault(index, {0}).add(record)

    def set_record(self, index: int, record: int) -> None:
        self.note(index, record)
        self.records[index] = record
        key = status_key(shard_of(index), 1)
        shard = bytearray(self.redis.strings.get(key, b"").ljust(offset_of(index) + RECORD_BYTES, b"\0"))
        shard[offset_of(index) : offset_of(index) + RECORD_BYTES] = record.to_bytes(8, "little")
        self.redis.strings[key] = bytes(shard)

    def rebuild(self) -> None:
        self.epochs += 1
        self.epoch = new_epoch(ROOT.key_id, bytes([self.epochs])).encode()
        for key in list(self.redis.strings):
            del self.redis.strings[key]
        for index, record in list(self.records.items()):
            self.set_record(index, record)
        self.redis.strings["gatelight:{0}:epoch"] = self.epoch
        self.add({b"e": self.epoch})

    def step(self) -> bool:
        """Make a step; return whether nothing was raised."""
        was_loaded, was_s = self.mirror.table is not None, self.mirror.current_at_s
        try:
            self.follower.step()
        except (redis.RedisError, StatusUnavailable, StatusError):
            is_well = False
        else:
            is_well = True
        assert self.mirror.table is not None or not was_loaded, "a mirror that was loaded is gone"
        assert self.mirror.current_at_s <= max(was_s, self.last_proof_s) + 0.002, "status is told too young"
        table = self.mirror.table
        if table is not None and self.redis.odd is None:
            for index in self.ever:
                assert table.record(index) in self.ever[index] or index >= _CAPACITY, "nobody wrote that"
        return is_well


def run(content: bytes) -> None:
    """Live through it."""
    given = Input(content)
    world = _World()
    for _ in range(48):
        if given.is_at_end:
            break
        _turn(world, given)
    if world.is_honest and world.epoch:
        world.add({b"e": world.epoch})
        for _ in range(4):
            world.step()
        assert world.step()
        table = world.mirror.table
        assert table is not None
        for index, record in world.records.items():
            assert table.record(index) == (record if index < _CAPACITY else 0), "the mirror is not the status"


def _turn(world: _World, given: Input) -> None:
    what = given.number() % 12
    if what == _STEP:
        world.step()
    elif what == _WAIT:
        world.advance(given.number(2))
    elif what == _GONE:
        world.redis.failure = given.pick(
            (redis.ConnectionError("refused"), redis.TimeoutError("late"), redis.ResponseError("WRONGTYPE"))
        )
        world.step()
        world.redis.failure = None
    elif what in (_CHANGE, _HEARTBEAT, _REBUILD):
        _issuer(world, given, what)
    elif what == _SET_BACK:
        _set_back(world)
    else:
        world.is_honest = False
        _somebody_else(world, given, what)


def _issuer(world: _World, given: Input, what: int) -> None:
    if what == _REBUILD:
        world.rebuild()
    elif not world.epoch:
        return
    elif what == _HEARTBEAT:
        world.add({b"e": world.epoch})
    else:
        index, record = given.number() % 80, given.number(8)
        world.set_record(index, record)
        world.add({b"e": world.epoch, b"u": encode_updates([(index, record)])})


def _set_back(world: _World) -> None:
    """Keep what there is; the next time, have it again."""
    server = world.redis
    if world.kept is None:
        world.kept = (dict(server.strings), list(server.feed), server.last_id)
        return
    world.is_honest = False
    strings, feed, last_id = world.kept
    server.strings, server.feed, server.last_id = dict(strings), list(feed), last_id


def _somebody_else(world: _World, given: Input, what: int) -> None:
    server = world.redis
    if what == _ODD_ENTRY:
        fields = {given.pick((b"e", b"u", b"x")): given.piece() for _ in range(2)}
        if given.number() & 1:
            fields[b"e"] = world.epoch
        _note_updates(world, fields.get(b"u", b""))
        world.add(fields)
    elif what == _ODD_SHARD:
        content = given.piece() * (1 if given.number() < 254 else 4_096)
        shard = given.number() % 3
        for number in range(min(-(-len(content) // RECORD_BYTES), 1_024)):
            # Where it ends within a record, zeros make it whole when what is behind is written.
            bits = content[number * RECORD_BYTES : (number + 1) * RECORD_BYTES].ljust(RECORD_BYTES, b"\0")
            world.note(shard * RECORDS_PER_SHARD + number, int.from_bytes(bits, "little"))
        server.strings[status_key(shard, 1)] = content[: SHARD_BYTES + 9]
    elif what == _ODD_EPOCH:
        server.strings["gatelight:{0}:epoch"] = (
            new_epoch(STRANGER.key_id, b"1").encode() if given.number() & 1 else given.piece()
        )
    elif what == _EMPTIED:
        server.strings, server.feed, server.last_id = {}, [], (0, 0)
    else:
        value = given.pick((None, b"", b"x", 7, [], [b"1-1"], {b"e": b"x"}, given.piece()))
        every = 1 + given.number() % 4
        count = 0

        def odd(reply: Any) -> Any:
            nonlocal count
            count += 1
            return value if count % every == 0 else reply

        server.odd = odd
        with only(*_OF_NO_REDIS):
            world.step()
        server.odd = None


# What is no reply of a Redis to that command, redis-py would not let through: there only the mirror counts.
_OF_NO_REDIS = (TypeError, ValueError, AttributeError, IndexError, KeyError)


def _note_updates(world: _World, encoded: bytes) -> None:
    for at in range(0, len(encoded) - 11, 12):
        index = int.from_bytes(encoded[at : at + 4], "little")
        world.note(index, int.from_bytes(encoded[at + 4 : at + 12], "little"))


def seeds() -> list[bytes]:
    """Return some histories."""
    change = bytes([_CHANGE, 7]) + (21).to_bytes(8, "big")
    step, beat, wait = bytes([_STEP]), bytes([_HEARTBEAT]), bytes([_WAIT, 3, 232])
    begin = bytes([_REBUILD]) + change + step
    updates = encode_updates([(9, 5), (2**32 - 1, 6)])
    return [
        begin + change + step + wait + beat + step,
        begin + wait + change * 8 + step * 3,
        begin + bytes([_REBUILD]) + change + step * 3,
        begin + bytes([_ODD_ENTRY, 1]) + piece(updates) + b"\0" + piece(b"x") + b"\1" + step * 2,
        begin + bytes([_ODD_ENTRY, 1]) + piece(updates[:-1]) + b"\0" + piece(b"x") + b"\1" + step * 2,
        begin + bytes([_ODD_SHARD]) + piece(bytes(range(16))) + b"\0\0" + bytes([_REBUILD]) + step * 2,
        begin + bytes([_ODD_SHARD]) + piece(b"12345") + b"\0\1" + bytes([_ODD_EPOCH, 1]) + step * 3,
        begin + bytes([_ODD_EPOCH, 0]) + piece(b"abc") + step * 2,
        begin + bytes([_EMPTIED]) + step * 2 + bytes([_REBUILD]) + step * 2,
        begin + bytes([_SET_BACK]) + wait + change + step + bytes([_SET_BACK]) + step * 3,
        begin + bytes([_GONE, 0, _GONE, 1, _GONE, 2]) + step,
        *(begin + beat + bytes([_ODD_REPLY, number, 0, 1, 64, number]) + step for number in range(8)),
    ]


TARGET = Target("feed", run, seeds, max_bytes=512, words=(b"\0\0", b"\1"))
