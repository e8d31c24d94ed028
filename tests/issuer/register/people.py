"""Holders, clients and approved requests put straight into a register: what tests of status stand on."""

from collections.abc import Sequence

from sqlalchemy import insert

from issuer.access.approvals import ApprovalKind, ApprovalState
from issuer.register.database import Database
from issuer.register.entries import StatusChange
from issuer.register.schema import approvals, clients, credentials, holders
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

NOW = 1_800_000_000


def enrol(database: Database, count: int = 1, *, erased_at: int | None = None) -> Sequence[int]:
    """Enter holders, each with one credential; holder n has the external_id "H<n>"."""
    with database.write() as connection:
        ids = []
        for _ in range(count):
            row = insert(holders).values(
                name="王小秀",
                document_type="ID",
                document_last_four="",
                region="",
                enrolled_at=NOW,
                erased_at=erased_at,
            )
            (holder_id,) = connection.execute(row).inserted_primary_key or (0,)
            named = holders.update().where(holders.c.id == holder_id).values(external_id=f"H{holder_id}")
            connection.execute(named)
            credential = insert(credentials).values(
                holder_id=holder_id, kind=CredentialKind.PHONE, generation=1, state=1, issued_at=NOW
            )
            connection.execute(credential)
            ids.append(int(holder_id))
    return ids


def erase(database: Database, holder_id: int) -> None:
    """Note that a holder was erased."""
    with database.write() as connection:
        connection.execute(holders.update().where(holders.c.id == holder_id).values(erased_at=NOW))


def add_client(database: Database, name: str) -> int:
    """Enter a client; return its id."""
    with database.write() as connection:
        row = insert(clients).values(
            name=name, roles="CLERK", bearer_key_sha256=name.encode().ljust(32), added_at=NOW
        )
        (client_id,) = connection.execute(row).inserted_primary_key or (0,)
        return int(client_id)


def request(
    database: Database,
    client_id: int,
    *,
    kind: ApprovalKind = ApprovalKind.SET_STATUSES,
    payload: bytes = b"",
    state: ApprovalState = ApprovalState.PENDING,
    settled_by: int | None = None,
    requested_at: int = NOW,
) -> int:
    """Enter a request for a second person; return its id."""
    with database.write() as connection:
        row = insert(approvals).values(
            kind=kind,
            payload=payload,
            summary="",
            requested_by=client_id,
            requested_at=requested_at,
            state=ApprovalState.PENDING,
            outcome="",
        )
        (approval_id,) = connection.execute(row).inserted_primary_key or (0,)
        if state is not ApprovalState.PENDING:
            settled = approvals.update().where(approvals.c.id == approval_id)
            connection.execute(settled.values(state=state, settled_by=settled_by, settled_at=NOW))
        return int(approval_id)


def approved(database: Database, operator: str = "clerk") -> int:
    """Enter a request of `operator` that a second person approved; return its id."""
    first, second = add_client(database, operator), add_client(database, f"{operator}'s second person")
    return request(database, first, state=ApprovalState.APPROVED, settled_by=second)


def yellow(holder_id: int | None, *, reason: int = 12, **more: object) -> StatusChange:
    """Return a change to YELLOW."""
    return StatusChange(holder_id, Colour.YELLOW, reason, "CDC", **more)  # type: ignore[arg-type]


def red(holder_id: int | None, *, reason: int = 10, **more: object) -> StatusChange:
    """Return a change to RED."""
    return StatusChange(holder_id, Colour.RED, reason, "CDC", **more)  # type: ignore[arg-type]


def green(holder_id: int | None, **more: object) -> StatusChange:
    """Return a change to GREEN."""
    return StatusChange(holder_id, Colour.GREEN, 0, "CDC", **more)  # type: ignore[arg-type]


def negative_test(holder_id: int | None, minute: int, **more: object) -> StatusChange:
    """Return a negative test."""
    return StatusChange(holder_id, Colour.NONE, 0, "lab", negative_test_min=minute, **more)  # type: ignore[arg-type]
