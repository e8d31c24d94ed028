"""Documents: how the register knows a person again without keeping the number of a document.

What is stored is HMAC-SHA256 (RFC 2104) under a key of its own. A bare hash would not do: identity
numbers are few enough to try them all.
"""

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass

_LAST_CHARACTERS = 4
# Printed for the eye; people leave them out or put in others.
_SEPARATORS = str.maketrans("", "", " -./")


@dataclass(frozen=True, slots=True)
class DocumentMark:
    """What is kept of a document number."""

    keyed_hash: bytes  # 32 bytes
    last_four: str  # of the number, fewer where the number is shorter than eight


class DocumentHasher:
    """Marks documents under one key."""

    def __init__(self, key: bytes) -> None:
        """Take a key of 32 bytes."""
        self._key = key

    def mark(self, document_type: str, document_number: str) -> DocumentMark:
        """Return the mark of a document. Case, width, spaces, hyphens, dots and slashes make no difference.

        A number without any other character is the caller's to refuse: all such would be one document.
        """
        number = normalise(document_number)
        message = f"{normalise(document_type)}\0{number}".encode()
        keyed_hash = hmac.new(self._key, message, hashlib.sha256).digest()
        # Half of a short number at most, or the mark would be the number.
        shown = min(_LAST_CHARACTERS, len(number) // 2)
        return DocumentMark(keyed_hash, number[len(number) - shown :])


def normalise(text: str) -> str:
    """Return the text as it is hashed."""
    return unicodedata.normalize("NFKC", text).upper().translate(_SEPARATORS)
