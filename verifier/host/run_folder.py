"""The folder of one run: sockets and files that supervisor and workers share, and that mean nothing later.

It lies with the temporary files. Its owner holds a lock for as long as it lives; what a killed one leaves
behind is removed by whoever starts next.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from verifier.errors import SettingsError

_PREFIX = "gatelight-verifier-"
_LOCK = "lock"
_ATTEMPTS = 3


@contextlib.contextmanager
def run_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder for our eyes only, and remove it at the end; raises SettingsError."""
    parent = parent or Path(tempfile.gettempdir())
    _remove_left_behind(parent)
    folder, lock = _new_folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _new_folder(parent: Path) -> tuple[Path, int]:
    for _ in range(_ATTEMPTS):
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        except OSError as error:
            raise SettingsError(f"cannot make a folder in {parent}: {error.strerror}") from None
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / _LOCK).exists():
            return folder, lock
        os.close(lock)  # another who starts took it for left behind, before we had the lock
    raise SettingsError(f"what is made in {parent} is removed again and again")


def _remove_left_behind(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        # Of another user, just made, or removed by another who starts: not ours to care for.
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
