"""The pipeline of a scan, with a clock that stands still."""

import pytest

from tests.signer import Signer
from verifier.errors import NotReady
from verifier.key_set_follower import KeySets
from verifier.mirror import HeapTable, Mirror
from verifier.service import Verifier
from verifier.verdict import Policy, Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, pack

NOW = 1_800_000_000
GREEN = pack(
    StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 1, reason=7, last_negative_test_min=NOW // 60)
)


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
    return Verifier(key_sets=key_sets, mirror=mirror, policy=Policy(), clock=lambda: NOW + 0.25)


def test_a_green_answer_carries_all_that_a_gate_may_know(verifier: Verifier, signer: Signer) -> None:
    answer = verifier.verify(signer.qr_text(not_before=NOW - 7, kind=CredentialKind.PAPER, hint="王*秀"))
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
    answer = verifier.verify(signer.qr_text(not_before=not_before))
    assert (answer.verdict, answer.code_age_s, answer.record) == (verdict, code_age_s, None)
    assert answer.code is not None


def test_what_is_not_authentic_tells_nothing_but_the_verdict(verifier: Verifier) -> None:
    answer = verifier.verify(Signer("stranger").qr_text(not_before=NOW))
    assert answer.verdict is Verdict.UNKNOWN_KEY
    assert answer.code is None
    assert answer.record is None
    assert answer.status_age_s == 1.5


def test_a_credential_that_nobody_told_us_of_has_no_status(verifier: Verifier, signer: Signer) -> None:
    answer = verifier.verify(signer.qr_text(not_before=NOW, credential_index=2**32 - 1))
    assert answer.verdict is Verdict.NO_STATUS


def test_without_a_mirror_there_is_no_verdict(verifier: Verifier, signer: Signer, mirror: Mirror) -> None:
    mirror.partitions[0].table = None
    for qr_text in (b"", signer.qr_text(not_before=NOW), signer.qr_text(not_before=NOW - 900)):
        with pytest.raises(NotReady):
            verifier.verify(qr_text)
    with pytest.raises(NotReady, match="mirror"):
        verifier.check_ready()


def test_without_a_key_set_there_is_no_verdict(signer: Signer, mirror: Mirror) -> None:
    keyless = Verifier(
        key_sets=KeySets(signer.root), mirror=mirror, policy=Policy(), clock=lambda: float(NOW)
    )
    with pytest.raises(NotReady, match="key set"):
        keyless.verify(signer.qr_text(not_before=NOW))
    with pytest.raises(NotReady, match="key set"):
        keyless.check_ready()
