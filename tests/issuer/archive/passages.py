"""Scans as verifiers log them, and the stream as shippers fill it."""

import itertools
from typing import Any

import redis

from issuer.archive.entries import read_batch
from issuer.register.scans import ScanRow
from verifier.v1.scan_log_pb2 import ScanLogEntry
from verifier.wire.scan_log import (
    ARCHIVED_KEY,
    ENTRIES_FIELD,
    JOURNAL_FIELD,
    NUMBER_FIELD,
    PREVIOUS_FIELD,
    SCANS_KEY,
    frame,
)

NOW = 1_800_000_000
NOW_MS = NOW * 1000
JOURNAL = "00112233aabbccdd"
PHONE, PAPER = 1, 2
GREEN, YELLOW, RED, MALFORMED, EXPIRED = 1, 2, 3, 4, 8
_numbers = itertools.count(1)


def passage(**fields: Any) -> ScanLogEntry:
    """Return a green scan of a phone at the gate north-1, with other fields where they are given."""
    number = next(_numbers)
    usual: dict[str, Any] = {
        "scan_id": f"scan-{number}",
        "gate_id": "north-1",
        "verified_at_ms": NOW_MS,
        "credential_index": 7,
        "kind": PHONE,
        "not_before": NOW - 30,
        "expires_at": NOW + 30,
        "verdict": GREEN,
        "colour": 1,
        "status_age_ms": 200,
        "code_hash": number.to_bytes(16, "big"),
    }
    return ScanLogEntry(**(usual | fields))


def frames(*entries: ScanLogEntry) -> bytes:
    """Return a batch."""
    return b"".join(frame(entry.SerializeToString()) for entry in entries)


def rows(*entries: ScanLogEntry) -> list[ScanRow]:
    """Return what the register stores of them."""
    return list(read_batch(frames(*entries)).rows)


def ship(
    client: "redis.Redis", number: int, *entries: ScanLogEntry, journal: str = JOURNAL, previous: int = 0
) -> bytes:
    """Put a batch into the stream and return its id."""
    fields = {JOURNAL_FIELD: journal, NUMBER_FIELD: number, PREVIOUS_FIELD: previous}
    return put(client, fields | {ENTRIES_FIELD: frames(*entries)})


def put(client: "redis.Redis", fields: Any) -> bytes:
    """Put anything into the stream and return its id."""
    entry_id: Any = client.xadd(SCANS_KEY, fields)
    return bytes(entry_id)


def archived(client: "redis.Redis", journal: str = JOURNAL) -> int:
    """Return the number that is noted for a journal."""
    noted: Any = client.hget(ARCHIVED_KEY, journal)
    return int(noted or 0)
