"""What the register says about credentials, as the status records that verifiers read.

The one place where the two meet, and one SQL expression: `PACKED` is verifier.wire.status_record.pack in
the words of the database. Status belongs to the holder, and every credential of the holder carries it: a
person is red, not a card.

Records leave the database together, as one value. The driver of SQLite lets other threads have the
interpreter for each row that it steps to; beside a busy thread, a row would cost milliseconds.
"""

import sys
from array import array
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, LargeBinary, case, cast, func, literal, select
from sqlalchemy.sql.expression import literal_column

from issuer.register.entries import CredentialStanding
from issuer.register.schema import credentials, holder_status
from verifier.wire.status_record import GENERATION_MODULUS, RECORD_BYTES, CredentialState
from verifier.wire.status_store import RECORDS_PER_SHARD, shard_of


@dataclass(frozen=True, slots=True)
class Shard:
    """The records of a shard at one instant."""

    number: int
    content: bytes  # up to its last record, as it is to lie in Redis
    record_count: int


_SOURCE = credentials.outerjoin(holder_status, credentials.c.holder_id == holder_status.c.holder_id)


def _number(value: int) -> ColumnElement[int]:
    return literal_column(str(value), BigInteger)


def _wide(column: ColumnElement[int]) -> ColumnElement[int]:
    """Return a column as 64 bits, so that PostgreSQL does not multiply in 32."""
    return cast(column, BigInteger)


# Verifiers know no EXPIRED.
_STATE = case(
    (credentials.c.state == _number(CredentialStanding.EXPIRED), _number(CredentialState.REVOKED)),
    else_=_wide(credentials.c.state),
)
# Of credentials and holder_status joined; where there is no credential, the record is NEVER_HEARD_OF.
# The database's 64 bits have a sign; it would take a test in the year 6053 to set it.
PACKED: ColumnElement[int] = func.coalesce(
    func.coalesce(_wide(holder_status.c.colour), _number(0))
    + _STATE * _number(1 << 2)
    + _wide(credentials.c.generation) % _number(GENERATION_MODULUS) * _number(1 << 4)
    + func.coalesce(_wide(holder_status.c.reason), _number(0)) * _number(1 << 16)
    + func.coalesce(_wide(holder_status.c.last_negative_test_min), _number(0)) * _number(1 << 32),
    _number(0),
)


def together(connection: Connection, value: ColumnElement[int]) -> ColumnElement[Any]:
    """Return the aggregate of all values in one, for `apart`; in any order, the same for each column."""
    if connection.dialect.name == "sqlite":
        return func.group_concat(func.printf("%016x", value), "")
    return func.string_agg(func.int8send(_wide(value)), literal(b"", LargeBinary))


def apart(values: str | bytes | None) -> "array[int]":
    """Return the values, under 2**64, that `together` put into one; none for None, the one of no row."""
    found = array("Q", bytes.fromhex(values) if isinstance(values, str) else values or b"")
    if sys.byteorder == "little":
        found.byteswap()
    return found


def count_shards(connection: Connection) -> int:
    """Return how many shards there are, up to the last that has a record."""
    last = connection.scalar(select(func.max(credentials.c.credential_index)))
    return 0 if last is None else shard_of(last) + 1


def next_shard(connection: Connection, shard: int) -> int | None:
    """Return the first shard from `shard` on that has a record, None when there is none."""
    from_here_on = credentials.c.credential_index >= shard * RECORDS_PER_SHARD
    first = connection.scalar(select(func.min(credentials.c.credential_index)).where(from_here_on))
    return None if first is None else shard_of(first)


def read_shard(connection: Connection, number: int) -> Shard:
    """Return a shard, whether it has records or not."""
    first = number * RECORDS_PER_SHARD
    indices, records = connection.execute(
        select(together(connection, credentials.c.credential_index), together(connection, PACKED))
        .select_from(_SOURCE)
        .where(credentials.c.credential_index.between(first, first + RECORDS_PER_SHARD - 1))
    ).one()
    found = apart(indices)
    return Shard(number, _laid_out(first, found, apart(records)), len(found))


def _laid_out(first: int, indices: "array[int]", records: "array[int]") -> bytes:
    if not indices:
        return b""
    begin = indices[0]
    if indices == array("Q", range(begin, begin + len(indices))):
        # Dense and in order, as nearly always: 65 536 records at a few nanoseconds each.
        return bytes(RECORD_BYTES * (begin - first)) + _little_endian(records)
    laid_out = array("Q", bytes(RECORD_BYTES * (max(indices) - first + 1)))
    for index, record in zip(indices, records, strict=True):
        laid_out[index - first] = record
    return _little_endian(laid_out)


def _little_endian(records: "array[int]") -> bytes:
    if sys.byteorder == "big":
        records.byteswap()
    return records.tobytes()
