"""What staff ask about clients, about requests for a second person, and about the record of calls.

An approver, operator or clerk is added by two people: whoever could make such a client alone would be the
second person too, or would divide a large change among many clerks. An approver or operator is also revoked
by two people; a clerk by one, at once. Answers and summaries name clients, which are staff and machines, and
never holders.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from issuer.access.approval_entries import ApprovalEntry
from issuer.access.approvals import ApprovalKind, ApprovalState, ApprovedRequest, CarriedOut
from issuer.access.calls import CallEntry, Calls
from issuer.access.clients import NAME, ClientEntry, Clients, NewClient
from issuer.access.roles import STAFF, Caller, Role
from issuer.access.settling import Approvals
from issuer.answers import Gatekeeper, answers
from issuer.errors import InvalidArgument
from issuer.proto_enum import as_enum
from issuer.register.statuses import ISSUER_ITSELF
from issuer.requests import page_size, sha256
from issuer.v1 import access_pb2 as pb
from issuer.v1 import admin_pb2
from issuer.v1.access_pb2_grpc import AccessServiceServicer

# Enough for people to compare.
_SHOWN_HEX_DIGITS = 16
# As of AdminService.GetStatus.
_READERS_OF_STATUS = frozenset({Role.CLERK, Role.APPROVER, Role.AUDITOR})
_REVOKED_BY_TWO = frozenset({Role.APPROVER, Role.OPERATOR})
_ADDED_BY_TWO = _REVOKED_BY_TWO | {Role.CLERK}


def _client_target(request: pb.AddClientRequest | pb.RevokeClientRequest) -> str:
    # What is no name of a client could be anything, and does not belong into the record.
    return f"client {request.name}" if NAME.fullmatch(request.name) else ""


def _approval_target(request: pb.GetApprovalRequest | pb.ApproveRequest | pb.RejectRequest) -> str:
    return f"approval {request.approval_id}"


class AccessServicer(AccessServiceServicer):
    """Clients, approvals and the record of calls."""

    def __init__(
        self,
        *,
        clients: Clients,
        approvals: Approvals,
        calls: Calls,
        gatekeeper: Gatekeeper,
        clock: Callable[[], float],
    ) -> None:
        """Also carries out the approved requests of its own kinds; `clock` gives Unix seconds."""
        self._clients = clients
        self._approvals = approvals
        self._calls = calls
        self._gatekeeper = gatekeeper
        self._clock = clock
        approvals.register(ApprovalKind.ADD_CLIENT, self._add_approved)
        approvals.register(ApprovalKind.REVOKE_CLIENT, self._revoke_approved)

    @property
    def gatekeeper(self) -> Gatekeeper:
        """Who lets callers in."""
        return self._gatekeeper

    @answers(Role.OPERATOR, target=_client_target)
    def AddClient(self, request: pb.AddClientRequest, caller: Caller) -> pb.AddClientResponse:  # noqa: N802
        """Add a client, or ask a second person to."""
        new, now = read_new_client(request), int(self._clock())
        if not new.roles & _ADDED_BY_TWO:
            self._clients.add(new, now=now)
            return pb.AddClientResponse()
        self._clients.require_free(new)
        roles = ", ".join(sorted(role.name.lower() for role in new.roles))
        approval_id = self._approvals.request(
            ApprovalKind.ADD_CLIENT,
            request.SerializeToString(),
            summary=f"add the client {new.name}: {roles}; {_known_by(new)}",
            caller=caller,
            now=now,
        )
        return pb.AddClientResponse(approval_id=approval_id)

    @answers(Role.OPERATOR, Role.AUDITOR)
    def ListClients(self, _request: pb.ListClientsRequest, _caller: Caller) -> pb.ListClientsResponse:  # noqa: N802
        """Return all clients."""
        return pb.ListClientsResponse(clients=[_client(entry) for entry in self._clients.list()])

    @answers(Role.OPERATOR, target=_client_target)
    def RevokeClient(self, request: pb.RevokeClientRequest, caller: Caller) -> pb.RevokeClientResponse:  # noqa: N802
        """Revoke a client, or ask a second person to."""
        now = int(self._clock())
        client = self._clients.require_revocable(_read_name(request.name))
        if not client.roles & _REVOKED_BY_TWO:
            self._clients.revoke(client.name, now=now)
            return pb.RevokeClientResponse()
        approval_id = self._approvals.request(
            ApprovalKind.REVOKE_CLIENT,
            request.SerializeToString(),
            summary=f"revoke the client {client.name}",
            caller=caller,
            now=now,
        )
        return pb.RevokeClientResponse(approval_id=approval_id)

    @answers(*STAFF)
    def ListApprovals(self, request: pb.ListApprovalsRequest, _caller: Caller) -> pb.ListApprovalsResponse:  # noqa: N802
        """Return a page of requests."""
        entries, has_more = self._approvals.page(
            state=_read_state(request.state),
            page_size=page_size(request.page_size),
            before_id=_read_id("before_id", request.before_id),
        )
        return pb.ListApprovalsResponse(approvals=[_approval(entry) for entry in entries], has_more=has_more)

    @answers(*STAFF, target=_approval_target)
    def GetApproval(self, request: pb.GetApprovalRequest, caller: Caller) -> pb.GetApprovalResponse:  # noqa: N802
        """Return one request."""
        entry = self._approvals.get(_read_approval_id(request.approval_id))
        return pb.GetApprovalResponse(
            approval=_approval(entry), status_changes=self._status_changes(entry, caller)
        )

    @answers(Role.APPROVER, target=_approval_target)
    def Approve(self, request: pb.ApproveRequest, caller: Caller) -> pb.ApproveResponse:  # noqa: N802
        """Approve a request, and carry it out."""
        entry = self._approvals.approve(_read_approval_id(request.approval_id), caller=caller)
        return pb.ApproveResponse(approval=_approval(entry))

    # Any of the staff, because whoever made a request may take it back.
    @answers(*STAFF, target=_approval_target)
    def Reject(self, request: pb.RejectRequest, caller: Caller) -> pb.RejectResponse:  # noqa: N802
        """Reject a request, or take it back."""
        entry = self._approvals.reject(_read_approval_id(request.approval_id), caller=caller)
        return pb.RejectResponse(approval=_approval(entry))

    @answers(Role.AUDITOR)
    def ListCalls(self, request: pb.ListCallsRequest, _caller: Caller) -> pb.ListCallsResponse:  # noqa: N802
        """Return a page of the record of calls."""
        entries, has_more = self._calls.page(
            client=_read_name(request.client, "client") if request.client else "",
            page_size=page_size(request.page_size),
            before_seq=_read_id("before_seq", request.before_seq),
        )
        return pb.ListCallsResponse(calls=[_call(entry) for entry in entries], has_more=has_more)

    def _status_changes(self, entry: ApprovalEntry, caller: Caller) -> Sequence[admin_pb2.StatusChange]:
        if entry.kind is not ApprovalKind.SET_STATUSES or not caller.roles & _READERS_OF_STATUS:
            return ()
        return admin_pb2.SetStatusesRequest.FromString(self._approvals.payload(entry.approval_id)).changes

    def _add_approved(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        new = read_new_client(pb.AddClientRequest.FromString(request.payload))
        self._clients.add_in(connection, new, now=request.now)
        return CarriedOut([f"added the client {new.name}"])

    def _revoke_approved(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        name = pb.RevokeClientRequest.FromString(request.payload).name
        self._clients.revoke_in(connection, name, now=request.now)
        return CarriedOut([f"revoked the client {name}"])


def read_new_client(request: pb.AddClientRequest) -> NewClient:
    """Return the client of a request; raises InvalidArgument."""
    name = _read_name(request.name)
    if name.casefold() == ISSUER_ITSELF:
        raise InvalidArgument("name", f"{ISSUER_ITSELF} is the issuer itself: choose another name")
    known = {role.value for role in Role}
    for position, number in enumerate(request.roles):
        if number not in known:
            raise InvalidArgument(f"roles[{position}]", f"there is no role {number}")
    roles = frozenset(Role(number) for number in request.roles)
    if not roles:
        raise InvalidArgument("roles", "expected 1 or more")
    if Role.APP in roles and len(roles) > 1:
        raise InvalidArgument("roles", "app stands alone: add another client for the other roles")
    known_by = request.WhichOneof("known_by")
    if known_by is None:
        raise InvalidArgument("known_by", "expected bearer_key_sha256 or certificate_sha256")
    its_sha256 = sha256(getattr(request, known_by), known_by)
    if known_by == "bearer_key_sha256":
        return NewClient(name, roles, bearer_key_sha256=its_sha256)
    return NewClient(name, roles, certificate_sha256=its_sha256)


def _known_by(new: NewClient) -> str:
    """Return what tells an approver that it is the client meant, and not another one of that name."""
    if new.bearer_key_sha256 is not None:
        return f"SHA-256 of its key {new.bearer_key_sha256.hex()[:_SHOWN_HEX_DIGITS]}"
    its_sha256 = new.certificate_sha256 or b""
    return f"SHA-256 of its certificate {its_sha256.hex()[:_SHOWN_HEX_DIGITS]}"


def _read_name(name: str, field: str = "name") -> str:
    if NAME.fullmatch(name) is None:
        raise InvalidArgument(
            field, "expected 1 to 64 characters: letters, digits, hyphens, dots, underscores, @"
        )
    return name


def _read_id(field: str, number: int) -> int:
    if number >= 1 << 63:  # more than a database can compare with
        raise InvalidArgument(field, "expected less than 2^63")
    return number


def _read_approval_id(approval_id: int) -> int:
    if approval_id < 1:
        raise InvalidArgument("approval_id", "expected 1 or more, got 0")
    return _read_id("approval_id", approval_id)


def _read_state(number: int) -> ApprovalState | None:
    if number == pb.APPROVAL_STATE_UNSPECIFIED:
        return None
    try:
        return ApprovalState(number)
    except ValueError:
        raise InvalidArgument("state", f"there is no state {number}") from None


def _client(entry: ClientEntry) -> pb.Client:
    return pb.Client(
        name=entry.name,
        roles=map(as_enum, sorted(entry.roles)),
        added_at=entry.added_at,
        revoked_at=entry.revoked_at,
        has_certificate=entry.has_certificate,
    )


def _approval(entry: ApprovalEntry) -> pb.Approval:
    return pb.Approval(
        approval_id=entry.approval_id,
        summary=entry.summary,
        requested_by=entry.requested_by,
        requested_at=entry.requested_at,
        state=as_enum(entry.state),
        settled_by=entry.settled_by,
        settled_at=entry.settled_at,
        outcome=entry.outcome,
    )


def _call(entry: CallEntry) -> pb.Call:
    return pb.Call(
        seq=entry.seq,
        client=entry.client,
        method=entry.method,
        target=entry.target,
        called_at=entry.called_at,
        outcome=entry.outcome,
    )
