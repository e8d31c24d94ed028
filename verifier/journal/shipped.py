"""What is in the stream and what is in the archive, for one journal folder.

The shipper notes in Redis how far it has read, in the same MULTI as the batches. So the note says what that
Redis holds, whatever happened: after a restart of the shipper it says where to go on; where Redis lost its
memory it is gone, and where Redis was set back it is of the same moment as the stream. Whenever the note is
not the one we wrote last, it is believed, and what it does not cover is shipped again.
"""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Note:
    """What the stream has been given."""

    number: int = 0  # of the last batch; 0: none
    positions: Mapping[str, int] = field(default_factory=dict)  # by name of segment

    def encode(self) -> bytes:
        """Return it as bytes for decode."""
        return json.dumps({"n": self.number, "at": dict(self.positions)}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, encoded: bytes | None) -> Self:
        """Return what encode made; a note of nothing for None, or for anything else."""
        try:
            found = json.loads(encoded or b"{}")
            number, positions = found.get("n", 0), found.get("at", {})
            if type(number) is int and all(type(at) is int and at >= 0 for at in positions.values()):
                return cls(max(0, number), positions)
        except (ValueError, AttributeError, RecursionError):
            pass
        return cls()


@dataclass(frozen=True, slots=True)
class _Turn:
    """Batches that were put into the stream together, and that the archive has not all confirmed."""

    number: int  # of the last of them
    count: int
    positions: Mapping[str, int]


class Ledger:
    """Knows what is shipped and what is archived."""

    def __init__(self) -> None:
        self._note = Note()
        self._turns: deque[_Turn] = deque()
        self._archived: dict[str, int] = {}
        self._next_number = 1

    @property
    def note(self) -> Note:
        """The note that Redis must hold."""
        return self._note

    @property
    def archived(self) -> Mapping[str, int]:
        """Up to where each segment is in the archive."""
        return self._archived

    def believe(self, note: Note, *, archived_number: int, least_number: int) -> None:
        """Take what Redis says instead of what we thought; what is archived stays so.

        Later batches get numbers above all that were ever given out, those of a past that Redis has
        forgotten included: the archive may still confirm these. `least_number` sees to it after a restart.
        """
        self._next_number = max(self._next_number, least_number, note.number + 1, archived_number + 1)
        positions = {**note.positions}
        for name, position in self._archived.items():
            positions[name] = max(position, positions.get(name, 0))
        self._note = Note(note.number, positions)
        self._turns = deque([_Turn(note.number, min(1, note.number), note.positions)])

    def confirm(self, archived_number: int) -> int:
        """Note what the archive has; returns how many batches must still be in the stream."""
        while self._turns and self._turns[0].number <= archived_number:
            self._archived.update(self._turns.popleft().positions)
        return sum(min(turn.count, turn.number - archived_number) for turn in self._turns)

    def plan(self, positions: Mapping[str, int], batches: int) -> tuple[range, Note]:
        """Return the numbers for so many batches, and the note to write with them."""
        numbers = range(self._next_number, self._next_number + batches)
        # Numbers are never given out twice, also if nobody knows whether Redis took the batches.
        self._next_number = numbers.stop
        return numbers, Note(numbers[-1] if numbers else self._note.number, positions)

    def shipped(self, note: Note, batches: int) -> None:
        """Redis has taken what was planned."""
        self._note = note
        self._turns.append(_Turn(note.number, batches, note.positions))

    def forget(self, present: set[str]) -> None:
        """Drop the segments that are no longer there."""
        self._archived = {name: at for name, at in self._archived.items() if name in present}
