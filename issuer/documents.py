"""Documents: how the register knows a person again without keeping the number of a document.

What is stored is HMAC-SHA256 (RFC 2104) under a key of its own. A bare hash would not do: identity
numbers are few enough to try them all.

The key can be changed. What is stored cannot be hashed anew, since the numbers are not kept, so older
keys stay: the newest marks, and a document is looked for under every one of them.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_LAST_CHARACTERS = 4
# Printed for the eye; people leave them out or put in others.
_SEPARATORS = str.maketrans("", "", " -./")
# The first bytes of the SHA-256 of a key. It has 32 random bytes, so they do not lead back to it.
_KEY_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class DocumentMark:
    """What is kept of a document number."""

    keyed_hash: bytes  # 32 bytes
    last_four: str  # of the number, fewer where the number is shorter than eight
    key_id: bytes  # 8 bytes: the key that made the hash


class DocumentHasher:
    """Marks documents."""

    def __init__(self, key: bytes, *older_keys: bytes) -> None:
        """Take the key that marks, and the keys that did so before it; each has 32 bytes."""
        self.key_id = key_id_of(key)  # 8 bytes, of the key that marks
        self._keys = [(key_id_of(secret), secret) for secret in (key, *older_keys)]

    def mark(self, document_type: str, document_number: str) -> DocumentMark:
        """Return the mark of a document. Case, width, spaces, hyphens, dots and slashes make no difference.

        A number without any other character is the caller's to refuse: all such would be one document.
        """
        return self._mark(self._keys[0], normalise(document_type), normalise(document_number))

    def marks(self, document_type: str, document_number: str) -> Sequence[DocumentMark]:
        """Return the marks of a document under every key, that of the newest first."""
        normal_type, normal_number = normalise(document_type), normalise(document_number)
        return [self._mark(key, normal_type, normal_number) for key in self._keys]

    def _mark(self, key: tuple[bytes, bytes], document_type: str, number: str) -> DocumentMark:
        key_id, secret = key
        keyed_hash = hmac.digest(secret, f"{document_type}\0{number}".encode(), "sha256")
        # Half of a short number at most, or the mark would be the number.
        shown = min(_LAST_CHARACTERS, len(number) // 2)
        return DocumentMark(keyed_hash, number[len(number) - shown :], key_id)


def key_id_of(key: bytes) -> bytes:
    """Return the name by which the register knows a key."""
    return hashlib.sha256(key).digest()[:_KEY_ID_BYTES]


def normalise(text: str) -> str:
    """Return the text as it is hashed."""
    if not text.isascii():  # NFKC leaves ASCII as it is, and takes its time
        text = unicodedata.normalize("NFKC", text)
    return text.upper().translate(_SEPARATORS)
