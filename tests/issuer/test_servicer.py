"""The issuer over real gRPC: what each call answers, and each way of saying no."""

import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from issuer import signing
from issuer.publisher import Publisher
from issuer.register.register import Register
from issuer.server import SERVICE_NAMES
from issuer.v1 import issuer_pb2 as pb
from tests.issuer.running_issuer import KEY, ROOT, RunningIssuer
from verifier.authenticate import authenticate
from verifier.wire import cose
from verifier.wire.code import CredentialKind
from verifier.wire.key_set import read_key_set

PHONE, PAPER = 1, 2
GREEN, RED = 1, 3
NOBODY = 4_000_000
LONG = "x" * 10_000


def refusal(call: Callable[[Any], Any], request: Any) -> tuple[grpc.StatusCode, str]:
    """Return status code and text of a call that has to fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    error: Any = caught.value
    return error.code(), error.details()


def new_holder(**changed: Any) -> pb.NewHolder:
    fields = {"name": "王小秀", "document_type": "ID", "document_number": "E1", "region": "朝阳"}
    return pb.NewHolder(**{**fields, **changed})


def status_change(**changed: Any) -> pb.StatusChange:
    fields = {"holder_id": 1, "colour": GREEN, "reason": 0, "authority": "District office", "operator": "li"}
    return pb.StatusChange(**{**fields, **changed})


# Issuing


def test_a_bundle_authenticates_with_the_published_key_set(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    answer = running_issuer.client.issuer.IssueBundle(
        pb.IssueBundleRequest(credential_index=index, window_count=3)
    )
    published = running_issuer.client.issuer.GetKeySet(pb.GetKeySetRequest()).signed_key_set
    key_set = read_key_set(published, ROOT.root)
    assert list(key_set.keys) == [cose.key_id(KEY.public_key)]
    assert (answer.kind, answer.generation, len(answer.codes)) == (PHONE, 1, 3)
    for signed in answer.codes:
        code = authenticate(signed.qr_text.encode(), key_set, signed.not_before)
        assert (code.credential_index, code.not_before, code.expires_at) == (
            index,
            signed.not_before,
            signed.expires_at,
        )


def test_the_first_code_is_valid_now(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    code = running_issuer.client.issuer.IssueBundle(pb.IssueBundleRequest(credential_index=index)).codes[0]
    assert code.not_before <= time.time() < code.expires_at


def test_a_paper_code_carries_the_masked_name(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue(PAPER)
    answer = running_issuer.client.issuer.IssueBundle(pb.IssueBundleRequest(credential_index=index))
    published = running_issuer.client.issuer.GetKeySet(pb.GetKeySetRequest()).signed_key_set
    code = authenticate(
        answer.codes[0].qr_text.encode(), read_key_set(published, ROOT.root), int(time.time())
    )
    assert (code.kind, code.hint) == (CredentialKind.PAPER, "王*秀")


def test_a_replaced_credential_signs_its_new_generation(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    running_issuer.client.admin.ReplaceCredential(pb.ReplaceCredentialRequest(credential_index=index))
    answer = running_issuer.client.issuer.IssueBundle(pb.IssueBundleRequest(credential_index=index))
    assert answer.generation == 2


def test_the_longest_bundle_fits_a_message(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    request = pb.IssueBundleRequest(credential_index=index, window_count=2_880)
    assert len(running_issuer.client.issuer.IssueBundle(request).codes) == 2_880


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"credential_index": 0}, "credential_index"),
        ({"credential_index": 1, "window_count": 2_881}, "window_count"),
    ],
)
def test_a_bundle_out_of_limits_is_refused_by_field(
    running_issuer: RunningIssuer, request_fields: dict[str, int], field: str
) -> None:
    code, text = refusal(running_issuer.client.issuer.IssueBundle, pb.IssueBundleRequest(**request_fields))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith(f"{field}: ")


def test_a_paper_credential_has_one_window_only(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue(PAPER)
    request = pb.IssueBundleRequest(credential_index=index, window_count=2)
    code, text = refusal(running_issuer.client.issuer.IssueBundle, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("window_count: ")


def test_a_bundle_for_an_unknown_credential_is_not_found(running_issuer: RunningIssuer) -> None:
    code, text = refusal(
        running_issuer.client.issuer.IssueBundle, pb.IssueBundleRequest(credential_index=NOBODY)
    )
    assert code is grpc.StatusCode.NOT_FOUND
    assert str(NOBODY) in text


@pytest.mark.parametrize(
    ("step", "state"), [("SuspendCredential", "SUSPENDED"), ("RevokeCredential", "REVOKED")]
)
def test_no_bundle_for_a_credential_that_is_out_of_force(
    running_issuer: RunningIssuer, step: str, state: str
) -> None:
    index = running_issuer.issue()
    getattr(running_issuer.client.admin, step)(getattr(pb, f"{step}Request")(credential_index=index))
    request = pb.IssueBundleRequest(credential_index=index)
    code, text = refusal(running_issuer.client.issuer.IssueBundle, request)
    assert (code, text) == (grpc.StatusCode.FAILED_PRECONDITION, f"credential {index} is {state}")


def test_a_resumed_credential_gets_bundles_again(running_issuer: RunningIssuer) -> None:
    admin, index = running_issuer.client.admin, running_issuer.issue()
    admin.SuspendCredential(pb.SuspendCredentialRequest(credential_index=index))
    admin.ResumeCredential(pb.ResumeCredentialRequest(credential_index=index))
    assert running_issuer.client.issuer.IssueBundle(pb.IssueBundleRequest(credential_index=index)).codes


@pytest.mark.parametrize(("left_s", "is_signed"), [(5, True), (0, False), (-1, False)])
def test_no_bundle_once_the_key_set_has_expired(
    start_issuer: Callable[..., RunningIssuer], redis_url: str, left_s: int, is_signed: bool
) -> None:
    issuer = start_issuer(redis_url, key_set_valid_s=1_000)
    request = pb.IssueBundleRequest(credential_index=issuer.issue())
    issuer.clock_skew_s = 999 - left_s  # the set was issued a second before the start
    if is_signed:
        assert issuer.client.issuer.IssueBundle(request).codes
        return
    code, text = refusal(issuer.client.issuer.IssueBundle, request)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "key set has expired" in text


# Enrolment and status


def test_the_largest_lists_are_taken(running_issuer: RunningIssuer) -> None:
    ids = running_issuer.enrol(1_000)
    new = [pb.NewCredential(holder_id=holder_id, kind=PHONE) for holder_id in ids]  # type: ignore[arg-type]
    issued = running_issuer.client.admin.IssueCredentials(pb.IssueCredentialsRequest(credentials=new))
    assert list(issued.credential_indices) == list(range(1, 1_001))
    changes = [status_change(holder_id=holder_id) for holder_id in ids]
    answer = running_issuer.client.admin.SetStatuses(pb.SetStatusesRequest(changes=changes))
    assert answer.publication == pb.PUBLICATION_PUBLISHED


def test_the_longest_fields_are_taken(running_issuer: RunningIssuer) -> None:
    holders = [
        new_holder(
            name="\U00020000" * 200,
            document_type="\U00020000" * 32,
            document_number="\U00020000" * 60 + f"{number:04}",
            region="\U00020000" * 64,
        )
        for number in range(1_000)
    ]
    answer = running_issuer.client.admin.EnrolHolders(pb.EnrolHoldersRequest(holders=holders))
    assert len(answer.holder_ids) == 1_000


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "王\x1b[2J秀"}, "name"),
        ({"name": "王\n秀"}, "name"),
        ({"document_type": ""}, "document_type"),
        ({"document_type": "x" * 33}, "document_type"),
        ({"document_number": ""}, "document_number"),
        ({"document_number": " - "}, "document_number"),
        ({"document_number": "x" * 65}, "document_number"),
        ({"document_number": "1\x002"}, "document_number"),
        ({"region": "x" * 65}, "region"),
    ],
)
def test_a_wrong_field_of_a_holder_is_named_and_nobody_is_entered(
    running_issuer: RunningIssuer, changed: dict[str, str], field: str
) -> None:
    request = pb.EnrolHoldersRequest(holders=[new_holder(), new_holder(**changed)])
    code, text = refusal(running_issuer.client.admin.EnrolHolders, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith(f"holders[1].{field}: ")
    assert running_issuer.enrol() == [1]


def test_a_holder_needs_no_region(running_issuer: RunningIssuer) -> None:
    request = pb.EnrolHoldersRequest(holders=[new_holder(region="")])
    assert running_issuer.client.admin.EnrolHolders(request).holder_ids == [1]


def test_a_document_that_is_known_is_refused(running_issuer: RunningIssuer) -> None:
    request = pb.EnrolHoldersRequest(holders=[new_holder()])
    running_issuer.client.admin.EnrolHolders(request)
    code, text = refusal(running_issuer.client.admin.EnrolHolders, request)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text == "holders[0].document_number: this document belongs to holder 1 already"


def lists_of(count: int) -> dict[str, Any]:
    """Return, for each call with a list, a request with so many entries."""
    return {
        "EnrolHolders": pb.EnrolHoldersRequest(holders=[new_holder()] * count),
        "IssueCredentials": pb.IssueCredentialsRequest(credentials=[pb.NewCredential()] * count),
        "SetStatuses": pb.SetStatusesRequest(changes=[status_change()] * count),
    }


@pytest.mark.parametrize("count", [0, 1_001])
@pytest.mark.parametrize(
    ("call", "field"),
    [("EnrolHolders", "holders"), ("IssueCredentials", "credentials"), ("SetStatuses", "changes")],
)
def test_a_list_of_none_or_too_many_is_refused(
    running_issuer: RunningIssuer, count: int, call: str, field: str
) -> None:
    code, text = refusal(getattr(running_issuer.client.admin, call), lists_of(count)[call])
    assert (code, text) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"{field}: expected 1 to 1000 entries, got {count}",
    )


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"holder_id": 0}, "holder_id"),
        ({"holder_id": 2**63}, "holder_id"),
        ({"kind": 0}, "kind"),
        ({"kind": 3}, "kind"),
    ],
)
def test_a_wrong_field_of_a_credential_is_named(
    running_issuer: RunningIssuer, changed: dict[str, int], field: str
) -> None:
    good: dict[str, Any] = {"holder_id": running_issuer.enrol()[0], "kind": PHONE}
    new = [pb.NewCredential(**good), pb.NewCredential(**{**good, **changed})]
    code, text = refusal(
        running_issuer.client.admin.IssueCredentials, pb.IssueCredentialsRequest(credentials=new)
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith(f"credentials[1].{field}: ")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"holder_id": 0}, "holder_id"),
        ({"colour": 0}, "colour"),
        ({"colour": 4}, "colour"),
        ({"colour": RED, "reason": 0}, "reason"),
        ({"reason": 65_536}, "reason"),
        ({"authority": ""}, "authority"),
        ({"authority": LONG}, "authority"),
        ({"operator": ""}, "operator"),
        ({"operator": "l\ti"}, "operator"),
        ({"negative_test_at": -1}, "negative_test_at"),
        ({"negative_test_at": 2**62}, "negative_test_at"),
    ],
)
def test_a_wrong_field_of_a_status_change_is_named(
    running_issuer: RunningIssuer, changed: dict[str, Any], field: str
) -> None:
    running_issuer.issue()
    request = pb.SetStatusesRequest(changes=[status_change(), status_change(**changed)])
    code, text = refusal(running_issuer.client.admin.SetStatuses, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith(f"changes[1].{field}: ")


@pytest.mark.parametrize(("ahead_s", "is_taken"), [(-1, True), (0, True), (60, False)])
def test_a_negative_test_is_never_in_the_future(
    running_issuer: RunningIssuer, ahead_s: int, is_taken: bool
) -> None:
    running_issuer.issue()
    test_at = int(time.time()) + ahead_s
    request = pb.SetStatusesRequest(changes=[status_change(negative_test_at=test_at)])
    if is_taken:
        running_issuer.client.admin.SetStatuses(request)
        found = running_issuer.client.admin.GetCredential(pb.GetCredentialRequest(credential_index=1))
        assert found.last_negative_test == test_at - test_at % 60
        return
    code, text = refusal(running_issuer.client.admin.SetStatuses, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("changes[0].negative_test_at: ")


def test_an_unknown_holder_is_not_found_in_any_list(running_issuer: RunningIssuer) -> None:
    admin = running_issuer.client.admin
    changes = [status_change(holder_id=NOBODY)]
    code, text = refusal(admin.SetStatuses, pb.SetStatusesRequest(changes=changes))
    assert code is grpc.StatusCode.NOT_FOUND
    assert text.startswith("changes[0].holder_id: ")
    new = [pb.NewCredential(holder_id=NOBODY, kind=PHONE)]  # type: ignore[arg-type]
    code, text = refusal(admin.IssueCredentials, pb.IssueCredentialsRequest(credentials=new))
    assert code is grpc.StatusCode.NOT_FOUND
    assert text.startswith("credentials[0].holder_id: ")


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


def test_each_change_of_a_credential_says_whether_it_is_published(running_issuer: RunningIssuer) -> None:
    admin, index = running_issuer.client.admin, running_issuer.issue()
    for call in ("ReplaceCredential", "SuspendCredential", "ResumeCredential", "RevokeCredential"):
        answer = getattr(admin, call)(getattr(pb, f"{call}Request")(credential_index=index))
        assert answer.publication == pb.PUBLICATION_PUBLISHED


def test_a_credential_is_shown_with_a_masked_name_and_its_status(running_issuer: RunningIssuer) -> None:
    admin, index = running_issuer.client.admin, running_issuer.issue(PAPER)
    changes = [status_change(colour=RED, reason=31, negative_test_at=1_800_000 * 60)]
    admin.SetStatuses(pb.SetStatusesRequest(changes=changes))
    found = admin.GetCredential(pb.GetCredentialRequest(credential_index=index))
    assert found == pb.GetCredentialResponse(
        credential_index=index,
        holder_id=1,
        masked_name="王*秀",
        kind=PAPER,  # type: ignore[arg-type]
        generation=1,
        state=pb.CREDENTIAL_STATE_ACTIVE,
        colour=RED,  # type: ignore[arg-type]
        reason=31,
        last_negative_test=1_800_000 * 60,
    )


# Failures


def test_a_locked_register_is_unavailable(
    running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("issuer.register.database._LOCK_WAIT_S", 0.05)
    running_issuer.publisher.stop()
    with running_issuer.database.write():
        code, text = refusal(
            running_issuer.client.admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[new_holder()])
        )
    assert (code, text) == (grpc.StatusCode.UNAVAILABLE, "the register is busy")
    assert running_issuer.enrol() == [1]


def test_what_was_not_foreseen_says_nothing_to_the_caller_or_the_log(
    running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("CANARY 王小秀")

    monkeypatch.setattr(Register, "enrol_holders", fail)
    with capture_logs() as logs:
        code, text = refusal(
            running_issuer.client.admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[new_holder()])
        )
    assert (code, text) == (grpc.StatusCode.INTERNAL, "the issuer failed; its log says where")
    (failed,) = (line for line in logs if line["event"] == "call failed")
    assert failed["error"] == "ValueError"
    assert "test_servicer.py" in failed["where"]
    assert "CANARY" not in repr(logs)


def test_a_bundle_that_does_not_authenticate_is_not_handed_out(
    running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = running_issuer.issue()
    monkeypatch.setattr(signing, "encode_qr_text", lambda _signed: b"GL1:CANARY")
    with capture_logs() as logs:
        code, text = refusal(
            running_issuer.client.issuer.IssueBundle, pb.IssueBundleRequest(credential_index=index)
        )
    assert code is grpc.StatusCode.INTERNAL
    assert [line["error"] for line in logs if line["event"] == "call failed"] == ["UnsoundBundle"]
    assert "CANARY" not in text + repr(logs)


def test_a_message_that_is_too_long_is_refused(running_issuer: RunningIssuer) -> None:
    request = pb.EnrolHoldersRequest(holders=[new_holder(name=LONG)] * 1_000)
    code, _ = refusal(running_issuer.client.admin.EnrolHolders, request)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("service", ["", *SERVICE_NAMES])
def test_health_is_served(running_issuer: RunningIssuer, service: str) -> None:
    with grpc.insecure_channel(running_issuer.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_call_gives_up_at_its_deadline(
    running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Publisher, "wait_until_published", lambda *_: time.sleep(0.5))
    holder_id = running_issuer.enrol()[0]
    with type(running_issuer.client)(running_issuer.address, timeout_s=0.1) as impatient:
        new = [pb.NewCredential(holder_id=holder_id, kind=PHONE)]  # type: ignore[arg-type]
        code, _ = refusal(impatient.admin.IssueCredentials, pb.IssueCredentialsRequest(credentials=new))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED


# Secrets


def test_no_personal_data_reaches_redis(running_issuer: RunningIssuer, redis_url: str) -> None:
    name, number = "金丝雀CanaryName", "CANARY110101"
    admin = running_issuer.client.admin
    holder = new_holder(name=name, document_number=number, region="CANARYREGION")
    holder_id = admin.EnrolHolders(pb.EnrolHoldersRequest(holders=[holder])).holder_ids[0]
    new = [pb.NewCredential(holder_id=holder_id, kind=PAPER)]  # type: ignore[arg-type]
    admin.IssueCredentials(pb.IssueCredentialsRequest(credentials=new))
    change = status_change(holder_id=holder_id, authority="CANARYOFFICE", operator="CANARYCLERK")
    admin.SetStatuses(pb.SetStatusesRequest(changes=[change]))
    with redis.Redis.from_url(redis_url) as client:
        everything = b"".join(client.dump(key) or b"" for key in client.scan_iter("gatelight:*"))
    assert everything
    for canary in (name, number, "CANARY"):
        assert canary.encode() not in everything


def test_no_personal_data_reaches_the_log_or_a_refusal(
    running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = running_issuer.client.admin
    holder = new_holder(name="CANARYNAME", document_number="CANARYNUMBER")
    with capture_logs() as logs:
        admin.EnrolHolders(pb.EnrolHoldersRequest(holders=[holder]))
        texts = [
            refusal(admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[holder]))[1],
            refusal(admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[new_holder(name="CANARY\n")]))[1],
            refusal(
                admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[new_holder(document_number="CANARY\0")])
            )[1],
        ]
        # Past all checks of ours, the database itself refuses.
        monkeypatch.setattr("issuer.register.register._refuse_known_documents", lambda *_: None)
        texts.append(refusal(admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[holder]))[1])
    assert "UNIQUE constraint failed" in texts[-1]
    assert "CANARY" not in repr(logs) + "".join(texts)
