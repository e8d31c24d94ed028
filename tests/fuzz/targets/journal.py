"""A journal that was damaged: what is read from its segments was written, and to the end of it all is read.

The input says what gates asked, how it was written, and what befell the file: bits that turn (as many as the
CRC must find), writes that ended early, sectors that are lost or zero, an end that is cut off. Entries are
made of what a gate may say in the ids of a scan, which is all that others have in them.
"""

import contextlib
from collections import Counter as Counts

from tests.fuzz.keys import NOW
from tests.fuzz.target import Input, Target, new_folder
from verifier.call_error import CallError
from verifier.calls import check_id
from verifier.journal.segments import Segment, list_segments
from verifier.journal.unshipped import read_unshipped
from verifier.v1.scan_log_pb2 import ScanLogEntry
from verifier.wire.scan_log import MAX_BATCH_BYTES, MAX_ENTRY_BYTES, frame, read_frames

_SECTOR = 512
_NAME = "00000000000000000001-0-00000000.scans"
_FOLDER = new_folder("fuzz-journal-")


def run(content: bytes) -> None:
    """Write a segment, damage it, read it."""
    given = Input(content)
    is_closed = bool(given.number() & 1)
    written: list[bytes] = []
    # Where no more than the last byte is missing, the "G" of the next frame may be that very byte.
    begun: list[bytes] = []
    file = bytearray()
    is_damaged = False
    for _ in range(1 + given.number() % 24):
        entry = _entry(given)
        framed = frame(entry)
        what = given.number()
        if what % 8 == 7:  # the disk was full in the middle of a write
            framed = framed[: given.number(2) % len(framed)]
            is_damaged = True
            begun.append(entry)
        else:
            written.append(entry)
        file += framed
    is_damaged |= _damage(file, given)
    found, damaged_bytes = _read(bytes(file), is_closed, given.number(2))
    spare = Counts(found) - Counts(written) - Counts(begun)
    assert not spare, "an entry was read that was not written"
    if not is_damaged:
        assert found == written
        assert not damaged_bytes


def _entry(given: Input) -> bytes:
    scan_id = given.take(given.number() % 128).decode("utf-8", "ignore")[:64]
    gate_id = given.take(given.number() % 64).decode("utf-8", "ignore")[:64]
    try:
        check_id("scan_id", scan_id)
        check_id("gate_id", gate_id)
    except CallError:
        scan_id, gate_id = "s", "g"
    entry = ScanLogEntry(
        scan_id=scan_id, gate_id=gate_id, verified_at_ms=NOW * 1000, status_age_ms=given.number(2)
    ).SerializeToString()
    assert len(entry) <= MAX_ENTRY_BYTES
    return entry


def _damage(file: bytearray, given: Input) -> bool:
    what = given.number() % 6
    if not file or what == 0:
        return False
    at = given.number(2) % len(file)
    if what == 1:
        file[at] ^= 1 << given.number() % 8
    elif what == 2:
        del file[at:]
    elif what == 3:
        at -= at % _SECTOR
        file[at : at + _SECTOR] = bytes(len(file[at : at + _SECTOR]))
    elif what == 4:
        at -= at % _SECTOR
        del file[at : at + _SECTOR]
    else:
        file += bytes(given.number(2) % 4_096)
    return True


def _read(content: bytes, is_closed: bool, limit_bytes: int) -> tuple[list[bytes], int]:
    """Read as a shipper does, turn by turn."""
    path = _FOLDER / _NAME
    path.write_bytes(content)
    (listed,) = list_segments(_FOLDER)
    assert listed == Segment(_NAME, len(content), is_closed=True)
    segments = [Segment(_NAME, len(content), is_closed)]
    positions: dict[str, int] = {}
    found: list[bytes] = []
    damaged_bytes = 0
    for _ in range(64):
        read = read_unshipped(_FOLDER, segments, positions, limit_bytes=1 + limit_bytes)
        assert not read.unreadable
        assert read.positions[_NAME] >= positions.get(_NAME, 0)
        for batch in read.batches:
            assert len(batch) <= MAX_BATCH_BYTES
            entries = list(read_frames(batch))
            assert b"".join(frame(entry) for _, entry in entries) == batch, "a batch of what is no frame"
            found += [entry for _, entry in entries]
        damaged_bytes += read.damaged_bytes
        is_idle = read.positions == positions
        positions = dict(read.positions)
        if is_idle or positions[_NAME] >= len(content):
            break
    assert positions[_NAME] <= len(content)
    assert not is_closed or positions[_NAME] == len(content), "a closed segment is not read to its end"
    return found, damaged_bytes


def _nested() -> bytes:
    """Return an input whose first scan_id would hold a frame, and whose write ended early behind it."""
    hidden = b""
    for number in range(10_000):
        hidden = frame(ScanLogEntry(scan_id=str(number), gate_id="north").SerializeToString())
        with contextlib.suppress(UnicodeDecodeError):
            if hidden.decode().isascii():
                break
    # The head of the outer frame, its first tag and length; all of the frame within; and two bytes more.
    cut = len(frame(b"")) + 2 + len(hidden) + 2
    return bytes([1, 0, len(hidden)]) + hidden + b"\1g" + b"\0\0" + b"\7" + cut.to_bytes(2, "big")


def seeds() -> list[bytes]:
    """Return some journals."""
    scan = b"\4scan" + b"\5north" + b"\0\7"
    return [
        bytes([1, 2]) + (scan + b"\0") * 3,
        bytes([0, 2]) + (scan + b"\0") * 3 + b"\1\0\x08\1",
        bytes([1, 3]) + scan + b"\7\0\x09" + (scan + b"\0") * 3,
        bytes([1, 23]) + (scan + b"\0") * 24 + b"\3\0\0",
        bytes([1, 23]) + (scan + b"\0") * 24 + b"\4\2\0",
        bytes([1, 2]) + (scan + b"\0") * 3 + b"\5\0\0\1\0",
        _nested(),
    ]


TARGET = Target("journal", run, seeds, max_bytes=2_048, words=(b"GL", b"GL\0\0\0\0\0\0", b"GL\x08\0"))
