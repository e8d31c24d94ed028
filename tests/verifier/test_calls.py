"""Calls: what is done with a request, whatever engine took it. The clock stands still."""

import hashlib
from collections.abc import Callable

import pytest

from tests.signer import Signer
from tests.verifier.fakes import AnyGate, MemoryEntries, MemoryJournal
from verifier.access.callers import Credentials
from verifier.call_error import CallError, Status
from verifier.calls import Calls
from verifier.counters import Counter, Counters
from verifier.key_set_follower import KeySets
from verifier.mirror import HeapTable, Mirror
from verifier.service import Verifier
from verifier.v1 import verifier_pb2 as pb
from verifier.v1.scan_log_pb2 import ScanLogEntry
from verifier.verdict import Policy, Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.scan_log import frame
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, pack

NOW = 1_800_000_000
GREEN = pack(
    StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 1, reason=7, last_negative_test_min=NOW // 60)
)
RED = pack(StatusRecord(Colour.RED, CredentialState.ACTIVE, 1, reason=31))
ONE_ENTRY = Policy(is_one_entry=True)


class Desk:
    """Calls on parts in memory, and a gate that asks them."""

    def __init__(self, policy: Policy | None = None, *, is_ready: bool = True) -> None:
        self.signer = Signer()
        self.gatekeeper = AnyGate(policy)
        self.journal = MemoryJournal()
        self.counters = Counters()
        key_sets = KeySets(self.signer.root)
        mirror = Mirror(partitions=1, monotonic=lambda: 50.0)
        if is_ready:
            key_sets.offer(self.signer.key_set(issued_at=NOW - 100))
            table = HeapTable(16)
            table.apply([(1, GREEN), (2, RED)])
            mirror.partitions[0].swap_in(table, 48.5)
        self.verifier = Verifier(key_sets=key_sets, mirror=mirror, clock=lambda: NOW + 0.25)
        self.calls = Calls(
            verifier=self.verifier,
            gatekeeper=self.gatekeeper,
            entries=MemoryEntries(),
            journal=self.journal,
            counters=self.counters,
        )

    def scan(
        self, credential_index: int = 1, scan_id: str = "s1", gate_id: str = "north"
    ) -> pb.VerifyCodeRequest:
        qr_text = self.signer.qr_text(not_before=NOW - 7, credential_index=credential_index)
        return pb.VerifyCodeRequest(qr_text=qr_text, scan_id=scan_id, gate_id=gate_id)

    def verify(self, scan: pb.VerifyCodeRequest) -> pb.VerifyCodeResponse:
        return self.calls.verify_code(scan, self.gatekeeper)

    def verify_all(self, *scans: pb.VerifyCodeRequest) -> pb.VerifyCodesResponse:
        return self.calls.verify_codes(pb.VerifyCodesRequest(scans=scans), self.gatekeeper)


def refused(call: Callable[[], object]) -> tuple[Status, str]:
    with pytest.raises(CallError) as caught:
        call()
    return caught.value.status, caught.value.message


def test_every_verdict_is_in_the_scan_log_before_it_is_told() -> None:
    desk = Desk()
    scan = desk.scan(scan_id="s42")
    desk.verify(scan)
    (entry,) = desk.journal.entries()
    assert (entry.scan_id, entry.gate_id, entry.verified_at_ms) == ("s42", "north", NOW * 1000 + 250)
    assert (entry.credential_index, entry.kind) == (1, pb.CREDENTIAL_KIND_PHONE)
    assert (entry.not_before, entry.expires_at) == (NOW - 7, NOW + 53)
    assert (entry.verdict, entry.colour, entry.status_age_ms) == (pb.VERDICT_GREEN, pb.COLOUR_GREEN, 1500)
    assert entry.code_hash == hashlib.sha256(scan.qr_text).digest()[:16]


def test_the_log_of_a_code_outside_its_window_has_the_credential_and_no_colour() -> None:
    desk = Desk()
    qr_text = desk.signer.qr_text(not_before=NOW - 900, kind=CredentialKind.PAPER, hint="王*秀")
    answer = desk.verify(pb.VerifyCodeRequest(qr_text=qr_text, scan_id="s", gate_id="g"))
    assert (answer.verdict, answer.hint) == (pb.VERDICT_EXPIRED, "王*秀")
    (entry,) = desk.journal.entries()
    assert (entry.credential_index, entry.kind) == (1, pb.CREDENTIAL_KIND_PAPER)
    assert entry.colour == pb.COLOUR_UNSPECIFIED
    assert "王".encode() not in desk.journal.writes[0]


def test_the_log_of_what_is_no_code_of_ours_has_nothing_of_its_text() -> None:
    desk = Desk()
    desk.verify(pb.VerifyCodeRequest(qr_text=b"somebody's text", scan_id="s", gate_id="g"))
    (entry,) = desk.journal.entries()
    assert (entry.verdict, entry.code_hash) == (pb.VERDICT_MALFORMED, b"")
    assert (entry.credential_index, entry.not_before, entry.expires_at) == (0, 0, 0)
    assert b"text" not in desk.journal.writes[0]


def test_a_forged_code_is_logged_by_its_hash_alone() -> None:
    desk = Desk()
    forged = Signer("stranger").qr_text(not_before=NOW)
    desk.verify(pb.VerifyCodeRequest(qr_text=forged, scan_id="s", gate_id="g"))
    (entry,) = desk.journal.entries()
    assert entry.verdict == pb.VERDICT_UNKNOWN_KEY
    assert entry.code_hash == hashlib.sha256(forged).digest()[:16]
    assert entry.credential_index == 0


def test_an_id_with_a_frame_of_the_scan_log_in_it_is_refused() -> None:
    """A write that ended early behind it, or a piece of the journal that does, would be read as an entry."""
    hidden = frame(ScanLogEntry(scan_id="4", gate_id="another's", verified_at_ms=100).SerializeToString())
    desk = Desk()
    for scan in (desk.scan(scan_id=hidden.decode()), desk.scan(gate_id=hidden.decode())):
        status, message = refused(lambda scan=scan: desk.verify(scan))  # type: ignore[misc]
        assert status is Status.INVALID_ARGUMENT
        assert message.endswith("_id: expected no control characters")
        status, _ = refused(lambda scan=scan: desk.verify_all(desk.scan(), scan))  # type: ignore[misc]
        assert status is Status.INVALID_ARGUMENT
    assert desk.journal.writes == []
    assert desk.verify(desk.scan(scan_id="門 3\u3000北\x7f")).verdict == pb.VERDICT_GREEN


def test_a_batch_is_one_write_to_the_scan_log() -> None:
    desk = Desk()
    answers = desk.verify_all(desk.scan(1, "a"), desk.scan(2, "b")).verdicts
    assert [(one.scan_id, one.verdict) for one in answers] == [("a", pb.VERDICT_GREEN), ("b", pb.VERDICT_RED)]
    assert len(desk.journal.writes) == 1
    assert [entry.scan_id for entry in desk.journal.entries()] == ["a", "b"]


def test_a_batch_with_one_scan_that_breaks_the_api_verifies_none() -> None:
    desk = Desk(ONE_ENTRY)
    status, message = refused(lambda: desk.verify_all(desk.scan(1, "a"), desk.scan(1, "")))
    assert (status, message.split(":")[0]) == (Status.INVALID_ARGUMENT, "scans[1].scan_id")
    assert desk.journal.writes == []
    assert desk.verify(desk.scan(1, "b")).verdict == pb.VERDICT_GREEN, "no entry was spent"


def test_a_batch_that_nobody_waits_for_any_more_is_given_up() -> None:
    desk = Desk()
    waits = iter([True, False])
    request = pb.VerifyCodesRequest(scans=[desk.scan()] * 100)
    status, _ = refused(lambda: desk.calls.verify_codes(request, desk.gatekeeper, lambda: next(waits)))
    assert status is Status.DEADLINE_EXCEEDED
    assert desk.counters.get(Verdict.GREEN) == 16


def test_what_a_batch_verified_before_it_ended_in_the_middle_is_in_the_scan_log() -> None:
    desk = Desk(ONE_ENTRY)
    waits = iter([True, True, False])
    request = pb.VerifyCodesRequest(scans=[desk.scan(scan_id=str(number)) for number in range(100)])
    refused(lambda: desk.calls.verify_codes(request, desk.gatekeeper, lambda: next(waits)))
    assert [entry.scan_id for entry in desk.journal.entries()] == [str(number) for number in range(32)]
    assert desk.journal.entries()[0].verdict == pb.VERDICT_GREEN, "its code is used now"


def test_a_batch_that_ends_before_its_first_scan_writes_nothing() -> None:
    desk = Desk()
    request = pb.VerifyCodesRequest(scans=[desk.scan()])
    refused(lambda: desk.calls.verify_codes(request, desk.gatekeeper, lambda: False))
    assert desk.journal.writes == []


def test_each_verdict_is_counted_and_each_call() -> None:
    desk = Desk()
    desk.verify(desk.scan(1))
    desk.verify_all(desk.scan(1), desk.scan(2), desk.scan(3))
    counts = [desk.counters.get(verdict) for verdict in (Verdict.GREEN, Verdict.RED, Verdict.NO_STATUS)]
    assert (counts, desk.counters.get(Counter.CALLS)) == ([2, 1, 1], 2)


@pytest.mark.parametrize(
    ("gate_id", "status", "counter"),
    [
        ("", Status.INVALID_ARGUMENT, Counter.INVALID),
        ("x" * 65, Status.INVALID_ARGUMENT, Counter.INVALID),
        ("another", Status.PERMISSION_DENIED, Counter.DENIED),
    ],
)
def test_a_gate_that_may_not_be_is_refused_where_it_stands(
    gate_id: str, status: Status, counter: Counter
) -> None:
    desk = Desk()
    found, message = refused(lambda: desk.verify_all(desk.scan(), desk.scan(gate_id=gate_id)))
    assert (found, message.split(":")[0]) == (status, "scans[1].gate_id")
    assert desk.counters.get(counter) == 1


def test_who_is_not_known_is_refused_and_counted() -> None:
    desk = Desk()
    desk.gatekeeper.refusal = CallError(Status.UNAUTHENTICATED, "expected a bearer key")
    assert refused(lambda: desk.calls.identify(Credentials()))[0] is Status.UNAUTHENTICATED
    assert desk.counters.get(Counter.UNAUTHENTICATED) == 1


def test_where_the_policy_is_one_entry_a_code_opens_once_and_for_its_own_retry() -> None:
    desk = Desk(ONE_ENTRY)
    answers = [desk.verify(desk.scan(1, scan_id)) for scan_id in ("s1", "s2", "s1")]
    assert [answer.verdict for answer in answers] == [
        pb.VERDICT_GREEN,
        pb.VERDICT_ALREADY_USED,
        pb.VERDICT_GREEN,
    ]
    assert {answer.entry_scope for answer in answers} == {pb.ENTRY_SCOPE_ALL}
    assert [entry.verdict for entry in desk.journal.entries()] == [answer.verdict for answer in answers]
    assert desk.counters.get(Verdict.ALREADY_USED) == 1


@pytest.mark.parametrize(("policy", "credential_index"), [(Policy(), 1), (ONE_ENTRY, 2)])
def test_nothing_is_asked_of_the_entries_without_the_policy_or_for_another_verdict(
    policy: Policy, credential_index: int
) -> None:
    desk = Desk(policy)
    answers = [desk.verify(desk.scan(credential_index, scan_id)) for scan_id in ("s1", "s2")]
    assert answers[0].verdict == answers[1].verdict
    assert {answer.entry_scope for answer in answers} == {pb.ENTRY_SCOPE_UNSPECIFIED}


def test_without_entries_a_gate_with_one_entry_stays_closed() -> None:
    desk = Desk(ONE_ENTRY)
    calls = Calls(
        verifier=desk.verifier,
        gatekeeper=desk.gatekeeper,
        entries=None,
        journal=None,
        counters=desk.counters,
    )
    status, _ = refused(lambda: calls.verify_code(desk.scan(), desk.gatekeeper))
    assert status is Status.UNAVAILABLE


def test_what_concerns_no_field_is_told_without_one() -> None:
    desk = Desk(is_ready=False)
    _, message = refused(lambda: desk.calls.verify_code(desk.scan(), desk.gatekeeper, "scan."))
    assert message == "there is no key set yet"
    _, message = refused(lambda: desk.calls.verify_code(desk.scan(scan_id=""), desk.gatekeeper, "scan."))
    assert message.startswith("scan.scan_id: ")


@pytest.mark.parametrize(("policy", "may_wait"), [(Policy(), False), (ONE_ENTRY, True)])
def test_a_call_may_wait_where_a_gate_may_be_one_entry(policy: Policy, may_wait: bool) -> None:
    desk = Desk(policy)
    assert desk.calls.may_wait(desk.gatekeeper) is may_wait


def test_before_there_is_a_key_set_no_verdict_is_given_and_health_knows_why() -> None:
    desk = Desk(is_ready=False)
    assert refused(lambda: desk.verify(desk.scan())) == (Status.UNAVAILABLE, "there is no key set yet")
    assert desk.calls.not_ready() == "there is no key set yet"
    assert Desk().calls.not_ready() is None


def test_what_was_not_foreseen_is_internal_counted_and_tells_nothing() -> None:
    desk = Desk()

    def fail(qr_text: bytes, policy: Policy) -> None:
        raise ValueError(qr_text)

    desk.verifier.verify = fail  # type: ignore[assignment,method-assign]
    for call in (lambda: desk.verify(desk.scan()), lambda: desk.verify_all(desk.scan())):
        status, message = refused(call)
        assert (status, message) == (Status.INTERNAL, "the verifier failed; its log says where")
    assert desk.counters.get(Counter.FAILED) == 2


def test_a_message_that_is_too_long_or_none_is_not_taken() -> None:
    calls = Desk().calls
    content = pb.VerifyCodeRequest(qr_text=b"9" * 90, scan_id="s").SerializeToString()
    assert calls.read(pb.VerifyCodeRequest, content, len(content)).scan_id == "s"
    too_long = refused(lambda: calls.read(pb.VerifyCodeRequest, content, len(content) - 1))
    assert too_long == (Status.RESOURCE_EXHAUSTED, f"expected a message of at most {len(content) - 1} bytes")
    status, _ = refused(lambda: calls.read(pb.VerifyCodeRequest, b"\xff" * 9, 99))
    assert status is Status.INVALID_ARGUMENT
    assert calls.counters.get(Counter.INVALID) == 2


def test_a_call_that_is_refused_for_now_says_when_to_ask_again() -> None:
    calls = Desk().calls
    error = calls.overloaded()
    assert (error.status, error.retry_delay_ms) == (Status.RESOURCE_EXHAUSTED, 250)
    assert calls.counters.get(Counter.SHED) == 1
