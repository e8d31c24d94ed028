"""QR texts: what verifier.authenticate makes of them.

The first byte says what the rest is: a QR text, the bytes that one encodes, a payload for us to sign, so that
the reader behind the signature is reached, or the fields of a code.

An accepted code is read once more by a decoder that is nobody's but this file's, and signed once more: a
signature of Ed25519 is always the same, so it must come out to the same text, byte for byte.
"""

import cbor2

from tests.fuzz.keys import KEY_SET, NOW, SIGNING, STRANGER
from tests.fuzz.target import Input, Target, only
from verifier.authenticate import CLOCK_SKEW_S, authenticate, check_window, open_code
from verifier.verdict import reject
from verifier.wire import base45
from verifier.wire.code import (
    MAX_QR_TEXT_CHARACTERS,
    PREFIX,
    Code,
    CredentialKind,
    decode_claims,
    decode_qr_text,
    encode_claims,
    encode_qr_text,
)
from verifier.wire.errors import (
    BadSignature,
    ClaimsError,
    CodeError,
    MalformedCode,
    OutsideWindow,
    UnknownKey,
)

TEXT, BYTES, PAYLOAD, FIELDS, STRANGERS = range(5)
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"


def run(content: bytes) -> None:
    """Read one."""
    given = Input(content)
    kind = given.number() % 5
    if kind == TEXT:
        check_text(given.rest())
    elif kind == BYTES:
        message = given.rest()[: base45.MAX_CHARACTERS // 3]
        encoded = base45.encode(message)
        assert base45.decode(encoded) == message
        check_text(PREFIX + encoded)
    elif kind == PAYLOAD:
        _check_signed(given.rest())
    elif kind == FIELDS:
        _check_fields(given)
    else:
        try:
            open_code(STRANGER.qr_text(given.rest()), KEY_SET)
        except (UnknownKey, MalformedCode):
            return
        raise AssertionError("a stranger's code was opened")


def check_text(qr_text: bytes) -> Code | None:
    """Open a text, and look whether that was right; return the code, None for one that is refused."""
    with only(MalformedCode):
        assert encode_qr_text(decode_qr_text(qr_text)) == qr_text
    try:
        code, key_id, key = open_code(qr_text, KEY_SET)
    except CodeError as error:
        assert not isinstance(error, OutsideWindow)
        assert reject(error) in (4, 5, 6)
        assert not (len(qr_text) > 20 and qr_text[4:24].decode("latin-1") in str(error))
        return None
    assert (key_id, key) == (SIGNING.key_id, SIGNING.public)
    assert len(qr_text) <= MAX_QR_TEXT_CHARACTERS
    payload = payload_of(qr_text)
    assert SIGNING.qr_text(payload) == qr_text, "opened, and not what the key signs"
    assert _read(payload) == code, "not what the claims say"
    assert encode_claims(code) == payload
    _check_window(qr_text, code)
    return code


def payload_of(qr_text: bytes) -> bytes:
    """Return the payload of a sound QR text, by another way than the one that is tested."""
    characters = qr_text[4:].decode("ascii")
    message = bytearray()
    for at in range(0, len(characters), 3):
        group = characters[at : at + 3]
        value = sum(_DIGITS.index(one) * 45**place for place, one in enumerate(group))
        message += value.to_bytes(len(group) - 1, "big")
    tag = cbor2.loads(bytes(message))
    assert tag.tag == 18
    protected, unprotected, payload, _ = tag.value
    assert cbor2.loads(protected) == {1: -8, 4: SIGNING.key_id}
    assert not unprotected
    assert isinstance(payload, bytes)
    return payload


def _read(payload: bytes) -> Code:
    claims = cbor2.loads(payload)
    assert list(claims) == [4, 5, -65537]
    kind, index, generation, *hint = claims[-65537]
    assert not hint or hint[0]
    return Code(CredentialKind(kind), index, generation, claims[5], claims[4], hint[0] if hint else "")


def _check_window(qr_text: bytes, code: Code) -> None:
    for now in (code.not_before, code.expires_at - 1):
        assert authenticate(qr_text, KEY_SET, now) == code
    for now in (code.not_before - CLOCK_SKEW_S - 1, code.expires_at + CLOCK_SKEW_S):
        try:
            check_window(code, now)
        except OutsideWindow as error:
            assert error.code == code
        else:
            raise AssertionError("opened outside its window")


def _check_signed(payload: bytes) -> None:
    """What the key signed is opened, or its claims are refused; never is the signature."""
    qr_text = SIGNING.qr_text(payload)
    try:
        sound = decode_claims(payload)
    except MalformedCode:
        sound = None
    opened = check_text(qr_text)
    if len(qr_text) > MAX_QR_TEXT_CHARACTERS:
        assert opened is None
    else:
        assert opened == sound
        if opened is None:
            try:
                open_code(qr_text, KEY_SET)
            except (BadSignature, UnknownKey) as error:
                raise AssertionError("our own signature was refused") from error
            except MalformedCode:
                pass


def _check_fields(given: Input) -> None:
    """What can be encoded is opened as it was."""
    kind = given.pick(list(CredentialKind))
    index, generation = given.number(5), given.number(5)
    not_before, window_s = given.number(6), given.number(4)
    hint = given.rest().decode("utf-8", "surrogateescape")
    code = Code(kind, index, generation, not_before, not_before + window_s, hint)
    try:
        payload = encode_claims(code)
    except ClaimsError:
        return
    assert check_text(SIGNING.qr_text(payload)) == code


def seeds() -> list[bytes]:
    """Return codes of both kinds, in each way to give them."""
    found = []
    for code in (
        Code(CredentialKind.PHONE, 1, 1, NOW, NOW + 60),
        Code(CredentialKind.PAPER, 2**32 - 1, 300, NOW, NOW + 15_552_000, "王*秀"),
        Code(CredentialKind.PHONE, 70_000, 0, 0, 2**40 - 1),
        Code(CredentialKind.PAPER, 23, 24, 65_535, 65_536, "x" * 32),
    ):
        payload = encode_claims(code)
        qr_text = SIGNING.qr_text(payload)
        found += [
            bytes([TEXT]) + qr_text,
            bytes([BYTES]) + base45.decode(qr_text[len(PREFIX) :]),
            bytes([PAYLOAD]) + payload,
            bytes([STRANGERS]) + payload,
        ]
    found.append(
        bytes([FIELDS, 1]) + (7).to_bytes(5, "big") + (1).to_bytes(5, "big") + NOW.to_bytes(6, "big")
    )
    return found


TARGET = Target(
    "codes",
    run,
    seeds,
    max_bytes=700,
    words=(
        b"GL1:",
        b"\x3a\x00\x01\x00\x00",
        b"\xd2\x84\x4d\xa2\x01\x27\x04\x48",
        b"\xa3\x04\x1a",
        b"\x05\x1a",
    ),
)
