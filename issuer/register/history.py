"""The history of all status changes: append-only, and chained by hashes so that tampering shows.

own_hash = SHA-256(previous_hash || encoding), and 32 zero bytes stand before the first. The encoding of a
change, in this order:

    "GLH1"
    seq, holder_id, colour, reason, negative_test_min, valid_until, source, changed_at
                    each 8 bytes, signed, big-endian
    approval_id     the same; -1 for none
    authority, operator, evidence, external_id
                    each its length in bytes as 4 bytes, big-endian, then UTF-8;
                    no external_id is the length 0xFFFFFFFF and nothing behind it

The law: this never changes, or no history that was ever written would verify. A further field means a
further tag than GLH1, for the changes from then on. A test pins the bytes.

The chain shows what was changed inside the database by somebody who could not recompute all that follows.
Against somebody who can, note the head somewhere else from time to time, and verify against it.

Database triggers refuse what this file finds afterwards (issuer/register/migrations).
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Row, func, select, union_all, update

from issuer.errors import RegisterUnavailable
from issuer.register.database import Database
from issuer.register.import_rows import insert_rows
from issuer.register.schema import history_head, holder_status, holders, status_changes

ZERO_HASH = bytes(32)

_TAG = b"GLH1"
_INTEGERS = struct.Struct(">9q")
_LENGTH = struct.Struct(">I")
_NO_TEXT = b"\xff\xff\xff\xff"
_NO_APPROVAL = -1
# A few megabytes in memory at a time, and a transaction of some milliseconds.
_ROWS_PER_PAGE = 10_000
_HOLDERS_PER_PAGE = 10_000

_COLUMNS: Sequence[Column[Any]] = (
    status_changes.c.seq,
    status_changes.c.holder_id,
    status_changes.c.colour,
    status_changes.c.reason,
    status_changes.c.negative_test_min,
    status_changes.c.valid_until,
    status_changes.c.authority,
    status_changes.c.operator,
    status_changes.c.evidence,
    status_changes.c.source,
    status_changes.c.approval_id,
    status_changes.c.external_id,
    status_changes.c.changed_at,
    status_changes.c.previous_hash,
    status_changes.c.own_hash,
)


class ChangeRow(NamedTuple):
    """A change to append, as the table has it. A tuple, because a million are made in an import."""

    holder_id: int
    colour: int
    reason: int
    negative_test_min: int
    valid_until: int
    authority: str
    operator: str
    evidence: str
    source: int
    approval_id: int | None
    external_id: str | None
    changed_at: int


class Head(NamedTuple):
    """The end of the chain."""

    seq: int  # 0 before the first change
    own_hash: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification is."""

    verified: int
    total: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What a verification found; the first thing that is wrong, if anything."""

    verified: int
    head: Head
    broken_seq: int = 0  # 0: nothing is wrong, or no single change is
    problem: str = ""  # empty: nothing is wrong


def encode(seq: int, row: ChangeRow) -> bytes:
    """Return the encoding of a change; raises struct.error or AttributeError for what is no change."""
    parts = [
        _TAG,
        _INTEGERS.pack(
            seq,
            row.holder_id,
            row.colour,
            row.reason,
            row.negative_test_min,
            row.valid_until,
            row.source,
            row.changed_at,
            _NO_APPROVAL if row.approval_id is None else row.approval_id,
        ),
    ]
    for text in (row.authority, row.operator, row.evidence):
        encoded = text.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    if row.external_id is None:
        parts.append(_NO_TEXT)
    else:
        encoded = row.external_id.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)


def hash_change(previous_hash: bytes, seq: int, row: ChangeRow) -> bytes:
    """Return the hash of a change."""
    return hashlib.sha256(previous_hash + encode(seq, row)).digest()


def append(connection: Connection, rows: Sequence[ChangeRow]) -> range:
    """Append changes in the caller's transaction; return the seqs given, in the order of the rows.

    Holds the head until the transaction ends, so that seqs have no gaps. What else hangs on a change
    (holder_status, outbox) is the caller's. Raises RegisterUnavailable where there is no head.
    """
    head = read_head(connection, is_to_be_held=True)
    if head is None:
        raise RegisterUnavailable("the head of the history is missing: restore the register from its backup")
    seqs = range(head.seq + 1, head.seq + 1 + len(rows))
    if not rows:
        return seqs
    own_hash = head.own_hash
    chained: list[tuple[Any, ...]] = []
    for seq, row in zip(seqs, rows, strict=True):
        previous_hash, own_hash = own_hash, hash_change(own_hash, seq, row)
        chained.append((seq, *row, previous_hash, own_hash))
    insert_rows(connection, _COLUMNS, chained)
    connection.execute(update(history_head).values(seq=seqs[-1], own_hash=own_hash))
    return seqs


def read_head(connection: Connection, *, is_to_be_held: bool = False) -> Head | None:
    """Return the end of the chain, held for this transaction if it is to be; None: its row is missing."""
    query = select(history_head.c.seq, history_head.c.own_hash)
    row = connection.execute(query.with_for_update() if is_to_be_held else query).first()
    return None if row is None else Head(row.seq, bytes(row.own_hash))


def verify(database: Database, *, expected_head: Head | None = None) -> Iterator[Progress | Finding]:
    """Recompute the chain, then compare the status of every holder with the sum of its changes.

    Gives Progress from time to time, and one Finding at the end. Finds changes that were edited, taken
    out, put in or put into another order, a tail that is missing, and an `expected_head`, noted earlier,
    that is no longer in the chain. Memory is bounded, and writers are not held up: changes that are
    appended meanwhile are left to the next verification. Raises RegisterUnavailable.
    """
    with database.read() as connection:
        head = read_head(connection)
    if head is None:
        yield Finding(0, Head(0, ZERO_HASH), problem="the head of the history is missing")
        return
    verified = Head(0, ZERO_HASH)
    problem: _Problem | None = None
    for page in _pages(database, up_to=head.seq):
        verified, problem = _follow(verified, page, expected_head)
        if problem is not None:
            break
        yield Progress(verified.seq, head.seq)
    problem = problem or _check_end(verified, head, expected_head) or _check_behind_head(database)
    if problem is None:
        problem = _check_holders(database)
    broken_seq, text = problem or (0, "")
    yield Finding(verified.seq, head, broken_seq, text)


_Problem = tuple[int, str]  # seq, or 0; what is wrong


def _pages(database: Database, *, up_to: int) -> Iterator[Sequence[Row[Any]]]:
    query = select(*_COLUMNS).where(status_changes.c.seq <= up_to).order_by(status_changes.c.seq)
    query = query.limit(_ROWS_PER_PAGE)
    with database.read() as connection:
        page = connection.execute(query).all()
    while page:
        yield page
        with database.read() as connection:
            page = connection.execute(query.where(status_changes.c.seq > page[-1].seq)).all()


def _follow(
    before: Head, page: Sequence[Row[Any]], expected_head: Head | None
) -> tuple[Head, _Problem | None]:
    """Return how far the chain holds, and what is wrong behind that."""
    for row in page:
        seq = before.seq + 1
        if row.seq != seq:
            what = "is missing" if row.seq > seq else "stands before the first"
            return before, (min(seq, row.seq), f"change {min(seq, row.seq)} {what}")
        if row.previous_hash != before.own_hash:
            return before, (seq, f"change {seq} does not follow on the one before it")
        try:
            own_hash = hash_change(before.own_hash, seq, ChangeRow._make(row[1:-2]))
        except (struct.error, AttributeError, UnicodeError):
            return before, (seq, f"change {seq} is no change of ours")
        if row.own_hash != own_hash:
            return before, (seq, f"change {seq} was edited")
        if expected_head is not None and expected_head.seq == seq and expected_head.own_hash != own_hash:
            return before, (seq, f"change {seq} is another than when its hash was noted")
        before = Head(seq, own_hash)
    return before, None


def _check_end(verified: Head, head: Head, expected_head: Head | None) -> _Problem | None:
    if verified.seq != head.seq:
        return verified.seq + 1, f"changes {verified.seq + 1} to {head.seq} are missing"
    if verified.own_hash != head.own_hash:
        return head.seq, f"the head of the history is not the hash of change {head.seq}"
    if expected_head is not None and expected_head.seq > head.seq:
        return head.seq + 1, f"the history ends at {head.seq}, before {expected_head.seq}, which was noted"
    return None


def _check_behind_head(database: Database) -> _Problem | None:
    with database.read() as connection:
        head = read_head(connection)
        last_seq = connection.scalar(select(func.max(status_changes.c.seq))) or 0
    if head is None or last_seq > head.seq:
        return last_seq, f"change {last_seq} stands behind the head of the history"
    return None


def _check_holders(database: Database) -> _Problem | None:
    with database.read() as connection:
        last_id = connection.scalar(_LAST_HOLDER_ID) or 0
    for after in range(0, last_id, _HOLDERS_PER_PAGE):
        with database.read() as connection:
            sums = _read_sums(connection, after, after + _HOLDERS_PER_PAGE)
            kept = _read_kept(connection, after, after + _HOLDERS_PER_PAGE)
        for holder_id in sums.keys() | kept.keys():
            if sums.get(holder_id, _NO_STATUS) != kept.get(holder_id, _NO_STATUS):
                return 0, f"the status of holder {holder_id} is not the sum of its changes"
    return None


# Colour, reason, valid_until, newest negative test.
_Sum = tuple[int, int, int, int]
_NO_STATUS: _Sum = (0, 0, 0, 0)
_LAST_HOLDER_ID = select(
    func.max(
        union_all(select(func.max(holders.c.id).label("id")), select(func.max(holder_status.c.holder_id)))
        .subquery()
        .c.id
    )
)


def _read_sums(connection: Connection, after: int, up_to: int) -> dict[int, _Sum]:
    changes = status_changes
    newest = (
        select(
            changes.c.holder_id,
            func.max(changes.c.seq).filter(changes.c.colour != 0).label("coloured_seq"),
            func.max(changes.c.negative_test_min).label("test_min"),
        )
        .where(changes.c.holder_id > after, changes.c.holder_id <= up_to)
        .group_by(changes.c.holder_id)
        .subquery()
    )
    query = select(
        newest.c.holder_id, changes.c.colour, changes.c.reason, changes.c.valid_until, newest.c.test_min
    ).join_from(newest, changes, changes.c.seq == newest.c.coloured_seq, isouter=True)
    return {
        holder_id: (colour or 0, reason or 0, valid_until or 0, test_min)
        for holder_id, colour, reason, valid_until, test_min in connection.execute(query)
    }


def _read_kept(connection: Connection, after: int, up_to: int) -> dict[int, _Sum]:
    query = select(
        holder_status.c.holder_id,
        holder_status.c.colour,
        holder_status.c.reason,
        func.coalesce(holder_status.c.valid_until, 0),
        holder_status.c.last_negative_test_min,
    ).where(holder_status.c.holder_id > after, holder_status.c.holder_id <= up_to)
    return {holder_id: tuple(status) for holder_id, *status in connection.execute(query)}
