"""Requests that a second person approves: stored, settled, and carried out (issuer/access/approvals.py).

Approving is one transaction with the work itself. If the work is refused, by whoever carries it out or by a
rule of the register, that transaction is undone and a second one marks the request FAILED, with the reason;
whatever else goes wrong leaves it PENDING, to be approved again. What follows the commit cannot be undone
any more: if it fails, or the issuer dies before it, the request is APPROVED all the same, and its outcome
holds what was committed.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import Connection, Row, func, select

from issuer.access.approval_entries import LIFE_S, ApprovalEntry, as_entry, entries, is_due, is_in
from issuer.access.approvals import ApprovalKind, ApprovalState, ApprovedRequest, CarriedOut, Executor
from issuer.access.clients import decode_roles
from issuer.access.roles import Caller, Role
from issuer.errors import (
    FailedPrecondition,
    IssuerError,
    NotFound,
    PermissionDenied,
    Refused,
    RegisterRefused,
)
from issuer.metrics import APPROVALS_WAITING
from issuer.register.database import Database
from issuer.register.schema import approvals, clients
from verifier.logs import where_raised

# A client that asks for more than that has made a mistake, or means to hide one request among many.
MAX_PENDING_OF_CLIENT = 100
# So that 1 000 of them fit into a message.
_MAX_SUMMARY_CHARACTERS = 300
_MAX_OUTCOME_BYTES = 2_000

_log = structlog.get_logger("issuer")


class Approvals:
    """Keeps requests and settles them. Threads share it."""

    def __init__(self, *, database: Database, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._database = database
        self._clock = clock
        self._executors: dict[ApprovalKind, Executor] = {}

    def register(self, kind: ApprovalKind, executor: Executor) -> None:
        """Have `executor` carry out the requests of a kind; done once for each kind, before serving."""
        self._executors[kind] = executor

    def request(self, kind: ApprovalKind, payload: bytes, *, summary: str, caller: Caller, now: int) -> int:
        """Store a request and return its id; raises FailedPrecondition or RegisterUnavailable."""
        values = {
            "kind": int(kind),
            "payload": payload,
            "summary": summary[:_MAX_SUMMARY_CHARACTERS],
            "requested_by": caller.client_id,
            "requested_at": now,
            "state": int(ApprovalState.PENDING),
            "outcome": "",
        }
        with self._database.write() as connection:
            _expire(connection, now)
            waiting = select(func.count()).where(
                approvals.c.requested_by == caller.client_id, approvals.c.state == ApprovalState.PENDING
            )
            if connection.execute(waiting).scalar_one() >= MAX_PENDING_OF_CLIENT:
                raise FailedPrecondition(
                    f"{MAX_PENDING_OF_CLIENT} of your requests wait for a second person: "
                    "have some of them settled, or take them back"
                )
            inserted = approvals.insert().values(values).returning(approvals.c.id)
            return int(connection.execute(inserted).scalar_one())

    def get(self, approval_id: int) -> ApprovalEntry:
        """Return a request; raises NotFound or RegisterUnavailable."""
        with self._database.read() as connection:
            return self._entry(connection, approval_id)

    def count_waiting(self) -> None:
        """Tell Prometheus how many requests wait for a second person; raises RegisterUnavailable."""
        pending = select(func.count()).where(is_in(ApprovalState.PENDING, int(self._clock())))
        with self._database.read() as connection:
            APPROVALS_WAITING.set(connection.execute(pending).scalar_one())

    def payload(self, approval_id: int) -> bytes:
        """Return what is to be carried out, by ApprovalKind; raises NotFound or RegisterUnavailable."""
        with self._database.read() as connection:
            found = connection.scalar(select(approvals.c.payload).where(approvals.c.id == approval_id))
        if found is None:
            raise _not_found(approval_id)
        return bytes(found)

    def page(
        self, *, state: ApprovalState | None, page_size: int, before_id: int
    ) -> tuple[Sequence[ApprovalEntry], bool]:
        """Return requests, the newest first, and whether there are older ones.

        No `state` stands for all, a `before_id` of 0 for the first page.
        """
        now = int(self._clock())
        query = entries().order_by(approvals.c.id.desc()).limit(page_size + 1)
        if state is not None:
            query = query.where(is_in(state, now))
        if before_id:
            query = query.where(approvals.c.id < before_id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [as_entry(row, now) for row in rows[:page_size]], len(rows) > page_size

    def approve(self, approval_id: int, *, caller: Caller) -> ApprovalEntry:
        """Approve a request, carry it out, and return it as it stands then: APPROVED or FAILED.

        Raises NotFound, PermissionDenied (also for the one who made it), FailedPrecondition for one that
        is settled, too old, or of a client revoked since; or RegisterUnavailable.
        """
        now = int(self._clock())
        try:
            carried_out = self._carry_out(approval_id, caller, now)
        except (_CouldNotBeDone, RegisterRefused) as error:
            with self._settling(now) as connection:
                _require_pending(connection, approval_id)
                _settle(
                    connection,
                    approval_id,
                    ApprovalState.FAILED,
                    caller=caller,
                    now=now,
                    outcome=[str(error)],
                )
            return self.get(approval_id)
        if carried_out.after_commit is None:
            return self.get(approval_id)
        return self._follow(approval_id, carried_out.outcome, carried_out.after_commit)

    def reject(self, approval_id: int, *, caller: Caller) -> ApprovalEntry:
        """Reject a request, or take one's own back; return it as it stands then.

        Raises NotFound, PermissionDenied, FailedPrecondition or RegisterUnavailable.
        """
        now = int(self._clock())
        with self._settling(now) as connection:
            request = _require_pending(connection, approval_id)
            is_own = request.requested_by == caller.client_id
            if not is_own and Role.APPROVER not in caller.roles:
                raise PermissionDenied("this needs the role approver, or to be your own request")
            outcome = ["taken back"] if is_own else []
            _settle(
                connection,
                approval_id,
                ApprovalState.REJECTED,
                caller=caller,
                now=now,
                outcome=outcome,
            )
            return self._entry(connection, approval_id)

    @contextlib.contextmanager
    def _settling(self, now: int) -> Iterator[Connection]:
        """Give a transaction in which requests that are too old are EXPIRED, whatever comes of it."""
        try:
            with self._database.write() as connection:
                _expire(connection, now)
                yield connection
        except Refused:
            # That was undone with the rest. Unwritten, a clock that is set back would revive them.
            with self._database.write() as connection:
                _expire(connection, now)
            raise

    def _carry_out(self, approval_id: int, caller: Caller, now: int) -> CarriedOut:
        with self._settling(now) as connection:
            request = _require_pending(connection, approval_id)
            if request.requested_by == caller.client_id:
                raise PermissionDenied("this needs a second person: it is your own request")
            if Role.APPROVER not in caller.roles:
                raise PermissionDenied("this needs the role approver")
            requested_by = _unrevoked(connection, request.requested_by)
            # First, because the triggers of the register let a red in only under an approved request.
            _settle(connection, approval_id, ApprovalState.APPROVED, caller=caller, now=now)
            executor = self._executors[ApprovalKind(request.kind)]
            try:
                carried_out = executor(
                    connection, ApprovedRequest(approval_id, request.payload, requested_by, now)
                )
            except Refused as error:
                raise _CouldNotBeDone(str(error)) from None
            _set_outcome(connection, approval_id, carried_out.outcome)
            return carried_out

    def _follow(
        self, approval_id: int, outcome: Sequence[str], after_commit: Callable[[], Sequence[str]]
    ) -> ApprovalEntry:
        try:
            lines = list(after_commit())
        except Exception as error:  # noqa: BLE001 - what was committed stays, whatever fails behind it
            _log.error(
                "what follows an approval failed",
                approval_id=approval_id,
                error=type(error).__name__,
                where=where_raised(error),
            )
            reason = str(error) if isinstance(error, IssuerError) else "the issuer's log says where"
            lines = [f"it is done, but what should follow failed: {reason}"]
        entry = self.get(approval_id)
        try:
            with self._database.write() as connection:
                _set_outcome(connection, approval_id, [*outcome, *lines])
        except IssuerError as error:
            _log.error(
                "the outcome of an approval could not be recorded", approval_id=approval_id, error=str(error)
            )
        return replace(entry, outcome=_text([*outcome, *lines]).splitlines())

    def _entry(self, connection: Connection, approval_id: int) -> ApprovalEntry:
        row = connection.execute(entries().where(approvals.c.id == approval_id)).first()
        if row is None:
            raise _not_found(approval_id)
        return as_entry(row, int(self._clock()))


class _CouldNotBeDone(Exception):
    """The executor refused; undoes the transaction on its way out."""


def _expire(connection: Connection, now: int) -> None:
    ended = {"state": int(ApprovalState.EXPIRED), "settled_at": approvals.c.requested_at + LIFE_S}
    connection.execute(approvals.update().where(is_due(now)).values(ended))


def _require_pending(connection: Connection, approval_id: int) -> Row[Any]:
    row = connection.execute(select(approvals).where(approvals.c.id == approval_id)).first()
    if row is None:
        raise _not_found(approval_id)
    if row.state != ApprovalState.PENDING:
        raise FailedPrecondition(f"request {approval_id} is {ApprovalState(row.state).name}")
    return row


def _unrevoked(connection: Connection, client_id: int) -> Caller:
    client = connection.execute(select(clients).where(clients.c.id == client_id)).one()
    if client.revoked_at is not None:
        raise FailedPrecondition(f"client {client.name}, who asked for it, is revoked: reject it")
    return Caller(client.id, client.name, decode_roles(client.roles))


def _settle(
    connection: Connection,
    approval_id: int,
    state: ApprovalState,
    *,
    caller: Caller,
    now: int,
    outcome: Sequence[str] = (),
) -> None:
    settled = {
        "state": int(state),
        "settled_by": caller.client_id,
        "settled_at": now,
        "outcome": _text(outcome),
    }
    connection.execute(approvals.update().where(approvals.c.id == approval_id).values(settled))


def _set_outcome(connection: Connection, approval_id: int, outcome: Sequence[str]) -> None:
    which = approvals.c.id == approval_id
    connection.execute(approvals.update().where(which).values(outcome=_text(outcome)))


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines).encode()[:_MAX_OUTCOME_BYTES].decode(errors="ignore")


def _not_found(approval_id: int) -> NotFound:
    return NotFound(f"there is no request {approval_id}")
