"""The scan log on disk and in Redis: frames, names of keys, and the fields of a batch. Pure.

    frame                     u16 0x4C47, u16 length, u32 CRC-32 (zlib) of the entry, entry; little-endian.
                              An entry is a serialized verifier.v1.ScanLogEntry
    gatelight:scans           stream of batches. Fields: j journal id (16 hex digits, one a journal folder,
                              and another where a start finds no note of it), n batch number in decimal,
                              ascending by journal, p the number of the batch before it (0 or no field: it
                              needs none), e frames, maybe none
    gatelight:scans:archived:{gatelight:scans}
                              hash: journal id -> the number up to which all batches are in the archive. Some
                              40 bytes a journal id that ever was; they stay
    gatelight:scans:shipped:{gatelight:scans}:<journal id>
                              what the shipper has put into the stream, written with the batches in one MULTI,
                              for 30 days; its own affair (verifier/journal/shipped.py)

The hash tag `{gatelight:scans}` is the name of the stream: in a Redis Cluster all of it lies on one node.

The archive reads through the consumer group `archive`. When a batch is in its database, it acknowledges and
deletes the stream entry and, if the batch before is noted, notes the number in one MULTI. Only then are the
segments of the batch freed: a Redis that loses its memory, or a part of the stream, loses no scan. A batch
that is gone and does not get noted is shipped again, with all behind it. What is shipped twice is stored
once, by the identity of its entries (gate, scan_id, verdict, code hash).
"""

import struct
import zlib
from collections.abc import Iterator

SCANS_KEY = "gatelight:scans"
SCANS_TAG = "{gatelight:scans}"
ARCHIVED_KEY = f"gatelight:scans:archived:{SCANS_TAG}"
SHIPPED_KEY_PREFIX = f"gatelight:scans:shipped:{SCANS_TAG}:"
ARCHIVE_GROUP = "archive"
JOURNAL_FIELD = b"j"
NUMBER_FIELD = b"n"
PREVIOUS_FIELD = b"p"
ENTRIES_FIELD = b"e"
# A batch travels in one command and is stored in one transaction.
MAX_BATCH_BYTES = 256 << 10
# An entry with the longest ids is about 600 bytes.
MAX_ENTRY_BYTES = 1 << 10

_MAGIC = 0x4C47
_HEAD = struct.Struct("<HHI")
HEAD_BYTES = _HEAD.size
MAX_FRAME_BYTES = HEAD_BYTES + MAX_ENTRY_BYTES
_MAGIC_BYTES = struct.pack("<H", _MAGIC)


def frame(entry: bytes) -> bytes:
    """Return an entry, which is not empty, in its frame."""
    return _HEAD.pack(_MAGIC, len(entry), zlib.crc32(entry)) + entry


def read_frames(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the sound entries in `content`, each with where its frame ends.

    What is damaged is passed over, up to the next sound frame; an incomplete frame at the end is left.
    """
    at = 0
    while at + _HEAD.size <= len(content):
        magic, length, crc = _HEAD.unpack_from(content, at)
        begin = at + _HEAD.size
        end = begin + length
        # No entry is empty. "GL" and zeros would be one: the begin of a frame, and a part of the file that a
        # power cut left unwritten.
        if magic == _MAGIC and 0 < length <= MAX_ENTRY_BYTES:
            if end > len(content):
                # Incomplete, or a damaged head: then a sound frame follows somewhere behind it.
                if (at := _next_frame(content, at + 1)) < 0:
                    return
                continue
            entry = content[begin:end]
            if zlib.crc32(entry) == crc:
                yield end, entry
                at = end
                # The begin of the next frame may be what completed this one, where it was torn: its last
                # bytes were the same. Less than a head, so that no frame within an entry is read here.
                if content.startswith(_MAGIC_BYTES, end):
                    continue
                at -= _HEAD.size
        if (at := _next_frame(content, at + 1)) < 0:
            return


def _next_frame(content: bytes, at: int) -> int:
    return content.find(_MAGIC_BYTES, at)
