"""Signed documents in shared memory: one process writes, any number read, nobody waits.

    head     u64 version; for each slot u64 length and u64 CRC-32
    slots    two: version v lies in slot v mod 2

A new version goes into the slot that is not in use, and only then is the version raised. So a reader is never
held up by a writer, not even by one that was frozen in the middle; it reads again when the version was raised
meanwhile, for then its slot may have been written. The CRC is for machines that keep no order of stores.
"""

import zlib

from verifier.errors import VerifierError

_HEAD_BYTES = 64
_SLOTS = 2
# Each further try needs a writer that wrote twice during a reading; they come seconds apart.
_TRIES = 8


class DocumentUnsettled(VerifierError):
    """The document was written again and again while it was read: look later."""


def document_bytes(capacity: int) -> int:
    """Return how much memory a document of up to `capacity` bytes takes."""
    return _HEAD_BYTES + _SLOTS * _slot_bytes(capacity)


class Document:
    """Bytes that are replaced whole."""

    def __init__(self, memory: memoryview) -> None:
        """`memory` is document_bytes() long, zeros at first."""
        self._head = memory[:_HEAD_BYTES].cast("Q")
        slot_bytes = (len(memory) - _HEAD_BYTES) // _SLOTS
        self._slots = tuple(memory[at : at + slot_bytes] for at in (_HEAD_BYTES, _HEAD_BYTES + slot_bytes))

    @property
    def version(self) -> int:
        """How often it was written; 0 while there is nothing. Cheap."""
        return self._head[0]

    def write(self, content: bytes) -> None:
        """Replace it. For one thread of one process; raises ValueError for more than there is room for."""
        version = self._head[0] + 1
        number = version % _SLOTS
        slot = self._slots[number]
        if len(content) > len(slot):
            raise ValueError(f"expected at most {len(slot)} bytes, got {len(content)}")
        slot[: len(content)] = content
        self._head[1 + 2 * number] = len(content)
        self._head[2 + 2 * number] = zlib.crc32(content)
        self._head[0] = version

    def read(self) -> bytes:
        """Return the newest version, empty while there is none; raises DocumentUnsettled."""
        for _ in range(_TRIES):
            version = self._head[0]
            if not version:
                return b""
            number = version % _SLOTS
            length, crc = self._head[1 + 2 * number], self._head[2 + 2 * number]
            content = bytes(self._slots[number][:length])
            if self._head[0] == version and zlib.crc32(content) == crc:
                return content
        raise DocumentUnsettled("the document changes faster than it can be read")


def _slot_bytes(capacity: int) -> int:
    return -(-capacity // 8) * 8
