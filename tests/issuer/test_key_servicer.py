"""Keys by hand, over a real socket, with a second person's consent."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

import grpc
import pytest

from issuer.client import IssuerClient
from issuer.key_store import KeyStore, SecretKeyStore
from issuer.keys.lifecycle import KeyState
from issuer.keys.offline import export_text, read_export
from issuer.keys.root import sign_key_set
from issuer.register.keys import Keys
from issuer.v1 import access_pb2, issuer_pb2
from issuer.v1 import keys_pb2 as pb
from loadtest.embedded_redis import EmbeddedRedis
from tests.eventually import eventually
from tests.issuer.refusals import refusal
from tests.issuer.running_issuer import RunningIssuer
from verifier.authenticate import authenticate
from verifier.key_set_follower import KeySetFollower, KeySets
from verifier.wire.code import decode_qr_text
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import UnknownKey
from verifier.wire.key_set import KeySet, read_key_set

DAY = 86_400


class KeyGate:
    """What a verifier knows of keys, from the Redis that the issuer writes."""

    def __init__(self, issuer: RunningIssuer, redis_url: str) -> None:
        self._key_sets = KeySets(issuer.root)
        self._follower = KeySetFollower(redis_url=redis_url, key_sets=self._key_sets)

    def takes(self, qr_text: bytes, *, now: int) -> bool:
        self._follower.refresh()
        try:
            authenticate(qr_text, self._key_sets.in_force(now), now)
        except UnknownKey:
            return False
        return True

    def close(self) -> None:
        self._follower.close()


@pytest.fixture
def gate(running_issuer: RunningIssuer, redis_url: str) -> Iterator[KeyGate]:
    """A verifier's key set."""
    gate = KeyGate(running_issuer, redis_url)
    yield gate
    gate.close()


@pytest.fixture
def rootless(running_issuer: RunningIssuer) -> tuple[RunningIssuer, KeyStore]:
    """An issuer whose root key is elsewhere, and the root key."""
    root = running_issuer.issuer.rotation._root
    assert root is not None
    running_issuer.issuer.rotation._root = None
    return running_issuer, root


def listed(issuer: RunningIssuer) -> pb.ListKeysResponse:
    answer: pb.ListKeysResponse = issuer.client.keys.ListKeys(pb.ListKeysRequest())
    return answer


def signing_key_id(issuer: RunningIssuer) -> bytes:
    (key_id,) = [key.key_id for key in listed(issuer).keys if key.is_signing]
    return key_id


def state_of(issuer: RunningIssuer, key_id: bytes) -> int:
    (state,) = [key.state for key in listed(issuer).keys if key.key_id == key_id]
    return state


def a_code(issuer: RunningIssuer, index: int | None = None) -> bytes:
    request = issuer_pb2.IssueBundleRequest(credential_index=index or issuer.issue())
    code: bytes = issuer.client.issuer.IssueBundle(request).codes[0].qr_text.encode()
    return code


def published(issuer: RunningIssuer) -> KeySet:
    return read_key_set(Keys(issuer.database).newest_key_set(), issuer.root)


def prepare(issuer: RunningIssuer) -> bytes:
    """Make a key, and return its key_id."""
    outcome = issuer.approve(issuer.client.keys.PrepareKey(pb.PrepareKeyRequest()).approval_id)
    found = re.fullmatch(r"key ([0-9a-f]{16}) is PREPARED", outcome[0])
    assert found is not None
    return bytes.fromhex(found[1])


def revoke(issuer: RunningIssuer, key_id: bytes) -> list[str]:
    request = pb.RevokeKeyRequest(key_id=key_id)
    return list(issuer.approve(issuer.client.keys.RevokeKey(request).approval_id))


# Listing


def test_a_fresh_issuer_has_one_key_that_signs(running_issuer: RunningIssuer) -> None:
    answer = listed(running_issuer)
    (key,) = answer.keys
    assert key.is_signing
    assert key.is_published
    assert key.state == pb.KEY_STATE_ACTIVE
    assert key.next_step.startswith("its successor is made at ")
    assert answer.key_set.is_root_here
    assert not answer.key_set.is_stale
    assert answer.key_set.expires_at - answer.key_set.issued_at == 30 * DAY


def test_the_end_of_what_was_signed_is_listed(running_issuer: RunningIssuer) -> None:
    running_issuer.issue(2)
    a_code(running_issuer, 1)
    assert listed(running_issuer).keys[0].last_expires_at > time.time() + 179 * DAY


def test_keys_are_listed_with_the_newest_first(running_issuer: RunningIssuer) -> None:
    running_issuer.clock_skew_s = 1
    made = prepare(running_issuer)
    assert listed(running_issuer).keys[0].key_id == made
    assert listed(running_issuer).keys[0].next_step.startswith("signs from ")


# Preparing and activating


def test_nothing_is_made_before_a_second_person_agrees(running_issuer: RunningIssuer) -> None:
    running_issuer.client.keys.PrepareKey(pb.PrepareKeyRequest())
    assert len(listed(running_issuer).keys) == 1


def test_a_prepared_key_is_published_at_once(running_issuer: RunningIssuer) -> None:
    made = prepare(running_issuer)
    assert state_of(running_issuer, made) == KeyState.PREPARED
    assert made in published(running_issuer).keys


def test_a_prepared_key_is_activated_once_verifiers_have_it(running_issuer: RunningIssuer) -> None:
    made = prepare(running_issuer)
    activate = pb.ActivateKeyRequest(key_id=made)
    code, message = refusal(running_issuer.client.keys.ActivateKey, activate)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "wait 5 s" in message
    running_issuer.clock_skew_s = 6
    outcome = running_issuer.approve(running_issuer.client.keys.ActivateKey(activate).approval_id)
    assert outcome[0] == f"key {made.hex()} is ACTIVE"
    assert signing_key_id(running_issuer) == made


def test_a_key_that_redis_never_held_is_not_activated_by_hand(
    start_issuer: Callable[..., RunningIssuer], own_redis: EmbeddedRedis
) -> None:
    issuer = start_issuer(own_redis.url)
    own_redis.kill()
    made = prepare(issuer)
    issuer.clock_skew_s = 6
    activate = pb.ActivateKeyRequest(key_id=made)
    code, message = refusal(issuer.client.keys.ActivateKey, activate)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "see that Redis answers" in message


def test_a_key_is_not_activated_either_when_it_is_not_known_any_more_that_redis_held_it(
    running_issuer: RunningIssuer,
) -> None:
    made = prepare(running_issuer)
    running_issuer.clock_skew_s = 6
    request = pb.ActivateKeyRequest(key_id=made)
    approval_id = running_issuer.client.keys.ActivateKey(request).approval_id
    running_issuer.clock_skew_s = 60
    rotation = running_issuer.issuer.rotation
    rotation._held_since = {made: int(running_issuer.clock())}  # as after a restart
    answer = running_issuer.approver.access.Approve(access_pb2.ApproveRequest(approval_id=approval_id))
    assert answer.approval.state == access_pb2.APPROVAL_STATE_FAILED
    assert "see that Redis answers" in answer.approval.outcome[0]


def test_a_key_that_signs_already_is_not_activated(running_issuer: RunningIssuer) -> None:
    activate = pb.ActivateKeyRequest(key_id=signing_key_id(running_issuer))
    code, message = refusal(running_issuer.client.keys.ActivateKey, activate)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "is ACTIVE, expected PREPARED" in message


@pytest.mark.parametrize("call", ["ActivateKey", "RetireKey", "RevokeKey"])
def test_a_key_that_is_not_there_and_one_that_cannot_be_are_told_apart(
    running_issuer: RunningIssuer, call: str
) -> None:
    request = getattr(pb, f"{call}Request")
    method = getattr(running_issuer.client.keys, call)
    assert refusal(method, request(key_id=bytes(8)))[0] is grpc.StatusCode.NOT_FOUND
    assert refusal(method, request(key_id=b"x"))[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_what_has_become_impossible_meanwhile_fails_with_its_reason(running_issuer: RunningIssuer) -> None:
    made = prepare(running_issuer)
    running_issuer.clock_skew_s = 6
    request = pb.ActivateKeyRequest(key_id=made)
    approval_id = running_issuer.client.keys.ActivateKey(request).approval_id
    revoke(running_issuer, made)
    answer = running_issuer.approver.access.Approve(access_pb2.ApproveRequest(approval_id=approval_id))
    assert answer.approval.state == access_pb2.APPROVAL_STATE_FAILED
    assert "is REVOKED, expected PREPARED" in answer.approval.outcome[0]


# Retiring


def test_the_key_that_signs_is_not_retired(running_issuer: RunningIssuer) -> None:
    request = pb.RetireKeyRequest(key_id=signing_key_id(running_issuer))
    message = refusal(running_issuer.client.keys.RetireKey, request)[1]
    assert "activate another one first" in message


def test_a_key_whose_codes_are_in_force_is_not_retired(running_issuer: RunningIssuer) -> None:
    first = signing_key_id(running_issuer)
    a_code(running_issuer)
    made = prepare(running_issuer)
    running_issuer.clock_skew_s = 6
    activate = running_issuer.client.keys.ActivateKey(pb.ActivateKeyRequest(key_id=made))
    running_issuer.approve(activate.approval_id)
    retire = pb.RetireKeyRequest(key_id=first)
    message = refusal(running_issuer.client.keys.RetireKey, retire)[1]
    assert "may be in force for another" in message


# Revoking


def test_codes_of_a_revoked_key_are_refused_and_another_key_signs(
    running_issuer: RunningIssuer, gate: KeyGate
) -> None:
    stolen = signing_key_id(running_issuer)
    index = running_issuer.issue()
    code = a_code(running_issuer, index)
    now = int(time.time())
    eventually(lambda: gate.takes(code, now=now))
    outcome = revoke(running_issuer, stolen)
    assert not gate.takes(code, now=now)
    assert outcome[0] == f"key {stolen.hex()} is REVOKED"
    assert "is in Redis" in outcome[1]
    assert gate.takes(a_code(running_issuer, index), now=now)
    assert signing_key_id(running_issuer) != stolen
    assert not running_issuer.folder.signing_key(stolen).exists()


def test_a_key_is_revoked_once(running_issuer: RunningIssuer) -> None:
    stolen = signing_key_id(running_issuer)
    revoke(running_issuer, stolen)
    request = pb.RevokeKeyRequest(key_id=stolen)
    code, message = refusal(running_issuer.client.keys.RevokeKey, request)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "revoked already" in message


def test_the_second_person_reads_what_a_revocation_means(running_issuer: RunningIssuer) -> None:
    stolen = signing_key_id(running_issuer)
    approval_id = running_issuer.client.keys.RevokeKey(pb.RevokeKeyRequest(key_id=stolen)).approval_id
    request = access_pb2.GetApprovalRequest(approval_id=approval_id)
    summary = running_issuer.approver.access.GetApproval(request).approval.summary
    assert summary == (
        f"revoke key {stolen.hex()}, which signs now: all its codes are refused, "
        "and cards signed by it are void"
    )


def test_a_revocation_while_redis_is_down_says_so(
    start_issuer: Callable[..., RunningIssuer], own_redis: EmbeddedRedis
) -> None:
    issuer = start_issuer(own_redis.url)
    own_redis.kill()
    outcome = revoke(issuer, signing_key_id(issuer))
    assert any("Redis does not answer" in line for line in outcome)
    assert signing_key_id(issuer)


def test_a_repeated_bundle_after_a_revocation_is_signed_with_the_other_key(
    running_issuer: RunningIssuer,
) -> None:
    request = issuer_pb2.IssueBundleRequest(
        credential_index=running_issuer.issue(), idempotency_key="again", window_count=2
    )
    before = running_issuer.client.issuer.IssueBundle(request)
    revoke(running_issuer, signing_key_id(running_issuer))
    after = running_issuer.client.issuer.IssueBundle(request)
    assert [code.not_before for code in after.codes] == [code.not_before for code in before.codes]
    code = after.codes[0]
    authenticate(code.qr_text.encode(), published(running_issuer), code.not_before)


# Drills


def test_a_drill_plays_a_whole_compromise_and_tells_the_times(running_issuer: RunningIssuer) -> None:
    stolen = signing_key_id(running_issuer)
    for _ in range(3):
        running_issuer.issue()
    running_issuer.issue(2)
    drill = running_issuer.client.keys.DrillKeys(pb.DrillKeysRequest(bundle_count=10))
    request = access_pb2.GetApprovalRequest(approval_id=drill.approval_id)
    asked_for = running_issuer.approver.access.GetApproval(request).approval
    assert stolen.hex() in asked_for.summary
    assert asked_for.summary.endswith("then sign 10 bundles anew and throw them away")
    outcome = running_issuer.approve(drill.approval_id)
    assert f"key {stolen.hex()} is REVOKED" in outcome[0]
    times = [float(line.split(" ms ")[0].replace(",", "")) for line in outcome[1:]]
    assert times == sorted(times)
    assert "is in Redis" in outcome[2]
    assert f"key {signing_key_id(running_issuer).hex()} signs" in outcome[3]
    assert "3 bundles of 10 asked for with 360 codes signed and thrown away" in outcome[4]
    assert signing_key_id(running_issuer) != stolen
    assert outcome[4].endswith(f"by key {signing_key_id(running_issuer).hex()}")


def test_after_a_drill_not_the_superseded_key_signs_but_a_new_one(running_issuer: RunningIssuer) -> None:
    superseded = signing_key_id(running_issuer)
    index = running_issuer.issue()
    a_code(running_issuer, index)
    stolen = prepare(running_issuer)
    running_issuer.clock_skew_s = 6
    activate = running_issuer.client.keys.ActivateKey(pb.ActivateKeyRequest(key_id=stolen))
    running_issuer.approve(activate.approval_id)
    drill = running_issuer.client.keys.DrillKeys(pb.DrillKeysRequest(bundle_count=1))
    outcome = running_issuer.approve(drill.approval_id)
    signing = signing_key_id(running_issuer)
    assert signing not in (superseded, stolen)
    assert outcome[-1].endswith(f"by key {signing.hex()}")
    assert decode_qr_text(a_code(running_issuer, index)).key_id == signing


def test_a_drill_goes_on_with_the_prepared_key_and_says_that_cards_end(running_issuer: RunningIssuer) -> None:
    made = prepare(running_issuer)
    approval_id = running_issuer.client.keys.DrillKeys(pb.DrillKeysRequest(bundle_count=1)).approval_id
    request = access_pb2.GetApprovalRequest(approval_id=approval_id)
    assert (
        "cards that it signed end too" in running_issuer.approver.access.GetApproval(request).approval.summary
    )
    running_issuer.approve(approval_id)
    assert signing_key_id(running_issuer) == made
    assert len(listed(running_issuer).keys) == 2


def test_a_drill_with_the_root_elsewhere_needs_a_published_successor(
    rootless: tuple[RunningIssuer, KeyStore],
) -> None:
    issuer, root = rootless
    made = prepare(issuer)
    request = pb.DrillKeysRequest(bundle_count=1)
    code, message = refusal(issuer.client.keys.DrillKeys, request)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "no other key is published" in message
    import_key_set(issuer, sign_key_set(exported(issuer), root))
    issuer.issue()
    outcome = issuer.approve(issuer.client.keys.DrillKeys(request).approval_id)
    assert outcome[-1].endswith(f"by key {made.hex()}")


@pytest.mark.parametrize(("count", "is_taken"), [(100_000, True), (100_001, False)])
def test_a_drill_of_more_bundles_than_anybody_waits_for_is_refused(
    running_issuer: RunningIssuer, count: int, is_taken: bool
) -> None:
    request = pb.DrillKeysRequest(bundle_count=count)
    if is_taken:
        assert running_issuer.client.keys.DrillKeys(request).approval_id
    else:
        code, _ = refusal(running_issuer.client.keys.DrillKeys, request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT


# The root key is elsewhere


def exported(issuer: RunningIssuer) -> KeySet:
    payload = issuer.client.keys.ExportKeySet(pb.ExportKeySetRequest()).payload
    return read_export(export_text(payload).encode())


def import_key_set(issuer: RunningIssuer, signed: bytes) -> list[str]:
    answer = issuer.client.keys.ImportKeySet(pb.ImportKeySetRequest(signed_key_set=signed))
    return list(issuer.approve(answer.approval_id))


def test_an_exported_key_set_is_signed_elsewhere_and_imported(
    rootless: tuple[RunningIssuer, KeyStore],
) -> None:
    issuer, root = rootless
    made = prepare(issuer)
    assert made not in published(issuer).keys
    assert listed(issuer).key_set.is_stale
    outcome = import_key_set(issuer, sign_key_set(exported(issuer), root))
    assert "is published" in outcome[0]
    assert made in published(issuer).keys
    assert not listed(issuer).key_set.is_stale


def test_a_revocation_without_the_root_says_what_to_do_and_the_import_ends_it(
    rootless: tuple[RunningIssuer, KeyStore], redis_url: str
) -> None:
    issuer, root = rootless
    gate = KeyGate(issuer, redis_url)
    stolen = signing_key_id(issuer)
    index = issuer.issue()
    code, now = a_code(issuer, index), int(time.time())
    outcome = revoke(issuer, stolen)
    assert any("verifiers still take codes of" in line and "key-set export" in line for line in outcome)
    assert any("no key signs" in line for line in outcome)
    refused, message = refusal(partial(a_code, issuer), index)
    assert refused is grpc.StatusCode.FAILED_PRECONDITION
    assert "import" in message
    assert gate.takes(code, now=now)
    import_key_set(issuer, sign_key_set(exported(issuer), root))
    assert not gate.takes(code, now=now)
    assert gate.takes(a_code(issuer, index), now=now)
    gate.close()


def test_with_the_root_here_a_key_set_can_be_imported_too(running_issuer: RunningIssuer) -> None:
    root = running_issuer.issuer.rotation._root
    assert root is not None
    key_set = exported(running_issuer)
    import_key_set(running_issuer, sign_key_set(key_set, root))
    assert published(running_issuer) == key_set


STRANGER = SecretKeyStore(bytes(32))


def with_keys(key_set: KeySet, keys: Iterable[VerifyingKey]) -> KeySet:
    return KeySet.of(
        version=key_set.version, issued_at=key_set.issued_at, expires_at=key_set.expires_at, keys=list(keys)
    )


def refused_import(issuer: RunningIssuer, key_set: KeySet, root: KeyStore) -> tuple[grpc.StatusCode, str]:
    request = pb.ImportKeySetRequest(signed_key_set=sign_key_set(key_set, root))
    return refusal(issuer.client.keys.ImportKeySet, request)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda right: replace(right, version=1), "expected a version above"),
        (lambda right: replace(right, issued_at=1, expires_at=2), "not in force"),
        (lambda right: replace(right, issued_at=right.issued_at + 3_600), "not in force"),
        (
            lambda right: with_keys(right, [*right.keys.values(), VerifyingKey(STRANGER.public_key)]),
            "not on the register",
        ),
    ],
    ids=["not newer", "ended", "not begun", "with the key of a stranger"],
)
def test_a_key_set_that_must_not_be_published_is_refused_at_once(
    rootless: tuple[RunningIssuer, KeyStore], change: Callable[[KeySet], KeySet], message: str
) -> None:
    issuer, root = rootless
    code, found = refused_import(issuer, change(exported(issuer)), root)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert message in found


def test_a_key_set_that_a_stranger_signed_is_refused(running_issuer: RunningIssuer) -> None:
    code, message = refused_import(running_issuer, exported(running_issuer), STRANGER)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith("signed_key_set")


def test_a_key_set_without_the_key_that_signs_is_refused(rootless: tuple[RunningIssuer, KeyStore]) -> None:
    issuer, root = rootless
    made, signing = prepare(issuer), signing_key_id(issuer)
    right = exported(issuer)
    code, message = refused_import(issuer, with_keys(right, [right.keys[made]]), root)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert f"lacks key {signing.hex()}" in message


def test_a_key_set_with_a_revoked_key_is_refused(rootless: tuple[RunningIssuer, KeyStore]) -> None:
    issuer, root = rootless
    made = prepare(issuer)
    signed = sign_key_set(exported(issuer), root)
    revoke(issuer, made)
    request = pb.ImportKeySetRequest(signed_key_set=signed)
    code, message = refusal(issuer.client.keys.ImportKeySet, request)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert f"key {made.hex()}, which is REVOKED" in message


# Roles


@pytest.mark.parametrize(
    "call",
    [
        "PrepareKey",
        "ActivateKey",
        "RetireKey",
        "RevokeKey",
        "DrillKeys",
        "ExportKeySet",
        "ImportKeySet",
        "ListKeys",
    ],
)
def test_an_approver_alone_does_nothing_with_keys(running_issuer: RunningIssuer, call: str) -> None:
    client: IssuerClient = running_issuer.approver
    method, request = getattr(client.keys, call), getattr(pb, f"{call}Request")()
    assert refusal(method, request)[0] is grpc.StatusCode.PERMISSION_DENIED
