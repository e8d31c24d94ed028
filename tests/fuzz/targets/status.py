"""Status values: records, shards, updates and epochs; and what verifier.verdict makes of a record."""

import math
import struct

from tests.fuzz.keys import NOW
from tests.fuzz.target import Input, Target, only
from verifier.mirror import MemoryTable
from verifier.verdict import Policy, Verdict, decide, read_record
from verifier.wire.code import Code, CredentialKind
from verifier.wire.errors import StatusError
from verifier.wire.status_record import NEVER_HEARD_OF, RECORD_BYTES, pack
from verifier.wire.status_store import (
    MAX_UPDATES_PER_ENTRY,
    SHARD_BYTES,
    decode_updates,
    encode_updates,
    new_epoch,
    owner_of,
)

RECORD, UPDATES, SHARD, EPOCH = range(4)
_CAPACITY = 70_000  # more than a shard
_ZEROS = bytes(_CAPACITY * RECORD_BYTES)


def run(content: bytes) -> None:
    """Read one."""
    given = Input(content)
    (_record, _updates, _shard, _epoch)[given.number() % 4](given)


def _record(given: Input) -> None:
    bits = given.number(8)
    record = read_record(bits)
    if record is None:
        assert bits == NEVER_HEARD_OF or bits & 0xF000
    else:
        assert pack(record) == bits
    flags = given.number()
    policy = Policy(
        max_test_age_s=given.number(4) if flags & 1 else None,
        max_status_age_s=struct.unpack(">d", given.take(8).ljust(8, b"\0"))[0] if flags & 2 else None,
        yellow_opens=bool(flags & 4),
    )
    age_s = struct.unpack(">d", given.take(8).ljust(8, b"\0"))[0]
    code = Code(CredentialKind.PHONE, 1, given.number(4), NOW, NOW + 60)
    verdict = decide(code, record, age_s, policy, NOW)
    assert (verdict is Verdict.GREEN) == _may_open(bits, code, age_s, policy)
    if bits & 3 == 3 and verdict is not Verdict.RED:
        assert verdict in (Verdict.NO_STATUS, Verdict.REPLACED, Verdict.SUSPENDED, Verdict.REVOKED)


def _may_open(bits: int, code: Code, age_s: float, policy: Policy) -> bool:
    """Tell the same from the bits alone, as the README and status_record.py say it."""
    if bits & 0xF000 or bits >> 2 & 3 != 1 or bits >> 4 & 0xFF != code.generation % 256:
        return False
    if bits & 3 != 1 and not (bits & 3 == 2 and policy.yellow_opens):
        return False
    if policy.max_test_age_s is not None and not (
        bits >> 32 and NOW - 60 * (bits >> 32) <= policy.max_test_age_s
    ):
        return False
    if policy.max_status_age_s is None:
        return True
    return (
        not math.isnan(age_s) and not math.isnan(policy.max_status_age_s) and age_s <= policy.max_status_age_s
    )


def _table() -> MemoryTable:
    return MemoryTable(memoryview(bytearray(_ZEROS)))


def _updates(given: Input) -> None:
    encoded = given.rest()
    with only(StatusError):
        updates = list(decode_updates(encoded))
        assert 1 <= len(updates) <= MAX_UPDATES_PER_ENTRY
        assert encode_updates(updates) == encoded
        table = _table()
        left_out = table.apply(updates)
        assert left_out == sum(index >= _CAPACITY for index, _ in updates)
        for index, record in dict(updates).items():
            assert table.record(index) == (record if index < _CAPACITY else NEVER_HEARD_OF)


def _shard(given: Input) -> None:
    shard = given.number(4)
    content = given.rest()
    content = content[: len(content) // RECORD_BYTES * RECORD_BYTES]
    table = _table()
    left_out = table.load_shard(shard, content)
    start = shard * SHARD_BYTES // RECORD_BYTES
    for number in range(len(content) // RECORD_BYTES):
        expected = int.from_bytes(content[number * RECORD_BYTES : (number + 1) * RECORD_BYTES], "little")
        assert table.record(start + number) == (expected if start + number < _CAPACITY else NEVER_HEARD_OF)
    assert 0 <= left_out <= len(content) // RECORD_BYTES


def _epoch(given: Input) -> None:
    text = given.rest()
    owner = owner_of(text)
    if owner is not None:
        assert len(owner) == 8
        assert text.startswith(owner.hex().encode() + b"-")
    if len(text) > 8:
        assert owner_of(new_epoch(text[:8], text[8:]).encode()) == text[:8]


def seeds() -> list[bytes]:
    """Return some of each."""
    green = (1 | 1 << 2 | 1 << 4 | NOW // 60 << 32).to_bytes(8, "big")
    age, limit = struct.pack(">d", 1.5), struct.pack(">d", 60.0)
    flags = [bytes([number]) for number in range(8)]
    return [
        *(
            bytes([RECORD]) + green + one + (600).to_bytes(4, "big") + limit + age + b"\0\0\0\1"
            for one in flags
        ),
        bytes([RECORD]) + green + flags[0] + age + b"\0\0\0\1",
        bytes([UPDATES]) + encode_updates([(1, 21), (65_536, 2**64 - 1), (2**32 - 1, 5)]),
        bytes([SHARD]) + bytes(4) + bytes(range(64)),
        bytes([SHARD]) + b"\0\0\0\1" + bytes(range(64)),
        bytes([EPOCH]) + new_epoch(bytes(8), b"12345678").encode(),
    ]


TARGET = Target(
    "status", run, seeds, max_bytes=4_096, words=(b"\x7f\xf8\0\0\0\0\0\0", b"\x7f\xf0\0\0\0\0\0\0")
)
