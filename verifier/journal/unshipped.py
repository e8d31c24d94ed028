"""Read what is new in the segments of a folder and cut it into batches."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from verifier.journal.segments import Folder, Segment, open_to_read
from verifier.wire.scan_log import HEAD_BYTES, MAX_BATCH_BYTES, MAX_FRAME_BYTES, read_frames

_CHUNK_BYTES = 256 << 10
# At the end of what is read, fewer bytes than these may be the begin of a frame.
_LONGEST_BEGIN = MAX_FRAME_BYTES - 1


@dataclass(frozen=True, slots=True)
class Unshipped:
    """Batches to ship, and where the reading stands after them."""

    batches: Sequence[bytes]  # sound frames, at most MAX_BATCH_BYTES each
    positions: Mapping[str, int]  # by name of segment
    damaged_bytes: int  # passed over
    unreadable: Sequence[str]  # names of segments
    is_all: bool  # nothing was left for another time


@dataclass(frozen=True, slots=True)
class _Piece:
    frames: Sequence[bytes]
    position: int  # behind them
    damaged_bytes: int


def read_unshipped(
    folder: Folder, segments: Sequence[Segment], shipped: Mapping[str, int], *, limit_bytes: int
) -> Unshipped:
    """Return what lies behind the positions `shipped`, the oldest segments first.

    Stops when it has `limit_bytes` or up to _CHUNK_BYTES more. A segment that cannot be read is left for
    another time: the others are not to wait for it.
    """
    batches: list[bytes] = []
    batch: list[bytes] = []
    batch_bytes = read_bytes = damaged_bytes = 0
    positions = {segment.name: shipped.get(segment.name, 0) for segment in segments}
    unreadable: list[str] = []
    is_all = True
    for segment in segments:
        if positions[segment.name] >= segment.size:
            continue
        if read_bytes >= limit_bytes:
            is_all = False
            break
        try:
            for piece in _read(folder, segment, positions[segment.name]):
                if read_bytes >= limit_bytes:
                    is_all = False
                    break
                for frame in piece.frames:
                    if batch_bytes + len(frame) > MAX_BATCH_BYTES:
                        batches.append(b"".join(batch))
                        batch, batch_bytes = [], 0
                    batch.append(frame)
                    batch_bytes += len(frame)
                read_bytes += piece.position - positions[segment.name]
                positions[segment.name] = piece.position
                damaged_bytes += piece.damaged_bytes
        except OSError:
            unreadable.append(segment.name)
    if batch:
        batches.append(b"".join(batch))
    return Unshipped(batches, positions, damaged_bytes, unreadable, is_all and not unreadable)


def _read(folder: Folder, segment: Segment, position: int) -> Iterator[_Piece]:
    descriptor = open_to_read(folder, segment.name)
    try:
        while chunk := os.pread(descriptor, _CHUNK_BYTES, position):
            frames: list[bytes] = []
            at = damaged_bytes = 0
            for end, entry in read_frames(chunk):
                begin = end - HEAD_BYTES - len(entry)
                damaged_bytes += begin - at
                frames.append(chunk[begin:end])
                at = end
            rest = len(chunk) - at
            is_end = segment.is_closed and position + len(chunk) >= segment.size
            passed_over = rest if is_end else max(0, rest - _LONGEST_BEGIN)
            at += passed_over
            if not at:
                return  # the rest of the frame is still to come
            position += at
            yield _Piece(frames, position, damaged_bytes + passed_over)
    finally:
        os.close(descriptor)
