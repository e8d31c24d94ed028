"""A corpus of a city without an issuer: signed here, and good for as long as is asked for."""

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from loadtest.city_file import CityFile
from loadtest.corpus import Corpus
from loadtest.corpus_file import Scan, Slot, write_corpus

# So long ago it would have been good as well: other machines' clocks may be behind ours.
_CLOCKS_DIFFER_S = 60
_SCANS_PER_STEP = 1_000


@dataclass(frozen=True, slots=True)
class Made:
    """A corpus that was written."""

    path: Path
    counts: Mapping[tuple[str, str], int]  # by kind and name of the verdict
    good_from: float  # Unix seconds
    good_until: float  # Unix seconds
    keys: int
    slots: int  # of a key
    notes: tuple[str, ...] = ()  # what people have to know about it


class Tally:
    """Counts scans on their way into a file, and shows how far it has come."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._progress = progress
        self._task = progress.add_task("Making codes", total=total)

    def count(self, scans: Iterable[Scan]) -> Iterator[Scan]:
        """Pass scans on."""
        for number, scan in enumerate(scans, start=1):
            self.counts[scan.kind, scan.verdict.name] += 1
            if number % _SCANS_PER_STEP == 0:
                self._progress.advance(self._task, _SCANS_PER_STEP)
            yield scan


def corpus_of_city(
    city: CityFile,
    path: Path,
    *,
    codes: int,
    seconds: float,
    mix: Mapping[str, int],
    keys: int = 1,
    progress: Progress | None = None,
    rng: random.Random | None = None,
) -> Made:
    """Write a corpus of `codes` scans that is good for `seconds` from now; with 2 keys, half are of each.

    Raises NobodyLikeThat and OSError.
    """
    rng = rng or random.Random()
    progress = progress or Progress(disable=True)
    now = int(time.time())
    good_from, good_until = now - _CLOCKS_DIFFER_S, now + round(seconds)
    tally = Tally(progress, codes)
    slots = []
    for key in range(keys):
        corpus = Corpus(key=city.key(key), population=city.people, groups=city.people.groups(), rng=rng)
        count = codes // keys + (key < codes % keys)
        scans = corpus.scans(count, mix=mix, good_from=good_from, good_until=good_until)
        slots.append(Slot(tally.count(scans), good_from, good_until, key))
    write_corpus(path, slots)
    return Made(path, tally.counts, good_from, good_until, keys, slots=1)
