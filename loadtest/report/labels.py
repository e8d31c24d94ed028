"""Where the names of moments stand above a plot, so that no name covers another one or another one's line."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A name beside the upper end of its line; lanes count upwards from 0, just above the plot."""

    line_x: float
    begins_x: float
    ends_x: float
    lane: int = 0

    @property
    def is_left(self) -> bool:
        """Tell whether the name ends at its line, rather than begins there."""
        return self.begins_x < self.line_x

    def covers_line_of(self, other: "Place") -> bool:
        """Tell whether the other one's line would run through this name, if it went as high."""
        return self.begins_x < other.line_x < self.ends_x

    def overlaps(self, other: "Place") -> bool:
        """Tell whether the names could not stand in the same lane."""
        return self.begins_x < other.ends_x and other.begins_x < self.ends_x


def place(xs: Sequence[float], widths: Sequence[float], right: float) -> list[Place]:
    """Return a place for each name, in the order of `xs`, which ascends; `right` is where the plot ends."""
    waiting = dict(enumerate(_sides(xs, widths, right)))
    placed: dict[int, Place] = {}
    while waiting:
        # A name stands above all lines that it covers. Two that cover each other's line do not happen.
        free = [key for key, one in waiting.items() if not any(map(one.covers_line_of, waiting.values()))]
        key = free[-1] if free else next(iter(waiting))
        one = waiting.pop(key)
        lane = 1 + max((other.lane for other in placed.values() if one.covers_line_of(other)), default=-1)
        while any(other.lane == lane and one.overlaps(other) for other in placed.values()):
            lane += 1
        placed[key] = Place(one.line_x, one.begins_x, one.ends_x, lane)
    return [placed[key] for key in sorted(placed)]


def _sides(xs: Sequence[float], widths: Sequence[float], right: float) -> list[Place]:
    """Put names at the right of their lines, unless they would leave the plot or meet one that would."""
    places: list[Place] = []
    must_end_before = right
    for x, width in reversed(list(zip(xs, widths, strict=True))):
        if x + width <= must_end_before:
            places.append(Place(x, x, x + width))
        else:
            places.append(Place(x, x - width, x))
            must_end_before = x
    return places[::-1]
