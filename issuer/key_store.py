"""Private keys that sign. Nobody else holds one; a code or a key set is made through this protocol."""

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from verifier.wire import cose


class KeyStore(Protocol):
    """One Ed25519 private key. PKCS#11 and key services of clouds can take its place: they sign, too."""

    @property
    def public_key(self) -> bytes:
        """The public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature (RFC 8032) on `message`, 64 bytes."""


class SecretKeyStore:
    """A private key in the memory of this process, from a key file."""

    def __init__(self, secret: bytes) -> None:
        """Take the 32 bytes of an Ed25519 private key."""
        self._private_key = Ed25519PrivateKey.from_private_bytes(secret)
        self.public_key = self._private_key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the signature (RFC 8032) on `message`, 64 bytes."""
        return self._private_key.sign(message)


def key_id_of(key: KeyStore) -> bytes:
    """Return the key_id that verifiers know the key by."""
    return cose.key_id(key.public_key)
