"""authenticate(): one changed byte is enough to be refused, and the window ends when it says."""

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import raw_cbor as raw
from tests.vectors.files import KEY_SET
from tests.vectors.good_codes import (
    EXPIRES_AT,
    NOT_BEFORE,
    NOW,
    PAPER,
    PAPER_EXPIRES_AT,
    GoodCode,
    claims,
    qr_text,
    sign1,
)
from tests.vectors.keys import STRANGER
from verifier.authenticate import CLOCK_SKEW_S, authenticate
from verifier.wire import base45
from verifier.wire.code import Code
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import (
    BadSignature,
    ClaimsError,
    CodeError,
    Expired,
    MalformedCode,
    NotYetValid,
    UnknownKey,
)
from verifier.wire.key_set import KeySet

PHONE_CODE = GoodCode("phone")
PAPER_CODE = GoodCode("paper", kind=PAPER, expires_at=PAPER_EXPIRES_AT, hint="王*秀")
each_kind = pytest.mark.parametrize("code", [PHONE_CODE, PAPER_CODE], ids=lambda code: code.name)


def _text(code: GoodCode) -> bytes:
    return code.qr_text.encode()


def _message(code: GoodCode) -> bytes:
    return base45.decode(_text(code).removeprefix(b"GL1:"))


def _others(content: bytes, at: int) -> Iterator[bytes]:
    """Make `content` with each of the 255 other values of the byte at `at`."""
    for value in range(256):
        if value != content[at]:
            yield content[:at] + bytes([value]) + content[at + 1 :]


def _is_refused(text: bytes, now: int = NOW) -> bool:
    """Whether a text is refused as a CodeError; any other error is let through, and fails the test."""
    try:
        authenticate(text, KEY_SET, now)
    except CodeError:
        return True
    return False


@each_kind
def test_an_untouched_code_authenticates(code: GoodCode) -> None:
    said = authenticate(_text(code), KEY_SET, NOW)
    assert (said.kind, said.credential_index, said.generation) == (
        code.kind,
        code.credential_index,
        code.generation,
    )


@each_kind
def test_no_byte_of_a_message_can_have_another_value(code: GoodCode) -> None:
    message = _message(code)
    for at in range(len(message)):
        for changed in _others(message, at):
            assert _is_refused(b"GL1:" + base45.encode(changed)), f"byte {at}: {changed[at]:#04x}"


@each_kind
def test_no_character_of_a_qr_text_can_be_another_byte(code: GoodCode) -> None:
    text = _text(code)
    for at in range(len(text)):
        for changed in _others(text, at):
            assert _is_refused(changed), f"character {at}: {changed[at]:#04x}"


@each_kind
def test_no_character_of_a_qr_text_can_be_missing_doubled_or_exchanged(code: GoodCode) -> None:
    text = _text(code)
    for at in range(len(text)):
        assert _is_refused(text[:at] + text[at + 1 :])
        assert _is_refused(text[:at] + text[at : at + 1] + text[at:])
        exchanged = text[:at] + text[at : at + 2][::-1] + text[at + 2 :]
        assert exchanged == text or _is_refused(exchanged)


@each_kind
def test_no_part_of_a_code_is_enough(code: GoodCode) -> None:
    text, message = _text(code), _message(code)
    for length in range(len(text)):
        assert _is_refused(text[:length])
    for length in range(len(message)):
        assert _is_refused(b"GL1:" + base45.encode(message[:length]))


@given(more=st.binary(min_size=1, max_size=8))
def test_nothing_can_be_added_to_a_code(more: bytes) -> None:
    text, message = _text(PHONE_CODE), _message(PHONE_CODE)
    assert _is_refused(text + more)
    assert _is_refused(more + text)
    assert _is_refused(b"GL1:" + base45.encode(message + more))
    assert _is_refused(b"GL1:" + base45.encode(more + message))


@given(text=st.binary(max_size=600), now=st.integers(-(2**63), 2**63))
def test_any_input_at_any_time_is_refused_as_a_code_error(text: bytes, now: int) -> None:
    assert _is_refused(text, now)
    assert _is_refused(b"GL1:" + text, now)
    assert _is_refused(b"GL1:" + base45.encode(text), now)


@given(payload=st.binary(max_size=150), now=st.integers(0, 2**40))
def test_any_payload_that_was_signed_is_refused_as_a_code_error(payload: bytes, now: int) -> None:
    # Even a signing key gone mad takes no verifier down.
    assert _is_refused(qr_text(sign1(payload)).encode(), now)


@given(statement=st.binary(max_size=60))
def test_any_statement_that_was_signed_gives_a_code_or_a_code_error(statement: bytes) -> None:
    text = qr_text(sign1(claims(EXPIRES_AT, NOT_BEFORE, statement))).encode()
    try:
        said = authenticate(text, KEY_SET, NOW)
    except CodeError:
        return
    assert isinstance(said, Code)


@pytest.mark.parametrize(
    ("skew", "now"),
    [
        (30, NOT_BEFORE - 30),
        (30, NOT_BEFORE - 29),
        (30, EXPIRES_AT + 28),
        (30, EXPIRES_AT + 29),
        (0, NOT_BEFORE),
        (0, NOT_BEFORE + 1),
        (0, EXPIRES_AT - 2),
        (0, EXPIRES_AT - 1),
    ],
)
def test_a_code_authenticates_in_its_window_and_the_allowance(skew: int, now: int) -> None:
    said = authenticate(_text(PHONE_CODE), KEY_SET, now, clock_skew_s=skew)
    assert (said.not_before, said.expires_at) == (NOT_BEFORE, EXPIRES_AT)


@pytest.mark.parametrize(("skew", "now"), [(30, NOT_BEFORE - 31), (30, 0), (0, NOT_BEFORE - 1)])
def test_a_code_is_not_yet_valid_before_its_window_and_the_allowance(skew: int, now: int) -> None:
    with pytest.raises(NotYetValid, match=f"begins in {NOT_BEFORE - now} s") as refused:
        authenticate(_text(PHONE_CODE), KEY_SET, now, clock_skew_s=skew)
    assert refused.value.code.credential_index == PHONE_CODE.credential_index


@pytest.mark.parametrize(
    ("skew", "now"), [(30, EXPIRES_AT + 30), (30, EXPIRES_AT + 31), (30, 2**40), (0, EXPIRES_AT)]
)
def test_a_code_has_expired_when_its_window_and_the_allowance_end(skew: int, now: int) -> None:
    with pytest.raises(Expired, match=f"ended {now - EXPIRES_AT} s ago") as refused:
        authenticate(_text(PHONE_CODE), KEY_SET, now, clock_skew_s=skew)
    assert refused.value.code.credential_index == PHONE_CODE.credential_index


def test_the_allowance_for_skew_is_30_seconds_unless_told_otherwise() -> None:
    assert CLOCK_SKEW_S == 30
    assert not _is_refused(_text(PHONE_CODE), EXPIRES_AT + 29)
    assert _is_refused(_text(PHONE_CODE), EXPIRES_AT + 30)


def test_a_code_of_a_key_that_was_taken_away_is_of_an_unknown_key() -> None:
    without_active = KeySet.of(version=2, issued_at=0, expires_at=1, keys=[VerifyingKey(STRANGER.public)])
    with pytest.raises(UnknownKey):
        authenticate(_text(PHONE_CODE), without_active, NOW)


def test_claims_are_not_read_before_the_key_is_known() -> None:
    with pytest.raises(UnknownKey):
        authenticate(qr_text(sign1(raw.NULL, key=STRANGER)).encode(), KEY_SET, NOW)


def test_claims_are_not_read_before_the_signature_is_right() -> None:
    spoilt = bytearray(sign1(raw.NULL))
    spoilt[-1] ^= 1
    with pytest.raises(BadSignature):
        authenticate(qr_text(bytes(spoilt)).encode(), KEY_SET, NOW)


def test_claims_that_make_no_sense_are_malformed_whoever_signed_them() -> None:
    with pytest.raises(ClaimsError):
        authenticate(qr_text(sign1(raw.NULL)).encode(), KEY_SET, NOW)


def test_a_forged_code_does_not_tell_that_it_has_expired() -> None:
    forged = bytearray(_message(PHONE_CODE))
    forged[-1] ^= 1
    with pytest.raises(BadSignature):
        authenticate(b"GL1:" + base45.encode(bytes(forged)), KEY_SET, EXPIRES_AT + 1_000)


def test_two_codes_cannot_be_combined() -> None:
    one, other = (_message(code) for code in (PHONE_CODE, dataclasses.replace(PHONE_CODE, generation=4)))
    assert len(one) == len(other)
    for at in range(1, len(one)):
        combined = one[:at] + other[at:]
        assert combined in (one, other) or _is_refused(b"GL1:" + base45.encode(combined))


@pytest.mark.parametrize("length", [513, 100_000, 10_000_000])
def test_long_input_is_refused_unread(length: int) -> None:
    with pytest.raises(MalformedCode, match="at most 512 characters"):
        authenticate(_text(PHONE_CODE).ljust(length, b"0"), KEY_SET, NOW)


def test_the_signature_covers_what_is_shown() -> None:
    # The hint is compared with a person's face and document: it must not be exchangeable.
    payload = _message(PAPER_CODE)
    assert "王*秀".encode() in payload
    changed = payload.replace("王*秀".encode(), "李*秀".encode())
    with pytest.raises(BadSignature):
        authenticate(b"GL1:" + base45.encode(changed), KEY_SET, NOW)
