"""Bearer keys: how they look, how they are hashed, and the files that they are kept in.

A key is `gl_` and 32 random bytes in base64url (RFC 4648, section 5) without padding. Who is to use it makes
it; whoever it opens for stores the SHA-256 of the whole text alone. A slow hash would protect nothing more:
nobody guesses 256 random bits.
"""

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

_SCHEME = "bearer"  # in any case, RFC 9110, section 11.1
_PREFIX = "gl_"
_KEY = re.compile(r"gl_[A-Za-z0-9_-]{43}")
# A key and a line break, and room to notice that a file holds something else.
_MAX_FILE_BYTES = 256
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class BearerFileError(Exception):
    """A key file that must not or cannot be used; the message says what to do, and quotes no key."""


def make_key() -> str:
    """Return a new bearer key."""
    return _PREFIX + secrets.token_urlsafe(32)


def is_key(text: str) -> bool:
    """Return whether the text has the form of a bearer key."""
    return _KEY.fullmatch(text) is not None


def hash_key(key: str) -> bytes:
    """Return what a bearer key is known by: the SHA-256 of its text."""
    return hashlib.sha256(key.encode()).digest()


def read_authorization(given: Sequence[str | bytes]) -> str | None:
    """Return the key of the one `authorization` given (RFC 6750); None for anything else."""
    if len(given) != 1 or not isinstance(given[0], str):
        return None
    scheme, _, key = given[0].partition(" ")
    key = key.strip()
    return key if scheme.lower() == _SCHEME and is_key(key) else None


def write_key_file(path: Path, key: str) -> None:
    """Write a bearer key for its owner alone; raises BearerFileError, also for a file that is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise BearerFileError(f"{path} is there already: choose another file, or move it away") from None
    except OSError as error:
        raise BearerFileError(f"cannot write the key file {path}: {error.strerror}") from None


def read_key_file(path: Path, *, whose: str) -> str:
    """Return the bearer key in a file that its owner alone may read; raises BearerFileError.

    `whose` names the kind of key to people, such as "gate".
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BearerFileError(f"cannot read the key file {path}: {error.strerror}") from None
    if mode & _OTHERS:
        raise BearerFileError(f"{path} is open to other users of this machine: run chmod 600 {path}")
    key = content.decode("ascii", errors="replace").rstrip("\r\n")
    if not is_key(key):
        raise BearerFileError(f"{path} does not hold a {whose} key: expected gl_ and 43 characters")
    return key
