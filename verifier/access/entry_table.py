"""Entries at one verifier: claims in a table of fixed size, in memory that its workers share.

Each worker writes to a part of its own and reads all parts, so there is no lock between them, and a worker
that dies or stands still holds up nobody. A claim is written before the other parts are read: of two workers
that are shown one code at the same moment, at least one sees the other, and when both do, the gate stays
closed.

A slot is four 64-bit words: two of the code's hash, when it is forgotten (Unix milliseconds), and the scan.
A hash has a row of slots. Where all of them are taken, the one that is forgotten soonest makes room; with
many more entries a minute than slots, a code might open twice.
"""

import hashlib
import mmap
import os
import struct
import threading
from pathlib import Path

# 2 MiB and 65 536 claims a worker: 500 entries a second, each kept for the two minutes of a phone's code.
ROWS = 1 << 13
SLOTS_PER_ROW = 8

_WORDS_PER_SLOT = 4
_WORDS_PER_ROW = SLOTS_PER_ROW * _WORDS_PER_SLOT
_HASH = struct.Struct("<QQ")


class EntryTable:
    """Claims of codes at one verifier. One per worker; threads of a worker share it."""

    def __init__(
        self, memory: memoryview | None = None, *, part: int = 0, parts: int = 1, rows: int = ROWS
    ) -> None:
        """Take part `part` of `memory`, of table_bytes(parts); without one, memory of our own."""
        if memory is None:
            memory = memoryview(bytearray(table_bytes(parts, rows)))
        self._words = memory.cast("B").cast("Q")
        self._part = part
        self._parts = parts
        self._rows = rows
        self._writing = threading.Lock()  # of this worker's threads, for microseconds

    @classmethod
    def open(cls, path: Path, *, part: int, parts: int) -> "EntryTable":
        """Share the table in a file that the workers of one verifier have; raises OSError."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _reserve(descriptor, table_bytes(parts))
            memory = mmap.mmap(descriptor, table_bytes(parts))
        finally:
            os.close(descriptor)
        return cls(memoryview(memory), part=part, parts=parts)

    def claim(self, code_hash: bytes, scan: int, forget_at_ms: int, now_ms: int) -> bool:
        """Claim a code for a scan; tell whether it is that scan's, or was another's before.

        `code_hash` has 16 bytes, `scan` is from scan_word. The claim is forgotten at `forget_at_ms`.
        """
        low, high = _HASH.unpack(code_hash)
        row = low % self._rows
        with self._writing:
            claimed = self._find(row, low, high, now_ms)
            if not claimed:
                self._write(row, (low, high, forget_at_ms, scan))
                claimed = self._find(row, low, high, now_ms)
        return all(one == scan for one in claimed)

    def _find(self, row: int, low: int, high: int, now_ms: int) -> list[int]:
        """Return the scans that have claimed a code, in all parts."""
        words = self._words
        return [
            words[at + 3]
            for part in range(self._parts)
            for at in self._slots(part, row)
            if words[at] == low and words[at + 1] == high and words[at + 2] > now_ms
        ]

    def _write(self, row: int, slot: tuple[int, int, int, int]) -> None:
        words = self._words
        # One that is empty or long forgotten, if there is one.
        at = min(self._slots(self._part, row), key=lambda at: words[at + 2])
        words[at + 2] = 0  # readers pass over it until it is whole
        words[at], words[at + 1], _, words[at + 3] = slot
        words[at + 2] = slot[2]

    def _slots(self, part: int, row: int) -> range:
        start = (part * self._rows + row) * _WORDS_PER_ROW
        return range(start, start + _WORDS_PER_ROW, _WORDS_PER_SLOT)


def table_bytes(parts: int, rows: int = ROWS) -> int:
    """Return how much memory a table of that many parts takes."""
    return 8 * _WORDS_PER_ROW * rows * parts


def scan_word(scan: bytes) -> int:
    """Return the word that stands for a scan: 64 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(scan).digest()[:8], "little")


def _reserve(descriptor: int, size: int) -> None:
    """Make a file that long; raises OSError for a full disk now, which would be a signal that kills later."""
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
