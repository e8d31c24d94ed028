"""A worker's journal: every verdict on disk before its reply.

A disk that fails holds up no reply; one that hangs in a write holds up the replies of its calls.

An append is one write to a file that is only appended to, so threads need no lock, and what a killed process
has written is there for the next. Nothing is synced: a power cut may take what was not shipped yet, which is
half a second of it while Redis answers.

Where the folder is moved or removed, a worker goes on in another one at the same path from its next look on.
What it has written lies where the folder is now; a shipper that had it ships it from there.

A new segment takes the place of a full one by dup2: the descriptor's number stays the same for good, and a
write that is under way in another thread ends in the old file, which the kernel keeps open and locked until
then. So no thread writes to a closed descriptor, or to one that has become another file.
"""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from verifier.counters import Counter, Counters
from verifier.journal.segments import (
    SEGMENT_BYTES,
    create_folder,
    create_segment,
    drop_oldest,
    is_at,
    remove_closed,
)
from verifier.trouble import classify, is_disk_full
from verifier.wire.scan_log import read_frames

# The bound counts a segment that is being written as a full one. This many of them may be.
_SEGMENTS_IN_LIMIT = 64
# What threads may write to a full segment while one of them opens the next.
_OVERFLOW_BYTES = 256 << 10
# How often a segment is looked at that can't be opened, or that somebody may have removed.
_LOOK_S = 1.0

# A log on the same full disk must not stop a verdict.
_LOG_MAY_FAIL = contextlib.suppress(OSError, ValueError)

_log = structlog.get_logger("verifier.journal")


class Journal:
    """Keeps the scan log of one worker."""

    def __init__(
        self,
        folder: Path,
        *,
        limit_bytes: int,
        counters: Counters,
        worker: int,
        segment_bytes: int = SEGMENT_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to `folder`, which is made; `limit_bytes` is for all of it, the other workers' included.

        A folder that cannot be written is logged and counted by append, and tried again each second.
        """
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._counters = counters
        self._worker = worker
        self._segment_bytes = min(segment_bytes, limit_bytes // _SEGMENTS_IN_LIMIT)
        self._monotonic = monotonic
        self._opening = threading.Lock()
        self._descriptor = _unwritable()
        self._path: Path | None = None
        self._made = os.fstat(self._descriptor)  # the file that was made at this path
        # Bytes until the segment is full. Threads that change it at once may lose a change, which makes a
        # segment a little longer.
        self._room = -1
        self._look_at = float("-inf")
        self._trouble: str | None = None
        self._has_failed = False  # since the last look
        self._is_closed = False
        self._look(0)

    def append(self, frames: bytes) -> None:
        """Write frames of verifier.wire.scan_log at once; never raises.

        Entries that cannot be written are counted as JOURNAL_FAILED, and lost.
        """
        length = len(frames)
        if self._room < length or self._monotonic() >= self._look_at:
            self._look(length)
            if self._room < -self._segment_bytes - _OVERFLOW_BYTES:
                # No new segment can be had, and the old one must not grow for ever.
                self._failed(frames, 0, None)
                return
        self._room -= length
        try:
            written = os.write(self._descriptor, frames)
        except OSError as error:
            self._room += length
            self._failed(frames, 0, error)
            return
        if written < length:
            self._room += length - written
            self._failed(frames, written, None)

    def close(self) -> None:
        """Let go of the segment; what is appended later is counted as failed."""
        with self._opening:
            self._is_closed = True
            self._replace(_unwritable(), None)

    def _look(self, needed: int) -> None:
        """Open a new segment for so many bytes if one is due; once a second at most while that fails."""
        if not self._opening.acquire(blocking=False):
            return  # another thread is at it; the old segment takes what comes meanwhile
        try:
            now = self._monotonic()
            is_due = now >= self._look_at
            if self._is_closed or not (is_due or (self._room < needed and self._trouble is None)):
                return
            self._look_at = now + _LOOK_S
            if is_due and self._trouble is not None and not self._has_failed:
                self._report(None)
            self._has_failed = False
            self._require_place()
            if self._room < needed:
                self._open()
        except OSError as error:
            self._room = min(self._room, -1)
            self._has_failed = True
            self._report(error)
        finally:
            self._opening.release()

    def _require_place(self) -> None:
        """Give up a segment that is not where it was made: nobody looks for it elsewhere. Raises OSError."""
        if self._path is None or is_at(self._path, self._made):
            return
        self._has_failed = True
        self._report(OSError(errno.ESTALE, os.strerror(errno.ESTALE)))
        if not os.fstat(self._descriptor).st_nlink:
            # Removed: what is written there is lost, and must be counted until there is another one.
            self._replace(_unwritable(), None)
        self._room = -1

    def _open(self) -> None:
        create_folder(self._folder)
        self._replace(*create_segment(self._folder, self._worker))
        self._room = self._segment_bytes
        try:
            dropped = drop_oldest(
                self._folder, limit_bytes=self._limit_bytes, segment_bytes=self._segment_bytes
            )
        except OSError as error:
            # The new segment is good all the same; the next one looks again.
            self._has_failed = True
            self._report(error)
            return
        if dropped:
            self._counters.add(Counter.JOURNAL_DROPPED_BYTES, dropped)
            with _LOG_MAY_FAIL:
                _log.error("scan log over its bound: the oldest scans are removed unshipped", bytes=dropped)

    def _replace(self, new: int, path: Path | None) -> None:
        self._made = os.fstat(new)
        os.dup2(new, self._descriptor, inheritable=False)
        os.close(new)
        if self._path is not None:
            # A failing disk leaves no trail of empty files. One that a thread still writes to is locked.
            with contextlib.suppress(OSError):
                remove_closed(self._folder, self._path.name, size=0)
        self._path = path

    def _failed(self, frames: bytes, written: int, error: OSError | None) -> None:
        lost = sum(end > written for end, _ in read_frames(frames))
        self._counters.add(Counter.JOURNAL_FAILED, lost)
        self._has_failed = True
        # Space may come back to a full disk, and to the same file. Any other trouble may be the file's own.
        if error is not None and not is_disk_full(error):
            self._room = -1
        if error is None and written:
            error = OSError(errno.ENOSPC, "written in part")
        # Without a segment a write fails for what kept us from having one, which was told already.
        if self._trouble is None or (error is not None and error.errno != errno.EBADF):
            self._report(error or OSError(errno.EBADF, "there is no segment"))

    def _report(self, trouble: OSError | None) -> None:
        self._counters.set_trouble(Counter.JOURNAL_TROUBLE, None if trouble is None else classify(trouble))
        if trouble is None:
            self._trouble = None
            with _LOG_MAY_FAIL:
                _log.info("scan log is written again")
        elif self._trouble is None:
            self._trouble = _name(trouble)
            with _LOG_MAY_FAIL:
                _log.error(
                    "scan log cannot be written, verdicts go on",
                    folder=str(self._folder),
                    trouble=self._trouble,
                )


def _unwritable() -> int:
    """Return a descriptor that fails every write with EBADF: what a journal without a segment holds."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "unknown")
