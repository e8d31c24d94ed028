"""Open what serving needs: register, keys, published key set, and the root's private key if it is here."""

from dataclasses import dataclass

import verifier.errors
from issuer.documents import DocumentHasher
from issuer.errors import KeyFileError
from issuer.folder import Folder
from issuer.key_file import Purpose, read_key_file
from issuer.key_store import KeyStore, SecretKeyStore
from issuer.keys.lifecycle import signing_key
from issuer.keys.rotation import open_signing_key
from issuer.register.database import Database
from issuer.register.keys import read_keys, read_newest_key_set
from verifier.config import read_root_key
from verifier.wire import cose
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import KeySetError
from verifier.wire.key_set import read_key_set


@dataclass(frozen=True, slots=True)
class Unlocked:
    """What an issuer serves with."""

    database: Database
    documents: DocumentHasher
    root_public_key: VerifyingKey
    root: KeyStore | None  # None: the root key is kept elsewhere

    @property
    def root_key_id(self) -> bytes:
        """The name of the root key."""
        return cose.key_id(self.root_public_key.public_key)


def unlock(folder: Folder, *, passphrase: bytes, register_url: str | None = None) -> Unlocked:
    """Open an issuer's folder, with its register there or at `register_url`.

    Raises SetupError or RegisterUnavailable. That the passphrase opens every key that is needed now is
    found out here, and not when a phone waits for a bundle.
    """
    database = Database.open(register_url or folder.register)
    try:
        root_public_key = _read_root(folder)
        _require_match(folder, database, root_public_key, passphrase)
        document_keys = [
            read_key_file(path, purpose=Purpose.DOCUMENT_HASH, passphrase=passphrase)
            for path in (folder.document_hash_key, *folder.older_document_hash_keys)
        ]
        root = _open_root(folder, root_public_key, passphrase)
    except BaseException:
        database.close()
        raise
    return Unlocked(database, DocumentHasher(*document_keys), root_public_key, root)


def _read_root(folder: Folder) -> VerifyingKey:
    try:
        return read_root_key(folder.root_public_key)
    except verifier.errors.SettingsError as error:
        raise KeyFileError(str(error)) from None


def _require_match(folder: Folder, database: Database, root: VerifyingKey, passphrase: bytes) -> None:
    """Refuse a folder and a register of two issuers, and a key file that cannot be opened."""
    with database.read() as connection:
        signed, keys = read_newest_key_set(connection), read_keys(connection)
    try:
        read_key_set(signed, root)
    except KeySetError as error:
        raise KeyFileError(
            f"{folder.root_public_key} does not match the key set of {database.name}: {error}"
        ) from None
    signing = signing_key(keys)
    # One whose file is gone is no reason not to serve: the rotation goes on with the next.
    if signing is not None and folder.signing_key(signing.key_id).exists():
        open_signing_key(folder, signing.key_id, passphrase)


def _open_root(folder: Folder, public_key: VerifyingKey, passphrase: bytes) -> KeyStore | None:
    if not folder.root_key.exists():
        return None
    root = SecretKeyStore(read_key_file(folder.root_key, purpose=Purpose.ROOT, passphrase=passphrase))
    if root.public_key != public_key.public_key:
        raise KeyFileError(f"{folder.root_key} is not the private key of {folder.root_public_key}")
    return root
