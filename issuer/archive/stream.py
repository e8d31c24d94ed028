"""The stream of scan-log batches, as the archive takes it out of Redis (verifier/wire/scan_log.py).

A number that is noted as archived stands for all batches of its journal before it, and their segments are
removed; so a batch is noted only behind the one before it. Where that is missing, because the stream lost
something, the batch is archived and taken out all the same: its shipper sees it gone, and ships again.

One archive works at a time, so that batches come in order. Who does is settled by a lease in Redis. The
reader's name in the consumer group is always the same: what a dead one has taken and not acknowledged is what
its successor reads first.

A full Redis refuses whatever takes memory, the lease and the notes too, and only an archive makes room in it.
So where nobody holds the lease and there is no room for it, an archive works without. Two may meet there:
what they take out of order is shipped again, and no scan is lost.
"""

import contextlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import OutOfMemoryError, ResponseError, WatchError

from verifier.redis_connection import connect
from verifier.wire.scan_log import (
    ARCHIVE_GROUP,
    ARCHIVED_KEY,
    ENTRIES_FIELD,
    JOURNAL_FIELD,
    NUMBER_FIELD,
    PREVIOUS_FIELD,
    SCANS_KEY,
    SCANS_TAG,
)

LEASE_KEY = f"{SCANS_KEY}:archive:{SCANS_TAG}"
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
    previous: int  # the number of the batch before; 0: it needs none


class ScanStream:
    """Takes batches. Used by one thread, except `is_held`. Methods raise redis.RedisError."""

    def __init__(self, redis_url: str, *, lease_ms: int = LEASE_MS, block_ms: int = _BLOCK_MS) -> None:
        """Raises ValueError for a URL that is not one of Redis; connects when first used."""
        self._redis = connect(
            redis_url, reply_timeout_s=_REPLY_TIMEOUT_S, client_name="gatelight-archive", key=SCANS_KEY
        )
        self._token = secrets.token_hex(8).encode()
        self._lease_ms = lease_ms
        self._block_ms = block_ms
        self._after = _TAKEN_BEFORE
        self._lease: bytes | None = self._token  # what the lease must be while we work; None: nobody has it
        self._held_until = float("-inf")  # on the monotonic clock

    @property
    def is_held(self) -> bool:
        """Whether the lease is ours, as far as we know, for no longer than it lasts without Redis."""
        return time.monotonic() < self._held_until

    def hold(self) -> bool:
        """Take the lease, or renew it; return whether to work. It is at first not ours, and may be lost."""
        held_until = time.monotonic() + self._lease_ms / 1000
        # In this order: a full Redis refuses to set anything, and renews what there is.
        holder = self._redis.get(LEASE_KEY)
        if holder == self._token and self._redis.pexpire(LEASE_KEY, self._lease_ms):
            self._lease, self._held_until = self._token, held_until
            return True
        self._held_until = float("-inf")
        if holder not in {None, self._token}:
            return False
        try:
            is_taken = self._redis.set(LEASE_KEY, self._token, nx=True, px=self._lease_ms)
        except OutOfMemoryError:
            self._lease = None
            return True
        if not is_taken:
            return False
        self._after = _TAKEN_BEFORE  # somebody else may have been at work
        self._lease, self._held_until = self._token, held_until
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

        All of it or nothing. Otherwise another archive does it. Where Redis is full, they are taken out
        first, and noted if that made room; if it did not, they are shipped again.
        """
        ids = [entry.entry_id for entry in entries]
        try:
            return self._settle(ids, entries)
        except OutOfMemoryError:
            if not self._settle(ids, ()):
                return False
        with contextlib.suppress(OutOfMemoryError):
            self._settle((), entries)
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

    def _settle(self, ids: Sequence[bytes], to_note: Sequence[StreamEntry]) -> bool:
        with self._redis.pipeline() as transaction:
            transaction.watch(LEASE_KEY)  # type: ignore[no-untyped-call]
            if transaction.get(LEASE_KEY) != self._lease:
                return False
            journals = list({entry.journal for entry in to_note if entry.journal})
            before: Any = transaction.hmget(ARCHIVED_KEY, journals) if journals else []
            known = dict(zip(journals, map(_number, before), strict=True))
            noted: dict[Any, Any] = {}
            for entry in to_note:
                if entry.journal and entry.previous <= known[entry.journal]:
                    noted[entry.journal] = known[entry.journal] = max(known[entry.journal], entry.number)
            transaction.multi()
            if ids:
                transaction.xack(SCANS_KEY, ARCHIVE_GROUP, *ids)
                transaction.xdel(SCANS_KEY, *ids)
            if noted:
                transaction.hset(ARCHIVED_KEY, mapping=noted)
            try:
                transaction.execute()
            except WatchError:
                return False
        return True

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
            try:
                self._make_group()
            except OutOfMemoryError:
                found: Any = self._redis.xrange(SCANS_KEY, count=_MAX_BATCHES)
                return list(found)
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
    previous = fields.get(PREVIOUS_FIELD, b"0")
    is_shippers = _is_journal_id(journal) and number > 0 and (_number(previous) > 0 or previous == b"0")
    return StreamEntry(
        entry_id,
        fields.get(ENTRIES_FIELD),
        journal.decode() if is_shippers else "",
        number if is_shippers else 0,
        _number(previous),
    )


def _is_journal_id(text: bytes) -> bool:
    return len(text) == _JOURNAL_ID_DIGITS and not text.strip(b"0123456789abcdef")


def _number(text: bytes | None) -> int:
    return int(text) if text and len(text) <= _MAX_NUMBER_DIGITS and text.isdigit() else 0
