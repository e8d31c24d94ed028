"""Suspected copies in the register: each pair of showings once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from issuer.register.address import SQLITE
from issuer.register.database import Database
from issuer.register.schema import suspects


@dataclass(frozen=True, slots=True)
class NewSuspect:
    """A code that was shown at two gates."""

    identity: bytes
    credential_index: int
    kind: int
    first_gate_id: bytes
    first_at_ms: int
    second_gate_id: bytes
    second_at_ms: int


@dataclass(frozen=True, slots=True)
class SuspectEntry(NewSuspect):
    """One that was reported."""

    seq: int


class Suspects:
    """Adds and lists them. Threads share it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def add(self, found: Sequence[NewSuspect]) -> Sequence[SuspectEntry]:
        """Enter suspects and return those that were not known; raises RegisterUnavailable."""
        if not found:
            return ()
        dialect: Any = sqlite if self._database.dialect == SQLITE else postgresql
        insert = dialect.insert(suspects).on_conflict_do_nothing().returning(suspects)
        entries = []
        with self._database.write() as connection:
            for one in found:
                row = connection.execute(insert, asdict(one)).first()
                if row is not None:
                    entries.append(_entry(row))
        return entries

    def page(
        self, *, from_ms: int, credential_index: int, page_size: int, before_seq: int
    ) -> tuple[Sequence[SuspectEntry], bool]:
        """Return suspects, the newest first, and whether there are older ones; 0 does not narrow.

        Raises RegisterUnavailable.
        """
        query = select(suspects).order_by(suspects.c.seq.desc()).limit(page_size + 1)
        if from_ms:
            query = query.where(suspects.c.second_at_ms >= from_ms)
        if credential_index:
            query = query.where(suspects.c.credential_index == credential_index)
        if before_seq:
            query = query.where(suspects.c.seq < before_seq)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [_entry(row) for row in rows[:page_size]], len(rows) > page_size


def _entry(row: Any) -> SuspectEntry:
    return SuspectEntry(**row._mapping)
