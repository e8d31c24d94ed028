"""What is in the stream and what is in the archive, for one journal folder.

The shipper notes in Redis how far it has read, in the same MULTI as the batches. So the note says what that
Redis holds, whatever happened: after a restart of the shipper it says where to go on; where Redis lost its
memory it is gone, and where Redis was set back it is of the same moment as the stream. Whenever the note is
not the one we wrote last, it is believed, and what it does not cover is shipped again.

The stream may lose batches and leave the note. The archive confirms a batch only when it has the one before,
so no such loss is ever taken for archived; and it shows: a batch of ours is no longer in the stream and does
not get confirmed.
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
    positions: Mapping[str, int]
    entry_id: bytes | None  # of the last of them in the stream; None: we don't know it


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
        self._turns = deque([_Turn(note.number, note.positions, None)])

    @property
    def awaited(self) -> bytes | None:
        """The stream entry that is either there or archived, or something was lost; None: we know none."""
        return next((turn.entry_id for turn in self._turns if turn.entry_id is not None), None)

    @property
    def is_unsure(self) -> bool:
        """Whether batches wait for the archive, and we know no entry that would show their loss."""
        return bool(self._turns) and self.awaited is None

    def confirm(self, archived_number: int) -> None:
        """Note what the archive has."""
        while self._turns and self._turns[0].number <= archived_number:
            self._archived.update(self._turns.popleft().positions)

    def plan(self, positions: Mapping[str, int], batches: int) -> tuple[range, Note]:
        """Return the numbers for so many batches, and the note to write with them."""
        numbers = range(self._next_number, self._next_number + batches)
        # Numbers are never given out twice, also if nobody knows whether Redis took the batches.
        self._next_number = numbers.stop
        return numbers, Note(numbers[-1] if numbers else self._note.number, positions)

    def shipped(self, note: Note, entry_id: bytes | None) -> None:
        """Redis has taken what was planned; `entry_id` is of the last batch, None if there was none."""
        self._note = note
        self._turns.append(_Turn(note.number, note.positions, entry_id))

    def forget(self, present: set[str]) -> None:
        """Drop the segments that are no longer there."""
        self._archived = {name: at for name, at in self._archived.items() if name in present}
