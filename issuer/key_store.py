"""Private keys that sign. Nobody else holds one; a code or a key set is made through this protocol."""

from typing import Protocol

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from verifier.wire import cose
from verifier.wire.ed25519 import SIGNATURE_BYTES


class KeyStore(Protocol):
    """One Ed25519 private key. PKCS#11 and key services of clouds can take its place: they sign, too."""

    @property
    def public_key(self) -> bytes:
        """The public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature (RFC 8032) on `message`, 64 bytes."""


class SecretKeyStore:
    """A private key in the memory of this process, from a key file.

    It signs with libsodium, which took 21 microseconds where OpenSSL took 34 (`make bench`), lets other
    threads run meanwhile, and is what verifiers use. Ed25519 is deterministic: both make the same bytes.
    """

    def __init__(self, secret: bytes) -> None:
        """Take the 32 bytes of an Ed25519 private key."""
        # libsodium's secret key is the secret and the public key, so that signing need not derive it.
        self.public_key, self._secret_key = crypto_sign_seed_keypair(secret)

    def sign(self, message: bytes) -> bytes:
        """Return the signature (RFC 8032) on `message`, 64 bytes."""
        return crypto_sign(message, self._secret_key)[:SIGNATURE_BYTES]


def key_id_of(key: KeyStore) -> bytes:
    """Return the key_id that verifiers know the key by."""
    return cose.key_id(key.public_key)
