"""The access service over a real socket, on both databases."""

import hashlib
from collections.abc import Iterator

import grpc
import pytest
from sqlalchemy import text

from issuer.access.bearer import hash_key, make_key
from issuer.access.roles import Role
from issuer.register.database import Database
from issuer.v1 import access_pb2 as pb
from tests.issuer.refusals import refused_call
from tests.issuer.serving import Serving

SHA256 = hashlib.sha256(b"a key").digest()


@pytest.fixture
def serving(database: Database) -> Iterator[Serving]:
    serving = Serving(database)
    yield serving
    serving.stop()


def new(name: str = "li.wei", *roles: int, key: str = "") -> pb.AddClientRequest:
    sha256 = hash_key(key) if key else SHA256
    return pb.AddClientRequest(name=name, roles=roles or [pb.ROLE_CLERK], bearer_key_sha256=sha256)  # type: ignore[arg-type]


def state_of(serving: Serving, approval_id: int) -> pb.Approval:
    request = pb.GetApprovalRequest(approval_id=approval_id)
    answer: pb.GetApprovalResponse = serving.client("clerk").access.GetApproval(request)
    return answer.approval


def test_an_auditor_is_added_at_once_and_calls_with_its_key(serving: Serving) -> None:
    key = make_key()
    answer = serving.client("operator").access.AddClient(new("li.wei", pb.ROLE_AUDITOR, key=key))
    assert answer.approval_id == 0
    assert serving.client(key=key).access.ListApprovals(pb.ListApprovalsRequest())
    assert serving.recorded()[0] == ("operator", "AccessService/AddClient", "client li.wei", "OK")


@pytest.mark.parametrize("role", [pb.ROLE_APPROVER, pb.ROLE_OPERATOR, pb.ROLE_CLERK])
def test_an_approver_operator_or_clerk_is_added_by_two_people(serving: Serving, role: pb.Role) -> None:
    key = make_key()
    answer = serving.client("operator").access.AddClient(new("li.wei", role, pb.ROLE_AUDITOR, key=key))
    waiting = state_of(serving, answer.approval_id)
    names = sorted(["auditor", Role(role).name.lower()])
    known_by = f"SHA-256 of its key {hash_key(key).hex()[:16]}"
    assert waiting.summary == f"add the client li.wei: {', '.join(names)}; {known_by}"
    assert waiting.state == pb.APPROVAL_STATE_PENDING
    stranger = serving.client(key=key).access
    code = refused_call(stranger.ListApprovals, pb.ListApprovalsRequest()).code()
    assert code is grpc.StatusCode.UNAUTHENTICATED
    approve = pb.ApproveRequest(approval_id=answer.approval_id)
    approval = serving.client("approver").access.Approve(approve).approval
    assert (approval.state, list(approval.outcome)) == (
        pb.APPROVAL_STATE_APPROVED,
        ["added the client li.wei"],
    )
    assert stranger.ListApprovals(pb.ListApprovalsRequest())


def test_a_name_that_was_taken_meanwhile_fails_the_request_with_the_reason(serving: Serving) -> None:
    operator = serving.client("operator").access
    approval_id = operator.AddClient(new("li.wei", pb.ROLE_OPERATOR)).approval_id
    operator.AddClient(new("li.wei", pb.ROLE_AUDITOR, key=make_key()))
    approval = serving.client("approver").access.Approve(pb.ApproveRequest(approval_id=approval_id)).approval
    assert approval.state == pb.APPROVAL_STATE_FAILED
    assert "choose a name that was never used" in approval.outcome[0]


@pytest.mark.parametrize("role", [pb.ROLE_CLERK, pb.ROLE_OPERATOR])
def test_a_name_in_use_is_refused_before_anybody_is_asked(serving: Serving, role: pb.Role) -> None:
    error = refused_call(serving.client("operator").access.AddClient, new("clerk", role))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert not serving.client("clerk").access.ListApprovals(pb.ListApprovalsRequest()).approvals


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.AddClientRequest(name="", roles=[pb.ROLE_CLERK], bearer_key_sha256=SHA256), "name"),
        (pb.AddClientRequest(name="x" * 65, roles=[pb.ROLE_CLERK], bearer_key_sha256=SHA256), "name"),
        (pb.AddClientRequest(name="li wei", roles=[pb.ROLE_CLERK], bearer_key_sha256=SHA256), "name"),
        (pb.AddClientRequest(name="王", roles=[pb.ROLE_CLERK], bearer_key_sha256=SHA256), "name"),
        (pb.AddClientRequest(name="a\n", roles=[pb.ROLE_CLERK], bearer_key_sha256=SHA256), "name"),
        (pb.AddClientRequest(name="a", bearer_key_sha256=SHA256), "roles"),
        (pb.AddClientRequest(name="a", roles=[pb.ROLE_UNSPECIFIED], bearer_key_sha256=SHA256), "roles[0]"),
        (pb.AddClientRequest(name="a", roles=[2, 9], bearer_key_sha256=SHA256), "roles[1]"),  # type: ignore[list-item]
        (
            pb.AddClientRequest(name="a", roles=[pb.ROLE_APP, pb.ROLE_CLERK], bearer_key_sha256=SHA256),
            "roles",
        ),
        (pb.AddClientRequest(name="a", roles=[pb.ROLE_CLERK]), "known_by"),
        (pb.AddClientRequest(name="a", roles=[pb.ROLE_CLERK], bearer_key_sha256=b"x"), "bearer_key_sha256"),
        (pb.AddClientRequest(name="a", roles=[pb.ROLE_CLERK], certificate_sha256=b""), "certificate_sha256"),
    ],
)
def test_a_client_that_breaks_the_api_is_refused_and_the_field_named(
    serving: Serving, request_: pb.AddClientRequest, field: str
) -> None:
    error = refused_call(serving.client("operator").access.AddClient, request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith(f"{field}: ")
    assert len(serving.clients.list()) == 5


@pytest.mark.parametrize("length", [1, 64])
def test_names_have_1_to_64_characters(serving: Serving, length: int) -> None:
    serving.client("operator").access.AddClient(new("x" * length))


def test_a_clerk_is_revoked_at_once_and_its_next_call_refused(serving: Serving) -> None:
    clerk = serving.client("clerk").access
    clerk.ListApprovals(pb.ListApprovalsRequest())
    answer = serving.client("operator").access.RevokeClient(pb.RevokeClientRequest(name="clerk"))
    assert answer.approval_id == 0
    error = refused_call(clerk.ListApprovals, pb.ListApprovalsRequest())
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("role", [Role.APPROVER, Role.OPERATOR])
def test_an_approver_or_operator_is_revoked_by_two_people(serving: Serving, role: Role) -> None:
    serving.staff.add("li.wei", role)
    li_wei = serving.client("li.wei").access
    li_wei.ListApprovals(pb.ListApprovalsRequest())
    request = pb.RevokeClientRequest(name="li.wei")
    approval_id = serving.client("operator").access.RevokeClient(request).approval_id
    assert state_of(serving, approval_id).summary == "revoke the client li.wei"
    li_wei.ListApprovals(pb.ListApprovalsRequest())
    approval = serving.client("approver").access.Approve(pb.ApproveRequest(approval_id=approval_id)).approval
    assert list(approval.outcome) == ["revoked the client li.wei"]
    error = refused_call(li_wei.ListApprovals, pb.ListApprovalsRequest())
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("name", ["operator", "approver"])
def test_the_last_operator_or_approver_stays(serving: Serving, name: str) -> None:
    error = refused_call(serving.client("operator").access.RevokeClient, pb.RevokeClientRequest(name=name))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert f"the last {name}" in (error.details() or "")


def test_of_two_requests_to_revoke_the_last_two_approvers_one_fails(serving: Serving) -> None:
    serving.staff.add("second", Role.APPROVER)
    operator = serving.client("operator").access
    ids = [operator.RevokeClient(pb.RevokeClientRequest(name=n)).approval_id for n in ("approver", "second")]
    second = serving.client("second").access
    states = [second.Approve(pb.ApproveRequest(approval_id=number)).approval.state for number in ids]
    assert states == [pb.APPROVAL_STATE_APPROVED, pb.APPROVAL_STATE_FAILED]


def test_a_client_that_never_was_is_not_found_and_no_nonsense_is_recorded(serving: Serving) -> None:
    operator = serving.client("operator").access
    error = refused_call(operator.RevokeClient, pb.RevokeClientRequest(name="nobody"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    error = refused_call(operator.RevokeClient, pb.RevokeClientRequest(name="王秀英 110101199003070000"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [target for _, _, target, _ in serving.recorded()] == ["client nobody", ""]


def test_clients_are_listed_with_their_roles_and_without_hashes(serving: Serving) -> None:
    serving.staff.add("gate", Role.AUDITOR, Role.CLERK)
    clients = serving.client("auditor").access.ListClients(pb.ListClientsRequest()).clients
    assert [client.name for client in clients] == ["app", "approver", "auditor", "clerk", "gate", "operator"]
    assert list(clients[4].roles) == [pb.ROLE_CLERK, pb.ROLE_AUDITOR]
    assert not any(client.revoked_at or client.has_certificate for client in clients)


def test_nobody_settles_their_own_request_and_whoever_asked_takes_it_back(serving: Serving) -> None:
    serving.staff.add("both", Role.OPERATOR, Role.APPROVER)
    both = serving.client("both").access
    approval_id = both.AddClient(new("li.wei", pb.ROLE_OPERATOR)).approval_id
    error = refused_call(both.Approve, pb.ApproveRequest(approval_id=approval_id))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    approval = both.Reject(pb.RejectRequest(approval_id=approval_id)).approval
    assert approval.state == pb.APPROVAL_STATE_REJECTED
    error = refused_call(
        serving.client("approver").access.Approve, pb.ApproveRequest(approval_id=approval_id)
    )
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_request_older_than_a_day_is_not_approved(serving: Serving) -> None:
    approval_id = serving.client("operator").access.AddClient(new("li.wei", pb.ROLE_OPERATOR)).approval_id
    serving.clock_skew_s = 86_400
    approver = serving.client("approver").access
    error = refused_call(approver.Approve, pb.ApproveRequest(approval_id=approval_id))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    expired = pb.ListApprovalsRequest(state=pb.APPROVAL_STATE_EXPIRED)
    assert [one.approval_id for one in approver.ListApprovals(expired).approvals] == [approval_id]


def test_requests_are_listed_by_state_and_page(serving: Serving) -> None:
    operator = serving.client("operator").access
    for number in range(3):
        operator.AddClient(new(f"client{number}", pb.ROLE_OPERATOR, key=make_key()))
    operator.Reject(pb.RejectRequest(approval_id=2))
    pending = pb.ListApprovalsRequest(state=pb.APPROVAL_STATE_PENDING, page_size=1)
    page = operator.ListApprovals(pending)
    assert ([one.approval_id for one in page.approvals], page.has_more) == ([3], True)
    pending.before_id = 3
    page = operator.ListApprovals(pending)
    assert ([one.approval_id for one in page.approvals], page.has_more) == ([1], False)


def test_the_record_of_calls_is_read_by_auditors_by_client_and_page(serving: Serving) -> None:
    for name in ("clerk", "approver", "clerk"):
        serving.client(name).access.ListApprovals(pb.ListApprovalsRequest())
    auditor = serving.client("auditor").access
    page = auditor.ListCalls(pb.ListCallsRequest(client="clerk", page_size=1))
    assert [(call.seq, call.client, call.method, call.outcome) for call in page.calls] == [
        (3, "clerk", "AccessService/ListApprovals", "OK")
    ]
    assert page.has_more
    page = auditor.ListCalls(pb.ListCallsRequest(client="clerk", before_seq=3))
    assert ([call.seq for call in page.calls], page.has_more) == ([1], False)
    calls = auditor.ListCalls(pb.ListCallsRequest()).calls
    assert (calls[0].client, calls[0].outcome) == ("auditor", "")  # this very call
    assert [call.seq for call in calls] == [6, 5, 4, 3, 2, 1]


def test_what_is_out_of_range_is_refused_and_named(serving: Serving) -> None:
    auditor = serving.client("auditor").access
    huge = (1 << 64) - 1
    for call, request, field in (
        (auditor.ListCalls, pb.ListCallsRequest(page_size=1_001), "page_size"),
        (auditor.ListCalls, pb.ListCallsRequest(before_seq=huge), "before_seq"),
        (auditor.ListCalls, pb.ListCallsRequest(client="li wei"), "client"),
        (auditor.ListApprovals, pb.ListApprovalsRequest(page_size=1_001), "page_size"),
        (auditor.ListApprovals, pb.ListApprovalsRequest(before_id=huge), "before_id"),
        (auditor.ListApprovals, pb.ListApprovalsRequest(state=9), "state"),  # type: ignore[arg-type]
        (auditor.GetApproval, pb.GetApprovalRequest(), "approval_id"),
        (auditor.GetApproval, pb.GetApprovalRequest(approval_id=huge), "approval_id"),
    ):
        error = refused_call(call, request)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (error.details() or "").startswith(f"{field}: ")
    assert (
        refused_call(auditor.ListCalls, pb.ListCallsRequest(client="nobody")).code()
        is grpc.StatusCode.NOT_FOUND
    )
    auditor.ListCalls(pb.ListCallsRequest(page_size=1_000))


def test_a_thousand_requests_with_the_longest_of_everything_fit_into_a_page(serving: Serving) -> None:
    with serving.approvals._database.write() as connection:
        for number in range(1, 1_001):
            connection.execute(
                text(
                    "INSERT INTO approvals (id, kind, payload, summary, requested_by, requested_at, state, "
                    "settled_by, settled_at, outcome) "
                    "VALUES (:id, 5, :payload, :summary, 1, 1, 1, NULL, NULL, '')"
                ),
                {"id": number, "payload": b"", "summary": "x" * 300},
            )
        connection.execute(
            text("UPDATE approvals SET state = 2, settled_by = 2, settled_at = 2, outcome = :outcome"),
            {"outcome": "x" * 2_000},
        )
    page = serving.client("clerk").access.ListApprovals(pb.ListApprovalsRequest(page_size=1_000))
    assert len(page.approvals) == 1_000
