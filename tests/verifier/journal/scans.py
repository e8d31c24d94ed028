"""Scans to log, and what became of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import redis

from verifier.counters import Counters
from verifier.journal.journal import Journal
from verifier.journal.segments import JOURNAL_ID_NAME
from verifier.v1 import scan_log_pb2 as pb
from verifier.wire.scan_log import (
    ARCHIVED_KEY,
    ENTRIES_FIELD,
    JOURNAL_FIELD,
    MAX_BATCH_BYTES,
    NUMBER_FIELD,
    PREVIOUS_FIELD,
    SCANS_KEY,
    frame,
    read_frames,
)


def scan(number: int, *, size: int = 0) -> bytes:
    """A scan in its frame; `size` makes it longer."""
    entry = pb.ScanLogEntry(scan_id=f"scan-{number}", gate_id="north" + "x" * size, verified_at_ms=number)
    return frame(entry.SerializeToString())


def numbers_in(content: bytes) -> list[int]:
    """The numbers of the scans in these frames."""
    ids = (pb.ScanLogEntry.FromString(entry).scan_id for _, entry in read_frames(content))
    return [int(scan_id.removeprefix("scan-")) for scan_id in ids]


def numbers_on_disk(folder: Path) -> list[int]:
    """The numbers of the scans in the segments of a folder."""
    return [number for path in segments_in(folder) for number in numbers_in(path.read_bytes())]


def open_journal(folder: Path, segment_bytes: int = 1 << 20) -> Journal:
    """A worker's journal with room enough."""
    return Journal(folder, limit_bytes=64 << 20, counters=Counters(), worker=0, segment_bytes=segment_bytes)


def journal_id(folder: Path) -> str:
    """The id under which a folder is shipped."""
    return (folder / JOURNAL_ID_NAME).read_text()


def segments_in(folder: Path) -> list[Path]:
    """The segments, the oldest first."""
    return sorted(folder.glob("*.scans"))


class Stream:
    """The stream of batches, as the archive sees it, and the archive's part of the contract."""

    def __init__(self, url: str) -> None:
        self.redis: Any = redis.Redis.from_url(url)

    def batches(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        found: list[tuple[bytes, dict[bytes, bytes]]] = self.redis.xrange(SCANS_KEY)
        assert all(len(fields[ENTRIES_FIELD]) <= MAX_BATCH_BYTES for _, fields in found)
        return found

    def batch_numbers(self) -> list[int]:
        return [int(fields[NUMBER_FIELD]) for _, fields in self.batches()]

    def scans(self) -> list[int]:
        return [number for _, fields in self.batches() for number in numbers_in(fields[ENTRIES_FIELD])]

    def back_up(self) -> dict[bytes, bytes]:
        """What Redis holds of Gatelight, for set_back."""
        return {key: self.redis.dump(key) for key in self.redis.keys("gatelight:*")}

    def set_back(self, backup: dict[bytes, bytes]) -> None:
        self.redis.flushdb()
        for key, content in backup.items():
            self.redis.restore(key, 0, content)

    def archive(self, *, batches: int | None = None) -> list[int]:
        """Take batches out as the archive does; returns the numbers of their scans."""
        archived: list[int] = []
        for entry_id, fields in self.batches()[:batches]:
            archived += numbers_in(fields[ENTRIES_FIELD])
            known = int(self.redis.hget(ARCHIVED_KEY, fields[JOURNAL_FIELD]) or 0)
            with self.redis.pipeline() as transaction:
                transaction.xdel(SCANS_KEY, entry_id)
                if int(fields[PREVIOUS_FIELD]) <= known < int(fields[NUMBER_FIELD]):
                    transaction.hset(ARCHIVED_KEY, fields[JOURNAL_FIELD], fields[NUMBER_FIELD])
                transaction.execute()
        return archived


def frames(numbers: Iterable[int]) -> bytes:
    """These scans in their frames."""
    return b"".join(scan(number) for number in numbers)
