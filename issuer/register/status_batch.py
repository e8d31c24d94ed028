"""The rows of an import of statuses or tests, taken one by one: kept, refused, or to be carried out."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection

from issuer.register.allowances import Allowance
from issuer.register.changes import People, find_problem, name_of_holder, read_people
from issuer.register.entries import ChangeSource, StatusChange
from issuer.register.import_rows import Outcome, RowRefused, find_rows
from issuer.register.schema import status_changes


class _Before(NamedTuple):
    """A row with the same external_id: its seq, or its place in the batch; what was decided on whom."""

    number: int
    decision: tuple[int, ...]


class StatusBatch:
    """One batch, in the transaction of its changes."""

    def __init__(
        self,
        connection: Connection,
        rows: Iterable[StatusChange | RowRefused],
        *,
        source: ChangeSource,
        allowance: Allowance,
        now: int,
    ) -> None:
        """Take the rows up; `now` is Unix seconds. Each has an external_id."""
        self.accepted: list[tuple[int, StatusChange]] = []  # holder_id and change
        self._rows = list(rows)
        readable = [row for row in self._rows if isinstance(row, StatusChange)]
        self._people: People = read_people(connection, readable)
        self._known = _read_known(connection, readable, source)
        self._new: dict[str | None, _Before] = {}
        self._allowance = allowance
        self._now = now
        self.outcome = Outcome(len(self._rows))
        for position, row in enumerate(self._rows):
            if isinstance(row, RowRefused):
                self.outcome.refuse(position, row.reason)
            else:
                self._take(position, row)

    def _take(self, position: int, change: StatusChange) -> None:
        holder = self._people.find(change)
        # 1. What is known stays as it is, whatever has become of the holder since.
        known = self._known.get(change.external_id)
        if before := known or self._new.get(change.external_id):
            if holder is not None and before.decision != _decision(holder.holder_id, change):
                self.outcome.refuse(position, "external_id: it is known, but for another change")
            elif known:
                self.outcome.keep(position, before.number)
            else:
                self.outcome.repeat(position, before.number)
            return
        # 2. What is new is checked, with the allowance last: what is refused takes nothing from it.
        if holder is None:
            self.outcome.refuse(position, f"{name_of_holder(change)}: there is no such holder")
            return
        if problem := find_problem(change, holder, now=self._now):
            self.outcome.refuse(position, f"{problem.field}: {problem.text}")
            return
        if refusal := self._allowance.take(holder.holder_id, change.colour):
            self.outcome.refuse(position, refusal)
            return
        place = len(self.accepted)
        self.outcome.add(position, place)
        self._new[change.external_id] = _Before(place, _decision(holder.holder_id, change))
        self.accepted.append((holder.holder_id, change))


def _decision(holder_id: int, change: StatusChange) -> tuple[int, ...]:
    return holder_id, change.colour, change.reason, change.negative_test_min, change.valid_until


def _read_known(
    connection: Connection, changes: Iterable[StatusChange], source: ChangeSource
) -> Mapping[str | None, _Before]:
    known = status_changes.c
    columns = (
        known.source,
        known.external_id,
        known.seq,
        known.holder_id,
        known.colour,
        known.reason,
        known.negative_test_min,
        known.valid_until,
    )
    found = find_rows(connection, columns, known.external_id, {change.external_id for change in changes})
    return {
        external_id: _Before(seq, tuple(decision))
        for its_source, external_id, seq, *decision in found
        if its_source == source
    }
