"""The stream of scan-log batches, as the archive takes it out of Redis (verifier/wire/scan_log.py).

One archive works at a time. A number that is noted as archived stands for all batches of its journal before
it, and their segments are removed; so batches are taken in order, by one reader. Who reads is settled by a
lease in Redis. The reader's name in the consumer group is always the same: what a dead one has taken and not
acknowledged is what its successor reads first.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError, WatchError

from verifier.redis_connection import connect
from verifier.wire.scan_log import (
    ARCHIVE_GROUP,
    ARCHIVED_KEY,
    ENTRIES_FIELD,
    JOURNAL_FIELD,
    NUMBER_FIELD,
    SCANS_KEY,
)

LEASE_KEY = f"{SCANS_KEY}:archive"
# Longer than a write waits for a frozen database. After so long a standby takes over from a dead archive.
LEASE_MS = 30_000
_BLOCK_MS = 1_000
_REPLY_TIMEOUT_S = 3.0
_CONSUMER = "archive"
_NEW = ">"
_TAKEN_BEFORE = "0"
_JOURNAL_ID_DIGITS = 16
_MAX_NUMBER_DIGITS = 20
# 2 MiB of full batches.
_MAX_BATCHES = 8


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """A batch as it lies in the stream."""

    entry_id: bytes
    frames: bytes | None  # None: there are none in it
    journal: str  # empty: no shipper's
    number: int


class ScanStream:
    """Takes batches. Used by one thread. Methods raise redis.RedisError."""

    def __init__(self, redis_url: str, *, lease_ms: int = LEASE_MS, block_ms: int = _BLOCK_MS) -> None:
        """Raises ValueError for a URL that is not one of Redis; connects when first used."""
        self._redis = connect(redis_url, reply_timeout_s=_REPLY_TIMEOUT_S, client_name="gatelight-archive")
        self._token = secrets.token_hex(8).encode()
        self._lease_ms = lease_ms
        self._block_ms = block_ms
        self._after = _TAKEN_BEFORE

    def hold(self) -> bool:
        """Take the lease, or renew it; return whether it is ours. It is at first not, and may be lost."""
        if self._redis.set(LEASE_KEY, self._token, nx=True, px=self._lease_ms):
            self._after = _TAKEN_BEFORE  # somebody else may have been at work
            return True
        if self._redis.get(LEASE_KEY) != self._token:
            return False
        self._redis.pexpire(LEASE_KEY, self._lease_ms)
        return True

    def begin_again(self) -> None:
        """Read again what was taken and not acknowledged."""
        self._after = _TAKEN_BEFORE

    def take(self) -> Sequence[StreamEntry]:
        """Return the next batches in their order; none when none came for a second."""
        reply = self._read()
        if not reply and self._after == _TAKEN_BEFORE:
            self._after = _NEW
            reply = self._read()
        return [_entry(entry_id, fields or {}) for entry_id, fields in reply]

    def acknowledge(self, entries: Sequence[StreamEntry]) -> bool:
        """Take archived batches out and note them as archived; return whether the lease still was ours.

        All of it or nothing. Otherwise another archive does it.
        """
        noted: dict[str, int] = {}
        for entry in entries:
            if entry.journal:
                noted[entry.journal] = max(noted.get(entry.journal, 0), entry.number)
        ids = [entry.entry_id for entry in entries]
        with self._redis.pipeline() as transaction:
            transaction.watch(LEASE_KEY)  # type: ignore[no-untyped-call]
            if transaction.get(LEASE_KEY) != self._token:
                return False
            before: Any = transaction.hmget(ARCHIVED_KEY, list(noted)) if noted else []
            highest = {
                journal: max(number, _number(known))
                for (journal, number), known in zip(noted.items(), before, strict=True)
            }
            transaction.multi()
            transaction.xack(SCANS_KEY, ARCHIVE_GROUP, *ids)
            transaction.xdel(SCANS_KEY, *ids)
            if highest:
                transaction.hset(ARCHIVED_KEY, mapping=highest)  # type: ignore[arg-type]
            try:
                transaction.execute()
            except WatchError:
                return False
        return True

    def waiting(self) -> int:
        """Return how many batches are in the stream."""
        return int(self._redis.xlen(SCANS_KEY))

    def close(self) -> None:
        """Give the lease back where Redis answers, and close the connection."""
        try:
            with self._redis.pipeline() as transaction:
                transaction.watch(LEASE_KEY)  # type: ignore[no-untyped-call]
                if transaction.get(LEASE_KEY) == self._token:
                    transaction.multi()
                    transaction.delete(LEASE_KEY)
                    transaction.execute()
        finally:
            self._redis.close()

    def _read(self) -> Sequence[tuple[bytes, dict[bytes, bytes] | None]]:
        try:
            reply: Any = self._redis.xreadgroup(
                ARCHIVE_GROUP,
                _CONSUMER,
                {SCANS_KEY: self._after},
                count=_MAX_BATCHES,
                block=None if self._after == _TAKEN_BEFORE else self._block_ms,
            )
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            self._make_group()
            return ()
        return [entry for _, entries in reply or () for entry in entries]

    def _make_group(self) -> None:
        """Make the group, from the stream's beginning: a Redis that lost its memory has lost it too."""
        try:
            self._redis.xgroup_create(SCANS_KEY, ARCHIVE_GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> StreamEntry:
    journal = fields.get(JOURNAL_FIELD, b"")
    number = _number(fields.get(NUMBER_FIELD, b""))
    is_shippers = _is_journal_id(journal) and number > 0
    return StreamEntry(
        entry_id,
        fields.get(ENTRIES_FIELD),
        journal.decode() if is_shippers else "",
        number if is_shippers else 0,
    )


def _is_journal_id(text: bytes) -> bool:
    return len(text) == _JOURNAL_ID_DIGITS and not text.strip(b"0123456789abcdef")


def _number(text: bytes | None) -> int:
    return int(text) if text and len(text) <= _MAX_NUMBER_DIGITS and text.isdigit() else 0
