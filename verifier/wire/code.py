"""The code: one signed statement about one credential for one window (protos/code_token.cddl).

CWT claims (RFC 8392) in COSE_Sign1 (RFC 9052) in Base45 (RFC 9285) behind `GL1:`. Every code has one
encoding; reading takes that one and nothing else. The law of the format: labels are never reordered,
reused or added; anything else is a new prefix.

This module knows the shape only. Whether a code is authentic is told by verifier.authenticate.
"""

from dataclasses import dataclass
from enum import IntEnum

from verifier.wire import base45, cbor, cose
from verifier.wire.errors import ClaimsError, CoseError, QrTextError

PREFIX = b"GL1:"
# Above the longest code (a PAPER code with a hint of 32 bytes is 235 characters), below what would
# take long to look at.
MAX_QR_TEXT_CHARACTERS = 512
# A PHONE code has to fit QR version 7 at level M, which holds 178 alphanumeric characters, four of
# them the prefix: 58 groups of three. design.md said 120 bytes, but those would need version 8.
MAX_PHONE_CODE_BYTES = 116
MAX_HINT_BYTES = 32
MAX_U32 = 2**32 - 1
MAX_TIME = 2**40 - 1  # Unix seconds, year 36812

# {1: -8 (alg: EdDSA), 4: (kid) 8 bytes}, up to the kid itself. Comparing these bytes refuses unknown and
# duplicate headers and other algorithms all at once.
_PROTECTED = bytes.fromhex("a2 01 27 04 48")
_STATEMENT_LABEL = bytes.fromhex("3a 00 01 00 00")  # -65537


class CredentialKind(IntEnum):
    """What a holder shows; the numbers are those of the format and of verifier.proto."""

    PHONE = 1
    PAPER = 2


@dataclass(frozen=True, slots=True)
class Code:
    """What a code says. Its window is not_before <= now < expires_at."""

    kind: CredentialKind
    credential_index: int
    generation: int
    not_before: int  # Unix seconds
    expires_at: int  # Unix seconds
    hint: str = ""  # at most 32 bytes of UTF-8


@dataclass(frozen=True, slots=True)
class SignedCode:
    """A code as it came, taken apart but not yet believed."""

    key_id: bytes  # 8 bytes
    payload: bytes
    signature: bytes  # 64 bytes


def encode_claims(code: Code) -> bytes:
    """Return the payload of a code; raises ClaimsError for values outside the format."""
    _check(code)
    hint = (cbor.text_string(code.hint),) if code.hint else ()
    return b"".join(
        (
            cbor.head(cbor.MAP, 3),
            b"\x04",
            cbor.head(cbor.UINT, code.expires_at),
            b"\x05",
            cbor.head(cbor.UINT, code.not_before),
            _STATEMENT_LABEL,
            cbor.head(cbor.ARRAY, 3 + len(hint)),
            cbor.head(cbor.UINT, code.kind),
            cbor.head(cbor.UINT, code.credential_index),
            cbor.head(cbor.UINT, code.generation),
            *hint,
        )
    )


def decode_claims(payload: bytes) -> Code:
    """Return what a payload says; raises CborError or ClaimsError."""
    at = _expect(payload, 0, b"\xa3\x04", "a map of three claims, exp first")
    expires_at, at = cbor.read_head(payload, at, cbor.UINT)
    at = _expect(payload, at, b"\x05", "nbf")
    not_before, at = cbor.read_head(payload, at, cbor.UINT)
    at = _expect(payload, at, _STATEMENT_LABEL, "claim -65537")
    length, at = cbor.read_head(payload, at, cbor.ARRAY)
    if length not in (3, 4):
        raise ClaimsError(f"expected a statement of 3 or 4 items, got {length}")
    kind, at = cbor.read_head(payload, at, cbor.UINT)
    if kind not in (CredentialKind.PHONE, CredentialKind.PAPER):
        raise ClaimsError(f"expected kind 1 or 2, got {kind}")
    credential_index, at = cbor.read_head(payload, at, cbor.UINT)
    generation, at = cbor.read_head(payload, at, cbor.UINT)
    hint = ""
    if length == 4:
        encoded_hint, at = cbor.read_string(payload, at, cbor.TEXT)
        if not encoded_hint:
            raise ClaimsError("expected a hint of 1 to 32 bytes, got 0")
        try:
            hint = encoded_hint.decode()
        except UnicodeDecodeError:
            raise ClaimsError("expected a hint in UTF-8") from None
    if at != len(payload):
        raise ClaimsError(f"expected the end of the claims, got {len(payload) - at} more bytes")
    code = Code(CredentialKind(kind), credential_index, generation, not_before, expires_at, hint)
    _check(code)
    return code


def code_sig_structure(key_id: bytes, payload: bytes) -> bytes:
    """Return the bytes that the signature of a code covers."""
    return cose.sig_structure(_PROTECTED + key_id, payload)


def encode_qr_text(signed: SignedCode) -> bytes:
    """Return the QR text of a signed code, ASCII."""
    message = cose.assemble_sign1(_PROTECTED + signed.key_id, signed.payload, signed.signature)
    return PREFIX + base45.encode(message)


def decode_qr_text(qr_text: bytes) -> SignedCode:
    """Take a QR text apart without believing any of it; raises QrTextError, Base45Error or CoseError."""
    if len(qr_text) > MAX_QR_TEXT_CHARACTERS:
        raise QrTextError(f"expected at most {MAX_QR_TEXT_CHARACTERS} characters, got {len(qr_text)}")
    if not qr_text.startswith(PREFIX):
        raise QrTextError("expected the prefix GL1:")
    return split_code(base45.decode(qr_text[len(PREFIX) :]))


def split_code(message: bytes) -> SignedCode:
    """Split the COSE_Sign1 of a code into key_id, payload and signature; raises CborError or CoseError."""
    protected, payload, signature = cose.split_sign1(message)
    if len(protected) != len(_PROTECTED) + cose.KEY_ID_BYTES or not protected.startswith(_PROTECTED):
        raise CoseError("expected the protected headers alg EdDSA and a kid of 8 bytes, and no other")
    return SignedCode(protected[len(_PROTECTED) :], payload, signature)


def _expect(data: bytes, at: int, expected: bytes, what: str) -> int:
    if not data.startswith(expected, at):
        raise ClaimsError(f"expected {what}")
    return at + len(expected)


def _check(code: Code) -> None:
    if not 0 <= code.credential_index <= MAX_U32:
        raise ClaimsError("expected a credential_index under 2**32")
    if not 0 <= code.generation <= MAX_U32:
        raise ClaimsError("expected a generation under 2**32")
    if not 0 <= code.not_before < code.expires_at <= MAX_TIME:
        raise ClaimsError("expected 0 <= not_before < expires_at < 2**40")
    if len(code.hint.encode()) > MAX_HINT_BYTES:
        raise ClaimsError(f"expected a hint of at most {MAX_HINT_BYTES} bytes")
