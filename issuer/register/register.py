"""Holders, credentials and status: what the staff of the issuer change.

Every method is one transaction, whole or not at all, and puts the status records that it changes into
the outbox in the same transaction. Every method raises RegisterUnavailable; lists name the entry that
is wrong, such as `changes[3].holder_id`. `now` is Unix seconds.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from issuer.documents import DocumentHasher
from issuer.errors import FailedPrecondition, NotFound
from issuer.register.database import Database
from issuer.register.entries import (
    CredentialChanged,
    CredentialEntry,
    HolderStatus,
    Issued,
    NewCredential,
    NewHolder,
    StatusChange,
)
from issuer.register.outbox import enqueue
from issuer.register.schema import credentials, holder_status, holders, status_changes
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import GENERATION_MODULUS, Colour, CredentialState

_NO_STATUS = HolderStatus(Colour.NONE, 0, 0)
_CREDENTIALS = (
    select(
        credentials.c.holder_id,
        credentials.c.kind,
        credentials.c.generation,
        credentials.c.state,
        holders.c.name,
        holder_status.c.colour,
        holder_status.c.reason,
        holder_status.c.last_negative_test_min,
    )
    .join_from(credentials, holders, credentials.c.holder_id == holders.c.id)
    .outerjoin(holder_status, holder_status.c.holder_id == holders.c.id)
)


class Register:
    """The register as the staff of the issuer see it."""

    def __init__(self, *, database: Database, documents: DocumentHasher) -> None:
        self._database = database
        self._documents = documents

    def enrol_holders(self, new: Sequence[NewHolder], *, now: int) -> Sequence[int]:
        """Enter holders and return their ids, in the same order.

        Raises FailedPrecondition for a document that is on the register already, or in the list twice.
        """
        marks = [self._documents.mark(holder.document_type, holder.document_number) for holder in new]
        rows = [
            {
                "name": holder.name,
                "document_type": holder.document_type,
                "document_hash": mark.keyed_hash,
                "document_last_four": mark.last_four,
                "region": holder.region,
                "enrolled_at": now,
            }
            for holder, mark in zip(new, marks, strict=True)
        ]
        hashes = [mark.keyed_hash for mark in marks]
        with self._database.write() as connection:
            _refuse_known_documents(connection, hashes)
            inserted = insert(holders).returning(holders.c.id, sort_by_parameter_order=True)
            return connection.scalars(inserted, rows).all()

    def issue_credentials(self, new: Sequence[NewCredential], *, now: int) -> Issued:
        """Issue credentials and return their indices, in the same order; raises NotFound.

        They carry their holder's status from the start.
        """
        rows = [
            {
                "holder_id": credential.holder_id,
                "kind": credential.kind,
                "generation": 1,
                "state": CredentialState.ACTIVE,
                "issued_at": now,
            }
            for credential in new
        ]
        with self._database.write() as connection:
            _require_holders(connection, [credential.holder_id for credential in new], "credentials")
            inserted = insert(credentials).returning(
                credentials.c.credential_index, sort_by_parameter_order=True
            )
            indices = connection.scalars(inserted, rows).all()
            seq = enqueue(connection, credentials.c.credential_index.in_(indices))
        return Issued(indices, seq)

    def set_statuses(self, changes: Sequence[StatusChange], *, now: int) -> int:
        """Carry out status changes in this order; return the last outbox seq, 0 for none; raises NotFound."""
        holder_ids = [change.holder_id for change in changes]
        history = [
            {
                "holder_id": change.holder_id,
                "colour": change.colour,
                "reason": change.reason,
                "negative_test_min": change.negative_test_min,
                "authority": change.authority,
                "operator": change.operator,
                "changed_at": now,
            }
            for change in changes
        ]
        with self._database.write() as connection:
            _require_holders(connection, holder_ids, "changes")
            statuses = _read_statuses(connection, holder_ids)
            for change in changes:
                statuses[change.holder_id] = statuses.get(change.holder_id, _NO_STATUS).after(change)
            connection.execute(insert(status_changes), history)
            _write_statuses(connection, statuses)
            return enqueue(connection, credentials.c.holder_id.in_(statuses))

    def replace_credential(self, credential_index: int) -> CredentialChanged:
        """Give a credential its next generation and lift a suspension.

        Raises NotFound, or FailedPrecondition when it is revoked.
        """
        return self._change(
            credential_index,
            {CredentialState.ACTIVE, CredentialState.SUSPENDED},
            CredentialState.ACTIVE,
            is_next_generation=True,
        )

    def suspend_credential(self, credential_index: int) -> CredentialChanged:
        """Suspend a credential; raises NotFound, or FailedPrecondition when it is not active."""
        return self._change(credential_index, {CredentialState.ACTIVE}, CredentialState.SUSPENDED)

    def resume_credential(self, credential_index: int) -> CredentialChanged:
        """Make a credential active again; raises NotFound, or FailedPrecondition when it is not suspended."""
        return self._change(credential_index, {CredentialState.SUSPENDED}, CredentialState.ACTIVE)

    def revoke_credential(self, credential_index: int) -> CredentialChanged:
        """Revoke a credential for good; raises NotFound, or FailedPrecondition when it is revoked already."""
        return self._change(
            credential_index, {CredentialState.ACTIVE, CredentialState.SUSPENDED}, CredentialState.REVOKED
        )

    def credential(self, credential_index: int) -> CredentialEntry:
        """Return a credential with its holder's name and status; raises NotFound."""
        with self._database.read() as connection:
            return _read_credential(connection, credential_index)

    def _change(
        self,
        credential_index: int,
        allowed: Collection[CredentialState],
        new_state: CredentialState,
        *,
        is_next_generation: bool = False,
    ) -> CredentialChanged:
        with self._database.write() as connection:
            before = _read_credential(connection, credential_index)
            if before.state not in allowed:
                raise FailedPrecondition(f"credential {credential_index} is {before.state.name}")
            generation = before.generation + is_next_generation
            if generation > GENERATION_MODULUS:
                # The record would wrap, and a card that was replaced long ago would be in force again.
                raise FailedPrecondition(
                    f"credential {credential_index} was replaced {GENERATION_MODULUS - 1} times: "
                    "revoke it and issue a new one"
                )
            is_this_one = credentials.c.credential_index == credential_index
            connection.execute(
                update(credentials).where(is_this_one).values(state=new_state, generation=generation)
            )
            return CredentialChanged(generation, enqueue(connection, is_this_one))


def _refuse_known_documents(connection: Connection, hashes: Sequence[bytes]) -> None:
    known = select(holders.c.document_hash, holders.c.id).where(holders.c.document_hash.in_(hashes))
    taken = {row.document_hash: f"holder {row.id}" for row in connection.execute(known)}
    for number, keyed_hash in enumerate(hashes):
        if keyed_hash in taken:
            raise FailedPrecondition(
                f"holders[{number}].document_number: this document belongs to {taken[keyed_hash]} already"
            )
        taken[keyed_hash] = f"holders[{number}]"


def _require_holders(connection: Connection, holder_ids: Sequence[int], field: str) -> None:
    known = set(connection.scalars(select(holders.c.id).where(holders.c.id.in_(holder_ids))))
    for number, holder_id in enumerate(holder_ids):
        if holder_id not in known:
            raise NotFound(f"{field}[{number}].holder_id: there is no holder {holder_id}")


def _read_statuses(connection: Connection, holder_ids: Sequence[int]) -> dict[int, HolderStatus]:
    found = connection.execute(select(holder_status).where(holder_status.c.holder_id.in_(holder_ids)))
    return {
        row.holder_id: HolderStatus(Colour(row.colour), row.reason, row.last_negative_test_min)
        for row in found
    }


def _write_statuses(connection: Connection, statuses: Mapping[int, HolderStatus]) -> None:
    rows = [
        {
            "holder_id": holder_id,
            "colour": status.colour,
            "reason": status.reason,
            "last_negative_test_min": status.last_negative_test_min,
        }
        for holder_id, status in statuses.items()
    ]
    connection.execute(delete(holder_status).where(holder_status.c.holder_id.in_(statuses)))
    connection.execute(insert(holder_status), rows)


def _read_credential(connection: Connection, credential_index: int) -> CredentialEntry:
    found = connection.execute(_CREDENTIALS.where(credentials.c.credential_index == credential_index)).first()
    if found is None:
        raise NotFound(f"there is no credential {credential_index}")
    return CredentialEntry(
        credential_index=credential_index,
        holder_id=found.holder_id,
        name=found.name,
        kind=CredentialKind(found.kind),
        generation=found.generation,
        state=CredentialState(found.state),
        status=HolderStatus(Colour(found.colour or 0), found.reason or 0, found.last_negative_test_min or 0),
    )
