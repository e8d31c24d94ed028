"""Holders on their way into the register: whether each may be entered, and the insert of all that may.

What they are compared with is read once for all of them. Every refusal begins with the field that is wrong;
whose it is, the caller adds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from issuer.documents import DocumentMark
from issuer.errors import FailedPrecondition, NotFound
from issuer.register.entries import NewHolder
from issuer.register.import_rows import find_rows, insert_rows, take_ids
from issuer.register.schema import holders

_COLUMNS = (
    holders.c.id,
    holders.c.name,
    holders.c.document_type,
    holders.c.document_hash,
    holders.c.document_key_id,
    holders.c.document_last_four,
    holders.c.region,
    holders.c.guardian_id,
    holders.c.external_id,
    holders.c.enrolled_at,
)
# Where they are in a row.
_ID, _DOCUMENT_HASH, _GUARDIAN_ID = 0, 3, 7
_KNOWN_COLUMNS = (
    holders.c.id,
    holders.c.external_id,
    holders.c.document_hash,
    holders.c.guardian_id,
    holders.c.erased_at,
)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a new holder has to be compared with."""

    holder_id: int
    document_hash: bytes | None
    guardian_id: int | None
    is_erased: bool


class NewHolders:
    """New holders of one transaction: checked one by one, inserted together.

    Until then a new one goes by its place among them.
    """

    def __init__(
        self,
        connection: Connection,
        new: Sequence[NewHolder],
        marks: Iterable[Sequence[DocumentMark]],
        *,
        now: int,
    ) -> None:
        self._now = now
        self._owners = _read_document_owners(connection, marks)  # by hash: "holder 17"
        self._by_external_id = _read_by_external_id(connection, new)
        self._guardians = _read_guardians(connection, new)
        self._places: dict[str, int] = {}  # of the new ones, by external_id
        self._rows: list[list[Any]] = []  # the values of _COLUMNS
        self._guardian_places: dict[int, int] = {}  # place of the guardian, by place of the dependant

    def refuse_known_external_id(self, holder: NewHolder) -> None:
        """Raise FailedPrecondition if another has the external_id."""
        if holder.external_id is None:
            return
        if known := self._by_external_id.get(holder.external_id):
            raise FailedPrecondition(f"external_id: holder {known.holder_id} has it already")
        if holder.external_id in self._places:
            raise FailedPrecondition("external_id: an earlier entry has it already")

    def known_id(self, holder: NewHolder, marks: Sequence[DocumentMark]) -> int | None:
        """Return the id under which the holder is on the register, None if not yet."""
        known = self._by_external_id.get(holder.external_id) if holder.external_id is not None else None
        if known is None:
            return None
        if known.is_erased:
            raise FailedPrecondition(f"external_id: it belongs to holder {known.holder_id}, who was erased")
        if not any(mark.keyed_hash == known.document_hash for mark in marks):
            raise FailedPrecondition(f"external_id: holder {known.holder_id} has it, with another document")
        return known.holder_id

    def place(self, holder: NewHolder, marks: Sequence[DocumentMark]) -> int | None:
        """Return the place of the holder among the new ones, None if not there yet."""
        place = self._places.get(holder.external_id) if holder.external_id is not None else None
        if place is not None and self._rows[place][_DOCUMENT_HASH] != marks[0].keyed_hash:
            raise FailedPrecondition("external_id: an earlier row has it, with another document")
        return place

    def add(self, holder: NewHolder, marks: Sequence[DocumentMark], *, called: str) -> int:
        """Take up a new holder and return its place; later ones with the same document are told `called`."""
        for mark in marks:
            if owner := self._owners.get(mark.keyed_hash):
                raise FailedPrecondition(f"document_number: this document belongs to {owner} already")
        guardian_id, guardian_place = self._guardian(holder)
        place, mark = len(self._rows), marks[0]
        self._rows.append(
            [
                0,
                holder.name,
                holder.document_type,
                mark.keyed_hash,
                mark.key_id,
                mark.last_four,
                holder.region,
                guardian_id,
                holder.external_id,
                self._now,
            ]
        )
        self._owners[mark.keyed_hash] = called
        if holder.external_id is not None:
            self._places[holder.external_id] = place
        if guardian_place is not None:
            self._guardian_places[place] = guardian_place
        return place

    def insert(self, connection: Connection) -> Sequence[int]:
        """Insert all that were taken up; return their ids by place."""
        ids = take_ids(connection, holders.c.id, len(self._rows))
        for row, holder_id in zip(self._rows, ids, strict=True):
            row[_ID] = holder_id
        for place, guardian_place in self._guardian_places.items():
            self._rows[place][_GUARDIAN_ID] = ids[guardian_place]
        insert_rows(connection, _COLUMNS, self._rows)
        return ids

    def _guardian(self, holder: NewHolder) -> tuple[int | None, int | None]:
        """Return id or place of the guardian; raises NotFound or FailedPrecondition."""
        if holder.guardian_external_id is not None:
            field, known = "guardian_external_id", self._by_external_id.get(holder.guardian_external_id)
            place = self._places.get(holder.guardian_external_id)
            if place is not None:
                row = self._rows[place]
                if row[_GUARDIAN_ID] is not None or place in self._guardian_places:
                    raise FailedPrecondition(f"{field}: that holder is a dependant")
                return None, place
            if known is None:
                raise NotFound(f"{field}: no holder on the register or in an earlier row has it")
        elif holder.guardian_id is not None:
            field, known = "guardian_id", self._guardians.get(holder.guardian_id)
            if known is None:
                raise NotFound(f"{field}: there is no holder {holder.guardian_id}")
        else:
            return None, None
        if known.is_erased:
            raise FailedPrecondition(f"{field}: holder {known.holder_id} was erased")
        if known.guardian_id is not None:
            raise FailedPrecondition(f"{field}: holder {known.holder_id} is a dependant")
        return known.holder_id, None


def _read_document_owners(
    connection: Connection, marks: Iterable[Sequence[DocumentMark]]
) -> dict[bytes, str]:
    hashes = (mark.keyed_hash for its_marks in marks for mark in its_marks)
    columns = holders.c.document_hash, holders.c.id
    found = find_rows(connection, columns, holders.c.document_hash, hashes)
    return {keyed_hash: f"holder {holder_id}" for keyed_hash, holder_id in found}


def _read_by_external_id(connection: Connection, new: Sequence[NewHolder]) -> Mapping[str, _Known]:
    wanted = {holder.external_id for holder in new} | {holder.guardian_external_id for holder in new}
    found = find_rows(connection, _KNOWN_COLUMNS, holders.c.external_id, wanted)
    return {row.external_id: _known(row) for row in found}


def _read_guardians(connection: Connection, new: Sequence[NewHolder]) -> Mapping[int, _Known]:
    wanted = {holder.guardian_id for holder in new}
    return {row.id: _known(row) for row in find_rows(connection, _KNOWN_COLUMNS, holders.c.id, wanted)}


def _known(row: Row[*tuple[Any, ...]]) -> _Known:
    return _Known(row.id, row.document_hash, row.guardian_id, is_erased=row.erased_at is not None)
