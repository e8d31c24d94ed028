"""The pipeline of a scan, with a clock that stands still."""

import pytest

from tests.signer import Signer
from verifier.counters import Counter, Counters
from verifier.errors import NotReady
from verifier.key_set_follower import KeySets
from verifier.known_codes import KnownCodes
from verifier.mirror import HeapTable, Mirror
from verifier.service import Verifier
from verifier.verdict import Policy, Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, pack

NOW = 1_800_000_000
GREEN = pack(
    StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 1, reason=7, last_negative_test_min=NOW // 60)
)
ANY = Policy()  # asks nothing


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def mirror() -> Mirror:
    mirror = Mirror(partitions=1, monotonic=lambda: 50.0)
    table = HeapTable(16)
    table.apply([(1, GREEN)])
    mirror.partitions[0].table = table
    mirror.partitions[0].current_at_s = 48.5
    return mirror


@pytest.fixture
def verifier(signer: Signer, mirror: Mirror) -> Verifier:
    key_sets = KeySets(signer.root)
    key_sets.offer(signer.key_set(issued_at=NOW - 100))
    return Verifier(key_sets=key_sets, mirror=mirror, clock=lambda: NOW + 0.25)


def test_a_green_answer_carries_all_that_a_gate_may_know(verifier: Verifier, signer: Signer) -> None:
    answer = verifier.verify(signer.qr_text(not_before=NOW - 7, kind=CredentialKind.PAPER, hint="王*秀"), ANY)
    assert answer.verdict is Verdict.GREEN
    assert answer.code is not None
    assert (answer.code.kind, answer.code.hint, answer.code_age_s) == (CredentialKind.PAPER, "王*秀", 7)
    assert answer.record is not None
    assert (answer.record.colour, answer.record.reason) == (Colour.GREEN, 7)
    assert answer.record.last_negative_test_min == NOW // 60
    assert answer.status_age_s == 1.5
    assert answer.verified_at == NOW + 0.25


@pytest.mark.parametrize(
    ("not_before", "verdict", "code_age_s"),
    [(NOW + 240, Verdict.NOT_YET_VALID, -240), (NOW - 86_400, Verdict.EXPIRED, 86_400)],
)
def test_outside_its_window_a_code_tells_its_age_but_no_colour(
    verifier: Verifier, signer: Signer, not_before: int, verdict: Verdict, code_age_s: int
) -> None:
    answer = verifier.verify(signer.qr_text(not_before=not_before), ANY)
    assert (answer.verdict, answer.code_age_s, answer.record) == (verdict, code_age_s, None)
    assert answer.code is not None


def test_what_is_not_authentic_tells_nothing_but_the_verdict(verifier: Verifier) -> None:
    answer = verifier.verify(Signer("stranger").qr_text(not_before=NOW), ANY)
    assert answer.verdict is Verdict.UNKNOWN_KEY
    assert answer.code is None
    assert answer.record is None
    assert answer.status_age_s == 1.5


def test_a_credential_that_nobody_told_us_of_has_no_status(verifier: Verifier, signer: Signer) -> None:
    answer = verifier.verify(signer.qr_text(not_before=NOW, credential_index=2**32 - 1), ANY)
    assert answer.verdict is Verdict.NO_STATUS


def test_each_scan_is_decided_by_the_policy_of_its_gate(verifier: Verifier, signer: Signer) -> None:
    qr_text = signer.qr_text(not_before=NOW)
    strict = Policy(max_status_age_s=1.0)
    verdicts = [verifier.verify(qr_text, policy).verdict for policy in (ANY, strict, ANY)]
    assert verdicts == [Verdict.GREEN, Verdict.STATUS_TOO_OLD, Verdict.GREEN]


def test_without_a_mirror_there_is_no_verdict(verifier: Verifier, signer: Signer, mirror: Mirror) -> None:
    mirror.partitions[0].table = None
    for qr_text in (b"", signer.qr_text(not_before=NOW), signer.qr_text(not_before=NOW - 900)):
        with pytest.raises(NotReady):
            verifier.verify(qr_text, ANY)
    with pytest.raises(NotReady, match="mirror"):
        verifier.check_ready()


def test_without_a_key_set_there_is_no_verdict(signer: Signer, mirror: Mirror) -> None:
    keyless = Verifier(key_sets=KeySets(signer.root), mirror=mirror, clock=lambda: float(NOW))
    with pytest.raises(NotReady, match="key set"):
        keyless.verify(signer.qr_text(not_before=NOW), ANY)
    with pytest.raises(NotReady, match="key set"):
        keyless.check_ready()


class CountingKey(VerifyingKey):
    """A verifying key that counts what it verifies."""

    verified = 0

    def verifies(self, signature: bytes, message: bytes) -> bool:
        CountingKey.verified += 1
        return super().verifies(signature, message)


class Remembering:
    """A Verifier that remembers codes, with a clock, a mirror and keys to change."""

    def __init__(self, signer: Signer, mirror: Mirror, *, half: int = 8) -> None:
        self.now = NOW
        CountingKey.verified = 0
        self.keys = [CountingKey(signer.key.public_key)]
        self.counters = Counters()
        self.verifier = Verifier(
            key_sets=self,  # type: ignore[arg-type]
            mirror=mirror,
            clock=lambda: float(self.now),
            known_codes=KnownCodes(self.counters, most=2 * half),
        )

    def in_force(self, _now: int) -> KeySet:
        return KeySet.of(version=1, issued_at=NOW, expires_at=NOW + 999, keys=self.keys)

    def verdict(self, qr_text: bytes) -> Verdict:
        return self.verifier.verify(qr_text, ANY).verdict


def test_a_code_that_is_known_is_not_verified_again_but_all_else_is_asked_anew(
    signer: Signer, mirror: Mirror
) -> None:
    verifier = Remembering(signer, mirror)
    qr_text = signer.qr_text(not_before=NOW)
    assert [verifier.verdict(qr_text) for _ in range(3)] == 3 * [Verdict.GREEN]
    table = mirror.partitions[0].table
    assert table is not None
    table.apply([(1, 0)])
    assert verifier.verdict(qr_text) is Verdict.NO_STATUS
    verifier.now = NOW + 900
    assert verifier.verdict(qr_text) is Verdict.EXPIRED
    verifier.now = NOW - 900
    assert verifier.verdict(qr_text) is Verdict.NOT_YET_VALID
    assert CountingKey.verified == 1
    assert verifier.counters.get(Counter.CACHE_HITS) == 5


def test_a_known_code_of_a_key_that_is_gone_is_refused(signer: Signer, mirror: Mirror) -> None:
    verifier = Remembering(signer, mirror)
    qr_text = signer.qr_text(not_before=NOW)
    assert verifier.verdict(qr_text) is Verdict.GREEN
    verifier.keys = [CountingKey(Signer("another").key.public_key)]
    assert verifier.verdict(qr_text) is Verdict.UNKNOWN_KEY


def test_a_known_code_with_another_signature_is_another_code(signer: Signer, mirror: Mirror) -> None:
    verifier = Remembering(signer, mirror)
    qr_text = signer.qr_text(not_before=NOW)
    assert verifier.verdict(qr_text) is Verdict.GREEN
    # The last characters are of the signature; and what is not right is not remembered.
    forged = qr_text[:-2] + (b"00" if qr_text[-2:] != b"00" else b"10")
    assert [verifier.verdict(forged) for _ in range(2)] == 2 * [Verdict.BAD_SIGNATURE]
    assert CountingKey.verified == 3


def test_what_is_remembered_is_bounded(signer: Signer, mirror: Mirror) -> None:
    verifier = Remembering(signer, mirror, half=2)
    codes = [signer.qr_text(not_before=NOW, generation=generation) for generation in range(5)]
    for qr_text in codes:
        verifier.verdict(qr_text)
    assert CountingKey.verified == 5
    verifier.verdict(codes[-1])
    verifier.verdict(codes[-2])
    assert CountingKey.verified == 5, "the newest are known"
    verifier.verdict(codes[0])
    assert CountingKey.verified == 6, "the oldest is not"
