import json
import os
import stat
from pathlib import Path

import pytest

from issuer import key_file
from issuer.errors import KeyFileError
from issuer.key_file import Purpose, read_key_file, write_key_file

SECRET = bytes(range(32))
PASSPHRASE = b"correct horse"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key file with SECRET, at the cheapest parameters that are accepted."""
    monkeypatch.setattr(key_file, "_N", 1 << 14)
    path = tmp_path / "root.key"
    write_key_file(path, SECRET, purpose=Purpose.ROOT, passphrase=PASSPHRASE)
    return path


def test_what_was_written_is_read_back(path: Path) -> None:
    assert read_key_file(path, purpose=Purpose.ROOT, passphrase=PASSPHRASE) == SECRET


def test_the_default_parameters_are_read_back(tmp_path: Path) -> None:
    write_key_file(tmp_path / "k", SECRET, purpose=Purpose.SIGNING, passphrase=PASSPHRASE)
    assert read_key_file(tmp_path / "k", purpose=Purpose.SIGNING, passphrase=PASSPHRASE) == SECRET


def test_a_key_file_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_key_file(tmp_path / "k", SECRET, purpose=Purpose.ROOT, passphrase=PASSPHRASE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600


def test_the_secret_is_not_in_the_file(path: Path) -> None:
    assert SECRET not in path.read_bytes()
    assert SECRET.hex() not in path.read_text()


def test_a_key_file_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        write_key_file(path, bytes(32), purpose=Purpose.ROOT, passphrase=PASSPHRASE)
    assert path.read_bytes() == before


def test_no_temporary_file_stays(path: Path) -> None:
    assert list(path.parent.iterdir()) == [path]


def test_two_files_of_one_secret_differ(path: Path, tmp_path: Path) -> None:
    write_key_file(tmp_path / "other.key", SECRET, purpose=Purpose.ROOT, passphrase=PASSPHRASE)
    first, second = (json.loads(file.read_text()) for file in (path, tmp_path / "other.key"))
    assert all(first[field] != second[field] for field in ("salt", "nonce", "wrapped"))


def test_a_wrong_passphrase_is_refused_and_not_repeated(path: Path) -> None:
    with pytest.raises(KeyFileError, match="wrong passphrase") as caught:
        read_key_file(path, purpose=Purpose.ROOT, passphrase=b"wrong horse")
    assert "wrong horse" not in str(caught.value)


def test_a_key_for_another_purpose_is_refused(path: Path) -> None:
    with pytest.raises(KeyFileError, match="expected a signing key"):
        read_key_file(path, purpose=Purpose.SIGNING, passphrase=PASSPHRASE)


def test_a_purpose_that_was_changed_in_the_file_is_refused(path: Path) -> None:
    path.write_text(path.read_text().replace('"root"', '"signing"'))
    with pytest.raises(KeyFileError, match="the file was changed"):
        read_key_file(path, purpose=Purpose.SIGNING, passphrase=PASSPHRASE)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_is_open_to_others_is_refused_with_advice(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key_file(path, purpose=Purpose.ROOT, passphrase=PASSPHRASE)


@pytest.mark.parametrize("field", ["salt", "nonce", "wrapped"])
def test_any_flipped_bit_is_refused(path: Path, field: str) -> None:
    content = json.loads(path.read_text())
    flipped = bytes.fromhex(content[field])
    content[field] = (bytes([flipped[0] ^ 1]) + flipped[1:]).hex()
    path.write_text(json.dumps(content))
    with pytest.raises(KeyFileError):
        read_key_file(path, purpose=Purpose.ROOT, passphrase=PASSPHRASE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 1 << 30),  # 1 TiB of memory
        ("n", 1 << 10),
        ("n", 65_537),
        ("n", True),
        ("r", 1 << 20),
        ("p", 1 << 20),
        ("kdf", "pbkdf2"),
        ("cipher", "none"),
        ("gatelight_key_file", 2),
        ("salt", "zz"),
        ("salt", 7),
        ("nonce", "00"),
        ("nonce", None),
        ("wrapped", None),
        ("wrapped", "00"),
        ("extra", 1),
    ],
)
def test_a_field_that_no_writer_of_ours_makes_is_refused(path: Path, field: str, value: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(KeyFileError):
        read_key_file(path, purpose=Purpose.ROOT, passphrase=PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"\xff\xfe", b"-----BEGIN KEY", b"[" * 4096])
def test_a_file_that_is_no_key_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match="not a key file"):
        read_key_file(path, purpose=Purpose.ROOT, passphrase=PASSPHRASE)


def test_a_file_of_a_gigabyte_is_not_read_whole(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(KeyFileError, match="at most 4096 bytes"):
        read_key_file(path, purpose=Purpose.ROOT, passphrase=PASSPHRASE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"nowhere\.key does not exist"):
        read_key_file(tmp_path / "nowhere.key", purpose=Purpose.ROOT, passphrase=PASSPHRASE)
