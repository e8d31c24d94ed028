"""The calls about holders and credentials over real gRPC: what each answers, and each way of saying no."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest
import redis
from structlog.testing import capture_logs

from issuer.access.bearer import hash_key, make_key
from issuer.access.clients import NewClient
from issuer.access.roles import Role
from issuer.client import IssuerClient
from issuer.publisher import Publisher
from issuer.register.holders import Holders
from issuer.v1 import access_pb2, issuer_pb2
from issuer.v1 import admin_pb2 as pb
from tests.issuer.refusals import refusal, retry_after_s
from tests.issuer.running_issuer import RunningIssuer

PHONE, PAPER = 1, 2
GREEN, RED = 1, 3
NOBODY = 4_000_000


@pytest.fixture
def client_with(running_issuer: RunningIssuer) -> Iterator[Callable[..., IssuerClient]]:
    """Makes clients with the roles given."""
    made: list[IssuerClient] = []

    def make(*roles: Role, name: str = "another") -> IssuerClient:
        key = make_key()
        new = NewClient(name, frozenset(roles), bearer_key_sha256=hash_key(key))
        running_issuer.issuer.clients.add(new, now=int(time.time()))
        made.append(IssuerClient(running_issuer.address, key=key))
        return made[-1]

    yield make
    for client in made:
        client.close()


def new_holder(**changed: Any) -> pb.NewHolder:
    fields = {"name": "王小秀", "document_type": "ID", "document_number": "E1", "region": "朝阳"}
    return pb.NewHolder(**{**fields, **changed})


def new_credential(**changed: Any) -> pb.NewCredential:
    return pb.NewCredential(**{"kind": PHONE, **changed})


def enrol(issuer: RunningIssuer, *holders: pb.NewHolder) -> Sequence[int]:
    return list(issuer.client.admin.EnrolHolders(pb.EnrolHoldersRequest(holders=holders)).holder_ids)


def issue(issuer: RunningIssuer, *new: pb.NewCredential) -> pb.IssueCredentialsResponse:
    request = pb.IssueCredentialsRequest(credentials=new)
    answer: pb.IssueCredentialsResponse = issuer.client.admin.IssueCredentials(request)
    return answer


def targets_of(issuer: RunningIssuer, method: str) -> list[str]:
    """Return what the record says of calls of a method, the newest first."""
    calls = issuer.client.access.ListCalls(access_pb2.ListCallsRequest()).calls
    return [call.target for call in calls if call.method == f"AdminService/{method}"]


# Enrolment


def test_the_largest_lists_are_taken(running_issuer: RunningIssuer) -> None:
    ids = running_issuer.enrol(1_000)
    issued = issue(running_issuer, *(new_credential(holder_id=holder_id) for holder_id in ids))
    assert list(issued.credential_indices) == list(range(1, 1_001))
    assert issued.publication == pb.PUBLICATION_PUBLISHED


def test_the_longest_fields_are_taken(running_issuer: RunningIssuer) -> None:
    holders = [
        new_holder(
            name="\U00020000" * 200,
            document_type="\U00020000" * 32,
            document_number="\U00020000" * 60 + f"{number:04}",
            region="\U00020000" * 64,
            external_id="\U00020000" * 60 + f"{number:04}",
        )
        for number in range(1_000)
    ]
    assert len(enrol(running_issuer, *holders)) == 1_000


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "\u3000"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "王\x1b[2J秀"}, "name"),
        ({"name": "王\n秀"}, "name"),
        ({"name": "王\u2028秀"}, "name"),
        ({"name": "王\u202a秀"}, "name"),
        ({"name": "王\u202e秀"}, "name"),
        ({"name": "王\u2066秀"}, "name"),
        ({"name": "王\u2069秀"}, "name"),
        ({"region": "nor\u200bth"}, "region"),
        ({"external_id": "1\u200b2"}, "external_id"),
        ({"document_type": ""}, "document_type"),
        ({"document_type": "x" * 33}, "document_type"),
        ({"document_number": ""}, "document_number"),
        ({"document_number": " - "}, "document_number"),
        ({"document_number": "x" * 65}, "document_number"),
        ({"document_number": "1\x002"}, "document_number"),
        ({"region": "x" * 65}, "region"),
        ({"guardian_id": 2**63}, "guardian_id"),
        ({"external_id": "x" * 65}, "external_id"),
        ({"external_id": "1\t2"}, "external_id"),
    ],
)
def test_a_wrong_field_of_a_holder_is_named_and_nobody_is_entered(
    running_issuer: RunningIssuer, changed: dict[str, Any], field: str
) -> None:
    request = pb.EnrolHoldersRequest(holders=[new_holder(), new_holder(**changed)])
    code, text = refusal(running_issuer.client.admin.EnrolHolders, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith(f"holders[1].{field}: ")
    assert running_issuer.enrol() == [1]


@pytest.mark.parametrize(
    "name", ["x", "x" * 200, "O'Brien  \u3000 Jr.", "e\u0301lise", "\U0001f9d1\u200d\U0001f9b3"]
)
def test_a_name_is_taken_as_given(running_issuer: RunningIssuer, name: str) -> None:
    (holder_id,) = enrol(running_issuer, new_holder(name=name))
    found = running_issuer.client.admin.GetHolder(pb.GetHolderRequest(holder_id=holder_id, reveal=True))
    assert found.holder.name == name


def test_a_holder_needs_no_region(running_issuer: RunningIssuer) -> None:
    assert enrol(running_issuer, new_holder(region="")) == [1]


def test_a_document_that_is_known_is_refused(running_issuer: RunningIssuer) -> None:
    enrol(running_issuer, new_holder())
    request = pb.EnrolHoldersRequest(holders=[new_holder()])
    code, text = refusal(running_issuer.client.admin.EnrolHolders, request)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text == "holders[0].document_number: this document belongs to holder 1 already"


@pytest.mark.parametrize("count", [0, 1_001])
@pytest.mark.parametrize(
    ("call", "field", "entry"),
    [
        ("EnrolHolders", "holders", new_holder()),
        ("IssueCredentials", "credentials", new_credential(holder_id=1)),
    ],
)
def test_a_list_of_none_or_too_many_is_refused(
    running_issuer: RunningIssuer, call: str, field: str, entry: Any, count: int
) -> None:
    request = getattr(pb, f"{call}Request")(**{field: [entry] * count})
    assert refusal(getattr(running_issuer.client.admin, call), request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"{field}: expected 1 to 1000 entries, got {count}",
    )


# Reading holders


def test_a_holder_is_shown_masked_with_all_that_belongs_to_it(running_issuer: RunningIssuer) -> None:
    admin = running_issuer.client.admin
    (guardian,) = enrol(running_issuer, new_holder(document_number="110101199003071234", external_id="p-1"))
    (child,) = enrol(running_issuer, new_holder(document_number="E2", guardian_id=guardian))
    (index,) = issue(running_issuer, new_credential(holder_id=guardian, external_id="o-1")).credential_indices
    running_issuer.set_colour(guardian, RED, reason=12)
    for request in (pb.GetHolderRequest(holder_id=guardian), pb.GetHolderRequest(external_id="p-1")):
        found = admin.GetHolder(request)
        assert time.time() - found.holder.enrolled_at < 60
        found.holder.enrolled_at = found.credentials[0].issued_at = 0
        assert found == pb.GetHolderResponse(
            holder=pb.Holder(
                holder_id=guardian,
                name="王*秀",
                document_type="ID",
                document_last_four="1234",
                region="朝阳",
                external_id="p-1",
            ),
            credentials=[
                pb.Credential(
                    credential_index=index,
                    holder_id=guardian,
                    kind=PHONE,  # type: ignore[arg-type]
                    generation=1,
                    state=pb.CREDENTIAL_STATE_ACTIVE,
                    external_id="o-1",
                )
            ],
            status=pb.Status(colour=RED, reason=12, reason_text="close contact of a case"),  # type: ignore[arg-type]
            dependant_ids=[child],
        )
    assert admin.GetHolder(pb.GetHolderRequest(holder_id=child)).holder.guardian_id == guardian


@pytest.mark.parametrize("both", [True, False])
def test_a_holder_is_asked_for_by_one_id(running_issuer: RunningIssuer, both: bool) -> None:
    request = pb.GetHolderRequest(holder_id=1, external_id="p-1") if both else pb.GetHolderRequest()
    code, text = refusal(running_issuer.client.admin.GetHolder, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("holder_id: ")


def test_a_holder_who_is_not_there_is_not_found(running_issuer: RunningIssuer) -> None:
    for request in (pb.GetHolderRequest(holder_id=NOBODY), pb.GetHolderRequest(external_id="p-1")):
        assert refusal(running_issuer.client.admin.GetHolder, request)[0] is grpc.StatusCode.NOT_FOUND


def test_the_record_says_whose_name_was_revealed(running_issuer: RunningIssuer) -> None:
    admin = running_issuer.client.admin
    ids = enrol(
        running_issuer, *(new_holder(document_number=f"E{n}", external_id=f"p-{n}") for n in range(3))
    )
    assert admin.GetHolder(pb.GetHolderRequest(holder_id=ids[1], reveal=True)).holder.name == "王小秀"
    assert targets_of(running_issuer, "GetHolder") == ["holder 2, revealed"]
    assert admin.GetHolder(pb.GetHolderRequest(external_id="p-2", reveal=True)).holder.name == "王小秀"
    assert targets_of(running_issuer, "GetHolder")[0] == "holder 3, revealed"
    listed = admin.ListHolders(pb.ListHoldersRequest(reveal=True)).holders
    assert [holder.name for holder in listed] == ["王小秀"] * 3
    assert targets_of(running_issuer, "ListHolders") == [
        "3 holders, 1 to 3, revealed",
        "holders after 0, revealed",
    ]


def test_a_name_that_is_not_revealed_is_not_recorded_as_such(running_issuer: RunningIssuer) -> None:
    enrol(running_issuer, new_holder())
    running_issuer.client.admin.GetHolder(pb.GetHolderRequest(holder_id=1))
    running_issuer.client.admin.ListHolders(pb.ListHoldersRequest())
    assert targets_of(running_issuer, "GetHolder") == ["holder 1"]
    assert targets_of(running_issuer, "ListHolders") == ["holders after 0"]


def test_only_a_clerk_reveals_names_or_finds_documents(
    running_issuer: RunningIssuer, client_with: Callable[..., IssuerClient]
) -> None:
    enrol(running_issuer, new_holder())
    auditor = client_with(Role.AUDITOR).admin
    assert auditor.GetHolder(pb.GetHolderRequest(holder_id=1)).holder.name == "王*秀"
    assert [holder.name for holder in auditor.ListHolders(pb.ListHoldersRequest()).holders] == ["王*秀"]
    for call, request in (
        (auditor.GetHolder, pb.GetHolderRequest(holder_id=1, reveal=True)),
        (auditor.ListHolders, pb.ListHoldersRequest(reveal=True)),
        (auditor.ListHolders, pb.ListHoldersRequest(document_type="ID", document_number="E1")),
    ):
        code, text = refusal(call, request)
        assert (code, text.endswith("needs the role clerk")) == (grpc.StatusCode.PERMISSION_DENIED, True)


def test_holders_are_listed_page_by_page(running_issuer: RunningIssuer) -> None:
    running_issuer.enrol(3)
    admin = running_issuer.client.admin
    first = admin.ListHolders(pb.ListHoldersRequest(page_size=2))
    assert ([holder.holder_id for holder in first.holders], first.has_more) == ([1, 2], True)
    second = admin.ListHolders(pb.ListHoldersRequest(page_size=2, after_id=2))
    assert ([holder.holder_id for holder in second.holders], second.has_more) == ([3], False)


def test_a_page_has_a_hundred_holders_unless_asked_otherwise(running_issuer: RunningIssuer) -> None:
    running_issuer.enrol(101)
    answer = running_issuer.client.admin.ListHolders(pb.ListHoldersRequest())
    assert (len(answer.holders), answer.has_more) == (100, True)


def test_a_clerk_finds_a_holder_by_document(running_issuer: RunningIssuer) -> None:
    enrol(running_issuer, new_holder(), new_holder(document_number="AB 12"))
    request = pb.ListHoldersRequest(document_type="id", document_number="ab-12")
    assert [holder.holder_id for holder in running_issuer.client.admin.ListHolders(request).holders] == [2]
    assert targets_of(running_issuer, "ListHolders") == ["holders by document after 0"]


@pytest.mark.parametrize(
    ("call", "changed", "field"),
    [
        ("ListHolders", {"page_size": 1_001}, "page_size"),
        ("ListHolders", {"after_id": 2**63}, "after_id"),
        ("ListHolders", {"guardian_id": 2**63}, "guardian_id"),
        ("ListHolders", {"region": "x" * 65}, "region"),
        ("ListHolders", {"document_type": "ID"}, "document_number"),
        ("ListHolders", {"document_number": "E1"}, "document_type"),
        ("ListCredentials", {"page_size": 1_001}, "page_size"),
        ("ListCredentials", {"holder_id": 2**63}, "holder_id"),
        ("ListCredentials", {"kind": 3}, "kind"),
        ("ListCredentials", {"state": 5}, "state"),
        ("EraseHolder", {"holder_id": 0}, "holder_id"),
    ],
)
def test_a_wrong_field_of_a_request_is_named(
    running_issuer: RunningIssuer, call: str, changed: dict[str, Any], field: str
) -> None:
    code, text = refusal(getattr(running_issuer.client.admin, call), getattr(pb, f"{call}Request")(**changed))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith(f"{field}: ")


# Erasing


def test_an_erased_holder_has_no_name_and_no_credential_in_force(running_issuer: RunningIssuer) -> None:
    admin = running_issuer.client.admin
    (holder_id,) = enrol(running_issuer, new_holder())
    issue(running_issuer, *[new_credential(holder_id=holder_id)] * 2)
    running_issuer.set_colour(holder_id, GREEN)
    answer = admin.EraseHolder(pb.EraseHolderRequest(holder_id=holder_id))
    assert (answer.revoked_credentials, answer.publication) == (2, pb.PUBLICATION_PUBLISHED)
    found = admin.GetHolder(pb.GetHolderRequest(holder_id=holder_id, reveal=True))
    assert (found.holder.name, found.holder.document_last_four) == ("", "")
    assert time.time() - found.holder.erased_at < 60
    assert found.status.colour == GREEN
    assert {credential.state for credential in found.credentials} == {pb.CREDENTIAL_STATE_REVOKED}
    assert targets_of(running_issuer, "EraseHolder") == [f"holder {holder_id}"]


def test_erasing_one_without_credentials_has_nothing_to_publish(running_issuer: RunningIssuer) -> None:
    (holder_id,) = enrol(running_issuer, new_holder())
    answer = running_issuer.client.admin.EraseHolder(pb.EraseHolderRequest(holder_id=holder_id))
    assert answer == pb.EraseHolderResponse()


# Credentials


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"holder_id": 0}, "holder_id"),
        ({"holder_id": 2**63}, "holder_id"),
        ({"holder_external_id": "p-1"}, "holder_id"),
        ({"holder_id": 0, "holder_external_id": "x" * 65}, "holder_external_id"),
        ({"kind": 0}, "kind"),
        ({"kind": 3}, "kind"),
        ({"app": "x" * 65}, "app"),
        ({"valid_until": -1}, "valid_until"),
        ({"valid_until": 1}, "valid_until"),
        ({"valid_until": 2**62}, "valid_until"),
        ({"external_id": "x" * 65}, "external_id"),
    ],
)
def test_a_wrong_field_of_a_credential_is_named(
    running_issuer: RunningIssuer, changed: dict[str, Any], field: str
) -> None:
    good: dict[str, Any] = {"holder_id": running_issuer.enrol()[0]}
    request = pb.IssueCredentialsRequest(
        credentials=[new_credential(**good), new_credential(**{**good, **changed})]
    )
    code, text = refusal(running_issuer.client.admin.IssueCredentials, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith(f"credentials[1].{field}: ")


def test_an_unknown_holder_or_app_is_not_found(running_issuer: RunningIssuer) -> None:
    (known,) = running_issuer.enrol()
    for changed, field in (({"holder_id": NOBODY}, "holder_id"), ({"holder_id": known, "app": "no"}, "app")):
        request = pb.IssueCredentialsRequest(credentials=[new_credential(**changed)])
        code, text = refusal(running_issuer.client.admin.IssueCredentials, request)
        assert code is grpc.StatusCode.NOT_FOUND
        assert text.startswith(f"credentials[0].{field}: ")


def test_an_app_fetches_the_bundles_of_what_was_issued_to_it(
    running_issuer: RunningIssuer, client_with: Callable[..., IssuerClient]
) -> None:
    app = client_with(Role.APP, name="city-app").issuer
    (holder_id,) = running_issuer.enrol()
    answer = issue(
        running_issuer,
        new_credential(holder_id=holder_id, app="city-app"),
        new_credential(holder_id=holder_id),
    )
    own, other = answer.credential_indices
    assert app.IssueBundle(issuer_pb2.IssueBundleRequest(credential_index=own)).codes
    with pytest.raises(grpc.RpcError):
        app.IssueBundle(issuer_pb2.IssueBundleRequest(credential_index=other))


@pytest.mark.parametrize(
    "call",
    ["ReplaceCredential", "SuspendCredential", "ResumeCredential", "RevokeCredential", "GetCredential"],
)
def test_each_call_on_a_credential_tells_what_is_wrong_with_its_index(
    running_issuer: RunningIssuer, call: str
) -> None:
    method, request_of = getattr(running_issuer.client.admin, call), getattr(pb, f"{call}Request")
    code, text = refusal(method, request_of(credential_index=0))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("credential_index: ")
    code, _ = refusal(method, request_of(credential_index=NOBODY))
    assert code is grpc.StatusCode.NOT_FOUND
    assert targets_of(running_issuer, call) == [f"credential {NOBODY}", "credential 0"]


def test_each_change_of_a_credential_says_whether_it_is_published(running_issuer: RunningIssuer) -> None:
    admin, index = running_issuer.client.admin, running_issuer.issue()
    for call in ("ReplaceCredential", "SuspendCredential", "ResumeCredential", "RevokeCredential"):
        answer = getattr(admin, call)(getattr(pb, f"{call}Request")(credential_index=index))
        assert answer.publication == pb.PUBLICATION_PUBLISHED
    code, text = refusal(admin.RevokeCredential, pb.RevokeCredentialRequest(credential_index=index))
    assert (code, text) == (grpc.StatusCode.FAILED_PRECONDITION, f"credential {index} is REVOKED")


def test_a_credential_is_shown_with_a_masked_name_and_its_status(running_issuer: RunningIssuer) -> None:
    admin, index = running_issuer.client.admin, running_issuer.issue(PAPER)
    running_issuer.set_colour(1, RED, reason=12)
    found = admin.GetCredential(pb.GetCredentialRequest(credential_index=index))
    found.credential.issued_at = 0
    assert found == pb.GetCredentialResponse(
        credential=pb.Credential(
            credential_index=index,
            holder_id=1,
            kind=PAPER,  # type: ignore[arg-type]
            generation=1,
            state=pb.CREDENTIAL_STATE_ACTIVE,
        ),
        masked_holder_name="王*秀",
        status=pb.Status(colour=RED, reason=12, reason_text="close contact of a case"),  # type: ignore[arg-type]
    )


@pytest.fixture
def limited(start_issuer: Callable[..., RunningIssuer], redis_url: str) -> RunningIssuer:
    """An issuer whose clerks may suspend, revoke and erase three times an hour."""
    return start_issuer(redis_url, second_person_above=3)


def suspend_call(issuer: RunningIssuer, index: int) -> pb.SuspendCredentialResponse:
    request = pb.SuspendCredentialRequest(credential_index=index)
    answer: pb.SuspendCredentialResponse = issuer.client.admin.SuspendCredential(request)
    return answer


def test_one_clerk_suspends_revokes_and_erases_so_many_times_an_hour(limited: RunningIssuer) -> None:
    admin = limited.client.admin
    indices = [limited.issue() for _ in range(4)]
    suspend_call(limited, indices[0])
    # What was refused does not count.
    refusal(admin.SuspendCredential, pb.SuspendCredentialRequest(credential_index=4_711))
    admin.RevokeCredential(pb.RevokeCredentialRequest(credential_index=indices[1]))
    admin.EraseHolder(pb.EraseHolderRequest(holder_id=3))
    for call, request in (
        (admin.SuspendCredential, pb.SuspendCredentialRequest(credential_index=indices[3])),
        (admin.RevokeCredential, pb.RevokeCredentialRequest(credential_index=indices[3])),
        (admin.EraseHolder, pb.EraseHolderRequest(holder_id=4)),
    ):
        code, text = refusal(call, request)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "3 times within the last hour" in text
        assert "have another clerk do it" in text
    admin.ResumeCredential(pb.ResumeCredentialRequest(credential_index=indices[0]))
    limited.clock_skew_s = 3_600
    suspend_call(limited, indices[3])


def test_who_suspended_too_often_is_told_when_to_come_back(limited: RunningIssuer) -> None:
    indices = [limited.issue() for _ in range(4)]
    suspend_call(limited, indices[0])
    limited.clock_skew_s = 600
    suspend_call(limited, indices[1])
    suspend_call(limited, indices[2])
    with pytest.raises(grpc.RpcError) as caught:
        suspend_call(limited, indices[3])
    error: Any = caught.value
    assert 2_990 <= retry_after_s(error) <= 3_000


def test_the_limit_on_suspending_is_each_clerks_own(limited: RunningIssuer) -> None:
    indices = [limited.issue() for _ in range(4)]
    for index in indices[:3]:
        suspend_call(limited, index)
    key = make_key()
    new = NewClient("another", frozenset({Role.CLERK}), bearer_key_sha256=hash_key(key))
    limited.issuer.clients.add(new, now=int(time.time()))
    with IssuerClient(limited.address, key=key) as another:
        another.admin.SuspendCredential(pb.SuspendCredentialRequest(credential_index=indices[3]))


def test_credentials_are_listed_page_by_page(running_issuer: RunningIssuer) -> None:
    admin = running_issuer.client.admin
    for kind in (PHONE, PAPER, PAPER):
        running_issuer.issue(kind)
    admin.SuspendCredential(pb.SuspendCredentialRequest(credential_index=3))

    def listed(**fields: Any) -> tuple[list[int], bool]:
        answer = admin.ListCredentials(pb.ListCredentialsRequest(**fields))
        return [credential.credential_index for credential in answer.credentials], answer.has_more

    assert listed(page_size=2) == ([1, 2], True)
    assert listed(page_size=2, after_index=2) == ([3], False)
    assert listed(kind=PAPER) == ([2, 3], False)
    assert listed(state=pb.CREDENTIAL_STATE_SUSPENDED) == ([3], False)
    assert listed(holder_id=2) == ([2], False)


# Imports


def holder_rows(count: int, first: int = 0) -> list[pb.NewHolder]:
    return [
        new_holder(document_number=f"E{number}", external_id=f"p-{number}")
        for number in range(first, first + count)
    ]


def test_a_file_of_holders_is_entered_batch_by_batch(running_issuer: RunningIssuer) -> None:
    batches = [
        pb.ImportHoldersRequest(rows=holder_rows(1_000)),
        pb.ImportHoldersRequest(
            rows=[
                new_holder(document_number="A", external_id="a", name=""),
                new_holder(document_number="B"),
                new_holder(document_number="E0", external_id="p-0"),
                *holder_rows(1, first=1_000),
            ]
        ),
    ]
    first, second = (answer.outcome for answer in running_issuer.client.admin.ImportHolders(iter(batches)))
    assert first == pb.ImportOutcome(ids=range(1, 1_001))
    assert second == pb.ImportOutcome(
        ids=[0, 0, 1, 1_001],
        known=1,
        refused=[
            pb.RefusedRow(position=0, reason="name: expected 1 to 200 characters, got none"),
            pb.RefusedRow(position=1, reason="external_id: expected 1 to 64 characters, got none"),
        ],
    )
    assert targets_of(running_issuer, "ImportHolders") == ["holders of a file"]


def test_a_file_may_name_guardians_by_their_external_id(running_issuer: RunningIssuer) -> None:
    admin = running_issuer.client.admin
    batch = pb.ImportHoldersRequest(rows=holder_rows(3), guardian_external_ids=["", "p-0", "nobody"])
    (answer,) = admin.ImportHolders(iter([batch]))
    assert answer.outcome.ids == [1, 2, 0]
    assert answer.outcome.refused[0].position == 2
    assert admin.GetHolder(pb.GetHolderRequest(holder_id=1)).dependant_ids == [2]


def test_a_guardian_is_named_in_one_way(running_issuer: RunningIssuer) -> None:
    rows = [*holder_rows(1), new_holder(document_number="A", external_id="a", guardian_id=1)]
    batch = pb.ImportHoldersRequest(rows=rows, guardian_external_ids=["", "p-0"])
    (answer,) = running_issuer.client.admin.ImportHolders(iter([batch]))
    assert answer.outcome.refused[0].reason.startswith("guardian_id: ")


@pytest.mark.parametrize(
    ("batch", "field"),
    [
        (pb.ImportHoldersRequest(), "rows"),
        (pb.ImportHoldersRequest(rows=[new_holder()] * 1_001), "rows"),
        (
            pb.ImportHoldersRequest(rows=[new_holder()] * 2, guardian_external_ids=[""]),
            "guardian_external_ids",
        ),
    ],
)
def test_a_batch_that_breaks_the_api_ends_the_import_and_keeps_what_went_before(
    running_issuer: RunningIssuer, batch: pb.ImportHoldersRequest, field: str
) -> None:
    good = pb.ImportHoldersRequest(rows=holder_rows(1))
    code, text = refusal(
        lambda batches: list(running_issuer.client.admin.ImportHolders(iter(batches))), [good, batch]
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith(f"{field}: ")
    assert running_issuer.enrol() == [2]


def test_a_file_of_credentials_is_issued_and_published(running_issuer: RunningIssuer) -> None:
    admin = running_issuer.client.admin
    list(admin.ImportHolders(iter([pb.ImportHoldersRequest(rows=holder_rows(1_000))])))
    rows = [
        new_credential(holder_external_id=f"p-{number}", external_id=f"o-{number}") for number in range(1_000)
    ]
    last = [
        *rows[:1],
        new_credential(holder_id=1),
        new_credential(holder_id=NOBODY, external_id="o"),
        new_credential(holder_id=1, external_id="o-last"),
    ]
    batches = [pb.ImportCredentialsRequest(rows=rows), pb.ImportCredentialsRequest(rows=last)]
    first, second = (answer.outcome for answer in admin.ImportCredentials(iter(batches)))
    assert first == pb.ImportOutcome(ids=range(1, 1_001), publication=pb.PUBLICATION_PENDING)
    assert second == pb.ImportOutcome(
        ids=[1, 0, 0, 1_001],
        known=1,
        refused=[
            pb.RefusedRow(position=1, reason="external_id: expected 1 to 64 characters, got none"),
            pb.RefusedRow(position=2, reason=f"holder_id: there is no holder {NOBODY}"),
        ],
        publication=pb.PUBLICATION_PUBLISHED,
    )


def test_an_import_does_not_wait_for_each_batch_but_never_leaves_redis_far_behind(
    running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    running_issuer.enrol()
    rows_of = [
        [new_credential(holder_id=1, external_id=f"o-{batch}-{number}") for number in range(1_000)]
        for batch in range(10)
    ]
    waited: list[int] = []

    def wait_until_published(_: Publisher, seq: int) -> bool:
        waited.append(seq)
        return True

    monkeypatch.setattr(Publisher, "wait_until_published", wait_until_published)
    batches = iter([pb.ImportCredentialsRequest(rows=rows) for rows in rows_of])
    assert len(list(running_issuer.client.admin.ImportCredentials(batches))) == 10
    assert waited == [1_000, 2_000]


def test_an_import_that_its_client_breaks_off_keeps_what_was_answered(running_issuer: RunningIssuer) -> None:
    def batches() -> Iterator[pb.ImportHoldersRequest]:
        for batch in range(100):
            yield pb.ImportHoldersRequest(rows=holder_rows(10, first=10 * batch))

    with capture_logs() as logs:
        call = running_issuer.client.admin.ImportHolders(batches())
        ids = list(next(iter(call)).outcome.ids)
        call.cancel()
    answers = list(running_issuer.client.admin.ImportHolders(batches()))
    assert list(answers[0].outcome.ids) == ids
    assert answers[0].outcome.known == 10
    assert sum(len(answer.outcome.refused) for answer in answers) == 0
    assert "call failed" not in repr(logs)


# Failures


def test_what_was_not_foreseen_says_nothing_to_the_caller_or_the_log(
    running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("CANARY 王小秀")

    monkeypatch.setattr(Holders, "enrol", fail)
    with capture_logs() as logs:
        code, text = refusal(
            running_issuer.client.admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[new_holder()])
        )
    assert (code, text) == (grpc.StatusCode.INTERNAL, "the issuer failed; its log says where")
    (failed,) = (line for line in logs if line["event"] == "call failed")
    assert failed["error"] == "ValueError"
    assert "test_holder_calls.py" in failed["where"]
    assert "CANARY" not in repr(logs)


def test_no_personal_data_reaches_redis_or_the_record_of_calls(
    running_issuer: RunningIssuer, redis_url: str
) -> None:
    holder = new_holder(
        name="金丝雀CANARYNAME", document_number="CANARY110101", region="CANARYREGION", external_id="CANARYID"
    )
    admin = running_issuer.client.admin
    (holder_id,) = enrol(running_issuer, holder)
    issue(running_issuer, new_credential(holder_id=holder_id, kind=PAPER))
    admin.GetHolder(pb.GetHolderRequest(external_id="CANARYID", reveal=True))
    admin.ListHolders(
        pb.ListHoldersRequest(document_type="ID", document_number="CANARY110101", region="CANARYREGION")
    )
    list(admin.ImportHolders(iter([pb.ImportHoldersRequest(rows=[holder])])))
    calls = running_issuer.client.access.ListCalls(access_pb2.ListCallsRequest())
    with redis.Redis.from_url(redis_url) as client:
        everything = b"".join(client.dump(key) or b"" for key in client.scan_iter("gatelight:*"))
    assert everything
    for secret in ("金丝雀", "CANARY"):
        assert secret.encode() not in everything + calls.SerializeToString()


def test_no_personal_data_reaches_the_log_or_a_refusal(
    running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = running_issuer.client.admin
    holder = new_holder(name="CANARYNAME", document_number="CANARYNUMBER", external_id="CANARYID")
    with capture_logs() as logs:
        enrol(running_issuer, holder)
        texts = [
            refusal(admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[wrong]))[1]
            for wrong in (
                holder,
                new_holder(external_id="CANARYID", document_number="E2"),
                new_holder(name="CANARY\n"),
                new_holder(document_number="CANARY\0"),
            )
        ]
        row = new_holder(document_number="CANARY", external_id="CANARYID")
        rows = [row, new_holder(document_number="E3", external_id="CANARY\n")]
        batch = pb.ImportHoldersRequest(rows=rows, guardian_external_ids=["", "CANARY"])
        texts.append(repr(list(admin.ImportHolders(iter([batch])))))
        # Past all checks of ours, the database itself refuses.
        monkeypatch.setattr("issuer.register.new_holders._read_document_owners", lambda *_: {})
        monkeypatch.setattr("issuer.register.new_holders._read_by_external_id", lambda *_: {})
        texts.append(refusal(admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[holder]))[1])
    assert "UNIQUE constraint failed" in texts[-1]
    assert "CANARY" not in repr(logs) + "".join(texts)
