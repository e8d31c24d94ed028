"""When scans are due: a crowd comes when it comes, whether or not the server keeps up (an open model).

A profile says how the rate goes over a run. Due times are found by inverting the integral of that rate, so
that they follow it exactly, however long the run (E. Çınlar, "Introduction to Stochastic Processes", 4.7).
"""

import csv
import io
import itertools
import math
import random
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

# A row for every second of a day are 86 400 rows and 1.3 MB.
_MOST_POINTS: Final = 100_000
_MOST_BYTES: Final = 4_000_000

_CLOCK_TIME: Final = re.compile(r"([0-9]{1,2}):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?", re.ASCII)


class ProfileError(Exception):
    """A profile that no crowd can follow; the message is for the user."""


class Profile:
    """A rate over a run: piecewise linear between points, 1 being what the user asked for.

    Two points at the same fraction are a jump: from that moment on, the second one holds.
    """

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        """Take (fraction of the run, share of the rate), from fraction 0 to 1; raises ProfileError."""
        if not 2 <= len(points) <= _MOST_POINTS:
            raise ProfileError(f"a profile has 2 to {_MOST_POINTS} points, not {len(points)}")
        for fraction, share in points:
            if not (math.isfinite(fraction) and math.isfinite(share) and share >= 0):
                raise ProfileError(
                    f"a point needs a fraction and a share of 0 or more, not {fraction}, {share}"
                )
        if points[0][0] != 0 or points[-1][0] != 1:
            raise ProfileError(f"a profile goes from 0 to 1, not from {points[0][0]} to {points[-1][0]}")
        for (before, _), (after, _) in itertools.pairwise(points):
            if after < before:
                raise ProfileError(f"the fractions of a profile ascend; {after} follows {before}")
        self.points: Final = tuple(points)
        if not self.area():
            raise ProfileError("nobody ever comes in this profile")

    @classmethod
    def from_csv(cls, path: Path) -> Self:
        """Read a day: a head `time,scans`, then a row for each moment; raises ProfileError.

        `time` is HH:MM, HH:MM:SS or a number of minutes, ascending; `scans` is how many came in a minute (or
        in any other stretch of time that is the same for all rows), linear in between. Whatever its length
        and its numbers, the day becomes a run from 0 to 1 whose highest rate is 1.
        """
        rows = _read_rows(path)
        if len(rows) < 2 or rows[0].minute == rows[-1].minute:
            raise ProfileError(f"{path}: a day needs rows of two moments or more")
        for before, after in itertools.pairwise(rows):
            if after.minute < before.minute:
                raise ProfileError(f"{path}, line {after.line}: its time is before that of the row above")
        begin, length = rows[0].minute, rows[-1].minute - rows[0].minute
        most = max(row.scans for row in rows)
        if most == 0:
            raise ProfileError(f"{path}: nobody ever comes on this day")
        return cls([((row.minute - begin) / length, row.scans / most) for row in rows])

    def rate_at(self, fraction: float) -> float:
        """Return the share at `fraction` of the run; outside of it, the share of the nearer end."""
        after = bisect_right(self.points, fraction, key=lambda point: point[0])
        if after == 0 or after == len(self.points):
            return self.points[min(after, len(self.points) - 1)][1]
        (from_, share), (to, next_share) = self.points[after - 1 : after + 1]
        return share + (next_share - share) * (fraction - from_) / (to - from_)

    def area(self) -> float:
        """Return the mean share; times the rate and the length of a run this is how many come."""
        return math.fsum(
            (to - from_) * (share + next_share) / 2
            for (from_, share), (to, next_share) in itertools.pairwise(self.points)
        )


def due_times(
    profile: Profile, *, per_s: float, duration_s: float, process: str, rng: random.Random
) -> Iterator[float]:
    """Yield the moments at which scans are due: seconds since the run began, ascending, below `duration_s`.

    `per_s` is the rate where the profile is 1. "even" arrivals keep the distance that the rate asks for, from
    a random first one on; "poisson" arrivals know nothing of each other, as a real crowd, and those of many
    sources with a part of the rate each are together again Poisson at the whole rate.

    Raises ValueError for a rate, a duration or a process that there is not, when the first one is asked for.
    """
    if not (math.isfinite(per_s) and per_s >= 0 and math.isfinite(duration_s) and duration_s > 0):
        raise ValueError(f"no rate or no duration: {per_s} a second for {duration_s} s")
    # A scan is due whenever the integral of the rate reaches the next of these.
    targets = _targets(process, rng)
    target = next(targets)
    passed = 0.0
    for stretch in _stretches(profile, per_s, duration_s):
        while target < passed + stretch.area:
            yield stretch.moment_of(target - passed)
            target = next(targets)
        passed += stretch.area


def _targets(process: str, rng: random.Random) -> Iterator[float]:
    if process == "even":
        # Not a sum of ones: a count has no rounding to add up over hours.
        phase = rng.random()
        return (phase + number for number in itertools.count())
    if process == "poisson":
        return itertools.accumulate(rng.expovariate(1.0) for _ in itertools.repeat(None))
    raise ValueError(f"arrivals are even or poisson, not {process}")


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of a run in which the rate changes linearly."""

    begins_s: float
    ends_s: float
    rate: float  # at its begin, scans a second
    slope: float  # scans a second, a second
    area: float  # scans

    def moment_of(self, area: float) -> float:
        """Return the moment at which `area` of the stretch has passed."""
        # The form of the quadratic formula that subtracts nothing, and holds for a slope of 0 too. The root
        # can round to below 0 where the rate falls to 0.
        divisor = self.rate + math.sqrt(max(0.0, self.rate * self.rate + 2 * self.slope * area))
        moment = self.begins_s + (2 * area / divisor if divisor else 0.0)
        return moment if moment < self.ends_s else math.nextafter(self.ends_s, 0.0)


def _stretches(profile: Profile, per_s: float, duration_s: float) -> Iterator[_Stretch]:
    for (from_, share), (to, next_share) in itertools.pairwise(profile.points):
        begins_s, ends_s = from_ * duration_s, to * duration_s
        length_s = ends_s - begins_s
        if length_s > 0:
            rate, next_rate = share * per_s, next_share * per_s
            slope = (next_rate - rate) / length_s
            yield _Stretch(begins_s, ends_s, rate, slope, (rate + next_rate) / 2 * length_s)


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    minute: float
    scans: float


def _read_rows(path: Path) -> list[_Row]:
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    rows: list[_Row] = []
    try:
        if [name.strip() for name in next(reader, [])] != ["time", "scans"]:
            raise ProfileError(f"{path}, line 1: expected the head time,scans")
        for row in reader:
            if row:
                rows.append(_read_row(row, f"{path}, line {reader.line_num}", reader.line_num))
            if len(rows) > _MOST_POINTS:
                raise ProfileError(f"{path}: more than {_MOST_POINTS} rows")
    except csv.Error as error:
        raise ProfileError(f"{path}, line {reader.line_num}: {error}") from error
    return rows


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise ProfileError(f"{path}: more than {_MOST_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ProfileError(f"{path}, line {line}: not UTF-8") from error


def _read_row(row: list[str], place: str, line: int) -> _Row:
    if len(row) != 2:
        raise ProfileError(f"{place}: expected a time and a number of scans, found {len(row)} fields")
    time, scans = row[0].strip(), row[1].strip()
    if not _NUMBER.fullmatch(scans):
        raise ProfileError(f"{place}: expected a number of scans, 0 or more")
    if _NUMBER.fullmatch(time):
        return _Row(line, float(time), float(scans))
    clock_time = _CLOCK_TIME.fullmatch(time)
    if clock_time is None:
        raise ProfileError(f"{place}: expected a time as 08:30, 08:30:00 or a number of minutes")
    hours, minutes, seconds = (int(part or 0) for part in clock_time.groups())
    if hours * 3600 + minutes * 60 + seconds > 24 * 3600:
        raise ProfileError(f"{place}: a day ends at 24:00")
    return _Row(line, hours * 60 + minutes + seconds / 60, float(scans))
