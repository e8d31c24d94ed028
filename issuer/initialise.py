"""Make an issuer: root key, a signing key, the key that marks documents, register, clients, key set."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuer.access import bearer
from issuer.access.clients import Clients, NewClient
from issuer.access.roles import Role
from issuer.errors import AlreadyInitialised, SetupError
from issuer.folder import Folder
from issuer.key_file import Purpose, new_secret, write_key_file
from issuer.key_store import SecretKeyStore, key_id_of
from issuer.keys.lifecycle import DEFAULT_KEY_SET_LIFE_S, Key, KeyState
from issuer.keys.root import sign_key_set
from issuer.reasons import DEFAULT_LIST
from issuer.register import keys as key_rows
from issuer.register.database import Database
from issuer.register.sqlite import COMPANIONS
from verifier.atomic_file import write_atomically
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet

LOCAL_CLIENT, APPROVER_CLIENT = "local", "approver"

_FOLDER_MODE = 0o700
# Who is alone on the machine can do the daily work, but not what needs a second person.
_CLIENTS = {
    LOCAL_CLIENT: frozenset({Role.OPERATOR, Role.CLERK, Role.AUDITOR}),
    APPROVER_CLIENT: frozenset({Role.APPROVER}),
}


@dataclass(frozen=True, slots=True)
class Initialised:
    """What initialise made."""

    root_key_id: bytes
    signing_key_id: bytes
    key_set: KeySet


def initialise(
    folder: Folder,
    *,
    passphrase: bytes,
    now: int,
    register_url: str | None = None,
    key_set_life_s: int = DEFAULT_KEY_SET_LIFE_S,
) -> Initialised:
    """Make an issuer in `folder`, its register there or at `register_url`; `now` is Unix seconds.

    Raises AlreadyInitialised, and touches nothing, when any of the files, or a register, is there;
    SetupError or RegisterUnavailable, having removed the files again, when something cannot be made.
    """
    require_new(folder)
    try:
        folder.path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        folder.signing_keys.mkdir(mode=_FOLDER_MODE)  # of two at once, one fails here
    except FileExistsError as error:
        raise _already(error.filename) from None
    except OSError as error:
        raise SetupError(f"{folder.path} cannot be made: {error.strerror}") from None
    try:
        return _fill(folder, passphrase, register_url or folder.register, key_set_life_s, now)
    except BaseException as error:
        _remove(folder)
        if isinstance(error, OSError):
            raise SetupError(f"{folder.path} cannot be written: {error.strerror}") from None
        raise


def complete(folder: Folder, database: Database, *, now: int) -> Sequence[Path]:
    """Make what the folder of an earlier release lacks: reasons, and the first clients; return the new files.

    Clients are made only for a register that has none. Raises SetupError or RegisterUnavailable.
    """
    made = []
    try:
        if not folder.reasons.exists():
            write_atomically(folder.reasons, DEFAULT_LIST.encode(), mode=0o600, replace=False)
            made.append(folder.reasons)
        clients = Clients(database=database)
        if not clients.list():
            # Left over where an earlier attempt wrote the files and did not reach the register.
            for path in (folder.local_client_key, folder.approver_client_key):
                path.unlink(missing_ok=True)
                made.append(path)
            first_clients = _write_client_keys(folder)
            with database.write() as connection:
                for client in first_clients:
                    clients.add_in(connection, client, now=now)
    except OSError as error:
        raise SetupError(f"{folder.path} cannot be written: {error.strerror}") from None
    return made


def is_complete(folder: Folder, database: Database) -> bool:
    """Tell whether `complete` has nothing to make; raises RegisterUnavailable."""
    return folder.reasons.exists() and bool(Clients(database=database).list())


def require_new(folder: Folder) -> None:
    """Raise AlreadyInitialised when there is any part of an issuer in `folder`."""
    for path in (*_files(folder), folder.register, folder.signing_keys):
        if path.exists():
            raise _already(path)


def _already(path: str | Path) -> AlreadyInitialised:
    return AlreadyInitialised(
        f"{path} exists already, and nothing was touched: serve that issuer with `gatelight-issuer serve`, "
        "or name another --folder"
    )


def _fill(
    folder: Folder, passphrase: bytes, register: str | Path, key_set_life_s: int, now: int
) -> Initialised:
    """Make the files, then the register: what an interrupted one leaves in PostgreSQL is tables alone."""
    root_secret, signing_secret = new_secret(), new_secret()
    root, store = SecretKeyStore(root_secret), SecretKeyStore(signing_secret)
    key_id = key_id_of(store)
    key_set = KeySet.of(
        version=1,
        issued_at=now,
        expires_at=now + key_set_life_s,
        keys=[VerifyingKey(store.public_key)],
    )
    signed = sign_key_set(key_set, root)
    write_key_file(folder.root_key, root_secret, purpose=Purpose.ROOT, passphrase=passphrase)
    write_key_file(folder.signing_key(key_id), signing_secret, purpose=Purpose.SIGNING, passphrase=passphrase)
    write_key_file(
        folder.document_hash_key, new_secret(), purpose=Purpose.DOCUMENT_HASH, passphrase=passphrase
    )
    write_atomically(folder.root_public_key, _pem(root.public_key), replace=False)
    write_atomically(folder.reasons, DEFAULT_LIST.encode(), mode=0o600, replace=False)
    first_clients = _write_client_keys(folder)
    with contextlib.closing(Database.create(register)) as database, database.write() as connection:
        for client in first_clients:
            Clients(database=database).add_in(connection, client, now=now)
        first = Key(key_id, store.public_key, KeyState.PREPARED, created_at=now)
        key_rows.add_key(connection, first)
        key_rows.add_key_set(connection, key_set, signed, now=now)
        key_rows.activate_key(connection, key_id, now=now)
    return Initialised(key_id_of(root), key_id, key_set)


def _write_client_keys(folder: Folder) -> Sequence[NewClient]:
    """Make the bearer keys of the first clients, write them into the folder, and return the clients."""
    new = []
    for name, path in (
        (LOCAL_CLIENT, folder.local_client_key),
        (APPROVER_CLIENT, folder.approver_client_key),
    ):
        key = bearer.make_key()
        bearer.write_key_file(path, key)
        new.append(NewClient(name, _CLIENTS[name], bearer_key_sha256=bearer.hash_key(key)))
    return new


def _pem(public_key: bytes) -> bytes:
    return Ed25519PublicKey.from_public_bytes(public_key).public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )


def _files(folder: Folder) -> tuple[Path, ...]:
    return (
        folder.root_key,
        folder.root_public_key,
        folder.document_hash_key,
        folder.reasons,
        folder.local_client_key,
        folder.approver_client_key,
    )


def _remove(folder: Folder) -> None:
    """Remove what an initialisation made that did not get to its end."""
    # Not register.db*: a register that was replaced, or backed up, may lie beside it.
    register = [folder.register.with_name(folder.register.name + end) for end in ("", *COMPANIONS)]
    for path in (*_files(folder), *register, *folder.signing_keys.glob("*.key")):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.signing_keys.rmdir()
        folder.path.rmdir()  # only if it is empty: it may have been there before
