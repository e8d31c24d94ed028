"""The archived scans in the register: storing them once, and finding them again.

Writing is what costs: hashes and credentials are random, so each batch touches a thousand pages of their
indices. SQLite takes the rows one by one in C; PostgreSQL takes them by COPY into a table of the connection's
own and from there, where it leaves out by itself what is there already.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, tuple_

from issuer.register.address import SQLITE
from issuer.register.database import Database
from issuer.register.schema import scans
from verifier.verdict import Verdict

# A hub's gate_id goes on with its lane behind this. A gate and its lanes are one place.
GATE_END = b"/"
# The code was not authentic, or not in its window: nobody can have passed with it, or a copy of it.
IS_NO_SHOWING = (
    Verdict.MALFORMED,
    Verdict.UNKNOWN_KEY,
    Verdict.BAD_SIGNATURE,
    Verdict.NOT_YET_VALID,
    Verdict.EXPIRED,
)


class ScanRow(NamedTuple):
    """A scan, in the order of the table's columns; what each means is said in scan_log.proto."""

    identity: bytes
    scan_id: bytes
    gate: bytes
    lane: bytes  # from the slash on; empty: none
    verified_at_ms: int
    credential_index: int
    kind: int
    not_before: int
    expires_at: int
    verdict: int
    colour: int
    status_age_ms: int
    code_hash: bytes

    @property
    def gate_id(self) -> bytes:
        """What the gate is called, with its lane."""
        return self.gate + self.lane

    @property
    def is_showing(self) -> bool:
        """Whether an authentic code was shown in its window, whatever the answer."""
        return self.credential_index > 0 and self.verdict not in IS_NO_SHOWING


class Place(NamedTuple):
    """Where a page of scans ended."""

    verified_at_ms: int
    identity: bytes


_INSERT = f"INSERT INTO scans VALUES ({', '.join('?' * len(ScanRow._fields))}) ON CONFLICT DO NOTHING"  # noqa: S608


class Scans:
    """The table of scans. Threads share it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def store(self, rows: Sequence[ScanRow]) -> int:
        """Store scans in one transaction, each once; return how many were new.

        Raises RegisterUnavailable; nothing was stored then, except where a server was lost in the commit.
        """
        with self._database.write() as connection:
            if self._database.dialect == SQLITE:
                return int(connection.exec_driver_sql(_INSERT, list(rows)).rowcount)
            from issuer.register.postgresql import insert_new  # noqa: PLC0415 - not everybody has the package

            return insert_new(connection, scans.name, rows)

    def newest_ms(self) -> int | None:
        """Return when the newest scan was made, Unix ms; None: there is none. Raises RegisterUnavailable."""
        with self._database.read() as connection:
            newest: int | None = connection.scalar(select(func.max(scans.c.verified_at_ms)))
        return newest

    def page(
        self,
        *,
        gate_id: bytes = b"",
        from_ms: int = 0,
        to_ms: int = 0,
        credential_index: int = 0,
        verdict: int = 0,
        page_size: int,
        before: Place | None = None,
    ) -> tuple[Sequence[ScanRow], Place | None]:
        """Return scans, the newest first, and where the next page begins; None: there is no more.

        What is empty or 0 does not narrow the search; `from_ms` is included, `to_ms` is not. Raises
        RegisterUnavailable.
        """
        query = select(scans)
        if from_ms:
            query = query.where(scans.c.verified_at_ms >= from_ms)
        if to_ms:
            query = query.where(scans.c.verified_at_ms < to_ms)
        if credential_index:
            # The second condition lets the index of authentic scans be used. A credential has a few scans a
            # day and a gate thousands, which SQLite does not know: look for the gate among the former.
            query = query.where(scans.c.credential_index == credential_index, scans.c.credential_index > 0)
            query = query.where(*at_gate(gate_id, gate=func.coalesce(scans.c.gate, b"")))
        else:
            query = query.where(*at_gate(gate_id))
        if verdict:
            query = query.where(scans.c.verdict == verdict)
        query = _behind(query, before)
        query = query.order_by(scans.c.verified_at_ms.desc(), scans.c.identity.desc()).limit(page_size + 1)
        with self._database.read() as connection:
            rows = [_row(found) for found in connection.execute(query)]
        if len(rows) <= page_size:
            return rows, None
        last = rows[page_size - 1]
        return rows[:page_size], Place(last.verified_at_ms, last.identity)


def gate_and_lane(gate_id: bytes) -> tuple[bytes, bytes]:
    """Return a gate_id in its two parts: the lane begins with the first slash behind a gate's first byte.

    A gate_id that begins with a slash is anybody's text, and no lane of a gate without a name.
    """
    slash_at = gate_id.find(GATE_END, 1)
    return (gate_id, b"") if slash_at < 0 else (gate_id[:slash_at], gate_id[slash_at:])


def at_gate(gate_id: bytes, *, gate: ColumnElement[bytes] = scans.c.gate) -> Sequence[ColumnElement[bool]]:
    """Return the conditions for scans at a gate, its lanes included; none for all gates.

    `gate` is the column; an expression of the same value keeps its index out of it.
    """
    if not gate_id:
        return ()
    name, lane = gate_and_lane(gate_id)
    if not lane:
        return (gate == name,)
    # Lanes of a lane are those that go on with a slash; "0" is the character behind it.
    below = and_(scans.c.lane > lane + GATE_END, scans.c.lane < lane + bytes([GATE_END[0] + 1]))
    return gate == name, or_(scans.c.lane == lane, below)


def _behind(query: Select[Any], place: Place | None) -> Select[Any]:
    if place is None:
        return query
    return query.where(
        scans.c.verified_at_ms <= place.verified_at_ms,  # where the index is entered
        tuple_(scans.c.verified_at_ms, scans.c.identity) < tuple_(place.verified_at_ms, place.identity),
    )


def _row(found: Any) -> ScanRow:
    return ScanRow._make(found)
