"""What the imports share: rows that came wrong, ids by external_id, numbers for new rows, fast inserts.

A batch of an import is one transaction. A bad row is refused with its reason and holds up no other. Rows
are handed over as what was read of them, or as a RowRefused where nothing useful could be read, so that
positions stay those of the batch.

A million rows should take a minute, with reading, hashing and flushing, so statements are made by hand here:
of 1 000 new holders in a small SQLite register, `insert` took 9.1 microseconds each and insert_rows 6.1,
looking a value up by `in_` 3.1 and by find_rows 1.3.
"""

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Row, Table, func, select, text

from issuer.register.entries import RowsEntered

# A full batch of an import; statements may have 32 766 parameters (SQLite) or 65 535 (PostgreSQL).
_ROWS_PER_STATEMENT = 1_000


@dataclass(frozen=True, slots=True)
class RowRefused:
    """A row that cannot be entered."""

    reason: str  # names the field, and never quotes a name or a document number


class Outcome:
    """What becomes of the rows of a batch, filled row by row.

    New rows get their ids only when all are known, so that none is given for nothing: until then they go
    by their place among the new ones.
    """

    def __init__(self, row_count: int) -> None:
        self._ids = [0] * row_count
        self._places: list[tuple[int, int]] = []
        self._known = 0
        self._refused: list[tuple[int, str]] = []

    def refuse(self, position: int, reason: str) -> None:
        """Note why a row is not entered."""
        self._refused.append((position, reason))

    def keep(self, position: int, row_id: int) -> None:
        """Note that a row was on the register before."""
        self._ids[position] = row_id
        self._known += 1

    def add(self, position: int, place: int) -> None:
        """Note that a row is the new one at `place`."""
        self._places.append((position, place))

    def repeat(self, position: int, place: int) -> None:
        """Note that a row says again what the new one at `place` says."""
        self._places.append((position, place))
        self._known += 1

    def entered(self, new_ids: Sequence[int], outbox_seq: int = 0) -> RowsEntered:
        """Return what came of the batch; `new_ids` are those given to the new rows, by place."""
        for position, place in self._places:
            self._ids[position] = new_ids[place]
        return RowsEntered(self._ids, self._known, self._refused, outbox_seq)


def find_rows(
    connection: Connection, columns: Sequence[Column[Any]], key: Column[Any], values: Iterable[Any]
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return `columns` of the rows whose `key` is one of `values`, in one query; None is skipped."""
    wanted = set(values)
    wanted.discard(None)
    if not wanted:
        return ()
    names = tuple(column.name for column in columns)
    statement = _find_statement(key.table.name, names, key.name, len(wanted), connection.dialect.paramstyle)
    return connection.exec_driver_sql(statement, tuple(wanted)).all()


def ids_by_external_id(
    connection: Connection, table: Table, external_ids: Iterable[str | None]
) -> dict[str, int]:
    """Return the ids of the rows of `table` that have one of `external_ids`; None is skipped."""
    (id_column,) = table.primary_key.columns
    found = find_rows(connection, (table.c.external_id, id_column), table.c.external_id, external_ids)
    return {row.external_id: row[1] for row in found}


def take_ids(connection: Connection, id_column: Column[int], count: int) -> Sequence[int]:
    """Return the next `count` ids of a table, in order, from the database's own sequence.

    Ids are never given twice, not even after rows were deleted by hand: a card of the deleted credential
    would be in force for another holder. Needs a write transaction.
    """
    if count == 0:
        return ()
    table = id_column.table.name
    if connection.dialect.name == "sqlite":
        # Inserting explicit ids into an AUTOINCREMENT table moves its sequence along.
        last = connection.scalar(
            text("SELECT seq FROM sqlite_sequence WHERE name = :table"), {"table": table}
        )
        first = (last or 0) + 1
        return range(first, first + count)
    sequence = func.pg_get_serial_sequence(table, id_column.name)
    numbers = select(func.nextval(sequence)).select_from(func.generate_series(1, count))
    return sorted(connection.scalars(numbers))


def insert_rows(
    connection: Connection, columns: Sequence[Column[Any]], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows of plain values, in the order of `columns`, which belong to one table.

    In one statement: the driver of SQLite lets other threads have the interpreter each time it steps, which
    with executemany is at every row, while the register is locked.
    """
    names = tuple(column.name for column in columns)
    for first in range(0, len(rows), _ROWS_PER_STATEMENT):
        some = rows[first : first + _ROWS_PER_STATEMENT]
        statement = _insert_statement(columns[0].table.name, names, len(some), connection.dialect.paramstyle)
        connection.exec_driver_sql(statement, tuple(itertools.chain.from_iterable(some)))


# Names are ours, from schema.py; values go as parameters. Nearly all batches are full, and nearly all of the
# others the last of their file.
@functools.lru_cache(maxsize=64)
def _insert_statement(table: str, columns: Sequence[str], count: int, paramstyle: str) -> str:
    row = f"({_marks(len(columns), paramstyle)})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * count)}"  # noqa: S608


@functools.lru_cache(maxsize=64)
def _find_statement(table: str, columns: Sequence[str], key: str, count: int, paramstyle: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {key} IN ({_marks(count, paramstyle)})"  # noqa: S608


def _marks(count: int, paramstyle: str) -> str:
    return ", ".join(["?" if paramstyle == "qmark" else "%s"] * count)
