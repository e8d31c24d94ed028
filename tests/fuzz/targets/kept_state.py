"""The mirror that a verifier kept on its disk: it is taken whole and right, or not at all."""

import json
import struct
import zlib

from tests.fuzz.keys import NOW, ROOT
from tests.fuzz.target import Input, Target, new_folder, only, piece
from verifier.host.kept_state import MIRROR, KeptState, NotKept
from verifier.host.shared import SharedMemory
from verifier.wire.status_store import SHARD_BYTES

FILE, PARTS, SAVED = range(3)
_MAGIC = b"GLkept01"
_CAPACITY = 131_072
_MAX_AGE_S = 3_600.0
_BOOT_S = 10_000.0  # on the clock of ages
_FOLDER = new_folder("fuzz-kept-")
_SHARED = {count: SharedMemory.create(partitions=count, capacity=_CAPACITY, rows=1) for count in (1, 2)}


def run(content: bytes) -> None:
    """Load one."""
    given = Input(content)
    partitions = 1 + given.number() % 2
    kind = given.number() % 3
    if kind == FILE:
        _load(given.rest(), partitions)
    elif kind == PARTS:
        header = given.piece()
        shards = [(given.number(4), given.piece()) for _ in range(given.number() % 4)]
        _load(_file(header, shards), partitions)
    else:
        _save_and_load(given, partitions)


def _load(content: bytes, partitions: int) -> None:
    shared = _emptied(partitions)
    (_FOLDER / MIRROR).write_bytes(content)
    state = _state(shared)
    age_s = None
    with only(NotKept):
        age_s = state.load_mirror(max_age_s=_MAX_AGE_S)
    if age_s is None:
        assert not any(shared.generations), "a mirror was taken that is not right"
        return
    assert all(shared.generations)
    assert 0 <= age_s <= _MAX_AGE_S
    header, shards = _parse(content)
    told = json.loads(header)
    assert (told["root_key_id"], told["partitions"]) == (ROOT.key_id.hex(), partitions)
    for at, current_at_s in zip(told["current_at"], shared.current_at_s, strict=True):
        # Never younger than it says.
        assert current_at_s <= _BOOT_S
        assert abs((_BOOT_S - current_at_s) - max(0.0, NOW - at)) < 1e-3
    for shard, records in dict(shards).items():
        if shard < _CAPACITY * 8 // SHARD_BYTES and len(records) % 8 == 0:
            half = shared.halves[shared.generations[shard % partitions] & 1]
            start = shard * SHARD_BYTES
            assert bytes(half[start : start + len(records)]) == records


def _save_and_load(given: Input, partitions: int) -> None:
    """What is saved is loaded as it was."""
    shared = _emptied(partitions)
    for partition in range(partitions):
        shared.generations[partition] = 1 + given.number() % 4
        shared.current_at_s[partition] = _BOOT_S - given.number()
    records = {given.number(4) % _CAPACITY: given.number(8) for _ in range(8)}
    for index, bits in records.items():
        half = shared.generations[index // 65_536 % partitions] & 1
        shared.halves[half][8 * index : 8 * index + 8] = bits.to_bytes(8, "little")
    ages = [_BOOT_S - at for at in shared.current_at_s]
    _state(shared).save_mirror()
    loaded = _emptied(partitions)
    assert abs(_state(loaded).load_mirror(max_age_s=_MAX_AGE_S) - max(ages)) < 1e-3
    for index, bits in records.items():
        half = loaded.generations[index // 65_536 % partitions] & 1
        assert bytes(loaded.halves[half][8 * index : 8 * index + 8]) == bits.to_bytes(8, "little")


def _emptied(partitions: int) -> SharedMemory:
    shared = _SHARED[partitions]
    for half in (0, 1):
        for shard in range(shared.layout.half_bytes // SHARD_BYTES):
            if shared.has_data(half, shard):
                shared.clear(half, shard * SHARD_BYTES, SHARD_BYTES)
    for partition in range(partitions):
        shared.generations[partition] = 0
        shared.current_at_s[partition] = 0.0
    return shared


def _state(shared: SharedMemory) -> KeptState:
    return KeptState(
        _FOLDER, shared, root_key_id=ROOT.key_id, clock=lambda: float(NOW), monotonic=lambda: _BOOT_S
    )


def _file(header: bytes, shards: list[tuple[int, bytes]]) -> bytes:
    """Return a file that is right in its sums, whatever it says."""
    content = _MAGIC + struct.pack("<I", len(header)) + header
    for shard, records in shards:
        crc = zlib.crc32(records, zlib.crc32(struct.pack("<I", shard)))
        content += struct.pack("<III", shard, len(records), crc) + records
    return content + struct.pack("<III", 2**32 - 1, len(shards), zlib.crc32(header))


def _parse(content: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Read a file that was taken, by another way; fails where a sum is wrong."""
    assert content.startswith(_MAGIC)
    (length,) = struct.unpack_from("<I", content, 8)
    at = 12 + length
    header = content[12:at]
    shards: list[tuple[int, bytes]] = []
    while True:
        shard, length, crc = struct.unpack_from("<III", content, at)
        at += 12
        if shard == 2**32 - 1:
            assert (length, crc) == (len(shards), zlib.crc32(header))
            return header, shards
        records = content[at : at + length]
        assert zlib.crc32(records, zlib.crc32(struct.pack("<I", shard))) == crc
        shards.append((shard, records))
        at += length


def _header(**fields: object) -> bytes:
    told = {"root_key_id": ROOT.key_id.hex(), "partitions": 1, "current_at": [NOW - 5.5]} | fields
    return json.dumps(told).encode()


def seeds() -> list[bytes]:
    """Return files and what they are made of."""
    shard = (1).to_bytes(4, "big") + piece(bytes(range(64)))
    return [
        bytes([0, FILE]) + _file(_header(), [(0, bytes(range(16))), (1, bytes(8))]),
        bytes([0, FILE]) + _file(_header(), []),
        bytes([0, PARTS]) + piece(_header()) + b"\2" + shard + shard,
        bytes([1, PARTS]) + piece(_header(partitions=2, current_at=[NOW - 1, NOW - 3_599])) + b"\1" + shard,
        bytes([0, PARTS]) + piece(_header(current_at=[float("nan")])) + b"\0",
        bytes([0, PARTS]) + piece(_header(partitions=float("inf"))) + b"\0",
        bytes([0, PARTS]) + piece(b"[" * 5_000) + b"\0",
        bytes([0, PARTS]) + piece(b'{"root_key_id":1,"partitions":1e999,"current_at":[1e999]}') + b"\0",
        bytes([0, SAVED]) + bytes(range(100)),
        bytes([1, SAVED]) + bytes(range(100)),
    ]


TARGET = Target(
    "kept_state",
    run,
    seeds,
    max_bytes=8_192,
    words=(
        _MAGIC,
        b'"current_at":',
        b'"partitions":',
        b"NaN",
        b"Infinity",
        b"1e999",
        ROOT.key_id.hex().encode(),
    ),
)
