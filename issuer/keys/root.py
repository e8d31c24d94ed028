"""What the root key does: it signs key sets, and nothing else."""

from issuer.key_store import KeyStore
from verifier.wire import cose
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet, key_set_to_sign


def sign_key_set(key_set: KeySet, root: KeyStore) -> bytes:
    """Return the key set as verifiers take it; raises KeySetError for one that none would take."""
    protected, payload, to_sign = key_set_to_sign(key_set, VerifyingKey(root.public_key))
    return cose.assemble_sign1(protected, payload, root.sign(to_sign))
