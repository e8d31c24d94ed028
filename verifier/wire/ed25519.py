"""Ed25519 verification (RFC 8032) with ed25519-dalek's strict verification, from the package vodozemac.

It took 0.7 of libsodium's time and 0.4 of OpenSSL's (README, "Decisions"), has its key decompressed once and
for all, and gives libsodium's answers on the edge cases of "Taming the many EdDSAs" (Chalkias et al., 2020)
and of Wycheproof: it refuses signatures with S >= L, public keys and nonces of small order and non-canonical
nonces, so a signature cannot be changed into another valid one. Non-canonical keys, which libsodium refuses
and dalek reads, are refused here. tests/vectors/ holds the vectors and the answers that we rely on, and a
test compares with libsodium.
"""

from base64 import b64encode
from dataclasses import dataclass, field

from vodozemac import Ed25519PublicKey, Ed25519Signature, SignatureException

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
_P = 2**255 - 19
_SIGN_BIT = 1 << 255


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """An Ed25519 public key of 32 bytes; raises ValueError on another length.

    One that is no canonical point verifies nothing.
    """

    public_key: bytes
    _key: Ed25519PublicKey | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise ValueError(f"expected a key of {PUBLIC_KEY_BYTES} bytes, got {len(self.public_key)}")
        object.__setattr__(self, "_key", _read(self.public_key))

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether `signature` is this key's on `message`; one that is not of 64 bytes never is."""
        if len(signature) != SIGNATURE_BYTES or self._key is None:
            return False
        try:
            # The package takes text alone; that costs half a microsecond.
            self._key.verify_signature(message, Ed25519Signature.from_base64(_base64(signature)))
        except SignatureException:
            return False
        return True


def _read(public_key: bytes) -> Ed25519PublicKey | None:
    """Return the key, decompressed; None for a y of p or more, and for what is no point."""
    if int.from_bytes(public_key, "little") % _SIGN_BIT >= _P:
        return None
    try:
        return Ed25519PublicKey.from_base64(_base64(public_key))
    except ValueError:
        return None


def _base64(content: bytes) -> str:
    return b64encode(content).rstrip(b"=").decode("ascii")
