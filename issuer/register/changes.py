"""Carry out changes of status, in the transaction of the caller: history, status of the holder, outbox.

Whether they may be carried out is asked here too; who may do so much is in allowances.py.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from issuer.register.entries import ChangeSource, StatusChange
from issuer.register.history import ChangeRow, append
from issuer.register.import_rows import find_rows
from issuer.register.outbox import enqueue
from issuer.register.schema import credentials, holders


@dataclass(frozen=True, slots=True)
class Origin:
    """Where changes come from, and when."""

    operator: str  # the name of a client
    source: ChangeSource
    now: int  # Unix seconds
    approval_id: int | None = None  # the request that a second person approved


class Holder(NamedTuple):
    """A holder, as far as a change has to know."""

    holder_id: int
    is_erased: bool


class People(NamedTuple):
    """The holders that changes name."""

    by_id: Mapping[int | None, Holder]
    by_external_id: Mapping[str | None, Holder]

    def find(self, change: StatusChange) -> Holder | None:
        """Return the holder of a change; None: there is none."""
        if change.holder_id is not None:
            return self.by_id.get(change.holder_id)
        return self.by_external_id.get(change.holder_external_id)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a change cannot be carried out."""

    field: str
    text: str


def read_people(connection: Connection, changes: Iterable[StatusChange]) -> People:
    """Return the holders that changes name, in one query for each way of naming them."""
    ids: set[int] = set()
    external_ids: set[str | None] = set()
    for change in changes:
        if change.holder_id is not None:
            ids.add(change.holder_id)
        else:
            external_ids.add(change.holder_external_id)
    columns = (holders.c.id, holders.c.external_id, holders.c.erased_at)
    by_id = find_rows(connection, columns, holders.c.id, ids)
    by_external_id = find_rows(connection, columns, holders.c.external_id, external_ids)
    return People(
        {row_id: Holder(row_id, erased_at is not None) for row_id, _, erased_at in by_id},
        {
            external_id: Holder(row_id, erased_at is not None)
            for row_id, external_id, erased_at in by_external_id
        },
    )


def find_problem(change: StatusChange, holder: Holder, *, now: int) -> Problem | None:
    """Return why a change to a holder cannot be carried out at `now`, Unix seconds, or None."""
    if holder.is_erased:
        return Problem(name_of_holder(change), "the holder was erased")
    if 0 < change.valid_until <= now:
        return Problem("valid_until", "expected Unix seconds in the future")
    return None


def name_of_holder(change: StatusChange) -> str:
    """Return the field that names the holder of a change."""
    return "holder_external_id" if change.holder_id is None else "holder_id"


def carry_out(
    connection: Connection, changes: Sequence[tuple[int, StatusChange]], origin: Origin
) -> tuple[range, int]:
    """Carry out changes, each to the holder_id before it, in this order.

    Returns the seqs given, in the same order, and the last outbox seq, 0 for none.
    """
    operator, source, approval_id, now = origin.operator, int(origin.source), origin.approval_id, origin.now
    seqs = append(
        connection,
        [
            ChangeRow(
                holder_id,
                int(change.colour),
                change.reason,
                change.negative_test_min,
                change.valid_until,
                change.authority,
                operator,
                change.evidence,
                source,
                approval_id,
                change.external_id,
                now,
            )
            for holder_id, change in changes
        ],
    )
    if not changes:
        return seqs, 0
    statuses = [
        (
            holder_id,
            int(change.colour),
            change.reason,
            change.negative_test_min,
            change.valid_until or None,
        )
        for holder_id, change in changes
    ]
    connection.exec_driver_sql(_upsert_sql(connection.dialect.paramstyle), statuses)
    return seqs, enqueue(connection, credentials.c.holder_id.in_({holder_id for holder_id, _ in changes}))


@functools.cache
def _upsert_sql(paramstyle: str) -> str:
    """Return what entries.HolderStatus.after says, for one change; in order, for many.

    So nothing has to be read first, and plain values go straight to the driver.
    """
    marks = ", ".join(["?" if paramstyle == "qmark" else "%s"] * 5)
    kept_unless_coloured = ", ".join(
        f"{name} = CASE WHEN excluded.colour = 0 THEN holder_status.{name} ELSE excluded.{name} END"
        for name in ("colour", "reason", "valid_until")
    )
    test = "last_negative_test_min"
    newest = (
        f"CASE WHEN excluded.{test} > holder_status.{test} THEN excluded.{test} ELSE holder_status.{test} END"
    )
    # Names are ours; values go as parameters.
    return (
        f"INSERT INTO holder_status (holder_id, colour, reason, {test}, valid_until) VALUES ({marks}) "  # noqa: S608
        f"ON CONFLICT (holder_id) DO UPDATE SET {kept_unless_coloured}, {test} = {newest}"
    )
