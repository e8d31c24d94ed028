"""Bearer keys: how they look, how they are hashed, and the files that staff keep them in.

A key is `gl_` and 32 random bytes in base64url (RFC 4648, section 5) without padding. Who is to use a client
makes its key; the issuer stores the SHA-256 of the whole text alone. A slow hash would protect nothing more:
nobody guesses 256 random bits.
"""

import hashlib
import os
import re
import secrets
import stat
from pathlib import Path

from issuer.errors import KeyFileError

_PREFIX = "gl_"
_KEY = re.compile(r"gl_[A-Za-z0-9_-]{43}")
# A key and a line break, and room to notice that a file holds something else.
_MAX_FILE_BYTES = 256
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_key() -> str:
    """Return a new bearer key."""
    return _PREFIX + secrets.token_urlsafe(32)


def is_key(text: str) -> bool:
    """Return whether the text has the form of a bearer key."""
    return _KEY.fullmatch(text) is not None


def hash_key(key: str) -> bytes:
    """Return what the register knows a bearer key by: the SHA-256 of its text."""
    return hashlib.sha256(key.encode()).digest()


def write_key_file(path: Path, key: str) -> None:
    """Write a bearer key for its owner alone; raises KeyFileError, also for a file that is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise KeyFileError(f"{path} is there already: choose another file, or move it away") from None
    except OSError as error:
        raise KeyFileError(f"cannot write the key file {path}: {error.strerror}") from None


def read_key_file(path: Path) -> str:
    """Return the bearer key in a file that its owner alone may read; raises KeyFileError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"cannot read the key file {path}: {error.strerror}") from None
    if mode & _OTHERS:
        raise KeyFileError(f"{path} is open to other users of this machine: run chmod 600 {path}")
    key = content.decode("ascii", errors="replace").rstrip("\r\n")
    if not is_key(key):
        raise KeyFileError(f"{path} does not hold a client key: expected gl_ and 43 characters")
    return key
