"""Files that are there whole or not at all, also after a power cut."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_RANDOM_BYTES = 4


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644, replace: bool = True) -> None:
    """Write a file under a temporary name in the same folder and move it into place.

    The mode, less the umask, holds from the first byte on. Raises FileExistsError when the file exists
    and `replace` is false, else OSError.
    """
    with open_atomically(path, mode=mode, replace=replace) as file:
        file.write(content)


def temporary_names(name: str) -> str:
    """Return the pattern of a file's temporary names: who died while writing leaves one behind."""
    return f".{name}.{'[0-9a-f]' * 2 * _RANDOM_BYTES}"


@contextlib.contextmanager
def open_atomically(path: Path, *, mode: int = 0o644, replace: bool = True) -> Iterator[BinaryIO]:
    """Give a file to write in pieces, as write_atomically; what the block raises leaves all as it was."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(_RANDOM_BYTES)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)  # unlike a move, this refuses to replace
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
