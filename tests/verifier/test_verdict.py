"""The verdict: of two causes the earlier one answers, boundaries are exact, and only GREEN opens."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.v1 import admin_pb2
from tests.vectors.files import KEY_SET
from tests.vectors.good_codes import GoodCode
from tests.vectors.keys import ACTIVE, STRANGER, KeyPair
from verifier.authenticate import authenticate
from verifier.v1 import verifier_pb2
from verifier.verdict import Policy, Verdict, decide, read_record, reject
from verifier.wire import base45, errors
from verifier.wire.code import Code, CredentialKind
from verifier.wire.errors import CodeError
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, pack

NOW = 1_800_000_010
NOW_MIN = NOW // 60
POLICY = Policy(max_test_age_s=48 * 3_600, max_status_age_s=300.0)
CODE = Code(CredentialKind.PHONE, 1_234_567, 3, NOW - 10, NOW + 50)
GREEN = StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 3, 0, NOW_MIN - 60)


@dataclass(frozen=True, slots=True)
class Scan:
    """All that a verdict depends on; the defaults make a GREEN one."""

    text_spoilt: bool = False
    signer: KeyPair = ACTIVE
    signature_spoilt: bool = False
    starts_in_s: int = -10
    known: bool = True
    reserved_bits: int = 0
    state: CredentialState = CredentialState.ACTIVE
    generation: int = 3
    colour: Colour = Colour.GREEN
    tested_min_ago: int = 60
    status_age_s: float = 1.0

    def verdict(self) -> Verdict:
        """Run the pipeline of a verifier."""
        try:
            code = authenticate(self._qr_text(), KEY_SET, NOW)
        except CodeError as error:
            return reject(error)
        return decide(code, read_record(self._bits()), self.status_age_s, POLICY, NOW)

    def _qr_text(self) -> bytes:
        window_start = NOW + self.starts_in_s
        code = GoodCode("scanned", not_before=window_start, expires_at=window_start + 60, key=self.signer)
        text = code.qr_text.encode()
        if self.signature_spoilt:
            message = base45.decode(text.removeprefix(b"GL1:"))
            text = b"GL1:" + base45.encode(message[:-1] + bytes([message[-1] ^ 1]))
        return text.lower() if self.text_spoilt else text

    def _bits(self) -> int:
        if not self.known:
            return 0
        tested = NOW_MIN - self.tested_min_ago
        return pack(StatusRecord(self.colour, self.state, self.generation, 0, tested)) | self.reserved_bits


# Every cause of a verdict with what brings it about, in the order of precedence written above `decide`.
CAUSES: list[tuple[str, Verdict, Mapping[str, Any]]] = [
    ("malformed", Verdict.MALFORMED, {"text_spoilt": True}),
    ("unknown key", Verdict.UNKNOWN_KEY, {"signer": STRANGER}),
    ("bad signature", Verdict.BAD_SIGNATURE, {"signature_spoilt": True}),
    ("not yet valid", Verdict.NOT_YET_VALID, {"starts_in_s": 31}),
    ("expired", Verdict.EXPIRED, {"starts_in_s": -90}),
    ("never heard of", Verdict.NO_STATUS, {"known": False}),
    ("senseless record", Verdict.NO_STATUS, {"reserved_bits": 0x1000}),
    ("no state", Verdict.NO_STATUS, {"state": CredentialState.NONE}),
    ("replaced", Verdict.REPLACED, {"generation": 4}),
    ("suspended", Verdict.SUSPENDED, {"state": CredentialState.SUSPENDED}),
    ("revoked", Verdict.REVOKED, {"state": CredentialState.REVOKED}),
    ("no colour", Verdict.NO_STATUS, {"colour": Colour.NONE}),
    ("red", Verdict.RED, {"colour": Colour.RED}),
    ("yellow", Verdict.YELLOW, {"colour": Colour.YELLOW}),
    ("test too old", Verdict.TEST_TOO_OLD, {"tested_min_ago": 48 * 60 + 1}),
    ("status too old", Verdict.STATUS_TOO_OLD, {"status_age_s": 300.1}),
]
# What is not known has no fields, and one field has one value.
NEVER_TOGETHER = [
    {"not yet valid", "expired"},
    {"suspended", "revoked"},
    {"no state", "suspended"},
    {"no state", "revoked"},
    {"no colour", "red"},
    {"no colour", "yellow"},
    {"red", "yellow"},
    *(
        {"never heard of", other}
        for other in ("senseless record", "no state", "replaced", "suspended", "revoked")
    ),
    *({"never heard of", other} for other in ("no colour", "red", "yellow", "test too old")),
]
PAIRS = [
    pytest.param(first, second, id=f"{first[0]} before {second[0]}")
    for first, second in itertools.combinations(CAUSES, 2)
    if {first[0], second[0]} not in NEVER_TOGETHER
]


def test_a_scan_with_nothing_against_it_is_green() -> None:
    assert Scan().verdict() is Verdict.GREEN


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause[0])
def test_one_cause_alone_gives_its_verdict(cause: tuple[str, Verdict, Mapping[str, Any]]) -> None:
    _, verdict, changes = cause
    assert Scan(**changes).verdict() is verdict


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_of_two_causes_the_earlier_one_answers(
    first: tuple[str, Verdict, Mapping[str, Any]], second: tuple[str, Verdict, Mapping[str, Any]]
) -> None:
    assert not first[2].keys() & second[2].keys()
    assert Scan(**first[2], **second[2]).verdict() is first[1]


def test_every_verdict_has_a_cause() -> None:
    # ALREADY_USED is no matter of the code and its record: tests/verifier/access has it.
    assert {verdict for _, verdict, _ in CAUSES} | {Verdict.GREEN, Verdict.ALREADY_USED} == set(Verdict)


def _decide(
    bits: int, *, status_age_s: float = 0.0, policy: Policy = POLICY, now: int = NOW, code: Code = CODE
) -> Verdict:
    return decide(code, read_record(bits), status_age_s, policy, now)


def _tested_at(minute: int) -> int:
    return pack(StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 3, 0, minute))


@pytest.mark.parametrize(
    ("late_s", "verdict"), [(-1, Verdict.GREEN), (0, Verdict.GREEN), (1, Verdict.TEST_TOO_OLD)]
)
def test_a_test_is_too_old_from_the_second_after_its_limit(late_s: int, verdict: Verdict) -> None:
    now = 60 * NOW_MIN + 48 * 3_600 + late_s
    assert _decide(_tested_at(NOW_MIN), now=now) is verdict


@pytest.mark.parametrize(
    ("status_age_s", "verdict"),
    [
        (-1.0, Verdict.GREEN),
        (299.999, Verdict.GREEN),
        (300.0, Verdict.GREEN),
        (300.001, Verdict.STATUS_TOO_OLD),
        (math.inf, Verdict.STATUS_TOO_OLD),
    ],
)
def test_status_is_too_old_from_just_after_its_limit(status_age_s: float, verdict: Verdict) -> None:
    assert _decide(pack(GREEN), status_age_s=status_age_s) is verdict


@pytest.mark.parametrize("minutes_ahead", [1, 5, 60])
def test_a_test_from_the_future_counts_as_fresh(minutes_ahead: int) -> None:
    assert _decide(_tested_at(NOW_MIN + minutes_ahead)) is Verdict.GREEN


def test_no_test_known_is_too_old_for_a_policy_that_asks_for_one() -> None:
    assert _decide(_tested_at(0)) is Verdict.TEST_TOO_OLD


def test_no_test_known_is_too_old_however_large_the_limit() -> None:
    policy = Policy(max_test_age_s=100 * 366 * 86_400)
    assert _decide(_tested_at(0), policy=policy) is Verdict.TEST_TOO_OLD


@pytest.mark.parametrize(("status_age_s", "limit"), [(math.nan, 300.0), (1e9, math.nan)])
def test_an_age_that_is_not_a_number_does_not_open(status_age_s: float, limit: float) -> None:
    policy = Policy(max_status_age_s=limit)
    assert _decide(pack(GREEN), status_age_s=status_age_s, policy=policy) is not Verdict.GREEN


def test_a_policy_that_asks_nothing_lets_old_tests_and_old_status_pass() -> None:
    assert _decide(_tested_at(0), status_age_s=math.inf, policy=Policy()) is Verdict.GREEN


def test_a_red_holder_is_told_so_however_old_the_news() -> None:
    red = pack(StatusRecord(Colour.RED, CredentialState.ACTIVE, 3, 300))
    assert _decide(red, status_age_s=math.inf) is Verdict.RED


@pytest.mark.parametrize(
    ("of_code", "of_record", "verdict"),
    [
        (255, 255, Verdict.GREEN),
        (256, 0, Verdict.GREEN),
        (257, 1, Verdict.GREEN),
        (2**32 - 1, 255, Verdict.GREEN),
        (255, 0, Verdict.REPLACED),
        (256, 255, Verdict.REPLACED),
        (3, 2, Verdict.REPLACED),
    ],
)
def test_generations_are_compared_modulo_256(of_code: int, of_record: int, verdict: Verdict) -> None:
    code = Code(CredentialKind.PAPER, 1, of_code, NOW - 10, NOW + 50)
    record = StatusRecord(Colour.GREEN, CredentialState.ACTIVE, of_record, 0, NOW_MIN)
    assert _decide(pack(record), code=code) is verdict


# Random bits are hardly ever green, so half of them are green with one bit wrong, or none.
sound_bits = st.builds(
    lambda generation, reason, age_min: pack(
        StatusRecord(Colour.GREEN, CredentialState.ACTIVE, generation, reason, NOW_MIN - age_min)
    ),
    st.integers(0, 3),
    st.integers(0, 2**16 - 1),
    st.integers(0, 96 * 60),
)
spoilt_bits = st.builds(lambda bits, at: bits ^ 1 << at, sound_bits, st.integers(0, 63))
any_bits = st.one_of(st.integers(0, 2**64 - 1), sound_bits, spoilt_bits)


@given(any_bits, st.sampled_from([0, 1, 2, 3, 256, 257, 2**32 - 1]), st.floats(0, 600))
def test_every_record_gives_a_verdict_and_green_only_when_all_is_well(
    bits: int, generation: int, status_age_s: float
) -> None:
    code = Code(CredentialKind.PHONE, 1, generation, NOW - 10, NOW + 50)
    verdict = _decide(bits, status_age_s=status_age_s, code=code)
    test_age_s = NOW - 60 * (bits >> 32)
    all_is_well = (
        bits & 0b1111 == 0b0101
        and bits >> 4 & 0xFF == generation % 256
        and bits & 0xF000 == 0
        and test_age_s <= 48 * 3_600
        and status_age_s <= 300
    )
    assert isinstance(verdict, Verdict)
    assert (verdict is Verdict.GREEN) == all_is_well


@given(st.integers(0, 255), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.sampled_from(Colour))
def test_nobody_is_green_without_colour_and_state(
    generation: int, reason: int, tested: int, colour: Colour
) -> None:
    code = Code(CredentialKind.PHONE, 1, generation, NOW - 10, NOW + 50)
    for record in (
        StatusRecord(Colour.NONE, CredentialState.ACTIVE, generation, reason, tested),
        StatusRecord(colour, CredentialState.NONE, generation, reason, tested),
    ):
        assert _decide(pack(record), code=code, policy=Policy()) is Verdict.NO_STATUS


def test_never_heard_of_is_not_green_even_for_generation_0() -> None:
    code = Code(CredentialKind.PHONE, 0, 0, 0, 2**40 - 1)
    assert decide(code, read_record(0), 0.0, Policy(), 0) is Verdict.NO_STATUS


def test_a_sound_record_is_read() -> None:
    assert read_record(pack(GREEN)) == GREEN


@pytest.mark.parametrize("bits", [0, 0x1000, pack(GREEN) | 0x8000])
def test_a_record_that_is_absent_or_makes_no_sense_is_none(bits: int) -> None:
    assert read_record(bits) is None
    assert _decide(bits) is Verdict.NO_STATUS


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (errors.MalformedCode(), Verdict.MALFORMED),
        (errors.QrTextError(), Verdict.MALFORMED),
        (errors.Base45Error(), Verdict.MALFORMED),
        (errors.CborError(), Verdict.MALFORMED),
        (errors.CoseError(), Verdict.MALFORMED),
        (errors.ClaimsError(), Verdict.MALFORMED),
        (errors.UnknownKey(), Verdict.UNKNOWN_KEY),
        (errors.BadSignature(), Verdict.BAD_SIGNATURE),
        (errors.NotYetValid("", CODE), Verdict.NOT_YET_VALID),
        (errors.Expired("", CODE), Verdict.EXPIRED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, CodeError) else value.name,
)
def test_each_error_of_a_code_has_its_verdict(error: CodeError, verdict: Verdict) -> None:
    assert reject(error) is verdict


@pytest.mark.parametrize(
    ("ours", "of_proto", "zero"),
    [
        (Verdict, verifier_pb2.Verdict, None),
        (CredentialKind, verifier_pb2.CredentialKind, None),
        (Colour, verifier_pb2.Colour, "NONE"),
        (CredentialState, admin_pb2.CredentialState, "NONE"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_names_and_numbers_are_those_of_the_protos(ours: Any, of_proto: Any, zero: str | None) -> None:
    prefix = of_proto.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
    published = {name.removeprefix(prefix): number for name, number in of_proto.items()}
    assert published.pop("UNSPECIFIED") == 0
    if zero:
        published[zero] = 0
    if of_proto is admin_pb2.CredentialState:
        published.pop("EXPIRED")  # known to the register alone: verifiers hear REVOKED
    assert {member.name: member.value for member in ours} == published
