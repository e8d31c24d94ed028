import hashlib
import stat
from pathlib import Path

import pytest

from issuer.access.bearer import hash_key, is_key, make_key, read_key_file, write_key_file
from issuer.errors import KeyFileError


def test_a_new_key_has_the_prefix_and_256_bits_and_is_never_the_same() -> None:
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(is_key(key) and key.startswith("gl_") and len(key) == 46 for key in keys)


def test_the_hash_is_the_sha_256_of_the_whole_text() -> None:
    key = make_key()
    assert hash_key(key) == hashlib.sha256(key.encode()).digest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gl_",
        "gl_" + "a" * 42,
        "gl_" + "a" * 44,
        "GL_" + "a" * 43,
        "gl_" + "+" * 43,
        "gl_" + "a" * 43 + "\n",
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    assert not is_key(text)


def test_a_key_file_is_its_owners_alone_and_reads_back(tmp_path: Path) -> None:
    key, path = make_key(), tmp_path / "k"
    write_key_file(path, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key_file(path) == key


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "k"
    write_key_file(path, first := make_key())
    with pytest.raises(KeyFileError, match="is there already"):
        write_key_file(path, make_key())
    assert read_key_file(path) == first


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610])
def test_a_key_file_that_others_can_open_is_refused_and_the_remedy_named(tmp_path: Path, mode: int) -> None:
    write_key_file(tmp_path / "k", make_key())
    (tmp_path / "k").chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key_file(tmp_path / "k")


@pytest.mark.parametrize("content", [b"", b"secret\n", b"\xff" * 46, b"gl_" + b"a" * 5_000])
def test_a_file_with_something_else_is_refused_without_quoting_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k").touch(0o600)
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(KeyFileError, match="does not hold a client key") as caught:
        read_key_file(tmp_path / "k")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_line_break_at_the_end_is_no_part_of_the_key(tmp_path: Path, end: bytes) -> None:
    key = make_key()
    (tmp_path / "k").touch(0o600)
    (tmp_path / "k").write_bytes(key.encode() + end)
    assert read_key_file(tmp_path / "k") == key


def test_a_missing_key_file_and_a_folder_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="nowhere"):
        read_key_file(tmp_path / "nowhere")
    with pytest.raises(KeyFileError, match="nowhere"):
        write_key_file(tmp_path / "nowhere" / "k", make_key())


def test_a_key_file_that_is_a_link_to_a_file_of_others_is_refused(tmp_path: Path) -> None:
    write_key_file(tmp_path / "k", make_key())
    (tmp_path / "k").chmod(0o644)
    (tmp_path / "link").symlink_to(tmp_path / "k")
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key_file(tmp_path / "link")
