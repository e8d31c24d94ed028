"""Requests as they are read from the register.

A request that nobody settled within its life counts as EXPIRED, whether or not that is written down yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, or_, select

from issuer.access.approvals import ApprovalKind, ApprovalState
from issuer.register.schema import approvals, clients

# The night between two shifts, and no longer: what was agreed to should still be what is wanted.
LIFE_S = 86_400

_requester = clients.alias("requester")
_settler = clients.alias("settler")


@dataclass(frozen=True, slots=True)
class ApprovalEntry:
    """A request as it stands."""

    approval_id: int
    kind: ApprovalKind
    summary: str
    requested_by: str  # the name of a client
    requested_at: int
    state: ApprovalState
    settled_by: str  # the name of a client; empty: nobody
    settled_at: int  # Unix seconds; 0: not settled
    outcome: Sequence[str]


def entries() -> Select[Any]:
    """Return the query for all requests; its rows are for `as_entry`.

    Without payloads: that of an import of statuses may have megabytes, and a page has 1 000 requests.
    """
    without_payload = [column for column in approvals.c if column is not approvals.c.payload]
    return (
        select(
            *without_payload, _requester.c.name.label("requester_name"), _settler.c.name.label("settler_name")
        )
        .select_from(approvals)
        .join(_requester, _requester.c.id == approvals.c.requested_by)
        .outerjoin(_settler, _settler.c.id == approvals.c.settled_by)
    )


def is_due(now: int) -> ColumnElement[bool]:
    """Return the condition for requests that wait and are too old."""
    return and_(approvals.c.state == ApprovalState.PENDING, approvals.c.requested_at <= now - LIFE_S)


def is_in(state: ApprovalState, now: int) -> ColumnElement[bool]:
    """Return the condition for requests in a state."""
    if state is ApprovalState.PENDING:
        return and_(approvals.c.state == ApprovalState.PENDING, approvals.c.requested_at > now - LIFE_S)
    if state is ApprovalState.EXPIRED:
        return or_(approvals.c.state == ApprovalState.EXPIRED, is_due(now))
    return approvals.c.state == state


def as_entry(row: Row[Any], now: int) -> ApprovalEntry:
    """Return the request of a row."""
    state, settled_at = ApprovalState(row.state), row.settled_at or 0
    if state is ApprovalState.PENDING and row.requested_at <= now - LIFE_S:
        state, settled_at = ApprovalState.EXPIRED, row.requested_at + LIFE_S
    return ApprovalEntry(
        approval_id=row.id,
        kind=ApprovalKind(row.kind),
        summary=row.summary,
        requested_by=row.requester_name,
        requested_at=row.requested_at,
        state=state,
        settled_by=row.settler_name or "",
        settled_at=settled_at,
        outcome=row.outcome.splitlines(),
    )
