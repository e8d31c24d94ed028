"""Credentials: what holders show.

Every method is one transaction, whole or not at all, and raises RegisterUnavailable. What changes a
credential puts it into the outbox in the same transaction. Lists name the entry that is wrong, such as
`credentials[3].holder_id`. `now` is Unix seconds.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, literal_column, select, update

from issuer.errors import FailedPrecondition, InvalidArgument, NotFound, Refused
from issuer.register.database import Database
from issuer.register.entries import (
    CredentialChanged,
    CredentialEntry,
    CredentialStanding,
    HolderStatus,
    Issued,
    NewCredential,
    Page,
    RowsEntered,
)
from issuer.register.import_rows import Outcome, RowRefused
from issuer.register.new_credentials import COLUMNS, NewCredentials
from issuer.register.outbox import enqueue, enqueue_indices
from issuer.register.schema import clients, credentials, holder_status, holders
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import GENERATION_MODULUS, Colour

_ACTIVE, _SUSPENDED = CredentialStanding.ACTIVE, CredentialStanding.SUSPENDED
_REVOKED, _EXPIRED = CredentialStanding.REVOKED, CredentialStanding.EXPIRED

_ENTRIES = (
    select(
        *COLUMNS,
        holders.c.name,
        clients.c.name.label("app"),
        holder_status.c.colour,
        holder_status.c.reason,
        holder_status.c.last_negative_test_min,
        holder_status.c.valid_until.label("status_valid_until"),
    )
    .join_from(credentials, holders, credentials.c.holder_id == holders.c.id)
    .outerjoin(holder_status, holder_status.c.holder_id == credentials.c.holder_id)
    .outerjoin(clients, clients.c.id == credentials.c.app_client_id)
)
_KINDS = {int(kind): kind for kind in CredentialKind}
_STANDINGS = {int(standing): standing for standing in CredentialStanding}
_COLOURS = {int(colour): colour for colour in Colour}
# As the index credentials_to_expire has it, in literals, or neither database would use the index.
_MAY_EXPIRE = credentials.c.valid_until.is_not(None) & credentials.c.state.in_(
    [literal_column(str(int(state))) for state in (_ACTIVE, _SUSPENDED)]
)


class Credentials:
    """The credentials as the staff of the issuer, and bundles, see them."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def issue(self, new: Sequence[NewCredential], *, now: int) -> Issued:
        """Issue credentials and return their indices, in the same order; they carry their holders' status.

        Raises NotFound for a holder or app that is not there; FailedPrecondition for an erased holder, for
        a client that is no app or was revoked, and for an external_id that another credential has;
        InvalidArgument for a valid_until that has come.
        """
        with self._database.write() as connection:
            batch = NewCredentials(connection, new, now=now)
            for number, credential in enumerate(new):
                try:
                    batch.refuse_known_external_id(credential)
                    batch.add(credential)
                except InvalidArgument as refusal:
                    raise InvalidArgument(f"credentials[{number}].{refusal.field}", refusal.problem) from None
                except Refused as refusal:
                    raise type(refusal)(f"credentials[{number}].{refusal}") from None
            indices = batch.insert(connection)
            return Issued(indices, _enqueue_new(connection, indices))

    def enter_rows(self, rows: Sequence[NewCredential | RowRefused], *, now: int) -> RowsEntered:
        """Issue the good rows of an import, each with an external_id, and tell of the bad ones.

        A row whose external_id is known keeps the index it has and changes nothing; for another holder or
        of another kind than before it is refused.
        """
        outcome = Outcome(len(rows))
        with self._database.write() as connection:
            batch = NewCredentials(
                connection, [row for row in rows if isinstance(row, NewCredential)], now=now
            )
            for position, row in enumerate(rows):
                if isinstance(row, RowRefused):
                    outcome.refuse(position, row.reason)
                    continue
                try:
                    if (known_index := batch.known_index(row)) is not None:
                        outcome.keep(position, known_index)
                    elif (place := batch.place(row)) is not None:
                        outcome.repeat(position, place)
                    else:
                        outcome.add(position, batch.add(row))
                except Refused as refusal:
                    outcome.refuse(position, str(refusal))
            indices = batch.insert(connection)
            return outcome.entered(indices, _enqueue_new(connection, indices))

    def replace(self, credential_index: int) -> CredentialChanged:
        """Give a credential its next generation and lift a suspension.

        Raises NotFound, or FailedPrecondition when it has ended or was replaced 255 times.
        """
        return self._change(credential_index, {_ACTIVE, _SUSPENDED}, _ACTIVE, is_next_generation=True)

    def suspend(self, credential_index: int) -> CredentialChanged:
        """Suspend a credential; raises NotFound, or FailedPrecondition when it is not active."""
        return self._change(credential_index, {_ACTIVE}, _SUSPENDED)

    def resume(self, credential_index: int) -> CredentialChanged:
        """Make a credential active again; raises NotFound, or FailedPrecondition when it is not suspended."""
        return self._change(credential_index, {_SUSPENDED}, _ACTIVE)

    def revoke(self, credential_index: int) -> CredentialChanged:
        """Revoke a credential for good; raises NotFound, or FailedPrecondition when it has ended already."""
        return self._change(credential_index, {_ACTIVE, _SUSPENDED}, _REVOKED)

    def entry(self, credential_index: int) -> CredentialEntry:
        """Return a credential with its holder's name and status; raises NotFound."""
        try:
            return self.entries([credential_index])[credential_index]
        except KeyError:
            raise NotFound(f"there is no credential {credential_index}") from None

    def entries(self, indices: Collection[int]) -> Mapping[int, CredentialEntry]:
        """Return those of the credentials that exist, by index, in one query."""
        with self._database.read() as connection:
            found = connection.execute(_ENTRIES.where(credentials.c.credential_index.in_(indices)))
            return {row.credential_index: _entry(row) for row in found}

    def dependants_of(self, indices: Collection[int]) -> Mapping[int, Sequence[int]]:
        """Return, for each index, the active PHONE credentials of those whose guardian is its holder.

        In order of their index; empty where there are none, and for a credential that does not exist.
        """
        guardians, theirs = credentials.alias("guardians"), credentials.alias("theirs")
        query = (
            select(guardians.c.credential_index, theirs.c.credential_index)
            .join_from(guardians, holders, holders.c.guardian_id == guardians.c.holder_id)
            .join(theirs, theirs.c.holder_id == holders.c.id)
            .where(
                guardians.c.credential_index.in_(indices),
                theirs.c.kind == int(CredentialKind.PHONE),
                theirs.c.state == int(_ACTIVE),
            )
            .order_by(theirs.c.credential_index)
        )
        dependants: dict[int, list[int]] = {index: [] for index in indices}
        with self._database.read() as connection:
            for index, dependant in connection.execute(query):
                dependants[index].append(dependant)
        return dependants

    def carried_by_app(self, indices: Collection[int], client_id: int) -> Collection[int]:
        """Return the PHONE credentials among them whose holder's guardian carries them in this app.

        That is, has an active credential that the app may fetch. A card is printed for its holder, by staff.
        """
        theirs, guardians = credentials.alias("theirs"), credentials.alias("guardians")
        query = (
            select(theirs.c.credential_index)
            .join_from(theirs, holders, holders.c.id == theirs.c.holder_id)
            .join(guardians, guardians.c.holder_id == holders.c.guardian_id)
            .where(
                theirs.c.credential_index.in_(indices),
                theirs.c.kind == int(CredentialKind.PHONE),
                guardians.c.app_client_id == client_id,
                guardians.c.state == int(_ACTIVE),
            )
        )
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def of_holder(self, holder_id: int) -> Sequence[CredentialEntry]:
        """Return a holder's credentials, by index."""
        query = _ENTRIES.where(credentials.c.holder_id == holder_id).order_by(credentials.c.credential_index)
        with self._database.read() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def page(
        self,
        *,
        limit: int,
        after_index: int = 0,
        holder_id: int = 0,
        kind: CredentialKind | None = None,
        state: CredentialStanding | None = None,
    ) -> Page[CredentialEntry]:
        """Return up to `limit` credentials above `after_index`, by index, that have all that is given."""
        conditions: list[ColumnElement[bool]] = [credentials.c.credential_index > after_index]
        if holder_id:
            conditions.append(credentials.c.holder_id == holder_id)
        if kind is not None:
            conditions.append(credentials.c.kind == int(kind))
        if state is not None:
            conditions.append(credentials.c.state == int(state))
        query = _ENTRIES.where(*conditions).order_by(credentials.c.credential_index).limit(limit + 1)
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return Page([_entry(row) for row in found[:limit]], has_more=len(found) > limit)

    def expire_due(self, *, now: int, limit: int) -> tuple[int, int]:
        """End up to `limit` credentials whose valid_until is `now` or before.

        Returns how many were ended, and the outbox seq; the rest stays for the next call.
        """
        next_expiry = self.next_expiry()
        if next_expiry is None or next_expiry > now:
            return 0, 0  # without taking a turn as a writer
        due = (
            select(credentials.c.credential_index)
            .where(_MAY_EXPIRE, credentials.c.valid_until <= now)
            .order_by(credentials.c.valid_until)
            .limit(limit)
        )
        with self._database.write() as connection:
            indices = connection.scalars(due).all()
            if not indices:
                return 0, 0
            connection.execute(
                update(credentials)
                .where(credentials.c.credential_index.in_(indices))
                .values(state=int(_EXPIRED))
            )
            return len(indices), enqueue_indices(connection, indices)

    def next_expiry(self) -> int | None:
        """Return when the next credential ends by itself, Unix seconds; None: none does."""
        with self._database.read() as connection:
            query = select(func.min(credentials.c.valid_until)).where(_MAY_EXPIRE)
            next_end: int | None = connection.scalar(query)
            return next_end

    def _change(
        self,
        credential_index: int,
        allowed: Collection[CredentialStanding],
        new_state: CredentialStanding,
        *,
        is_next_generation: bool = False,
    ) -> CredentialChanged:
        is_this_one = credentials.c.credential_index == credential_index
        with self._database.write() as connection:
            before = connection.execute(
                select(credentials.c.state, credentials.c.generation).where(is_this_one)
            ).first()
            if before is None:
                raise NotFound(f"there is no credential {credential_index}")
            if before.state not in allowed:
                raise FailedPrecondition(f"credential {credential_index} is {_STANDINGS[before.state].name}")
            generation = before.generation + is_next_generation
            if generation > GENERATION_MODULUS:
                # The record would wrap, and a card that was replaced long ago would be in force again.
                raise FailedPrecondition(
                    f"credential {credential_index} was replaced {GENERATION_MODULUS - 1} times: "
                    "revoke it and issue a new one"
                )
            connection.execute(
                update(credentials).where(is_this_one).values(state=int(new_state), generation=generation)
            )
            return CredentialChanged(generation, enqueue(connection, is_this_one))


def _enqueue_new(connection: Connection, indices: Sequence[int]) -> int:
    """Put new credentials into the outbox in one statement: their indices follow one another."""
    if not indices:
        return 0
    return enqueue(connection, credentials.c.credential_index.between(indices[0], indices[-1]))


def _entry(row: Row[*tuple[Any, ...]]) -> CredentialEntry:
    status = HolderStatus(
        _COLOURS[row.colour or 0],
        row.reason or 0,
        row.last_negative_test_min or 0,
        row.status_valid_until or 0,
    )
    return CredentialEntry(
        credential_index=row.credential_index,
        holder_id=row.holder_id,
        name=row.name,
        kind=_KINDS[row.kind],
        generation=row.generation,
        state=_STANDINGS[row.state],
        status=status,
        app_client_id=row.app_client_id,
        app=row.app or "",
        issued_at=row.issued_at,
        valid_until=row.valid_until or 0,
        external_id=row.external_id or "",
    )
