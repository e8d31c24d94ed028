"""Ed25519 verification (RFC 8032) with libsodium.

libsodium took 45 microseconds where OpenSSL took 70, and on the edge cases of "Taming the many
EdDSAs" (Chalkias et al., 2020) it is the stricter one: it refuses signatures with S >= L, public keys
and nonces of small order and non-canonical keys, so a signature cannot be changed into another valid
one. tests/vectors/ holds the vectors and the answers we rely on.
"""

from dataclasses import dataclass

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """An Ed25519 public key of 32 bytes; raises ValueError on another length."""

    public_key: bytes

    def __post_init__(self) -> None:
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise ValueError(f"expected a key of {PUBLIC_KEY_BYTES} bytes, got {len(self.public_key)}")

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether `signature` is this key's on `message`; one that is not of 64 bytes never is."""
        # libsodium takes the two joined, so a signature of another length would shift the border.
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            crypto_sign_open(signature + message, self.public_key)
        except BadSignatureError:
            return False
        return True
