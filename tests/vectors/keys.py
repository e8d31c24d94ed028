"""The keys of the vectors. They are TEST KEYS: the seeds stand here for all to see, so never trust them."""

import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vectors import raw_cbor as raw


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key pair derived from its name."""

    name: str
    _private: Ed25519PrivateKey = field(init=False, repr=False)

    def __post_init__(self) -> None:
        seed = hashlib.sha256(f"gatelight test key: {self.name}".encode()).digest()
        object.__setattr__(self, "_private", Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def seed(self) -> bytes:
        """The private key, 32 bytes."""
        return self._private.private_bytes_raw()

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> bytes:
        """The first 8 bytes of the COSE Key Thumbprint (RFC 9679) with SHA-256."""
        required_members = raw.mapping(
            (raw.integer(1), raw.integer(1)),
            (raw.integer(-1), raw.integer(6)),
            (raw.integer(-2), raw.byte_string(self.public)),
        )
        return hashlib.sha256(required_members).digest()[:8]

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return self._private.sign(message)


ROOT = KeyPair("root")
# The key set of the vectors holds these two; STRANGER is in none.
ACTIVE = KeyPair("active")
RETIRED = KeyPair("retired")
STRANGER = KeyPair("stranger")
