"""Move the journal of a folder to the Redis stream, at least once, and free what the archive has.

One turn:
1. See what the folder holds.
2. Ask Redis for our note, for what the archive has, and how long the stream is. A note that is not ours, or
   a batch of ours that is neither in the stream nor archived: Redis lost something, and it is shipped again.
3. Read what is new, and put it into the stream with the new note, in one MULTI that nothing comes before.
   After a start with batches under way, an empty one goes if there is no other: what becomes of it shows
   whether those are still there.
4. Remove the segments that are closed and archived.
Where Redis or the archive is gone, the journal keeps what there is, up to its own bound. What is shipped
twice is stored once (verifier/wire/scan_log.py).

A folder that is moved away is shipped from where it is now, until all of it is in the stream and the workers
have gone on in another one at the path (verifier/journal/journal.py); then that is taken. What is in the old
one by then and not archived stays there.
"""

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from verifier.atomic_file import write_atomically
from verifier.boot_clock import boot_time_s
from verifier.journal.segments import (
    JOURNAL_ID_NAME,
    SHIPPER_LOCK_NAME,
    Segment,
    create_folder,
    created_at,
    is_at,
    list_segments,
    remove_closed,
    try_lock,
)
from verifier.journal.shipped import Ledger, Note
from verifier.journal.unarchived import Unarchived
from verifier.journal.unshipped import Unshipped, read_unshipped
from verifier.redis_connection import connect
from verifier.wire.scan_log import (
    ARCHIVED_KEY,
    ENTRIES_FIELD,
    JOURNAL_FIELD,
    NUMBER_FIELD,
    PREVIOUS_FIELD,
    SCANS_KEY,
    SHIPPED_KEY_PREFIX,
)

REPLY_TIMEOUT_S = 1.0
# Half a gigabyte of full batches. While an archive is away, more waits on our disk, not in Redis's memory.
MAX_STREAM_BATCHES = 2_048
# Twice a second, 40 000 entries: more than a machine makes, so that what has piled up goes away.
MAX_TURN_BYTES = 4 << 20
# From the last batch on. A journal that is gone for good leaves no note for ever; one that comes back later
# ships again what it still has.
NOTE_TTL_S = 30 * 86_400
# A worker writes to a folder that was moved away for a second at most, and two turns in trouble are a second
# apart. It may be slow.
_TURNS_TO_LEAVE = 5
_JOURNAL_ID_DIGITS = 16
_MAX_NUMBER_DIGITS = 20

_log = structlog.get_logger("verifier.journal")


class FolderMovedError(OSError):
    """What lies at the path of the journal is not the folder that was taken."""

    def __init__(self, folder: Path) -> None:
        super().__init__(errno.ESTALE, "the journal's folder is not the one that was taken", str(folder))


class Shipper:
    """Ships one folder, a step at a time; a verifier.loop.Loop makes the steps."""

    def __init__(
        self,
        folder: Path,
        *,
        redis_url: str,
        unix_time: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = boot_time_s,
        max_stream_batches: int = MAX_STREAM_BATCHES,
    ) -> None:
        """Ship `folder`, which is made; raises ValueError for a URL that is not one of Redis.

        `monotonic` is the clock of ages.
        """
        self._folder = folder
        self._redis = connect(
            redis_url, reply_timeout_s=REPLY_TIMEOUT_S, client_name="gatelight-journal", key=SCANS_KEY
        )
        self._unix_time = unix_time
        self._monotonic = monotonic
        self._lead_s = unix_time() - monotonic()
        self._max_stream_batches = max_stream_batches
        self._lock: int | None = None
        self._held = -1  # the folder that is locked, wherever it is now
        self._turns_away = 0  # since it was moved and all of it was shipped
        self._is_refused = False
        self._journal_id = ""
        self._is_id_new = False  # no batch ever went under it
        self._ledger = Ledger()
        self._written: bytes | None = None  # the note as Redis must hold it; None before the first look
        self._waiting_bytes = 0
        self._unarchived = Unarchived()
        self._began_at = self._now()
        self._behind_since: float | None = None  # as _now(); None before the first look
        self._shipped_batches = 0
        self._damaged_bytes = 0
        self._unreadable: Sequence[str] = []

    @property
    def waiting_bytes(self) -> int:
        """What lies on the disk and is not known to be in the archive."""
        return self._waiting_bytes

    @property
    def oldest_unshipped_age_s(self) -> float:
        """How long ago all there was had been shipped: about half a second while all is well.

        It grows from the start on where the folder was never looked into: that is not well.
        """
        since = self._began_at if self._behind_since is None else self._behind_since
        return self._now() - since

    @property
    def oldest_unarchived_age_s(self) -> float:
        """How long the oldest waits that the archive has not taken, to 5 s; 0 where it has all."""
        since = self._unarchived.since
        return 0.0 if since is None else self._now() - since

    @property
    def shipped_batches(self) -> int:
        """Batches put into the stream since this shipper began."""
        return self._shipped_batches

    @property
    def damaged_bytes(self) -> int:
        """Bytes passed over since then, because they are no sound frames."""
        return self._damaged_bytes

    def step(self) -> None:
        """Make one turn, in a second or two if Redis is frozen.

        Raises redis.RedisError or OSError; nothing is lost by it. A folder that was moved away is shipped all
        the same, and FolderMovedError raised. Does nothing, and says so once in the log, while another
        supervisor ships the folder.
        """
        if not self.take_folder():
            if not self._is_refused:
                self._is_refused = True
                _log.error(
                    "another supervisor ships this journal: give each its own by --journal FOLDER",
                    folder=str(self._folder),
                )
            return
        self._is_refused = False
        is_in_place = is_at(self._folder, os.fstat(self._held))
        began_at = self._now()
        segments = list_segments(self._held)
        self._ledger.forget({segment.name for segment in segments})
        self._survey(segments, began_at)
        is_all = self._ship(segments)
        if is_all:
            self._behind_since = began_at
        self._free(segments)
        if is_in_place:
            self._turns_away = 0
        else:
            self._leave(is_all=is_all)

    def close(self) -> None:
        """Let go of the folder and of Redis."""
        self._redis.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            os.close(self._held)
            self._lock, self._held = None, -1

    def _leave(self, *, is_all: bool) -> None:
        """Let go of a folder that was moved away, when nothing more comes into it; raises OSError."""
        try:
            create_folder(self._folder)
        except OSError:
            self._turns_away = 0  # the workers have no other folder either
            raise
        self._turns_away = self._turns_away + 1 if is_all else 0
        if self._turns_away >= _TURNS_TO_LEAVE:
            self._turns_away = 0
            self._let_go()
            _log.error(
                "the journal's folder was moved away and is all shipped: going on with the one at its path; "
                "keep the other until the archive has all",
                folder=str(self._folder),
                waiting_bytes=self._waiting_bytes,
            )
        raise FolderMovedError(self._folder)

    def take_folder(self) -> bool:
        """Return whether the folder is ours: not while another supervisor has it. Raises OSError.

        The kernel lets go of it when the process is gone, however it went.
        """
        if self._lock is not None:
            if os.fstat(self._lock).st_nlink:
                return True
            self._let_go()
            _log.error(
                "the journal's folder was removed, or its lock: taking what is at the path now",
                folder=str(self._folder),
            )
        create_folder(self._folder)
        with contextlib.ExitStack() as stack:
            held = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, held)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            lock = os.open(SHIPPER_LOCK_NAME, flags, 0o600, dir_fd=held)
            stack.callback(os.close, lock)
            if not try_lock(lock):
                return False
            found = _read_journal_id(self._folder / JOURNAL_ID_NAME)
            self._journal_id = found or _new_journal_id(self._folder / JOURNAL_ID_NAME)
            self._is_id_new = not found
            stack.pop_all()
        self._lock, self._held = lock, held
        self._ledger = Ledger()
        self._unarchived = Unarchived()
        self._written = None
        return True

    def _now(self) -> float:
        """Return the Unix time of the start and what has passed since: no clock that is set changes ages."""
        return self._monotonic() + self._lead_s

    def _survey(self, segments: Sequence[Segment], now: float) -> None:
        archived = self._ledger.archived
        self._waiting_bytes = sum(max(0, s.size - archived.get(s.name, 0)) for s in segments)
        self._unarchived.look(segments, archived, now)
        if self._behind_since is None:
            # What an earlier shipper left behind; how much of it was shipped we don't know yet.
            self._behind_since = min([now, *(created_at(s.name) for s in segments if s.size)])

    def _ship(self, segments: Sequence[Segment]) -> bool:
        """Return whether all there is has been shipped."""
        pipeline: Any = self._redis.pipeline()
        with pipeline as transaction:
            key = self._watch_note(transaction)
            has_room = self._look_into_redis(transaction, key)
            if not has_room:
                return False
            found = read_unshipped(
                self._held, segments, self._ledger.note.positions, limit_bytes=MAX_TURN_BYTES
            )
            if found.unreadable != self._unreadable:
                self._unreadable = found.unreadable
                _log.error("segments that cannot be read stay unshipped", segments=found.unreadable)
            if found.batches or found.damaged_bytes or self._ledger.is_unsure:
                self._put(transaction, key, found)
        return found.is_all

    def _watch_note(self, transaction: Any) -> str:
        """Return the key of our note, which is watched."""
        # What a frozen Redis executes late, when we have long gone on, must not bring back an old note.
        key = SHIPPED_KEY_PREFIX + self._journal_id
        transaction.watch(key)
        if self._written is not None or self._is_id_new or transaction.get(key) is not None:
            return key
        # Nobody knows which numbers an earlier shipper gave out, and the archive may still confirm them. By a
        # clock that is slow ours would be lower, and what they confirm would go unarchived.
        with contextlib.suppress(OSError):  # on a full disk the clock has to do
            self._journal_id = _new_journal_id(self._folder / JOURNAL_ID_NAME)
            self._is_id_new = True
            key = SHIPPED_KEY_PREFIX + self._journal_id
            transaction.watch(key)
        return key

    def _look_into_redis(self, transaction: Any, key: str) -> bool:
        """Return whether the stream has room."""
        note: bytes | None = transaction.get(key)
        awaited = self._ledger.awaited
        # In this order: what the archive takes out meanwhile it also confirms. The reply is a batch: a few KB
        # mostly, and nothing once it is archived.
        is_there = awaited is None or bool(transaction.xrange(SCANS_KEY, awaited, awaited, count=1))
        length = int(transaction.xlen(SCANS_KEY))
        archived = transaction.hget(ARCHIVED_KEY, self._journal_id) or b"0"
        is_number = archived.isdigit() and len(archived) <= _MAX_NUMBER_DIGITS
        archived_number = int(archived) if is_number else 0
        if self._written is None:
            self._believe(note, archived_number)
        elif (note or b"") != self._written:
            _log.warning("Redis does not say what we told it last: going on from what it says")
            self._believe(note, archived_number)
        self._ledger.confirm(archived_number)
        if not is_there and self._ledger.awaited == awaited:
            _log.warning("the stream lost batches: shipping again what is not archived")
            self._believe(None, archived_number)
            self._written = note or b""
        return length <= self._max_stream_batches

    def _believe(self, note: bytes | None, archived_number: int) -> None:
        self._ledger.believe(
            Note.decode(note),
            archived_number=archived_number,
            least_number=int(self._unix_time() * 1e6),
        )
        self._ledger.confirm(archived_number)
        self._written = note or b""

    def _put(self, transaction: Any, key: str, found: Unshipped) -> None:
        batches = found.batches or ([b""] if self._ledger.is_unsure else [])
        previous = self._ledger.note.number
        numbers, note = self._ledger.plan(found.positions, len(batches))
        encoded = note.encode()
        transaction.multi()
        for number, batch in zip(numbers, batches, strict=True):
            fields = {
                JOURNAL_FIELD: self._journal_id,
                NUMBER_FIELD: number,
                PREVIOUS_FIELD: previous,
                ENTRIES_FIELD: batch,
            }
            transaction.xadd(SCANS_KEY, fields)
            previous = number
        transaction.set(key, encoded, ex=NOTE_TTL_S)
        replies = transaction.execute()
        self._ledger.shipped(note, replies[-2] if batches else None)
        self._written = encoded
        self._shipped_batches += len(numbers)
        if found.damaged_bytes:
            self._damaged_bytes += found.damaged_bytes
            _log.error("damaged scan log passed over", bytes=found.damaged_bytes)

    def _free(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            if segment.is_closed and self._ledger.archived.get(segment.name, 0) >= segment.size:
                remove_closed(self._held, segment.name, size=segment.size)


def _read_journal_id(path: Path) -> str:
    """Return the id of the folder; empty where there is none."""
    try:
        found = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return ""
    is_id = len(found) == _JOURNAL_ID_DIGITS and set(found) <= set("0123456789abcdef")
    return found if is_id else ""


def _new_journal_id(path: Path) -> str:
    # Without the old one nothing is lost: under a new id all there is is shipped again.
    new = secrets.token_hex(_JOURNAL_ID_DIGITS // 2)
    write_atomically(path, new.encode(), mode=0o600)
    return new
