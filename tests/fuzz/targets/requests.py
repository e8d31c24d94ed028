"""Requests: the bytes of VerifyCode, VerifyCodes and StreamVerify into Calls, on real parts.

A code of the input is signed where the input asks for it. Green comes only for what the key signed, in its
window, of a credential that is green; every answer is in the scan log, with nothing of the QR text; and no
call fails inside the verifier.
"""

from tests.fuzz.keys import KEY_SET, NOW, ROOT, SIGNING
from tests.fuzz.target import Input, Target, piece
from tests.fuzz.targets.codes import payload_of
from tests.verifier.fakes import MemoryEntries, MemoryJournal
from verifier.access.callers import Caller, Credentials
from verifier.access.gatekeeper import ListGatekeeper
from verifier.bearer import hash_key
from verifier.call_error import CallError, Status
from verifier.calls import Calls
from verifier.counters import Counter, Counters
from verifier.host.worker_config import GateAuth
from verifier.key_set_follower import KeySets
from verifier.known_codes import KnownCodes
from verifier.limits import MAX_BATCH_BYTES, MAX_SCAN_BYTES, MAX_SCANS_PER_CALL
from verifier.mirror import HeapTable, Mirror
from verifier.service import Verifier
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Policy
from verifier.wire.code import Code, CredentialKind, decode_claims, encode_claims
from verifier.wire.gate_list import GateList, ListedGate, gate_list_to_sign
from verifier.wire.key_set import key_set_to_sign
from verifier.wire.scan_log import read_frames
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, pack, unpack

ONE, BATCH, STREAM, SIGNED, AUTHORIZATION = range(5)
_KEY = "gl_" + "A" * 43
_ONCE_KEY = "gl_" + "B" * 43
_RECORDS = {
    1: pack(StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 1, 7, NOW // 60)),
    2: pack(StatusRecord(Colour.RED, CredentialState.ACTIVE, 1, 31)),
    3: pack(StatusRecord(Colour.YELLOW, CredentialState.ACTIVE, 1)),
    4: pack(StatusRecord(Colour.GREEN, CredentialState.SUSPENDED, 1)),
    5: 0xF000 | 5,
    6: pack(StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 1, 65_535, 2**32 - 1)),
}
_REFUSALS = {Status.INVALID_ARGUMENT, Status.PERMISSION_DENIED, Status.RESOURCE_EXHAUSTED}


class _Desk:
    """Calls on real parts, but for Redis and the disk."""

    def __init__(self, gate_auth: GateAuth) -> None:
        self.counters = Counters()
        key_sets = KeySets(ROOT.public)
        key_sets.offer(ROOT.sign1(*key_set_to_sign(KEY_SET, ROOT.public)[:2]))
        mirror = Mirror(partitions=1, monotonic=lambda: 50.0)
        table = HeapTable(16)
        table.apply(_RECORDS.items())
        mirror.partitions[0].swap_in(table, 48.5)
        gatekeeper = ListGatekeeper(gate_auth=gate_auth, policy=Policy(), clock=lambda: float(NOW))
        gates = GateList(
            version=1,
            issued_at=NOW - 9,
            expires_at=NOW + 9,
            groups={"all": Policy(yellow_opens=True), "once": Policy(is_one_entry=True)},
            gates=(
                ListedGate("north", "all", (hash_key(_KEY),)),
                ListedGate("once", "once", (hash_key(_ONCE_KEY),)),
            ),
        )
        gatekeeper.take(SIGNING.sign1(*gate_list_to_sign(gates, SIGNING.key_id)[:2]))
        self.journal = MemoryJournal()
        self.entries = MemoryEntries()
        self.calls = Calls(
            verifier=Verifier(
                key_sets=key_sets,
                mirror=mirror,
                clock=lambda: NOW + 0.25,
                known_codes=KnownCodes(self.counters, most=64),
            ),
            gatekeeper=gatekeeper,
            entries=self.entries,
            journal=self.journal,
            counters=self.counters,
        )


_OPEN, _KEYED = _Desk(GateAuth.NONE), _Desk(GateAuth.KEY)


def run(content: bytes) -> None:
    """Answer one call."""
    given = Input(content)
    kind = given.number() % 5
    desk = _KEYED if kind == AUTHORIZATION else _OPEN
    desk.journal.writes.clear()
    desk.entries.claims.clear()
    try:
        _call(kind, desk, given)
    except CallError as error:
        assert error.status in _REFUSALS | ({Status.UNAUTHENTICATED} if kind == AUTHORIZATION else set())
    assert not desk.counters.get(Counter.FAILED), "a call failed inside the verifier"


def _call(kind: int, desk: _Desk, given: Input) -> None:
    calls = desk.calls
    if kind == AUTHORIZATION:
        values = tuple(given.piece().decode("latin-1") for _ in range(given.number() % 3))
        caller = calls.identify(Credentials(values))
        assert len(values) == 1
        assert _KEY in values[0] or _ONCE_KEY in values[0]
        own = caller.shown_gate_id
        scan = calls.read(pb.VerifyCodeRequest, given.rest(), MAX_SCAN_BYTES)
        _check(desk, [scan], [calls.verify_code(scan, caller)], own)
        return
    caller = calls.identify(Credentials())
    if kind == ONE:
        scan = calls.read(pb.VerifyCodeRequest, given.rest(), MAX_SCAN_BYTES)
        _check(desk, [scan], [calls.verify_code(scan, caller)])
    elif kind == BATCH:
        batch = calls.read(pb.VerifyCodesRequest, given.rest(), MAX_BATCH_BYTES)
        answers = calls.verify_codes(batch, caller)
        assert 1 <= len(batch.scans) <= MAX_SCANS_PER_CALL
        _check(desk, list(batch.scans), list(answers.verdicts))
    elif kind == STREAM:
        _stream(desk, given, caller)
    else:
        scan = pb.VerifyCodeRequest(
            scan_id=given.piece().decode("utf-8", "replace"),
            gate_id=given.piece().decode("utf-8", "replace"),
            qr_text=SIGNING.qr_text(given.rest()),
        )
        answer = calls.verify_code(scan, caller)
        _check(desk, [scan], [answer])
        _check(desk, [scan], [calls.verify_code(scan, caller)])  # the second time from memory, and the same
        assert calls.verify_code(scan, caller) == answer


def _stream(desk: _Desk, given: Input, caller: Caller) -> None:
    for _ in range(4):
        if given.is_at_end:
            return
        request = desk.calls.read(pb.StreamVerifyRequest, given.piece(), MAX_SCAN_BYTES)
        desk.journal.writes.clear()
        try:
            answer = desk.calls.verify_code(request.scan, caller, "scan.")
        except CallError as error:
            assert error.status in _REFUSALS
            continue
        _check(desk, [request.scan], [answer])


def _check(
    desk: _Desk,
    scans: list[pb.VerifyCodeRequest],
    answers: list[pb.VerifyCodeResponse],
    own_gate: str | None = None,
) -> None:
    written = b"".join(desk.journal.writes[-1:])
    assert len(answers) == len(scans)
    entries = desk.journal.entries()[-len(scans) :]
    for scan, answer, entry in zip(scans, answers, entries, strict=True):
        assert pb.VerifyCodeResponse.FromString(answer.SerializeToString()) == answer
        assert answer.scan_id == entry.scan_id == scan.scan_id
        assert entry.gate_id == (scan.gate_id or own_gate)
        assert answer.verdict == entry.verdict != 0
        if own_gate is not None:
            assert entry.gate_id.partition("/")[0] == own_gate
        if len(scan.qr_text) > 16:
            assert scan.qr_text not in written.replace(scan.scan_id.encode(), b"").replace(
                scan.gate_id.encode() or b"\0", b""
            )
        if answer.verdict in (pb.VERDICT_GREEN, pb.VERDICT_ALREADY_USED):
            _check_green(scan, answer, entry.gate_id)
        if answer.verdict == pb.VERDICT_MALFORMED:
            assert not entry.code_hash
    # A write that ended early gives nothing but what stands at its beginning.
    for cut in (len(written) - 1, len(written) * 2 // 3, len(written) // 3):
        sound = [content for _, content in read_frames(written[:cut])]
        assert sound == [content for _, content in read_frames(written)][: len(sound)]


def _check_green(scan: pb.VerifyCodeRequest, answer: pb.VerifyCodeResponse, gate_id: str) -> None:
    payload = payload_of(scan.qr_text)
    assert SIGNING.qr_text(payload) == scan.qr_text, "green, and not what the key signs"
    code = decode_claims(payload)
    assert code.not_before - 30 <= NOW < code.expires_at + 30
    record = unpack(_RECORDS[code.credential_index])
    assert record.state is CredentialState.ACTIVE
    assert code.generation % 256 == record.generation
    colours = (Colour.GREEN, Colour.YELLOW) if gate_id.partition("/")[0] == "north" else (Colour.GREEN,)
    assert record.colour in colours
    assert answer.code_age_s == NOW - code.not_before


def _scan(**fields: object) -> pb.VerifyCodeRequest:
    code = Code(CredentialKind.PHONE, 1, 1, NOW - 7, NOW + 53)
    usual: dict[str, object] = {
        "qr_text": SIGNING.qr_text(encode_claims(code)),
        "scan_id": "s1",
        "gate_id": "north",
    }
    return pb.VerifyCodeRequest(**(usual | fields))  # type: ignore[arg-type]


def seeds() -> list[bytes]:
    """Return some of each."""
    found = [
        bytes([ONE]) + _scan().SerializeToString(),
        bytes([ONE]) + _scan(gate_id="once/1").SerializeToString(),
        bytes([ONE]) + _scan(qr_text=b"another's", scan_id="").SerializeToString(),
        bytes([BATCH]) + pb.VerifyCodesRequest(scans=[_scan(), _scan(scan_id="s2")]).SerializeToString(),
        bytes([BATCH]),
        bytes([STREAM]) + piece(pb.StreamVerifyRequest(scan=_scan()).SerializeToString()) * 2,
    ]
    for index in (1, 2, 3, 4, 5, 6, 9):
        for kind, window in ((CredentialKind.PHONE, (-7, 53)), (CredentialKind.PAPER, (-(2**30), 2**34))):
            code = Code(kind, index, 257, NOW + window[0], NOW + window[1], "王*秀" if kind == 2 else "")
            found.append(bytes([SIGNED]) + piece(b"s1") + piece(b"north") + encode_claims(code))
    code = Code(CredentialKind.PHONE, 1, 1, 2**40 - 2, 2**40 - 1)
    found.append(bytes([SIGNED]) + piece(b"s1") + piece(b"once") + encode_claims(code))
    for value in (f"Bearer {_KEY}", f"bearer {_ONCE_KEY}", "Basic x", f"Bearer {_KEY[:-1]}"):
        for gate_id in ("", "north", "north/2", "once/1/2"):
            scan = _scan(gate_id=gate_id).SerializeToString()
            found.append(bytes([AUTHORIZATION, 1]) + piece(value.encode()) + scan)
    return found


TARGET = Target(
    "requests", run, seeds, max_bytes=1_500, words=(b"GL1:", b"north", b"once", b"GL\0\0\0\0\0\0")
)
