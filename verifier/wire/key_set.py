"""The key set: the verifying keys in force, signed by the offline root key.

COSE_Sign1 (RFC 9052) over a deterministic CBOR map of CWT claims (RFC 8392) and two private ones:

    protected  {1: -8, 4: key_id of the root, 16: "application/gatelight-key-set+cose"}
    payload    {4: expires_at, 6: issued_at, -65538: version, -65539: [+ COSE_Key]}
    COSE_Key   {1: 1 (OKP), 2: key_id, 3: -8 (EdDSA), -1: 6 (Ed25519), -2: x}

The type (RFC 9596) is under the signature, so that nothing else that a root may sign can pass for a
key set. A verifier pins the root's public key and refuses a version lower than one it has seen since it
was started: who can write to Redis cannot mint codes, nor bring back a key that was taken away to a
verifier that knows. (One that starts anew takes any version that has not expired.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cbor2

from verifier.wire import cose
from verifier.wire.code import MAX_TIME, MAX_U32
from verifier.wire.ed25519 import PUBLIC_KEY_BYTES, VerifyingKey
from verifier.wire.errors import CborError, CoseError, KeySetError, KeySetNotTrusted

MAX_SIGNED_KEY_SET_BYTES = 4_096
# One active, one prepared, and the retired ones of a few weeks of paper cards.
MAX_KEYS = 32

_TYPE = "application/gatelight-key-set+cose"
_EXPIRES_AT, _ISSUED_AT, _VERSION, _KEYS = 4, 6, -65538, -65539


@dataclass(frozen=True, slots=True)
class KeySet:
    """The verifying keys in force, by key_id. In force itself while issued_at <= now < expires_at."""

    version: int  # from 1 on; a higher one replaces a lower one
    issued_at: int  # Unix seconds
    expires_at: int  # Unix seconds
    keys: Mapping[bytes, VerifyingKey]

    @classmethod
    def of(cls, *, version: int, issued_at: int, expires_at: int, keys: Sequence[VerifyingKey]) -> "KeySet":
        """Make a key set of verifying keys; their key_ids follow from them."""
        by_id = {cose.key_id(key.public_key): key for key in keys}
        return cls(version, issued_at, expires_at, MappingProxyType(by_id))


def key_set_to_sign(key_set: KeySet, root: VerifyingKey) -> tuple[bytes, bytes, bytes]:
    """Return protected header, payload and the bytes for the root to sign.

    cose.assemble_sign1 makes the key set of them. Raises KeySetError for one that no verifier would take.
    """
    _check(key_set)
    protected = _protected_header(root)
    payload = encode_payload(key_set)
    return protected, payload, cose.sig_structure(protected, payload)


def read_key_set(signed: bytes, root: VerifyingKey) -> KeySet:
    """Return the key set that `root` signed; raises KeySetError.

    Nothing but the envelope is looked at before the signature is found right. The caller compares the
    version with the one it has, and the validity with its clock.
    """
    if len(signed) > MAX_SIGNED_KEY_SET_BYTES:
        raise KeySetError(f"expected at most {MAX_SIGNED_KEY_SET_BYTES} bytes, got {len(signed)}")
    protected, payload, signature = _split(signed)
    if protected != _protected_header(root):
        raise KeySetNotTrusted("expected a key set signed by the pinned root key, got one of another root")
    if not root.verifies(signature, cose.sig_structure(protected, payload)):
        raise KeySetNotTrusted("expected a signature by the pinned root key")
    return decode_payload(payload)


def decode_payload(payload: bytes) -> KeySet:
    """Return the key set that a payload says, whether signed or to be signed; raises KeySetError.

    It comes from the root or from the issuer: it is not hostile, but may be of another version.
    """
    key_set = _decode(payload)
    _check(key_set)
    # Only the one encoding is taken. Python holds True, 1.0 and 1 for equal, and a repeated key is one in
    # a mapping: this comparison tells them apart.
    if encode_payload(key_set) != payload:
        raise KeySetError("expected a deterministically encoded payload")
    return key_set


def encode_payload(key_set: KeySet) -> bytes:
    """Return the payload of a key set: what the root signs."""
    return cbor2.dumps(
        {
            _EXPIRES_AT: key_set.expires_at,
            _ISSUED_AT: key_set.issued_at,
            _VERSION: key_set.version,
            _KEYS: [_encode_key(key) for key in key_set.keys.values()],
        },
        canonical=True,
    )


def _protected_header(root: VerifyingKey) -> bytes:
    return cbor2.dumps({1: -8, 4: cose.key_id(root.public_key), 16: _TYPE}, canonical=True)


def _split(signed: bytes) -> tuple[bytes, bytes, bytes]:
    try:
        return cose.split_sign1(signed)
    except (CborError, CoseError) as error:
        raise KeySetError(str(error)) from None


def _decode(payload: bytes) -> KeySet:
    try:
        loaded = cbor2.loads(payload, max_depth=4, allow_indefinite=False, allow_duplicate_keys=False)
    except cbor2.CBORDecodeError as error:
        raise KeySetError(f"expected CBOR, got {type(error).__name__}") from None
    match loaded:
        case {4: int(expires_at), 6: int(issued_at), -65538: int(version), -65539: list(encoded_keys)} if (
            len(loaded) == 4
        ):
            keys = [_decode_key(key) for key in encoded_keys]
            return KeySet.of(
                version=int(version), issued_at=int(issued_at), expires_at=int(expires_at), keys=keys
            )
        case _:
            raise KeySetError("expected expires_at, issued_at, version and keys")


def _encode_key(key: VerifyingKey) -> dict[int, Any]:
    return {1: 1, 2: cose.key_id(key.public_key), 3: -8, -1: 6, -2: key.public_key}


def _decode_key(encoded: Any) -> VerifyingKey:
    match encoded:
        case {1: 1, 2: bytes(key_id), 3: -8, -1: 6, -2: bytes(public_key)} if (
            len(encoded) == 5 and len(public_key) == PUBLIC_KEY_BYTES and key_id == cose.key_id(public_key)
        ):
            return VerifyingKey(public_key)
        case _:
            raise KeySetError("expected an Ed25519 COSE_Key under its own key_id")


def _check(key_set: KeySet) -> None:
    if not 1 <= key_set.version <= MAX_U32:
        raise KeySetError("expected a version from 1 to 2**32 - 1")
    if not 0 <= key_set.issued_at < key_set.expires_at <= MAX_TIME:
        raise KeySetError("expected 0 <= issued_at < expires_at < 2**40")
    if not 1 <= len(key_set.keys) <= MAX_KEYS:
        raise KeySetError(f"expected 1 to {MAX_KEYS} keys, got {len(key_set.keys)}")
