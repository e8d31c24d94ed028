"""Bearer keys of the issuer's clients: verifier.bearer says what they are.

Who is to use a client makes its key; the register stores the SHA-256 of it alone.
"""

from pathlib import Path

from issuer.errors import KeyFileError
from verifier import bearer
from verifier.bearer import BearerFileError, hash_key, is_key, make_key

__all__ = ["hash_key", "is_key", "make_key", "read_key_file", "write_key_file"]


def write_key_file(path: Path, key: str) -> None:
    """Write a bearer key for its owner alone; raises KeyFileError, also for a file that is there."""
    try:
        bearer.write_key_file(path, key)
    except BearerFileError as error:
        raise KeyFileError(str(error)) from None


def read_key_file(path: Path) -> str:
    """Return the bearer key in a file that its owner alone may read; raises KeyFileError."""
    try:
        return bearer.read_key_file(path, whose="client")
    except BearerFileError as error:
        raise KeyFileError(str(error)) from None
