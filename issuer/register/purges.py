"""Removing scans that are too old, slice by slice, and the reports of it.

A slice is a short transaction, in which the report counts what it removed: wherever a purge is cut short, its
report says what is gone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from issuer.register.database import Database
from issuer.register.schema import purges, scans, suspects

# Some 50 ms of the writer's time.
SLICE_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class PurgeEntry:
    """A report of what was removed."""

    seq: int  # 0: nothing was, it was only counted
    purged_at: int
    before_ms: int
    retention_days: int
    is_daily: bool
    is_done: bool
    scans: int
    suspects: int


class Purges:
    """Removes what is too old. Threads share it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def last_daily(self) -> PurgeEntry | None:
        """Return the last purge that the archive began by itself; raises RegisterUnavailable."""
        query = select(purges).where(purges.c.is_daily == 1).order_by(purges.c.seq.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _entry(row)

    def begin(
        self, *, retention_days: int, now: int, is_daily: bool, from_s: int | None = None
    ) -> PurgeEntry:
        """Enter the report of a purge that has removed nothing yet; raises RegisterUnavailable.

        The retention is counted back from `from_s`, Unix seconds; None: from `now`.
        """
        values = {
            "purged_at": now,
            "before_ms": _before_ms(retention_days, now if from_s is None else from_s),
            "retention_days": retention_days,
            "is_daily": int(is_daily),
            "is_done": 0,
            "scans": 0,
            "suspects": 0,
        }
        with self._database.write() as connection:
            return _entry(connection.execute(insert(purges).values(values).returning(purges)).one())

    def remove_slice(self, purge: PurgeEntry) -> PurgeEntry:
        """Remove some of what is too old and return the report as it is now; raises RegisterUnavailable."""
        with self._database.write() as connection:
            gone_scans = _remove(connection, scans.c.identity, scans.c.verified_at_ms, purge.before_ms)
            gone_suspects = _remove(connection, suspects.c.seq, suspects.c.second_at_ms, purge.before_ms)
            changed = (
                update(purges)
                .where(purges.c.seq == purge.seq)
                .values(
                    scans=purges.c.scans + gone_scans,
                    suspects=purges.c.suspects + gone_suspects,
                    is_done=int(max(gone_scans, gone_suspects) < SLICE_ROWS),
                )
                .returning(purges)
            )
            return _entry(connection.execute(changed).one())

    def run(self, *, retention_days: int, now: int) -> Iterator[PurgeEntry]:
        """Remove all that is too old, yielding the report after each slice; raises RegisterUnavailable."""
        purge = self.begin(retention_days=retention_days, now=now, is_daily=False)
        while not purge.is_done:
            purge = self.remove_slice(purge)
            yield purge

    def count(self, *, retention_days: int, now: int) -> PurgeEntry:
        """Return the report that a purge would have; raises RegisterUnavailable."""
        before_ms = _before_ms(retention_days, now)
        old_scans = select(func.count()).select_from(scans).where(scans.c.verified_at_ms < before_ms)
        old_suspects = select(func.count()).select_from(suspects).where(suspects.c.second_at_ms < before_ms)
        with self._database.read() as connection:
            counted = (connection.scalar(old_scans) or 0, connection.scalar(old_suspects) or 0)
        return PurgeEntry(0, now, before_ms, retention_days, False, False, *counted)

    def page(self, *, page_size: int, before_seq: int) -> tuple[Sequence[PurgeEntry], bool]:
        """Return reports, the newest first, and whether there are older ones; raises RegisterUnavailable."""
        query = select(purges).order_by(purges.c.seq.desc()).limit(page_size + 1)
        if before_seq:
            query = query.where(purges.c.seq < before_seq)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [_entry(row) for row in rows[:page_size]], len(rows) > page_size


def _remove(
    connection: Connection, key: ColumnElement[Any], moment: ColumnElement[int], before_ms: int
) -> int:
    oldest = select(key).where(moment < before_ms).order_by(moment).limit(SLICE_ROWS)
    table: Any = key.table
    return int(connection.execute(delete(table).where(key.in_(oldest))).rowcount)


def _before_ms(retention_days: int, now: int) -> int:
    return (now - retention_days * 86_400) * 1000


def _entry(row: Any) -> PurgeEntry:
    fields = dict(row._mapping)
    return PurgeEntry(**fields | {"is_daily": bool(fields["is_daily"]), "is_done": bool(fields["is_done"])})
