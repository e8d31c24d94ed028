"""A corpus on disk: scans with the verdict that each must get, made ahead, so that generators sign nothing.

Mapped into memory, so that all generators of a machine share its pages. Little-endian, in this order:

    header    72 bytes, see _HEADER
    QR texts  one behind the other
    slots     40 bytes each: key, padding, first scan, number of scans, good from and until (Unix seconds)
    kinds     16 bytes each: the name, filled up with zeros
    scans     12 bytes each: where its QR text begins, its length, verdict, place of its kind

A slot is what is right to show for a time: codes of an issuer rotate every 30 s, so that a corpus of them
has many slots. The header comes last when a corpus is written, and its checksum covers the whole file: what
was cut off or changed is refused when it is opened (7 ms for 25 MB), and not blamed on a server.

Whatever loads before generators fork reads a corpus with this module: it knows neither grpc nor the issuer.
"""

import math
import mmap
import os
import random
import secrets
import struct
import time
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from loadtest.mix import HOSTILE_KINDS
from verifier.verdict import Verdict

MAX_QR_TEXT_BYTES = 0xFFFF
MAX_KINDS = 256

_MAGIC = b"GLCORPUS"
_VERSION = 2
# magic, version, CRC-32 of all that follows the header and then of the header with 0 in this place, slots,
# kinds, scans, where the tables begin, and 24 bytes for what may come.
_HEADER = struct.Struct("<8sIIQQQQ24x")
_SLOT = struct.Struct("<IxxxxQQdd")
_KIND = struct.Struct("16s")
_SCAN = struct.Struct("<QHBB")
_VERDICTS = {int(verdict): verdict for verdict in Verdict}


class CorpusError(Exception):
    """A corpus cannot be used: NotACorpus or CorpusTooOld. The message is for people."""


class NotACorpus(CorpusError):
    """A file is no corpus, or was cut off or changed."""


class CorpusTooOld(CorpusError):
    """The verdicts of a corpus do not hold at the time for which it is asked."""


class Scan(NamedTuple):
    """One scan and the verdict that must come back.

    A tuple: one is made for each scan, in half the time that a frozen dataclass takes.
    """

    qr_text: bytes
    verdict: Verdict
    kind: str

    @property
    def is_hostile(self) -> bool:
        """Whether it is a cheat's or a stranger's, and not that of somebody with a code of ours."""
        return self.kind in HOSTILE_KINDS


@dataclass(frozen=True, slots=True)
class Slot:
    """Scans to write, and when it is right to show them: good_from <= now < good_until, Unix seconds."""

    scans: Iterable[Scan]
    good_from: float
    good_until: float
    key: int = 0  # which of the corpus's signing keys made the codes


class Place(NamedTuple):
    """A slot in a file: scans first to first + length - 1."""

    key: int
    first: int
    length: int
    good_from: float  # Unix seconds, included
    good_until: float  # Unix seconds, excluded


def write_corpus(path: Path, slots: Iterable[Slot]) -> int:
    """Write a corpus, whole or not at all, and return how many scans it has.

    `slots` and their scans may be generators. The slots of each key follow upon each other in time, without
    a gap, and the keys are 0, 1, … Raises ValueError where that is not so, for a slot without scans, and for
    what the format cannot hold; OSError. Only the owner may read the file: who has it has codes that open
    gates.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb", buffering=1 << 20) as file:
            count = _write(file, slots)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


class CorpusFile:
    """A corpus that can be read. Processes that were forked from the one that opened it may share it."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a corpus into memory; raises NotACorpus, or CorpusTooOld when it is good no longer."""
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < _HEADER.size:
                    raise NotACorpus(_not_a_corpus(path))
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise NotACorpus(f"{path} cannot be read: {error.strerror}") from None
        try:
            corpus = cls(path, mapped)
            corpus.place_at(max(time.time(), corpus.good_from))
        except BaseException:
            mapped.close()
            raise
        return corpus

    def __init__(self, path: Path, mapped: mmap.mmap) -> None:
        """Read the tables; raises NotACorpus. Others call open()."""
        self._path, self._mapped = path, mapped
        magic, version, checksum, slots, kinds, scans, tables_at = _HEADER.unpack_from(mapped)
        if magic != _MAGIC:
            raise NotACorpus(_not_a_corpus(path))
        if version != _VERSION:
            raise NotACorpus(f"{path} is a corpus of version {version}, not {_VERSION}: make it anew")
        kinds_at = tables_at + slots * _SLOT.size
        self._scans_at = kinds_at + kinds * _KIND.size
        if self._scans_at + scans * _SCAN.size != len(mapped) or not slots:
            raise NotACorpus(f"{path} is not whole: copy it again, or make it anew")
        with memoryview(mapped)[_HEADER.size :] as rest:
            is_unchanged = checksum == _checksum(mapped[: _HEADER.size], zlib.crc32(rest))
        if not is_unchanged:
            raise NotACorpus(f"{path} was changed: copy it again, or make it anew")
        self._count: int = scans
        names = _KIND.iter_unpack(mapped[kinds_at : self._scans_at])
        self._kinds = [name.rstrip(b"\0").decode() for (name,) in names]
        self._places = _by_key([Place(*slot) for slot in _SLOT.iter_unpack(mapped[tables_at:kinds_at])])
        self._begins = [[place.good_from for place in places] for places in self._places]
        self.keys = len(self._places)
        self.good_from = max(places[0].good_from for places in self._places)
        self.good_until = min(places[-1].good_until for places in self._places)

    def __len__(self) -> int:
        """Return how many scans there are, of all slots."""
        return self._count

    def __getitem__(self, index: int) -> Scan:
        """Return a scan, 0 to len() - 1, in a microsecond or two; raises IndexError."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        at, length, verdict, kind = _SCAN.unpack_from(self._mapped, self._scans_at + index * _SCAN.size)
        return Scan(self._mapped[at : at + length], _VERDICTS[verdict], self._kinds[kind])

    def place_at(self, now: float, key: int = 0) -> Place:
        """Return the slot that is right to show at `now`, Unix seconds, 0 <= key < keys.

        Raises CorpusTooOld when there is none, IndexError for a key that it does not have.
        """
        found = bisect_right(self._begins[key], now) - 1
        if found >= 0 and now < self._places[key][found].good_until:
            return self._places[key][found]
        raise CorpusTooOld(self._describe_age(now, now))

    def at(self, now: float, key: int = 0) -> range:
        """Return the scans that are right to show at `now`; raises as place_at() does."""
        place = self.place_at(now, key)
        return range(place.first, place.first + place.length)

    def require_good(self, begin: float, end: float) -> None:
        """Raise CorpusTooOld unless it is good from `begin` to `end`, Unix seconds, as a run needs it."""
        if not (self.good_from <= begin and end < self.good_until):
            raise CorpusTooOld(self._describe_age(begin, end))

    def close(self) -> None:
        """Unmap it."""
        self._mapped.close()

    def _describe_age(self, begin: float, end: float) -> str:
        asked = _clock(begin) if begin == end else f"{_clock(begin)} to {_clock(end)}"
        return (
            f"{self._path} is good from {_clock(self.good_from)} to {_clock(self.good_until)}, and was asked "
            f"for {asked}: make a new one, for long enough (--minutes)"
        )


class Walk:
    """One site's way through a corpus: every scan of a slot comes before any of them comes again.

    Each seed begins at another place and goes in other strides. So a scan comes again when another site shows
    it, and a verifier that remembers codes may know it: start it with --known-codes 0.
    """

    def __init__(self, corpus: CorpusFile, seed: int) -> None:
        """Walk; the same `seed` goes the same way."""
        self._corpus = corpus
        self._rng = random.Random(seed)
        self._place = Place(0, 0, 0, math.inf, -math.inf)  # right at no time
        self._at, self._stride = 0, 1

    def next(self, now: float, key: int = 0) -> Scan:
        """Return the next scan to show at `now`, Unix seconds; raises as CorpusFile.place_at() does."""
        place = self._place
        if not place.good_from <= now < place.good_until or place.key != key:
            place = self._enter(self._corpus.place_at(now, key))
        self._at = (self._at + self._stride) % place.length
        return self._corpus[place.first + self._at]

    def _enter(self, place: Place) -> Place:
        self._place = place
        self._at = self._rng.randrange(place.length)
        self._stride = random_stride(place.length, self._rng)
        return place


def random_stride(length: int, rng: random.Random) -> int:
    """Return a stride that meets all places of a ring of `length` before any of them comes again."""
    stride = rng.randrange(length) or 1
    while math.gcd(stride, length) != 1:
        stride += 1
    return stride


def _write(file: BinaryIO, slots: Iterable[Slot]) -> int:
    """Write the texts, collecting the tables, then the tables, and the header last."""
    file.write(bytes(_HEADER.size))
    at, count, checksum = _HEADER.size, 0, 0
    kinds: dict[str, int] = {}
    places: list[Place] = []
    scans = bytearray()
    for slot in slots:
        first = count
        for qr_text, verdict, kind in slot.scans:
            place = kinds.setdefault(kind, len(kinds))
            if len(qr_text) > MAX_QR_TEXT_BYTES or place >= MAX_KINDS:
                raise ValueError(
                    f"expected texts of {MAX_QR_TEXT_BYTES} bytes, and {MAX_KINDS} kinds at most"
                )
            scans += _SCAN.pack(at, len(qr_text), verdict, place)
            file.write(qr_text)
            checksum = zlib.crc32(qr_text, checksum)
            at += len(qr_text)
            count += 1
        places.append(Place(slot.key, first, count - first, slot.good_from, slot.good_until))
    _require_sound(places, kinds)
    tables = b"".join(
        (
            *(_SLOT.pack(*place) for place in places),
            *(_KIND.pack(kind.encode()) for kind in kinds),
            scans,
        )
    )
    header = (_MAGIC, _VERSION, 0, len(places), len(kinds), count, at)
    checksum = _checksum(_HEADER.pack(*header), zlib.crc32(tables, checksum))
    file.write(tables)
    file.seek(0)
    file.write(_HEADER.pack(*header[:2], checksum, *header[3:]))
    return count


def _require_sound(places: Sequence[Place], kinds: Iterable[str]) -> None:
    """Raise ValueError for what cannot be read back."""
    if any(not place.length for place in places):
        raise ValueError("expected scans in each slot")
    for kind in kinds:
        if not 1 <= len(kind.encode()) <= _KIND.size or "\0" in kind:
            raise ValueError(f"expected a kind of 1 to {_KIND.size} bytes, got {kind!r}")
    keys = {place.key for place in places}
    if keys != set(range(len(keys))) or not keys:
        raise ValueError("expected slots of the keys 0, 1, …")
    for of_key in _by_key(places):
        if any(not place.good_from < place.good_until for place in of_key):
            raise ValueError("expected slots that are good for a time")
        ends, begins = [one.good_until for one in of_key], [one.good_from for one in of_key]
        if ends[:-1] != begins[1:]:
            raise ValueError("expected slots that follow upon each other")


def _by_key(places: Sequence[Place]) -> list[list[Place]]:
    """Return the slots of each key, in their order."""
    keys = 1 + max(place.key for place in places)
    return [[place for place in places if place.key == key] for key in range(keys)]


def _checksum(header: bytes, of_the_rest: int) -> int:
    without = header[:12] + bytes(4) + header[16:]  # the place of the checksum itself
    return zlib.crc32(without, of_the_rest)


def _not_a_corpus(path: Path) -> str:
    return f"{path} is not a corpus: make one with python -m loadtest corpus"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
