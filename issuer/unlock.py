"""Open what serving needs: register, signing key, published key set. The root's private key stays shut."""

from dataclasses import dataclass

import verifier.errors
from issuer.documents import DocumentHasher
from issuer.errors import KeyFileError
from issuer.folder import Folder
from issuer.key_file import Purpose, read_key_file
from issuer.key_store import KeyStore, SecretKeyStore, key_id_of
from issuer.register.database import Database
from issuer.register.keys import Keys
from verifier.config import read_root_key
from verifier.wire import cose
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import KeySetError
from verifier.wire.key_set import KeySet, read_key_set


@dataclass(frozen=True, slots=True)
class Unlocked:
    """What an issuer serves with."""

    database: Database
    key: KeyStore
    key_set: KeySet
    documents: DocumentHasher
    root_key_id: bytes


def unlock(folder: Folder, *, passphrase: bytes) -> Unlocked:
    """Open an issuer's folder; raises SetupError or RegisterUnavailable."""
    database = Database.open(folder.register)
    try:
        root = _read_root(folder)
        key, key_set = _unlock_signing_key(folder, root, Keys(database), passphrase)
        document_key = read_key_file(
            folder.document_hash_key, purpose=Purpose.DOCUMENT_HASH, passphrase=passphrase
        )
    except BaseException:
        database.close()
        raise
    root_key_id = cose.key_id(root.public_key)
    return Unlocked(database, key, key_set, DocumentHasher(document_key), root_key_id)


def _read_root(folder: Folder) -> VerifyingKey:
    try:
        return read_root_key(folder.root_public_key)
    except verifier.errors.SettingsError as error:
        raise KeyFileError(str(error)) from None


def _unlock_signing_key(
    folder: Folder, root: VerifyingKey, keys: Keys, passphrase: bytes
) -> tuple[KeyStore, KeySet]:
    path = folder.signing_key(keys.active_key_id())
    key = SecretKeyStore(read_key_file(path, purpose=Purpose.SIGNING, passphrase=passphrase))
    try:
        key_set = read_key_set(keys.newest_key_set(), root)
    except KeySetError as error:
        raise KeyFileError(f"{folder.root_public_key} does not match the key set: {error}") from None
    if key_id_of(key) not in key_set.keys:
        raise KeyFileError(f"{path}: the key is not in the published key set")
    return key, key_set
