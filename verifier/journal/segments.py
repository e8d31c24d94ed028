"""The segments of a journal folder: their names, who holds them, and their removal.

    <created, Unix ns>-<worker>-<random>.scans   frames, appended by one worker
    journal.id                                   16 hex digits that name the folder in Redis
    shipper.lock                                 held by the supervisor that ships the folder

A worker holds the flock of the segment it writes; the kernel lets go of it when the process is gone,
however it went. A segment that nobody holds is closed: nothing is ever written to it again. Whoever removes
one does so under its flock, and a worker that has locked a new segment looks whether it is still there: so
nobody writes to a file that has no name, unless the folder is removed by force.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

JOURNAL_ID_NAME = "journal.id"
SHIPPER_LOCK_NAME = "shipper.lock"
# Small enough that a day's segments come and go, large enough that opening one costs nothing a scan.
SEGMENT_BYTES = 8 << 20
# A bound in bytes alone would let workers that die at once fill the folder with small files.
MAX_SEGMENTS = 1_024
_FOLDER_MODE = 0o700
_SEGMENT_MODE = 0o600
_NAME = re.compile(r"(\d{20})-\d{1,10}-[0-9a-f]{8}\.scans", re.ASCII)
# A segment that somebody removes or looks at before we have its lock is given up for another.
_CREATE_ATTEMPTS = 3

# By its path, or by a descriptor of it, which is of the same folder wherever that is moved.
Folder = Path | int


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One segment as it was a moment ago; in order of creation."""

    name: str
    size: int
    is_closed: bool  # nobody writes to it any more; `size` is final


def create_folder(folder: Path) -> None:
    """Make the folder, for its owner alone, unless it is there; raises OSError."""
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    except FileExistsError:  # as something else
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None


def try_to_write(folder: Path) -> None:
    """Write a file to the folder and remove it, as a worker would write a segment; raises OSError."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="trial-", buffering=0) as file:
        file.write(b"\0")


def create_segment(folder: Path, worker: int) -> tuple[int, Path]:
    """Return a descriptor to append to, locked, and the path of a new segment; raises OSError."""
    for _ in range(_CREATE_ATTEMPTS):
        path = folder / f"{time.time_ns():020d}-{worker}-{secrets.token_hex(4)}.scans"
        descriptor = os.open(
            path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _SEGMENT_MODE
        )
        # Never a lock that waits: whoever has it may be frozen.
        if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
            return descriptor, path
        os.close(descriptor)
    raise BlockingIOError(f"a new segment was taken away {_CREATE_ATTEMPTS} times")


def created_at(name: str) -> float:
    """Return when a segment of that name was made, Unix seconds."""
    return int(name[:20]) / 1e9


def is_at(path: Path, known: os.stat_result) -> bool:
    """Return whether that file or folder lies at `path`; raises OSError where nobody can tell."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(found, known)


def list_segments(folder: Folder) -> list[Segment]:
    """Return the segments in the folder, the oldest first; raises OSError."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if _NAME.fullmatch(entry.name))
    found = (_look_at(folder, name) for name in names)
    return [segment for segment in found if segment]


def remove_closed(folder: Folder, name: str, *, size: int | None = None) -> int | None:
    """Remove a segment that nobody writes to; returns how many bytes it had.

    Returns None, and leaves it, if somebody has it, or if `size` is given and is not its size. Raises
    OSError.
    """
    with _opened(folder, name) as descriptor:
        if descriptor is None or not try_lock(descriptor):
            return None
        found = os.fstat(descriptor)
        if not found.st_nlink or (size is not None and found.st_size != size):
            return None
        if isinstance(folder, int):
            os.unlink(name, dir_fd=folder)
        else:
            (folder / name).unlink()
        return found.st_size


def drop_oldest(folder: Path, *, limit_bytes: int, segment_bytes: int) -> int:
    """Remove closed segments, the oldest first, until the folder is within its bound; returns their bytes.

    A segment that is being written counts as one of `segment_bytes`, which it may become before anybody
    looks again. Raises OSError.
    """
    segments = list_segments(folder)
    total = sum(s.size if s.is_closed else max(s.size, segment_bytes) for s in segments)
    count = len(segments)
    dropped = 0
    for segment in segments:
        if total <= limit_bytes and count <= MAX_SEGMENTS:
            break
        if not segment.is_closed:
            continue
        if (removed := remove_closed(folder, segment.name)) is not None:
            dropped += removed
            total -= removed
            count -= 1
    return dropped


def try_lock(descriptor: int, *, is_shared: bool = False) -> bool:
    """Lock an open file without waiting; returns whether it could be."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_to_read(folder: Folder, name: str) -> int:
    """Return a descriptor of a segment; raises OSError, for a link as well."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    if isinstance(folder, int):
        return os.open(name, flags, dir_fd=folder)
    return os.open(folder / name, flags)


def _look_at(folder: Folder, name: str) -> Segment | None:
    with _opened(folder, name) as descriptor:
        if descriptor is None:
            return None
        # In this order: what is closed grows no more. Shared, so that those who look don't disturb another.
        is_closed = try_lock(descriptor, is_shared=True)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not found.st_nlink:
            return None
        return Segment(name, found.st_size, is_closed)


@contextlib.contextmanager
def _opened(folder: Folder, name: str) -> Iterator[int | None]:
    # Another process may remove it at any time; a link, a pipe or somebody else's file is none of ours.
    try:
        descriptor = open_to_read(folder, name)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP, errno.EACCES}:
            raise
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
