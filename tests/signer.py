"""A signer for tests: a root, a signing key, and what they sign. The seeds are public; trust nothing here."""

from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from verifier.verdict import Policy
from verifier.wire import cose
from verifier.wire.code import (
    Code,
    CredentialKind,
    SignedCode,
    code_sig_structure,
    encode_claims,
    encode_qr_text,
)
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.gate_list import GateList, ListedGate, gate_list_to_sign
from verifier.wire.key_set import KeySet, key_set_to_sign


class Signer:
    """Signs codes and gate lists, and key sets that hold its key."""

    def __init__(self, name: str = "test") -> None:
        """Two signers of one name are the same."""
        self._root = Ed25519PrivateKey.from_private_bytes(f"root of {name}".encode().ljust(32)[:32])
        self._key = Ed25519PrivateKey.from_private_bytes(f"key of {name}".encode().ljust(32)[:32])
        self.root = VerifyingKey(self._root.public_key().public_bytes_raw())
        self.root_key_id = cose.key_id(self.root.public_key)
        self.key = VerifyingKey(self._key.public_key().public_bytes_raw())
        self.root_pem = self._root.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def qr_text(
        self,
        *,
        not_before: int,
        credential_index: int = 1,
        generation: int = 1,
        kind: CredentialKind = CredentialKind.PHONE,
        window_s: int = 60,
        hint: str = "",
    ) -> bytes:
        """Return the QR text of a code."""
        code = Code(kind, credential_index, generation, not_before, not_before + window_s, hint)
        key_id = cose.key_id(self.key.public_key)
        payload = encode_claims(code)
        signature = self._key.sign(code_sig_structure(key_id, payload))
        return encode_qr_text(SignedCode(key_id, payload, signature))

    def key_set(
        self,
        *,
        issued_at: int,
        version: int = 1,
        valid_s: int = 86_400,
        keys: Sequence[VerifyingKey] | None = None,
    ) -> bytes:
        """Return a key set signed by the root, by default with the signing key alone."""
        key_set = KeySet.of(
            version=version, issued_at=issued_at, expires_at=issued_at + valid_s, keys=keys or [self.key]
        )
        protected, payload, to_sign = key_set_to_sign(key_set, self.root)
        return cose.assemble_sign1(protected, payload, self._root.sign(to_sign))

    def gate_list(
        self,
        *,
        issued_at: int,
        gates: Sequence[ListedGate] = (),
        groups: Mapping[str, Policy] | None = None,
        version: int = 1,
        valid_s: int = 86_400,
    ) -> bytes:
        """Return a gate list signed by the signing key; without `groups`, there is one that asks nothing."""
        gate_list = GateList(version, issued_at, issued_at + valid_s, groups or {"all": Policy()}, gates)
        protected, payload, to_sign = gate_list_to_sign(gate_list, cose.key_id(self.key.public_key))
        return cose.assemble_sign1(protected, payload, self._key.sign(to_sign))
