"""Make an issuer: root key, one signing key, the key that marks documents, register, first key set."""

import contextlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuer.errors import AlreadyInitialised, SetupError
from issuer.folder import Folder
from issuer.key_file import Purpose, new_secret, write_key_file
from issuer.key_store import KeyStore, SecretKeyStore, key_id_of
from issuer.register.database import Database
from issuer.register.keys import Keys
from verifier.atomic_file import write_atomically
from verifier.wire import cose
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet, key_set_to_sign

# Verifiers stop taking codes when it ends: a season with the root in a safe, and not for ever.
KEY_SET_VALIDITY_S = 90 * 86_400
_FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Initialised:
    """What initialise made."""

    root_key_id: bytes
    signing_key_id: bytes
    key_set: KeySet


def initialise(folder: Folder, *, passphrase: bytes, now: int) -> Initialised:
    """Make an issuer in `folder`; `now` is Unix seconds.

    Raises AlreadyInitialised, and touches nothing, when any of the files is there; SetupError when the
    folder cannot be written, having removed again what was made.
    """
    require_new(folder)
    try:
        folder.path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        folder.signing_keys.mkdir(mode=_FOLDER_MODE)  # of two at once, one fails here
    except FileExistsError as error:
        raise AlreadyInitialised(f"{error.filename} exists already: nothing was touched") from None
    except OSError as error:
        raise SetupError(f"{folder.path} cannot be made: {error.strerror}") from None
    try:
        return _fill(folder, passphrase, now)
    except BaseException as error:
        _remove(folder)
        if isinstance(error, OSError):
            raise SetupError(f"{folder.path} cannot be written: {error.strerror}") from None
        raise


def require_new(folder: Folder) -> None:
    """Raise AlreadyInitialised when there is any part of an issuer in `folder`."""
    made = (folder.root_key, folder.root_public_key, folder.document_hash_key, folder.register)
    for path in (*made, folder.signing_keys):
        if path.exists():
            raise AlreadyInitialised(f"{path} exists already: nothing was touched")


def _fill(folder: Folder, passphrase: bytes, now: int) -> Initialised:
    root_secret, signing_secret = new_secret(), new_secret()
    root, key = SecretKeyStore(root_secret), SecretKeyStore(signing_secret)
    key_set = KeySet.of(
        version=1,
        issued_at=now,
        expires_at=now + KEY_SET_VALIDITY_S,
        keys=[VerifyingKey(key.public_key)],
    )
    write_key_file(folder.root_key, root_secret, purpose=Purpose.ROOT, passphrase=passphrase)
    write_key_file(
        folder.signing_key(key_id_of(key)), signing_secret, purpose=Purpose.SIGNING, passphrase=passphrase
    )
    write_key_file(
        folder.document_hash_key, new_secret(), purpose=Purpose.DOCUMENT_HASH, passphrase=passphrase
    )
    pem = Ed25519PublicKey.from_public_bytes(root.public_key).public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    write_atomically(folder.root_public_key, pem, replace=False)
    with contextlib.closing(Database.create(folder.register)) as database:
        keys = Keys(database)
        keys.add_active_key(key.public_key, now=now)
        keys.add_key_set(key_set, _sign_key_set(key_set, root))
    return Initialised(key_id_of(root), key_id_of(key), key_set)


def _sign_key_set(key_set: KeySet, root: KeyStore) -> bytes:
    protected, payload, to_sign = key_set_to_sign(key_set, VerifyingKey(root.public_key))
    return cose.assemble_sign1(protected, payload, root.sign(to_sign))


def _remove(folder: Folder) -> None:
    """Remove what an initialisation made that did not get to its end."""
    files = (folder.root_key, folder.root_public_key, folder.document_hash_key)
    for path in (*files, *folder.path.glob("register.db*"), *folder.signing_keys.glob("*.key")):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.signing_keys.rmdir()
        folder.path.rmdir()  # only if it is empty: it may have been there before
