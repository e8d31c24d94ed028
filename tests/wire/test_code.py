"""The code: what is written is read again, what is read has one encoding, and it fits its QR."""

from typing import Any

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors.files import read
from tests.vectors.good_codes import sign1
from tests.vectors.keys import ACTIVE
from verifier.wire import base45
from verifier.wire.code import (
    MAX_HINT_BYTES,
    MAX_PHONE_CODE_BYTES,
    MAX_QR_TEXT_CHARACTERS,
    MAX_TIME,
    MAX_U32,
    Code,
    CredentialKind,
    SignedCode,
    decode_claims,
    decode_qr_text,
    encode_claims,
    encode_qr_text,
    split_code,
)
from verifier.wire.errors import Base45Error, CborError, ClaimsError, CoseError, MalformedCode, QrTextError

BAD = read("bad_codes.json")["codes"]

ORDINARY = Code(CredentialKind.PHONE, 1_234_567, 3, 1_800_000_000, 1_800_000_060)
# Times grow by four bytes each in the year 2106; until then no PHONE code is larger than this.
LARGEST_PHONE = Code(CredentialKind.PHONE, MAX_U32, MAX_U32, MAX_U32 - 60, MAX_U32)
LARGEST_PAPER = Code(CredentialKind.PAPER, MAX_U32, MAX_U32, MAX_TIME - 1, MAX_TIME, "秀" * 10 + "**")

u32 = st.integers(0, MAX_U32)
hints = st.text(max_size=MAX_HINT_BYTES).filter(lambda hint: len(hint.encode()) <= MAX_HINT_BYTES)


@st.composite
def codes(draw: st.DrawFn) -> Code:
    """Draw any code that the format can hold."""
    expires_at = draw(st.integers(1, MAX_TIME))
    not_before = draw(st.integers(0, expires_at - 1))
    kind = draw(st.sampled_from(CredentialKind))
    return Code(kind, draw(u32), draw(u32), not_before, expires_at, draw(hints))


def _qr_text(code: Code) -> bytes:
    return encode_qr_text(SignedCode(bytes(8), encode_claims(code), bytes(64)))


@given(codes())
def test_the_claims_of_any_code_are_read_as_they_were_written(code: Code) -> None:
    assert decode_claims(encode_claims(code)) == code


@given(st.binary(min_size=8, max_size=8), st.binary(max_size=120), st.binary(min_size=64, max_size=64))
def test_a_signed_code_is_taken_apart_into_what_it_was_made_of(
    key_id: bytes, payload: bytes, signature: bytes
) -> None:
    signed = SignedCode(key_id, payload, signature)
    assert decode_qr_text(encode_qr_text(signed)) == signed


@given(code=codes(), data=st.data())
def test_spoilt_claims_are_refused_or_say_what_would_be_written_so(code: Code, data: st.DataObject) -> None:
    payload = bytearray(encode_claims(code))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        read_code = decode_claims(bytes(payload))
    except (CborError, ClaimsError):
        return
    assert encode_claims(read_code) == payload


@given(st.binary(max_size=100))
def test_any_claims_are_read_or_refused(payload: bytes) -> None:
    for start in (b"", b"\xa3\x04", bytes.fromhex("a3 04 02 05 01 3a 00 01 00 00")):
        try:
            read_code = decode_claims(start + payload)
        except (CborError, ClaimsError):
            continue
        assert encode_claims(read_code) == start + payload


@given(st.binary(max_size=600))
def test_any_text_is_refused_as_malformed(text: bytes) -> None:
    with pytest.raises(MalformedCode):
        decode_qr_text(text)


@given(st.binary(max_size=330))
def test_any_message_behind_the_prefix_is_taken_apart_or_refused(message: bytes) -> None:
    qr_text = b"GL1:" + base45.encode(b"\xd2\x84\x4d\xa2\x01\x27\x04\x48" + message)
    try:
        signed = decode_qr_text(qr_text)
    except MalformedCode:
        return
    assert encode_qr_text(signed) == qr_text


@pytest.mark.parametrize(
    "vector",
    [vector for vector in BAD if vector["part"] == "claims"],
    ids=lambda vector: vector["name"],
)
def test_bad_claims_are_refused_by_the_reader_of_claims_itself(vector: dict[str, Any]) -> None:
    signed = decode_qr_text(vector["qr_text"].encode("latin-1"))
    with pytest.raises((CborError, ClaimsError)):
        decode_claims(signed.payload)


@pytest.mark.parametrize(
    "change",
    [
        {"credential_index": -1},
        {"credential_index": MAX_U32 + 1},
        {"generation": -1},
        {"generation": MAX_U32 + 1},
        {"not_before": -1},
        {"not_before": ORDINARY.expires_at},
        {"expires_at": MAX_TIME + 1},
        {"hint": "W" * 33},
        {"hint": "秀" * 11},
    ],
    ids=str,
)
def test_what_the_format_cannot_hold_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(ClaimsError):
        encode_claims(ORDINARY._replace(**change))


def test_a_hint_that_utf8_cannot_hold_is_not_written() -> None:
    with pytest.raises(ClaimsError):
        encode_claims(ORDINARY._replace(hint="\ud800"))


def test_the_reason_for_refusing_a_hint_does_not_carry_it() -> None:
    with pytest.raises(ClaimsError) as refused:
        encode_claims(ORDINARY._replace(hint="W" * 33))
    assert "WW" not in str(refused.value)


def test_the_largest_phone_code_is_within_its_limit() -> None:
    message = base45.decode(_qr_text(LARGEST_PHONE).removeprefix(b"GL1:"))
    assert len(message) == 115 <= MAX_PHONE_CODE_BYTES


@pytest.mark.parametrize(("message_bytes", "drawn_as"), [(115, "7-M"), (116, "7-M"), (117, "8-M")])
def test_a_code_of_116_bytes_is_the_largest_for_qr_version_7(message_bytes: int, drawn_as: str) -> None:
    text = "GL1:" + base45.encode(bytes(message_bytes)).decode()
    drawn = segno.make(text, error="m", boost_error=False, micro=False)
    assert (drawn.designator, drawn.mode) == (drawn_as, "alphanumeric")


def test_the_longest_paper_code_is_240_characters() -> None:
    assert len(LARGEST_PAPER.hint.encode()) == MAX_HINT_BYTES
    assert len(_qr_text(LARGEST_PAPER)) == 240 < MAX_QR_TEXT_CHARACTERS


def test_512_characters_are_looked_at() -> None:
    with pytest.raises(CoseError):
        decode_qr_text(b"GL1:" + b"0" * 507)
    with pytest.raises(Base45Error):
        decode_qr_text(b"GL1:" + b"0" * 508)


@pytest.mark.parametrize("length", [513, 10_000, 10_000_000])
def test_more_than_512_characters_are_not_looked_at(length: int) -> None:
    with pytest.raises(QrTextError, match=f"expected at most 512 characters, got {length}"):
        decode_qr_text(b"GL1:".ljust(length, b"0"))


def test_a_key_set_is_no_code() -> None:
    for key_set in read("key_sets.json")["good"]:
        with pytest.raises(CoseError):
            split_code(bytes.fromhex(key_set["signed"]))


def test_the_first_ordinary_code_is_written_like_this_for_ever() -> None:
    # The law of the format in one line: whoever has to change it is making GL2.
    assert encode_claims(ORDINARY).hex() == "a3041a6b49d23c051a6b49d2003a0001000083011a0012d68703"
    assert sign1(encode_claims(ORDINARY))[:-66].hex() == (
        "d2844da201270448" + ACTIVE.key_id.hex() + "a0581a" + encode_claims(ORDINARY).hex()
    )
