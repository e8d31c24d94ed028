"""What a verifier knows, on the disk: for a start while Redis is away.

A folder with three files: key sets and gate list as they were signed, and the mirror. The signed ones are
believed no more than those from Redis; having them, a verifier refuses older ones also after a restart. The
mirror is believed as Redis is: whoever can write the folder can change colours. One that is made here is its
owner's alone; the mode of one that was there is its owner's affair, and told of where others may write.

    mirror    magic; u32 length and JSON: root key, partitions, when each was current (Unix seconds)
              for each shard that has records: u32 number, length and CRC-32 (of number and records), records
              u32 2**32-1, u32 number of shards, u32 CRC-32 of the JSON

A mirror is written under another name and moved into place whole, copied while it is followed: a record in it
is at least as new as the moment that it says. It is taken into use only when all of it was read and is right,
and then its status is as old as it is: policies and answers go by that age. As that age rests on the clock of
the start, which may be a day slow on a machine without a battery for it, it is worked out anew when a leap of
the clock is followed, until Redis has confirmed what it has. Each file stands for itself, so that a crash
between two of them leaves what could have been there anyway.
"""

import contextlib
import errno
import json
import math
import os
import struct
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from verifier.atomic_file import open_atomically, temporary_names, write_atomically
from verifier.boot_clock import boot_time_s
from verifier.errors import VerifierError
from verifier.host.documents import DocumentUnsettled
from verifier.host.shared import SharedMemory
from verifier.host.shared_mirror import SharedPartition
from verifier.trouble import is_disk_full
from verifier.wire.status_store import SHARD_BYTES

KEY_SETS = "key-sets"
GATE_LIST = "gate-list"
MIRROR = "mirror"

_MAGIC = b"GLkept01"
_LENGTH = struct.Struct("<I")
_SHARD = struct.Struct("<III")
_END = 2**32 - 1
_MAX_HEADER_BYTES = 1 << 17  # 1 024 partitions take a third of it
# A city of 25 million is 200 MB, so this is below a megabyte a second.
_SAVE_EVERY_S = 300.0
# After a failure, sooner: there is an older mirror on the disk, or none. Not at once, for 200 MB again.
_TRY_AGAIN_S = 10.0
# A disk that is full stays so for longer.
_TRY_FULL_AGAIN_S = 60.0
# What a save leaves to the scan log, which is often on the same disk: minutes of a busy verifier's.
_RESERVE_BYTES = 64 << 20
_READ_BYTES = 1 << 20
_WRITABLE_BY_OTHERS = 0o022
# A clock that was set back by less makes no difference that anybody could see.
_CLOCK_TOLERANCE_S = 1.0

_log = structlog.get_logger("verifier")


class NotKept(VerifierError):
    """There is no mirror on the disk that could be used; the message says why."""


@dataclass(frozen=True, slots=True)
class _Header:
    root_key_id: str
    partitions: int
    current_at: Sequence[float]  # Unix seconds

    def encode(self) -> bytes:
        return json.dumps(
            {
                "root_key_id": self.root_key_id,
                "partitions": self.partitions,
                "current_at": list(self.current_at),
            }
        ).encode()

    @classmethod
    def decode(cls, content: bytes) -> "_Header":
        """Raises NotKept."""
        try:
            read = json.loads(content)
            header = cls(
                str(read["root_key_id"]), int(read["partitions"]), [float(at) for at in read["current_at"]]
            )
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise NotKept(f"its header is damaged ({type(error).__name__})") from None
        if len(header.current_at) != header.partitions:
            raise NotKept("its header is damaged (partitions)")
        if not all(map(math.isfinite, header.current_at)):  # JSON of Python's has NaN, of which all is false
            raise NotKept("its header is damaged (times)")
        return header


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What was taken into use from the disk."""

    current_at: Sequence[float]  # Unix seconds, as in the header
    at_s: float  # when it was taken, on the clock of ages
    max_age_s: float


class KeptState:
    """The folder. keep() and correct() are for any thread, the rest for one at a time.

    Only load_mirror() and step() raise: no disk stops a verdict, and whoever makes the steps tells of it.
    """

    def __init__(
        self,
        folder: Path,
        shared: SharedMemory,
        *,
        root_key_id: bytes,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = boot_time_s,
    ) -> None:
        """`clock` returns Unix seconds; `monotonic` is the clock of ages."""
        self._folder = folder
        self._shared = shared
        self._root_key_id = root_key_id.hex()
        self._clock = clock
        self._monotonic = monotonic
        self._saved: list[float] | None = None  # when each partition was current in what was saved last
        self._save_at_s = monotonic()
        self._loaded: _Loaded | None = None
        self._is_refused = False  # what was loaded, by the clock as it was set right since
        self._documents = {KEY_SETS: shared.key_sets, GATE_LIST: shared.gate_list}
        self._unkept: set[str] = set()  # documents that are newer than what lies on the disk
        self._trouble: OSError | None = None  # with the mirror

    def make_folder(self) -> None:
        """Make it, for its owner alone, or take it without what a killed run left half written.

        Raises OSError.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._folder.stat().st_mode & _WRITABLE_BY_OTHERS:
            _log.warning("others may write the state on the disk, and so colours", folder=str(self._folder))
        for name in (KEY_SETS, GATE_LIST, MIRROR):
            for path in self._folder.glob(temporary_names(name)):
                path.unlink(missing_ok=True)

    @property
    def age_s(self) -> float | None:
        """How old the status in the mirror on the disk is; None while there is none that this run knows."""
        return None if self._saved is None else self._monotonic() - min(self._saved)

    @property
    def is_refused(self) -> bool:
        """Tell whether what was loaded was too old for it, as turned out later: followers then drop it."""
        return self._is_refused

    def correct(self, step_s: float) -> None:
        """Say the right age of what was loaded; for when the clock is about to follow a leap by `step_s`.

        Before it does, so that nobody sees the right time and the wrong age.
        """
        loaded = self._loaded
        unconfirmed = self._unconfirmed(list(self._shared.generations))
        if loaded is None or not unconfirmed:
            return
        loaded_at = self._clock() - self._monotonic() + step_s + loaded.at_s  # Unix seconds
        ages = {number: loaded_at - at for number, at in unconfirmed.items()}
        saved = self._saved
        for number, age_s in ages.items():
            # Where a follower loads in this very moment, its own is told too old until the next heartbeat.
            current_at_s = self._shared.current_at_s[number] = loaded.at_s - max(0.0, age_s)
            if saved is not None:
                saved[number] = current_at_s
        try:
            _require_usable(ages.values(), loaded.max_age_s)
        except NotKept as error:
            self._loaded = None
            self._is_refused = True
            _log.error(
                "the mirror from the disk is dropped: the clock was wrong at the start", why=str(error)
            )

    def keep(self, name: str) -> None:
        """Have step() keep a document as it is in shared memory then: KEY_SETS or GATE_LIST.

        Not here: a disk that hangs must not hang those who follow the keys.
        """
        self._unkept.add(name)

    def kept(self, name: str) -> bytes:
        """Return a document that was kept; empty without one."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            _log.warning("state on the disk cannot be read", what=name, trouble=error.strerror)
            return b""

    def read_through(self) -> None:
        """Read all that was kept, and take nothing: then it lies in memory, and no disk holds up a load.

        Where the disk hangs, this does not return; what cannot be read is passed over.
        """
        for name in (KEY_SETS, GATE_LIST, MIRROR):
            with contextlib.suppress(OSError), (self._folder / name).open("rb", buffering=0) as file:
                while file.read(_READ_BYTES):
                    pass

    def step(self) -> None:
        """Write the mirror when it is time, and whatever should lie in the folder and does not.

        One turn of a loop. Raises OSError while anything is missing there.
        """
        # The folder above is often the journal's, and whoever made that anew would make it look well.
        self._folder.mkdir(mode=0o700, exist_ok=True)
        trouble = self._keep_documents()
        now_s = self._monotonic()
        is_lost = self._trouble is None and self._saved is not None and not self._is_there(MIRROR)
        if is_lost or now_s >= self._save_at_s:
            try:
                if self.save_mirror():
                    self._save_at_s = now_s + _SAVE_EVERY_S
                self._trouble = None
            except OSError as error:
                self._trouble = error
                self._save_at_s = now_s + (_TRY_FULL_AGAIN_S if is_disk_full(error) else _TRY_AGAIN_S)
        if trouble := trouble or self._trouble:
            raise trouble

    def save(self) -> None:
        """Write what is not on the disk, at the end."""
        trouble = self._keep_documents()
        try:
            self.save_mirror()
        except OSError as error:
            trouble = error
        if trouble is not None:
            _log.warning("state cannot be kept on the disk", trouble=trouble.strerror)

    def _keep_documents(self) -> OSError | None:
        """Write those that are newer than on the disk, or lost there; return what went wrong."""
        trouble = None
        for name, document in self._documents.items():
            if name not in self._unkept and (not document.version or self._is_there(name)):
                continue
            self._unkept.discard(name)  # before it is read: what is published meanwhile is newer
            try:
                write_atomically(self._folder / name, document.read(), mode=0o600)
            except (OSError, DocumentUnsettled) as error:
                self._unkept.add(name)
                trouble = error if isinstance(error, OSError) else trouble
        return trouble

    def _is_there(self, name: str) -> bool:
        return (self._folder / name).exists()

    def save_mirror(self) -> bool:
        """Write the mirror and tell whether it was written; raises OSError, as for a disk with little room.

        Not written is one that is not loaded yet, is what was written last, or was loaded anew meanwhile.
        """
        generations = list(self._shared.generations)  # before the moments, or these might be of a later load
        current_at_s = list(self._shared.current_at_s)
        if not all(generations) or (current_at_s == self._saved and self._is_there(MIRROR)):
            return False
        self._require_room(generations)
        offset = self._clock() - self._monotonic()
        current_at = [at + offset for at in current_at_s]
        for number, at in self._unconfirmed(generations).items():
            current_at[number] = at
        header = _Header(self._root_key_id, self._shared.layout.partitions, current_at)
        try:
            with open_atomically(self._folder / MIRROR, mode=0o600) as file:
                self._write(file, header.encode(), generations)
        except _LoadedAnew:
            return False
        self._saved = current_at_s
        return True

    def load_mirror(self, *, max_age_s: float) -> float:
        """Take the mirror on the disk into use and return the age of its status, seconds; raises NotKept."""
        try:
            with (self._folder / MIRROR).open("rb") as file:
                return self._load(file, max_age_s)
        except FileNotFoundError:
            raise NotKept("there is none") from None
        except OSError as error:
            raise NotKept(f"it cannot be read: {error.strerror}") from None

    def _unconfirmed(self, generations: Sequence[int]) -> dict[int, float]:
        """Return the partitions in use as they were loaded here, and when each was current, Unix seconds."""
        loaded = self._loaded
        if loaded is None:
            return {}
        # The first generation is ours, each later one a load from Redis.
        return {number: at for number, at in enumerate(loaded.current_at) if generations[number] == 1}

    def _require_room(self, generations: Sequence[int]) -> None:
        """Raise OSError where the mirror would take what the scan log needs; asking takes nothing."""
        size = SHARD_BYTES * sum(1 for _ in self._filled(generations))
        disk = os.statvfs(self._folder)
        # Some disks of others tell nothing.
        if disk.f_blocks and disk.f_bavail * disk.f_frsize < size + _RESERVE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _write(self, file: BinaryIO, header: bytes, generations: Sequence[int]) -> None:
        file.write(_MAGIC + _LENGTH.pack(len(header)) + header)
        count = 0
        for shard, content in self._shards(generations):
            file.write(_SHARD.pack(shard, len(content), _crc(shard, content)))
            file.write(content)
            count += 1
        if list(self._shared.generations) != generations:
            raise _LoadedAnew
        file.write(_SHARD.pack(_END, count, zlib.crc32(header)))

    def _shards(self, generations: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for half, shard in self._filled(generations):
            if list(self._shared.generations) != generations:  # the old half is given back soon
                raise _LoadedAnew
            start = shard * SHARD_BYTES
            yield shard, bytes(self._shared.halves[half][start : start + SHARD_BYTES])

    def _filled(self, generations: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Give half and number of each shard that has records: to read another would take memory for it."""
        layout = self._shared.layout
        for shard in range(layout.half_bytes // SHARD_BYTES):
            half = generations[shard % layout.partitions] & 1
            if self._shared.has_data(half, shard):
                yield half, shard

    def _load(self, file: BinaryIO, max_age_s: float) -> float:
        head = _read_header(file)
        header = self._own_header(head)
        ages = [self._clock() - at for at in header.current_at]
        loaded_at_s = self._monotonic()
        _require_usable(ages, max_age_s)
        partitions = [
            SharedPartition(self._shared, number, monotonic=time.monotonic)
            for number in range(header.partitions)
        ]
        tables = [partition.new_table() for partition in partitions]
        for shard, content in _read_shards(file, head):
            tables[shard % header.partitions].load_shard(shard, content)
        for partition, table, age_s in zip(partitions, tables, ages, strict=True):
            partition.swap_in(table, loaded_at_s - max(0.0, age_s))
        self._loaded = _Loaded(header.current_at, loaded_at_s, max_age_s)
        self._saved = list(self._shared.current_at_s)
        return max(0.0, *ages)

    def _own_header(self, content: bytes) -> _Header:
        header = _Header.decode(content)
        if header.root_key_id != self._root_key_id:
            raise NotKept("it is of another root key")
        if header.partitions != self._shared.layout.partitions:
            raise NotKept(f"it has {header.partitions} partitions")
        return header


class _LoadedAnew(Exception):
    """The mirror was replaced while it was being copied."""


def _require_usable(ages: Collection[float], max_age_s: float) -> None:
    """Raise NotKept for status that is too old, or is as old as nobody knows."""
    if min(ages) < -_CLOCK_TOLERANCE_S:
        raise NotKept("it is from the future: this machine's clock was set back")
    if max(ages) > max_age_s:
        raise NotKept(f"its status is {max(ages):.0f} s old, and at most {max_age_s:.0f} are allowed")


def _read_header(file: BinaryIO) -> bytes:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise NotKept("it is of another release, or no mirror")
    length = int.from_bytes(file.read(_LENGTH.size), "little")
    if length > _MAX_HEADER_BYTES:
        raise NotKept("its header is damaged (length)")
    return file.read(length)


def _read_shards(file: BinaryIO, header: bytes) -> Iterator[tuple[int, bytes]]:
    count = 0
    while True:
        head = file.read(_SHARD.size)
        if len(head) != _SHARD.size:
            raise NotKept("it ends early")
        shard, length, crc = _SHARD.unpack(head)
        if shard == _END:
            if (length, crc) != (count, zlib.crc32(header)):
                raise NotKept("it is damaged (end)")
            if file.read(1):
                raise NotKept("it is damaged (something follows)")
            return
        if length > SHARD_BYTES:
            raise NotKept("it is damaged (length)")
        content = file.read(length)
        if len(content) != length or _crc(shard, content) != crc:
            raise NotKept(f"it is damaged (shard {shard})")
        count += 1
        yield shard, content


def _crc(shard: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(_LENGTH.pack(shard)))
