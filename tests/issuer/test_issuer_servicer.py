"""Bundles, over a real socket: who gets them, what is in them, how often."""

import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from issuer.access.bearer import hash_key, make_key
from issuer.client import IssuerClient
from issuer.v1 import access_pb2, admin_pb2, keys_pb2
from issuer.v1 import issuer_pb2 as pb
from loadtest.embedded_redis import EmbeddedRedis
from tests.eventually import eventually
from tests.issuer.running_issuer import RunningIssuer
from verifier.authenticate import authenticate
from verifier.wire.code import decode_qr_text
from verifier.wire.key_set import KeySet, read_key_set

PHONE, PAPER = 1, 2
RATE_LIMITED = pb.BUNDLE_REFUSAL_REASON_RATE_LIMITED
NOT_FOUND = pb.BUNDLE_REFUSAL_REASON_NOT_FOUND
NOT_ACTIVE = pb.BUNDLE_REFUSAL_REASON_NOT_ACTIVE


def code_of(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    code = caught.value.code()
    assert isinstance(code, grpc.StatusCode)
    return code


def message_of(call: Callable[[], object]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return str(caught.value.details())


def bundle(client: IssuerClient, index: int, window_count: int = 1, **more: str) -> pb.IssueBundleResponse:
    request = pb.IssueBundleRequest(credential_index=index, window_count=window_count, **more)
    answer: pb.IssueBundleResponse = client.issuer.IssueBundle(request)
    return answer


def bundles(client: IssuerClient, *indices: int, **more: object) -> list[pb.IssueBundlesResponse]:
    request = pb.IssueBundlesRequest(credential_indices=indices, **more)  # type: ignore[arg-type]
    return list(client.issuer.IssueBundles(request))


def outcomes(answers: list[pb.IssueBundlesResponse]) -> list[tuple[int, int | None]]:
    """The index and why it was refused, None for a bundle."""
    return [
        (one.credential_index, one.refusal.reason if one.WhichOneof("outcome") == "refusal" else None)
        for one in answers
    ]


def key_set(issuer: RunningIssuer) -> KeySet:
    signed = issuer.client.issuer.GetKeySet(pb.GetKeySetRequest()).signed_key_set
    return read_key_set(signed, issuer.root)


class App:
    """A client with the role app, and its credentials."""

    def __init__(self, issuer: RunningIssuer, name: str) -> None:
        self.issuer = issuer
        self.name = name
        key = make_key()
        request = access_pb2.AddClientRequest(
            name=name, roles=[access_pb2.ROLE_APP], bearer_key_sha256=hash_key(key)
        )
        issuer.client.access.AddClient(request)
        self.client = IssuerClient(issuer.address, key=key)

    def credential(self, holder_id: int | None = None, *, kind: int = PHONE) -> int:
        """Issue a credential whose bundles the app may fetch."""
        return issue(self.issuer, holder_id, kind=kind, app=self.name)


def issue(issuer: RunningIssuer, holder_id: int | None = None, *, kind: int = PHONE, **more: object) -> int:
    new = admin_pb2.NewCredential(holder_id=holder_id or issuer.enrol()[0], kind=kind, **more)  # type: ignore[arg-type]
    request = admin_pb2.IssueCredentialsRequest(credentials=[new])
    return int(issuer.client.admin.IssueCredentials(request).credential_indices[0])


def enrol_dependant(issuer: RunningIssuer, guardian_id: int) -> int:
    new = admin_pb2.NewHolder(
        name="王小宝", document_type="ID", document_number=f"{time.monotonic_ns()}", guardian_id=guardian_id
    )
    return int(issuer.client.admin.EnrolHolders(admin_pb2.EnrolHoldersRequest(holders=[new])).holder_ids[0])


@pytest.fixture
def app(running_issuer: RunningIssuer) -> Iterator[App]:
    """An app."""
    app = App(running_issuer, "city-app")
    yield app
    app.client.close()


# What is in a bundle


def test_a_bundle_has_the_codes_of_consecutive_windows(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    answer = bundle(running_issuer.client, index, 3)
    published = key_set(running_issuer)
    for code in answer.codes:
        read = authenticate(code.qr_text.encode(), published, code.not_before, clock_skew_s=0)
        assert (read.credential_index, read.generation) == (index, 1)
    starts = [code.not_before for code in answer.codes]
    assert starts == [starts[0], starts[0] + 30, starts[0] + 60]
    assert starts[0] <= running_issuer.clock() < answer.codes[0].expires_at


def test_a_paper_bundle_has_one_code_with_a_masked_name(running_issuer: RunningIssuer) -> None:
    answer = bundle(running_issuer.client, running_issuer.issue(PAPER))
    (code,) = answer.codes
    read = authenticate(code.qr_text.encode(), key_set(running_issuer), code.not_before)
    assert read.hint == "王*秀"
    assert answer.refresh_after == 0


def test_no_window_ends_after_the_credential_does(running_issuer: RunningIssuer) -> None:
    valid_until = int(running_issuer.clock()) + 70
    phone = issue(running_issuer, valid_until=valid_until)
    card = issue(running_issuer, kind=PAPER, valid_until=valid_until)
    ends = [code.expires_at for code in bundle(running_issuer.client, phone, 100).codes]
    assert max(ends) == valid_until
    assert len(ends) in (3, 4)
    assert [code.expires_at for code in bundle(running_issuer.client, card).codes] == [valid_until]


def test_a_bundle_is_to_be_refreshed_in_its_second_half(running_issuer: RunningIssuer) -> None:
    for window_count in (1, 2, 120, 2_880):
        answer = bundle(running_issuer.client, running_issuer.issue(), window_count)
        begin, end = answer.codes[0].not_before, answer.codes[-1].expires_at
        assert (begin + end) // 2 <= answer.refresh_after < end


def test_the_phones_of_a_city_do_not_come_back_in_the_same_second(running_issuer: RunningIssuer) -> None:
    indices = [running_issuer.issue() for _ in range(20)]
    answers = bundles(running_issuer.client, *indices, window_count=120)
    assert len({one.bundle.refresh_after for one in answers}) > 15


@pytest.mark.parametrize(("window_count", "kind"), [(2_881, PHONE), (2**32 - 1, PHONE), (2, PAPER)])
def test_a_number_of_windows_that_cannot_be_is_named(
    running_issuer: RunningIssuer, window_count: int, kind: int
) -> None:
    index = running_issuer.issue(kind)
    assert "window_count" in message_of(lambda: bundle(running_issuer.client, index, window_count))


def test_credential_zero_does_not_exist(running_issuer: RunningIssuer) -> None:
    assert code_of(lambda: bundle(running_issuer.client, 0)) is grpc.StatusCode.INVALID_ARGUMENT


def test_a_suspended_credential_gets_no_codes(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    running_issuer.client.admin.SuspendCredential(admin_pb2.SuspendCredentialRequest(credential_index=index))
    assert code_of(lambda: bundle(running_issuer.client, index)) is grpc.StatusCode.FAILED_PRECONDITION


def test_a_replaced_credential_gets_codes_of_its_new_generation(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    running_issuer.client.admin.ReplaceCredential(admin_pb2.ReplaceCredentialRequest(credential_index=index))
    assert bundle(running_issuer.client, index).generation == 2


def test_nothing_is_signed_when_the_key_set_has_expired(
    running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = running_issuer.issue()
    running_issuer.issuer.rotation.stop()
    running_issuer.clock_skew_s = 31 * 86_400
    assert code_of(lambda: bundle(running_issuer.client, index)) is grpc.StatusCode.FAILED_PRECONDITION


def test_a_resumed_credential_gets_codes_again(running_issuer: RunningIssuer) -> None:
    admin, index = running_issuer.client.admin, running_issuer.issue()
    admin.SuspendCredential(admin_pb2.SuspendCredentialRequest(credential_index=index))
    admin.ResumeCredential(admin_pb2.ResumeCredentialRequest(credential_index=index))
    assert bundle(running_issuer.client, index).codes


def test_the_longest_bundle_fits_a_message(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    assert len(bundle(running_issuer.client, index, 2_880).codes) == 2_880
    (answer,) = bundles(running_issuer.client, index, window_count=2_880)
    assert len(answer.bundle.codes) == 2_880


def test_a_bundle_that_does_not_authenticate_is_not_handed_out(
    running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = running_issuer.issue()
    monkeypatch.setattr("issuer.key_store.SecretKeyStore.sign", lambda *_: bytes(64))
    assert code_of(lambda: bundle(running_issuer.client, index)) is grpc.StatusCode.INTERNAL


def test_a_list_goes_on_with_another_key_when_its_key_is_revoked(running_issuer: RunningIssuer) -> None:
    # More than gRPC takes before it is read: those at the end are signed after the revocation.
    indices = [running_issuer.issue() for _ in range(12)]
    request = pb.IssueBundlesRequest(credential_indices=indices, window_count=2_000)
    answers = iter(running_issuer.client.issuer.IssueBundles(request))
    first = decode_qr_text(next(answers).bundle.codes[0].qr_text.encode()).key_id
    revocation = keys_pb2.RevokeKeyRequest(key_id=first)
    running_issuer.approve(running_issuer.client.keys.RevokeKey(revocation).approval_id)
    (*_, last) = answers
    published = key_set(running_issuer)
    code = last.bundle.codes[0]
    read = authenticate(code.qr_text.encode(), published, code.not_before)
    assert read.credential_index == last.credential_index


# Who gets one


def test_an_app_gets_the_bundles_of_its_own_credentials(app: App) -> None:
    assert bundle(app.client, app.credential(), 2).codes


def test_to_an_app_a_credential_of_others_is_one_that_does_not_exist(app: App) -> None:
    foreign = app.issuer.issue()
    missing = foreign + 1_000
    for index in (foreign, missing):
        assert code_of(lambda index=index: bundle(app.client, index)) is grpc.StatusCode.NOT_FOUND  # type: ignore[misc]
    messages = [message_of(lambda index=index: bundle(app.client, index)) for index in (foreign, missing)]  # type: ignore[misc]
    assert messages[0].replace(str(foreign), "n") == messages[1].replace(str(missing), "n")
    assert outcomes(bundles(app.client, foreign, missing)) == [(foreign, NOT_FOUND), (missing, NOT_FOUND)]


def test_an_app_gets_the_bundles_of_dependants_of_its_own(app: App) -> None:
    guardian_id = app.issuer.enrol()[0]
    app.credential(guardian_id)
    child = issue(app.issuer, enrol_dependant(app.issuer, guardian_id))
    assert bundle(app.client, child).codes


def test_a_guardian_whose_phone_was_lost_carries_nobody(app: App) -> None:
    guardian_id = app.issuer.enrol()[0]
    lost = app.credential(guardian_id)
    child = issue(app.issuer, enrol_dependant(app.issuer, guardian_id))
    app.issuer.client.admin.RevokeCredential(admin_pb2.RevokeCredentialRequest(credential_index=lost))
    assert code_of(lambda: bundle(app.client, child)) is grpc.StatusCode.NOT_FOUND
    assert outcomes(bundles(app.client, lost, with_dependants=True)) == [(lost, NOT_ACTIVE)]


def test_an_approver_gets_no_bundles_but_the_key_set(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    denied = code_of(lambda: bundle(running_issuer.approver, index))
    assert denied is grpc.StatusCode.PERMISSION_DENIED
    assert running_issuer.approver.issuer.GetKeySet(pb.GetKeySetRequest()).signed_key_set


def test_the_app_of_a_guardian_gets_no_card_of_a_dependant(app: App) -> None:
    guardian_id = app.issuer.enrol()[0]
    app.credential(guardian_id)
    card = issue(app.issuer, enrol_dependant(app.issuer, guardian_id), kind=PAPER)
    assert code_of(lambda: bundle(app.client, card)) is grpc.StatusCode.NOT_FOUND
    assert outcomes(bundles(app.client, card)) == [(card, NOT_FOUND)]


def test_codes_that_a_clerk_fetches_are_recorded_and_those_of_apps_are_not(app: App) -> None:
    index = app.credential()
    bundle(app.client, index)
    bundles(app.client, index)
    bundle(app.issuer.client, index)
    bundles(app.issuer.client, index, index + 1, index + 2)
    calls = app.issuer.client.access.ListCalls(access_pb2.ListCallsRequest()).calls
    assert [
        (call.client, call.method, call.target, call.outcome)
        for call in calls
        if call.method.startswith("IssuerService/")
    ] == [
        ("local", "IssuerService/IssueBundles", "3 credentials", "OK"),
        ("local", "IssuerService/IssueBundle", f"credential {index}", "OK"),
    ]


# Many at once


def test_bundles_come_in_the_order_of_the_request(running_issuer: RunningIssuer) -> None:
    indices = [running_issuer.issue() for _ in range(5)]
    asked = [indices[3], indices[0], indices[4]]
    answers = bundles(running_issuer.client, *asked, window_count=2)
    assert [one.credential_index for one in answers] == asked
    published = key_set(running_issuer)
    for one in answers:
        codes = [authenticate(code.qr_text.encode(), published, code.not_before) for code in one.bundle.codes]
        assert [code.credential_index for code in codes] == [one.credential_index] * 2


def test_what_is_refused_for_one_holds_up_no_other(running_issuer: RunningIssuer) -> None:
    first, suspended, last = (running_issuer.issue() for _ in range(3))
    running_issuer.client.admin.SuspendCredential(
        admin_pb2.SuspendCredentialRequest(credential_index=suspended)
    )
    answers = bundles(running_issuer.client, first, suspended, 4_000_000, last)
    expected = [(first, None), (suspended, NOT_ACTIVE), (4_000_000, NOT_FOUND), (last, None)]
    assert outcomes(answers) == expected


def test_dependants_come_behind_their_guardian_and_once(running_issuer: RunningIssuer) -> None:
    parent_id = running_issuer.enrol()[0]
    parent, other = issue(running_issuer, parent_id), running_issuer.issue()
    children = [issue(running_issuer, enrol_dependant(running_issuer, parent_id)) for _ in range(3)]
    card = issue(running_issuer, enrol_dependant(running_issuer, parent_id), kind=PAPER)
    answers = bundles(running_issuer.client, parent, other, children[2], with_dependants=True)
    expected = [parent, children[0], children[1], other, children[2]]
    assert [one.credential_index for one in answers] == expected
    assert card not in expected


def test_a_paper_credential_on_a_list_gets_its_one_window(running_issuer: RunningIssuer) -> None:
    (answer,) = bundles(running_issuer.client, running_issuer.issue(PAPER), window_count=5)
    assert len(answer.bundle.codes) == 1


@pytest.mark.parametrize(
    ("indices", "field"),
    [([], "credential_indices"), ([1, 2, 1], "[2]"), ([1, 0], "[1]"), ([9] * 1_001, "1000")],
)
def test_a_list_that_breaks_the_api_is_named(
    running_issuer: RunningIssuer, indices: list[int], field: str
) -> None:
    assert field in message_of(lambda: bundles(running_issuer.client, *indices))


# How often


def test_a_credential_that_asks_too_often_is_told_when_to_come_back(
    start_issuer: Callable[..., RunningIssuer], redis_url: str
) -> None:
    issuer = start_issuer(redis_url, bundle_burst=2, bundles_per_hour=60)
    index, other = issuer.issue(), issuer.issue()
    bundle(issuer.client, index)
    bundle(issuer.client, index)
    assert code_of(lambda: bundle(issuer.client, index)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    first, second = bundles(issuer.client, index, other)
    assert first.refusal.reason == RATE_LIMITED
    assert 50 <= first.refusal.retry_after_s <= 60
    assert second.bundle.codes


def test_without_redis_bundles_are_let_through(
    start_issuer: Callable[..., RunningIssuer], own_redis: EmbeddedRedis
) -> None:
    issuer = start_issuer(own_redis.url, bundle_burst=1)
    index = issuer.issue()
    own_redis.kill()
    for _ in range(5):
        assert bundle(issuer.client, index).codes


# The same request, the same answer


def test_the_same_request_gets_the_same_answer_and_counts_once(
    start_issuer: Callable[..., RunningIssuer], redis_url: str
) -> None:
    issuer = start_issuer(redis_url, bundle_burst=1)
    index = issuer.issue()
    first = bundle(issuer.client, index, 3, idempotency_key="one")
    issuer.clock_skew_s = 100
    assert bundle(issuer.client, index, 3, idempotency_key="one") == first
    assert code_of(lambda: bundle(issuer.client, index, 3)) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_same_list_gets_the_same_answers_refusals_included(
    start_issuer: Callable[..., RunningIssuer], redis_url: str
) -> None:
    issuer = start_issuer(redis_url, bundle_burst=1)
    indices = [issuer.issue() for _ in range(3)]
    bundle(issuer.client, indices[1])
    first = bundles(issuer.client, *indices, idempotency_key="list", window_count=2)
    assert outcomes(first) == [(indices[0], None), (indices[1], RATE_LIMITED), (indices[2], None)]
    assert bundles(issuer.client, *indices, idempotency_key="list", window_count=2) == first


def test_two_repeats_are_free_and_each_later_one_counts(
    start_issuer: Callable[..., RunningIssuer], redis_url: str
) -> None:
    issuer = start_issuer(redis_url, bundle_burst=2)
    index = issuer.issue()
    first = bundle(issuer.client, index, 3, idempotency_key="one")
    for _ in range(3):  # two are free, the third takes the last token
        assert bundle(issuer.client, index, 3, idempotency_key="one") == first
    refused = code_of(lambda: bundle(issuer.client, index, 3, idempotency_key="one"))
    assert refused is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_two_repeats_of_a_list_are_free_and_each_later_one_counts(
    start_issuer: Callable[..., RunningIssuer], redis_url: str
) -> None:
    issuer = start_issuer(redis_url, bundle_burst=1)
    indices = [issuer.issue() for _ in range(2)]
    answers = [bundles(issuer.client, *indices, idempotency_key="list") for _ in range(4)]
    assert answers[0] == answers[1] == answers[2]
    assert outcomes(answers[0]) == [(index, None) for index in indices]
    assert outcomes(answers[3]) == [(index, RATE_LIMITED) for index in indices]


def test_a_refusal_is_not_lifted_by_asking_again_under_the_same_key(
    start_issuer: Callable[..., RunningIssuer], redis_url: str
) -> None:
    issuer = start_issuer(redis_url, bundle_burst=1)
    index = issuer.issue()
    bundle(issuer.client, index)
    for _ in range(2):
        refused = code_of(lambda: bundle(issuer.client, index, idempotency_key="again"))
        assert refused is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_key_that_was_used_for_another_request_is_refused(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    bundle(running_issuer.client, index, 1, idempotency_key="one")
    message = message_of(lambda: bundle(running_issuer.client, index, 2, idempotency_key="one"))
    assert message.startswith("idempotency_key")
    message = message_of(lambda: bundles(running_issuer.client, index, idempotency_key="one"))
    assert message.startswith("idempotency_key")


def test_two_clients_may_choose_the_same_key(app: App) -> None:
    first, second = app.credential(), app.credential()
    bundle(app.client, first, idempotency_key="one")
    assert bundle(app.issuer.client, second, idempotency_key="one").codes


def test_a_credential_suspended_meanwhile_gets_no_answer_again(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    bundle(running_issuer.client, index, idempotency_key="one")
    running_issuer.client.admin.SuspendCredential(admin_pb2.SuspendCredentialRequest(credential_index=index))
    refused = code_of(lambda: bundle(running_issuer.client, index, idempotency_key="one"))
    assert refused is grpc.StatusCode.FAILED_PRECONDITION


def test_a_key_of_more_than_64_characters_is_refused(running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    assert bundle(running_issuer.client, index, idempotency_key="k" * 64).codes
    message = message_of(lambda: bundle(running_issuer.client, index, idempotency_key="k" * 65))
    assert message.startswith("idempotency_key")


def test_copies_of_a_request_at_the_same_time_get_one_answer(
    start_issuer: Callable[..., RunningIssuer], redis_url: str
) -> None:
    issuer = start_issuer(redis_url, bundle_burst=1, bundles_per_hour=1)
    index = issuer.issue()
    request = pb.IssueBundleRequest(credential_index=index, window_count=2, idempotency_key="once")
    calls = [issuer.client.issuer.IssueBundle.future(request) for _ in range(3)]
    assert len({call.result().SerializeToString() for call in calls}) == 1


# Those who are slow to read


def test_a_list_that_nobody_reads_holds_up_no_phone(running_issuer: RunningIssuer) -> None:
    indices = [running_issuer.issue() for _ in range(20)]
    request = pb.IssueBundlesRequest(credential_indices=indices, window_count=2_880)
    unread = [running_issuer.client.issuer.IssueBundles(request) for _ in range(2)]
    first = [next(stream) for stream in unread]  # both are being signed
    assert len(first) == 2
    assert code_of(lambda: bundles(running_issuer.client, *indices)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(bundle(running_issuer.client, running_issuer.issue()).codes) == 1
    for stream in unread:
        stream.cancel()
    eventually(lambda: can_read(running_issuer, indices[0]))


def can_read(issuer: RunningIssuer, index: int) -> bool:
    try:
        return bool(bundles(issuer.client, index))
    except grpc.RpcError:
        return False


def test_the_next_bundle_is_never_asked_for_at_once(running_issuer: RunningIssuer) -> None:
    index = issue(running_issuer, valid_until=int(time.time()) + 5)
    answer = bundle(running_issuer.client, index, 10)
    assert answer.refresh_after > time.time() - 1
