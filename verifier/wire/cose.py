"""COSE_Sign1 (RFC 9052, section 4.2) with Ed25519, and the COSE Key Thumbprint (RFC 9679).

What is common to codes and key sets: the bytes that a signature covers, the assembled message, and
the identifier of a key. Each format reads its own messages, strictly.
"""

import hashlib

from verifier.wire import cbor
from verifier.wire.ed25519 import SIGNATURE_BYTES
from verifier.wire.errors import CoseError

KEY_ID_BYTES = 8

_SIGN1 = cbor.head(cbor.TAG, 18) + cbor.head(cbor.ARRAY, 4)
_SIG_STRUCTURE = cbor.head(cbor.ARRAY, 4) + cbor.text_string("Signature1")
_NO_UNPROTECTED_HEADERS = cbor.head(cbor.MAP, 0)
_NO_EXTERNAL_AAD = cbor.byte_string(b"")
# {1: 1 (kty OKP), -1: 6 (crv Ed25519), -2: x}: the required members, in deterministic order.
_THUMBPRINT_INPUT = bytes.fromhex("a3 01 01 20 06 21")


def sig_structure(protected: bytes, payload: bytes) -> bytes:
    """Return the bytes that the signature covers (RFC 9052, section 4.4), without external data."""
    return _SIG_STRUCTURE + cbor.byte_string(protected) + _NO_EXTERNAL_AAD + cbor.byte_string(payload)


def assemble_sign1(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """Return the tagged COSE_Sign1 with no unprotected headers."""
    return (
        _SIGN1
        + cbor.byte_string(protected)
        + _NO_UNPROTECTED_HEADERS
        + cbor.byte_string(payload)
        + cbor.byte_string(signature)
    )


def split_sign1(message: bytes) -> tuple[bytes, bytes, bytes]:
    """Return protected header, payload and signature of a tagged COSE_Sign1 with no unprotected headers.

    Takes only what assemble_sign1 makes; raises CborError or CoseError. Nothing in it is believed yet.
    """
    if not message.startswith(_SIGN1):
        raise CoseError("expected tag 18 and four items")
    protected, at = cbor.read_string(message, len(_SIGN1), cbor.BYTES)
    if not message.startswith(_NO_UNPROTECTED_HEADERS, at):
        raise CoseError("expected no unprotected headers")
    payload, at = cbor.read_string(message, at + len(_NO_UNPROTECTED_HEADERS), cbor.BYTES)
    signature, at = cbor.read_string(message, at, cbor.BYTES)
    if len(signature) != SIGNATURE_BYTES:
        raise CoseError(f"expected a signature of {SIGNATURE_BYTES} bytes, got {len(signature)}")
    if at != len(message):
        raise CoseError(f"expected the end of the message, got {len(message) - at} more bytes")
    return protected, payload, signature


def key_id(public_key: bytes) -> bytes:
    """Return the key_id of an Ed25519 public key of 32 bytes: the first 8 bytes of its SHA-256 thumbprint."""
    return hashlib.sha256(_THUMBPRINT_INPUT + cbor.byte_string(public_key)).digest()[:KEY_ID_BYTES]
