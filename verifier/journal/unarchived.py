"""Since when scan log waits for the archive.

A segment says when it was begun, not when what lies behind a place in it was written. So it is noted every
few seconds how far the segments have grown; a note is done with when the archive has all that it says. Pure.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from verifier.journal.segments import Segment, created_at

# What has grown within it counts as of its begin: far below the minutes that anybody asks for.
_STEP_S = 5.0
# An hour and a half of them. While an archive is away for longer, the last one takes what still comes.
_MAX_MARKS = 1_024


@dataclass(frozen=True, slots=True)
class _Mark:
    at: float  # Unix seconds
    sizes: dict[str, int]  # up to where segments had grown, by name; those that had


class Unarchived:
    """What the archive has not taken of one folder, by its age."""

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque()
        self._sizes: dict[str, int] | None = None  # as at the last look

    @property
    def since(self) -> float | None:
        """When the oldest of it was written, Unix seconds; None where all is archived."""
        return self._marks[0].at if self._marks else None

    def look(self, segments: Sequence[Segment], archived: Mapping[str, int], now: float) -> None:
        """Take what the folder holds, the oldest segments first, and up to where each is archived."""
        if self._sizes is None:
            # Of what was there before us we know no better.
            old = [segment for segment in segments if segment.size]
            self._marks.extend(_Mark(min(now, created_at(s.name)), {s.name: s.size}) for s in old)
        else:
            before = self._sizes
            self._grow({s.name: s.size for s in segments if s.size > before.get(s.name, 0)}, now)
        self._sizes = {segment.name: segment.size for segment in segments}
        while self._marks and self._is_done(self._marks[0], archived):
            self._marks.popleft()

    def _grow(self, grown: dict[str, int], now: float) -> None:
        if not grown:
            return
        last = self._marks[-1] if self._marks else None
        if last is not None and (now - last.at < _STEP_S or len(self._marks) >= _MAX_MARKS):
            last.sizes.update(grown)
        else:
            self._marks.append(_Mark(now, grown))

    def _is_done(self, mark: _Mark, archived: Mapping[str, int]) -> bool:
        # What is no longer there was archived and removed, or is lost to the archive.
        present = self._sizes or {}
        return all(archived.get(name, 0) >= size for name, size in mark.sizes.items() if name in present)
