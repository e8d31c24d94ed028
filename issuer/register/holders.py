"""Holders: who is on the register.

Every method is one transaction, whole or not at all, and raises RegisterUnavailable. Lists name the
entry that is wrong, such as `holders[3].guardian_id`. `now` is Unix seconds.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, update

from issuer.documents import DocumentHasher
from issuer.errors import FailedPrecondition, NotFound, Refused
from issuer.register.database import Database
from issuer.register.entries import (
    CredentialStanding,
    HolderEntry,
    HolderErased,
    NewHolder,
    Page,
    RowsEntered,
)
from issuer.register.import_rows import Outcome, RowRefused
from issuer.register.new_holders import NewHolders
from issuer.register.outbox import enqueue_indices
from issuer.register.schema import credentials, holders


class Holders:
    """The holders as the staff of the issuer see them."""

    def __init__(self, *, database: Database, documents: DocumentHasher) -> None:
        self._database = database
        self._documents = documents

    def enrol(self, new: Sequence[NewHolder], *, now: int) -> Sequence[int]:
        """Enter holders and return their ids, in the same order.

        Raises FailedPrecondition for a document or external_id that is on the register already or in the
        list twice, and for a guardian who is a dependant or was erased; NotFound for one who is not there.
        """
        marks = [self._documents.marks(holder.document_type, holder.document_number) for holder in new]
        with self._database.write() as connection:
            batch = NewHolders(connection, new, marks, now=now)
            for number, (holder, its_marks) in enumerate(zip(new, marks, strict=True)):
                try:
                    batch.refuse_known_external_id(holder)
                    batch.add(holder, its_marks, called=f"holders[{number}]")
                except Refused as refusal:
                    raise type(refusal)(f"holders[{number}].{refusal}") from None
            return batch.insert(connection)

    def enter_rows(self, rows: Sequence[NewHolder | RowRefused], *, now: int) -> RowsEntered:
        """Enter the good rows of an import, each with an external_id, and tell of the bad ones.

        A row whose external_id is known keeps the id it has and changes nothing; with another document
        than before it is refused. A guardian may stand earlier in the batch.
        """
        marks = [
            ()
            if isinstance(row, RowRefused)
            else self._documents.marks(row.document_type, row.document_number)
            for row in rows
        ]
        outcome = Outcome(len(rows))
        with self._database.write() as connection:
            batch = NewHolders(
                connection, [row for row in rows if isinstance(row, NewHolder)], marks, now=now
            )
            for position, (row, its_marks) in enumerate(zip(rows, marks, strict=True)):
                if isinstance(row, RowRefused):
                    outcome.refuse(position, row.reason)
                    continue
                try:
                    if (known_id := batch.known_id(row, its_marks)) is not None:
                        outcome.keep(position, known_id)
                    elif (place := batch.place(row, its_marks)) is not None:
                        outcome.repeat(position, place)
                    else:
                        outcome.add(position, batch.add(row, its_marks, called="an earlier row"))
                except Refused as refusal:
                    outcome.refuse(position, str(refusal))
            return outcome.entered(batch.insert(connection))

    def holder(self, *, holder_id: int | None = None, external_id: str | None = None) -> HolderEntry:
        """Return the holder with one of the two ids; raises NotFound."""
        is_this_one = (
            holders.c.id == holder_id if external_id is None else holders.c.external_id == external_id
        )
        with self._database.read() as connection:
            found = connection.execute(select(holders).where(is_this_one)).first()
        if found is None:
            called = f"holder {holder_id}" if external_id is None else "holder with this external_id"
            raise NotFound(f"there is no {called}")
        return _entry(found)

    def page(
        self,
        *,
        limit: int,
        after_id: int = 0,
        region: str = "",
        guardian_id: int = 0,
        document: tuple[str, str] | None = None,
    ) -> Page[HolderEntry]:
        """Return up to `limit` holders by id, above `after_id`, to whom all that is given applies.

        `document` is type and number.
        """
        conditions: list[ColumnElement[bool]] = [holders.c.id > after_id]
        if region:
            conditions.append(holders.c.region == region)
        if guardian_id:
            conditions.append(holders.c.guardian_id == guardian_id)
        if document is not None:
            hashes = [mark.keyed_hash for mark in self._documents.marks(*document)]
            conditions.append(holders.c.document_hash.in_(hashes))
        query = select(holders).where(*conditions).order_by(holders.c.id).limit(limit + 1)
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return Page([_entry(row) for row in found[:limit]], has_more=len(found) > limit)

    def dependants(self, holder_id: int) -> Sequence[int]:
        """Return the ids of those whose guardian the holder is, in order."""
        query = select(holders.c.id).where(holders.c.guardian_id == holder_id).order_by(holders.c.id)
        with self._database.read() as connection:
            return connection.scalars(query).all()

    def erase(self, holder_id: int, *, now: int) -> HolderErased:
        """Remove what the register knows of a person, and revoke the person's credentials.

        Name, document, region and the links to guardian and dependants go. The entry stays, as the history
        of its status does, which is chained and names nobody. The external_id stays too: without it the
        next import of the same file would enter the person again, unnoticed; as it is, the import refuses
        the row. Copies of the register made before still hold the name, and so does the log of a SQLite
        register while somebody reads a state from before.

        Raises NotFound, or FailedPrecondition for one who was erased before.
        """
        is_theirs = credentials.c.holder_id == holder_id
        in_force = credentials.c.state.in_([CredentialStanding.ACTIVE, CredentialStanding.SUSPENDED])
        with self._database.write() as connection, _wiping(connection):
            found = connection.execute(select(holders.c.erased_at).where(holders.c.id == holder_id)).first()
            if found is None:
                raise NotFound(f"there is no holder {holder_id}")
            if found.erased_at is not None:
                raise FailedPrecondition(f"holder {holder_id} was erased already")
            connection.execute(
                update(holders)
                .where(holders.c.id == holder_id)
                .values(
                    name="",
                    document_type="",
                    document_hash=None,
                    document_key_id=None,
                    document_last_four="",
                    region="",
                    guardian_id=None,
                    erased_at=now,
                )
            )
            connection.execute(
                update(holders).where(holders.c.guardian_id == holder_id).values(guardian_id=None)
            )
            indices = connection.scalars(
                select(credentials.c.credential_index).where(is_theirs, in_force)
            ).all()
            connection.execute(
                update(credentials).where(is_theirs, in_force).values(state=int(CredentialStanding.REVOKED))
            )
            erased = HolderErased(len(indices), enqueue_indices(connection, indices))
        self._database.empty_log()
        return erased


@contextlib.contextmanager
def _wiping(connection: Connection) -> Iterator[None]:
    """Have SQLite overwrite what is removed; otherwise it stays legible in the file until space is needed."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA secure_delete = OFF")


def _entry(row: Row[*tuple[Any, ...]]) -> HolderEntry:
    return HolderEntry(
        holder_id=row.id,
        name=row.name,
        document_type=row.document_type,
        document_last_four=row.document_last_four,
        region=row.region,
        guardian_id=row.guardian_id,
        external_id=row.external_id or "",
        enrolled_at=row.enrolled_at,
        erased_at=row.erased_at or 0,
    )
