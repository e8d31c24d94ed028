import contextlib
import stat
from pathlib import Path

import pytest

from issuer import initialise as initialise_module
from issuer.access.bearer import hash_key
from issuer.access.bearer import read_key_file as read_bearer_key
from issuer.access.clients import Clients
from issuer.access.roles import Role
from issuer.errors import (
    AlreadyInitialised,
    AlreadyServed,
    KeyFileError,
    NotInitialised,
    RegisterUnavailable,
    SetupError,
)
from issuer.folder import Folder, locked
from issuer.initialise import complete, initialise
from issuer.key_file import Purpose, read_key_file, write_key_file
from issuer.key_store import SecretKeyStore
from issuer.keys.lifecycle import KeyState
from issuer.reasons import Reasons
from issuer.register.database import Database
from issuer.register.keys import Keys
from issuer.unlock import unlock
from tests.issuer.postgres_server import PostgresServer
from tests.signer import Signer
from verifier.config import read_root_key
from verifier.wire.key_set import read_key_set
from verifier.wire.status_record import Colour

PASSPHRASE = b"correct horse"
NOW = 1_800_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder with an issuer."""
    folder = Folder(tmp_path / "new" / "issuer")
    initialise(folder, passphrase=PASSPHRASE, now=NOW)
    return folder


def files(folder: Folder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_everything_private_is_for_its_owner_alone(folder: Folder) -> None:
    open_to_others = [
        path.name for path in folder.path.rglob("*") if path.is_file() and path.stat().st_mode & 0o077
    ]
    assert open_to_others == ["root.pub"]
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_the_public_key_is_of_the_root_and_the_root_signed_the_key_set(folder: Folder) -> None:
    root = SecretKeyStore(read_key_file(folder.root_key, purpose=Purpose.ROOT, passphrase=PASSPHRASE))
    pinned = read_root_key(folder.root_public_key)
    assert pinned.public_key == root.public_key
    unlocked = unlock(folder, passphrase=PASSPHRASE)
    keys = Keys(unlocked.database)
    key_set = read_key_set(keys.newest_key_set(), pinned)
    (key,) = keys.all()
    assert list(key_set.keys) == [key.key_id]
    assert key.state is KeyState.ACTIVE
    assert (key_set.version, key_set.issued_at, key_set.expires_at) == (1, NOW, NOW + 30 * 86_400)
    unlocked.database.close()


def test_the_root_key_is_opened_where_it_is(folder: Folder) -> None:
    unlocked = unlock(folder, passphrase=PASSPHRASE)
    assert unlocked.root is not None
    assert unlocked.root.public_key == unlocked.root_public_key.public_key
    unlocked.database.close()


def test_serving_needs_no_private_root_key(folder: Folder) -> None:
    folder.root_key.unlink()
    unlocked = unlock(folder, passphrase=PASSPHRASE)
    assert unlocked.root is None
    unlocked.database.close()


def test_the_root_key_of_another_issuer_is_refused(folder: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path / "other")
    initialise(other, passphrase=PASSPHRASE, now=NOW)
    folder.root_key.write_bytes(other.root_key.read_bytes())
    with pytest.raises(KeyFileError, match="not the private key"):
        unlock(folder, passphrase=PASSPHRASE)


def test_two_clients_are_there_from_the_start_and_their_keys_open(folder: Folder) -> None:
    unlocked = unlock(folder, passphrase=PASSPHRASE)
    clients = Clients(database=unlocked.database)
    local = clients.find_by_bearer_key(hash_key(read_bearer_key(folder.local_client_key)))
    approver = clients.find_by_bearer_key(hash_key(read_bearer_key(folder.approver_client_key)))
    assert local is not None
    assert approver is not None
    assert (local.name, local.roles) == ("local", frozenset({Role.OPERATOR, Role.CLERK, Role.AUDITOR}))
    assert (approver.name, approver.roles) == ("approver", frozenset({Role.APPROVER}))
    unlocked.database.close()


def test_no_bearer_key_is_in_the_register(folder: Folder) -> None:
    key = read_bearer_key(folder.local_client_key).encode()
    assert all(key not in path.read_bytes() for path in folder.path.glob("register.db*"))


def test_the_default_reasons_are_there_to_be_edited(folder: Folder) -> None:
    assert Reasons.open(folder.reasons).check(12, Colour.RED) is None


def test_the_register_may_be_a_postgresql_database(tmp_path: Path, postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("init")
    folder = Folder(tmp_path / "issuer")
    initialise(folder, passphrase=PASSPHRASE, now=NOW, register_url=url)
    assert not folder.register.exists()
    unlocked = unlock(folder, passphrase=PASSPHRASE, register_url=url)
    assert len(Keys(unlocked.database).all()) == 1
    unlocked.database.close()
    other = Folder(tmp_path / "other")
    with pytest.raises(AlreadyInitialised):
        initialise(other, passphrase=PASSPHRASE, now=NOW, register_url=url)
    assert not other.path.exists()


def test_an_initialisation_that_failed_can_be_repeated_in_postgresql(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.create_database("again")
    folder = Folder(tmp_path / "issuer")
    with monkeypatch.context() as patched:
        patched.setattr("issuer.initialise.key_rows.add_key_set", fail)
        with pytest.raises(RuntimeError):
            initialise(folder, passphrase=PASSPHRASE, now=NOW, register_url=url)
    initialise(folder, passphrase=PASSPHRASE, now=NOW, register_url=url)
    unlock(folder, passphrase=PASSPHRASE, register_url=url).database.close()


def test_older_keys_that_marked_documents_are_opened_too(folder: Folder) -> None:
    before = unlock(folder, passphrase=PASSPHRASE)
    mark = before.documents.mark("ID", "110105")
    folder.document_hash_key.rename(folder.path / "document-hash.1.key")
    write_key_file(folder.document_hash_key, bytes(32), purpose=Purpose.DOCUMENT_HASH, passphrase=PASSPHRASE)
    after = unlock(folder, passphrase=PASSPHRASE)
    assert after.documents.mark("ID", "110105") != mark
    assert mark in after.documents.marks("ID", "110105")
    before.database.close()
    after.database.close()


def test_two_issuers_share_no_key(tmp_path: Path) -> None:
    first, second = (
        initialise(Folder(tmp_path / name), passphrase=PASSPHRASE, now=NOW) for name in ("a", "b")
    )
    assert first.root_key_id != second.root_key_id
    assert first.signing_key_id != second.signing_key_id


def test_an_issuer_is_never_overwritten(folder: Folder) -> None:
    before = files(folder)
    with pytest.raises(AlreadyInitialised, match="nothing was touched"):
        initialise(folder, passphrase=b"another", now=NOW)
    assert files(folder) == before


@pytest.mark.parametrize(
    "left",
    [
        *("root.key", "root.pub", "document-hash.key", "register.db", "signing"),
        *("reasons.toml", "local.key", "approver.key"),
    ],
)
def test_not_even_a_part_of_an_issuer_is_overwritten(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir()
    with pytest.raises(AlreadyInitialised, match=left):
        initialise(Folder(tmp_path), passphrase=PASSPHRASE, now=NOW)
    assert [path.name for path in tmp_path.iterdir()] == [left]


def test_an_existing_folder_is_used_and_its_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    tmp_path.chmod(0o755)
    initialise(Folder(tmp_path), passphrase=PASSPHRASE, now=NOW)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", ["sign_key_set", "Clients"])
def test_an_interrupted_initialisation_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, failing: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(initialise_module, failing, fail)
    expected = SetupError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        initialise(Folder(tmp_path / "issuer"), passphrase=PASSPHRASE, now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot be made"):
        initialise(Folder(tmp_path / "file" / "issuer"), passphrase=PASSPHRASE, now=NOW)


def test_a_wrong_passphrase_opens_nothing(folder: Folder) -> None:
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        unlock(folder, passphrase=b"wrong horse")


def test_a_folder_without_an_issuer_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(NotInitialised, match="gatelight-issuer init"):
        unlock(Folder(tmp_path), passphrase=PASSPHRASE)


def test_another_roots_public_key_is_refused(folder: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path / "other")
    initialise(other, passphrase=PASSPHRASE, now=NOW)
    folder.root_public_key.write_bytes(other.root_public_key.read_bytes())
    with pytest.raises(KeyFileError, match="does not match the key set"):
        unlock(folder, passphrase=PASSPHRASE)


def test_a_missing_public_key_is_named(folder: Folder) -> None:
    folder.root_public_key.unlink()
    with pytest.raises(KeyFileError, match=r"root\.pub"):
        unlock(folder, passphrase=PASSPHRASE)


def test_a_file_with_another_signing_key_is_refused(folder: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path / "other")
    made = initialise(other, passphrase=PASSPHRASE, now=NOW)
    (published,) = folder.signing_keys.iterdir()
    published.write_bytes(other.signing_key(made.signing_key_id).read_bytes())
    with pytest.raises(KeyFileError, match="another key than its name says"):
        unlock(folder, passphrase=PASSPHRASE)


def test_a_signing_key_whose_file_is_gone_does_not_keep_the_issuer_from_starting(folder: Folder) -> None:
    (published,) = folder.signing_keys.iterdir()
    published.unlink()
    unlock(folder, passphrase=PASSPHRASE).database.close()


def test_a_register_without_keys_is_refused(tmp_path: Path) -> None:
    Database.create(tmp_path / "register.db").close()
    (tmp_path / "root.pub").write_bytes(Signer().root_pem)
    with pytest.raises(NotInitialised, match="no key set"):
        unlock(Folder(tmp_path), passphrase=PASSPHRASE)


def test_a_damaged_register_is_refused(folder: Folder) -> None:
    folder.register.write_bytes(b"nonsense" * 1_000)
    with pytest.raises(RegisterUnavailable):
        unlock(folder, passphrase=PASSPHRASE)


def test_one_process_serves_a_folder(folder: Folder) -> None:
    with locked(folder), pytest.raises(AlreadyServed), locked(folder):
        pass
    with locked(folder):
        pass


def test_a_lock_that_cannot_be_opened_is_told(folder: Folder) -> None:
    folder.lock.mkdir()
    with pytest.raises(SetupError, match=r"serve\.lock cannot be opened"), locked(folder):
        pass


def test_a_folder_that_is_not_there_is_not_made_by_locking_it(tmp_path: Path) -> None:
    with pytest.raises(NotInitialised), locked(Folder(tmp_path / "nowhere")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_folder_of_the_first_release_lacks_is_made_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "issuer")
    initialise(folder, passphrase=PASSPHRASE, now=NOW)
    lacking = (folder.reasons, folder.local_client_key, folder.approver_client_key)
    for path in lacking:
        path.unlink()
    with contextlib.closing(Database.open(folder.register)) as database:
        with database.write() as connection:
            connection.exec_driver_sql("DELETE FROM clients")
        assert set(complete(folder, database, now=NOW)) == set(lacking)
        assert {client.name for client in Clients(database=database).list()} == {"local", "approver"}
        assert list(complete(folder, database, now=NOW)) == []
    known = read_bearer_key(folder.local_client_key)
    with contextlib.closing(Database.open(folder.register)) as database:
        caller = Clients(database=database).find_by_bearer_key(hash_key(known))
    assert caller is not None
    assert caller.name == "local"


def test_a_register_that_was_kept_beside_the_folder_outlives_an_initialisation_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path / "issuer")
    folder.path.mkdir()
    kept = folder.path / "register.db.replaced-1"
    kept.write_bytes(b"a register")
    monkeypatch.setattr("issuer.initialise.key_rows.add_key", fail)
    with pytest.raises(RuntimeError):
        initialise(folder, passphrase=PASSPHRASE, now=NOW)
    assert kept.exists()
    assert not folder.register.exists()


def fail(*_: object, **__: object) -> None:
    raise RuntimeError
