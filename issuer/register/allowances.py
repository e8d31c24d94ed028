"""How much a client may change by itself, and how much with the consent of a second person.

By itself: no red, and a limited number of holders an hour, over all its calls and files, so that
splitting a change does not help. With consent to an import: the very batches that were asked for, and as
many changes of each colour as the second person was shown. An allowance is drawn on in the transaction of
the changes, so that two calls at the same time cannot both use the last of it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, and_, insert, or_, select, text, update

from issuer.access.approval_entries import is_in
from issuer.access.approvals import ApprovalKind, ApprovalState
from issuer.errors import FailedPrecondition, NotFound, PermissionDenied
from issuer.register.schema import approvals, status_changes, status_imports
from verifier.wire.status_record import Colour

HOUR_S = 3_600
# An import that was agreed to may take days. A consent that nobody used must not lie about for ever: what was
# right then need not be right any more.
CONSENT_LIFE_S = 7 * 86_400

_ASK = "ask for it with gatelight-issuer status import, and import when it is approved"
# Word for word as in the index, or SQLite does not use it.
_WITHOUT_CONSENT = text("approval_id IS NULL AND source IN (1, 2)")


class Allowance(Protocol):
    """What may be changed in one transaction."""

    @property
    def approval_id(self) -> int | None:
        """The consent that the changes are made with; None: without one."""

    def take(self, holder_id: int, colour: int) -> str | None:
        """Take one change out of the allowance; return why it cannot be, naming the field, or None."""

    def settle(self, connection: Connection) -> None:
        """Note in the register what was taken."""


# Opens an allowance in the transaction of the changes.
OpenAllowance = Callable[[Connection], Allowance]


class Unlimited:
    """For what needs no second person, or has had one."""

    approval_id = None

    def take(self, holder_id: int, colour: int) -> str | None:  # noqa: ARG002 - any will do
        """Take one change."""
        return None

    def settle(self, connection: Connection) -> None:
        """Note nothing: nothing gets less."""


class WithoutConsent:
    """What a client may do by itself: `limit` changed holders within an hour, and no red."""

    approval_id = None

    def __init__(self, connection: Connection, *, operator: str, limit: int, now: int) -> None:
        self._limit = limit
        self._holder_ids = changed_without_consent(connection, operator, since=now - HOUR_S)

    def take(self, holder_id: int, colour: int) -> str | None:
        """Take one change; a holder who was changed within the hour already costs nothing."""
        if colour == Colour.RED:
            return f"colour: RED needs the consent of a second person: {_ASK}"
        if holder_id in self._holder_ids:
            return None
        if len(self._holder_ids) >= self._limit:
            return f"more than {self._limit} holders an hour need the consent of a second person: {_ASK}"
        self._holder_ids.add(holder_id)
        return None

    def settle(self, connection: Connection) -> None:
        """Note nothing: the changes themselves are counted."""


class ImportConsent:
    """What a second person consented to for one import, less what was imported already; for one batch."""

    def __init__(
        self, connection: Connection, *, approval_id: int, client_id: int, now: int, is_for_batch: bool
    ) -> None:
        """`is_for_batch` tells whether the batch is one that was asked for; of another it covers nothing.

        Raises NotFound, PermissionDenied, or FailedPrecondition where it is not approved, or too old.
        """
        self.approval_id: int | None = approval_id
        query = (
            select(approvals.c.requested_by, approvals.c.state, approvals.c.settled_at, *_LEFT.values())
            .outerjoin_from(approvals, status_imports)
            .where(approvals.c.id == approval_id, approvals.c.kind == ApprovalKind.STATUS_IMPORT)
        )
        row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"there is no consent {approval_id} to an import of statuses")
        requested_by, state, settled_at, *left = row
        if requested_by != client_id:
            raise PermissionDenied(f"the consent {approval_id} was given to another client")
        if state != ApprovalState.APPROVED or None in left:
            state_name = ApprovalState(state).name
            raise FailedPrecondition(
                f"the consent {approval_id} is {state_name}, expected APPROVED: "
                f"gatelight-issuer approval list shows where it stands"
            )
        if settled_at <= now - CONSENT_LIFE_S:
            raise FailedPrecondition(
                f"the consent {approval_id} is older than {CONSENT_LIFE_S // 86_400} days: {_ASK}"
            )
        self._is_for_batch = is_for_batch
        self._left: dict[int, int] = dict(zip(_LEFT, left, strict=True))

    def take(self, holder_id: int, colour: int) -> str | None:  # noqa: ARG002 - changes are counted, not holders
        """Take one change of its colour."""
        if not self._is_for_batch:
            return (
                f"the consent {self.approval_id} is for other rows: the file was changed since it was asked "
                "for; ask anew with gatelight-issuer status import --restart"
            )
        if self._left[colour] == 0:
            return f"colour: the consent {self.approval_id} covers no further change to {Colour(colour).name}"
        self._left[colour] -= 1
        return None

    def settle(self, connection: Connection) -> None:
        """Note what is left."""
        left = {column.name: self._left[colour] for colour, column in _LEFT.items()}
        connection.execute(
            update(status_imports).where(status_imports.c.approval_id == self.approval_id).values(left)
        )


_LEFT = {
    Colour.GREEN: status_imports.c.green_left,
    Colour.YELLOW: status_imports.c.yellow_left,
    Colour.RED: status_imports.c.red_left,
}


def changed_without_consent(connection: Connection, operator: str, *, since: int) -> set[int]:
    """Return the holders that a client changed after `since`, Unix seconds, without a second person.

    By hand and by import; tests do not count, nor what the issuer does by itself.
    """
    changes = status_changes
    query = select(changes.c.holder_id).where(
        changes.c.operator == operator, changes.c.changed_at > since, _WITHOUT_CONSENT
    )
    return set(connection.scalars(query))


class ImportRequest(NamedTuple):
    """A request for consent to an import that is pending or approved."""

    approval_id: int
    is_approved: bool


def find_import_request(
    connection: Connection, *, client_id: int, payload: bytes, now: int
) -> ImportRequest | None:
    """Return the newest request with this payload that waits or can be used; None: there is none."""
    is_alive = or_(
        and_(approvals.c.state == ApprovalState.APPROVED, approvals.c.settled_at > now - CONSENT_LIFE_S),
        is_in(ApprovalState.PENDING, now),
    )
    query = select(approvals.c.id, approvals.c.state).where(
        approvals.c.kind == ApprovalKind.STATUS_IMPORT,
        approvals.c.requested_by == client_id,
        approvals.c.payload == payload,
        is_alive,
    )
    row = connection.execute(query.order_by(approvals.c.id.desc()).limit(1)).first()
    return None if row is None else ImportRequest(row.id, row.state == ApprovalState.APPROVED)


def read_import_payload(connection: Connection, approval_id: int) -> bytes:
    """Return what was asked for with a request for consent to an import; empty: there is none."""
    query = select(approvals.c.payload).where(
        approvals.c.id == approval_id, approvals.c.kind == ApprovalKind.STATUS_IMPORT
    )
    return connection.scalar(query) or b""


def open_consent(
    connection: Connection, *, approval_id: int, file_sha256: bytes, counts: Mapping[Colour, int]
) -> None:
    """Enter what a second person consented to; belongs into the transaction of the approval."""
    left = {column.name: counts[colour] for colour, column in _LEFT.items()}
    connection.execute(
        insert(status_imports).values(approval_id=approval_id, file_sha256=file_sha256, **left)
    )
