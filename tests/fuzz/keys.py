"""Keys of seeds that everybody knows, and what they sign."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from verifier.wire import cose
from verifier.wire.code import SignedCode, code_sig_structure, encode_qr_text
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet

NOW = 1_800_000_000


class Key:
    """A key pair."""

    def __init__(self, name: str) -> None:
        """Two keys of one name are the same."""
        self._private = Ed25519PrivateKey.from_private_bytes(f"fuzz {name}".encode().ljust(32)[:32])
        self.public = VerifyingKey(self._private.public_key().public_bytes_raw())
        self.key_id = cose.key_id(self.public.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return the signature, which is always the same for a message (RFC 8032)."""
        return self._private.sign(message)

    def qr_text(self, payload: bytes) -> bytes:
        """Return the QR text of a payload, whatever it says."""
        signature = self.sign(code_sig_structure(self.key_id, payload))
        return encode_qr_text(SignedCode(self.key_id, payload, signature))

    def sign1(self, protected: bytes, payload: bytes) -> bytes:
        """Return the COSE_Sign1 of any protected header and payload."""
        return cose.assemble_sign1(protected, payload, self.sign(cose.sig_structure(protected, payload)))


ROOT, SIGNING, STRANGER = Key("root"), Key("signing"), Key("stranger")
KEY_SET = KeySet.of(version=1, issued_at=NOW - 100, expires_at=NOW + 86_400, keys=[SIGNING.public])
