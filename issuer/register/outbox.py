"""The outbox: status records on their way from the register to Redis.

Written in the transaction of the change itself; read, in order, and emptied by the publisher alone.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from issuer.register.database import Database
from issuer.register.records import read_records
from issuer.register.schema import credentials, outbox, publication


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One record to publish. Rows are published by ascending `seq`."""

    seq: int
    credential_index: int
    record: int


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """Where we left the feed of a partition."""

    epoch: str
    feed_id: str  # the last entry of ours that Redis must still have heard of


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All records at one instant."""

    records: Iterator[tuple[int, int]]  # credential_index and record, by index
    record_count: int
    last_seq: int  # rows of the outbox up to this one are in the records already


def enqueue(connection: Connection, which: ColumnElement[bool]) -> int:
    """Put the present records of the credentials that `which` selects into the outbox.

    Belongs into the transaction that changed them. Returns the last seq given, 0 when there is none.
    """
    rows = [
        {"credential_index": index, "record": record} for index, record in read_records(connection, which)
    ]
    if not rows:
        return 0
    connection.execute(insert(outbox), rows)
    return connection.scalar(select(func.max(outbox.c.seq))) or 0


class Outbox:
    """What the publisher sees of the register. Every method raises RegisterUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def next_rows(self, limit: int) -> Sequence[OutboxRow]:
        """Return the first rows that are waiting."""
        with self._database.read() as connection:
            return [
                OutboxRow(*row)
                for row in connection.execute(select(outbox).order_by(outbox.c.seq).limit(limit))
            ]

    def positions(self) -> Mapping[int, FeedPosition]:
        """Return where we left the feeds, by partition; empty before Redis was ever written."""
        with self._database.read() as connection:
            return {
                row.partition: FeedPosition(row.epoch, row.feed_id)
                for row in connection.execute(select(publication))
            }

    def settle(self, last_seq: int, positions: Mapping[int, FeedPosition]) -> None:
        """Drop the rows up to `last_seq`, which are in Redis, and note where the feeds stand now."""
        rows = [
            {"partition": partition, "epoch": position.epoch, "feed_id": position.feed_id}
            for partition, position in positions.items()
        ]
        with self._database.write() as connection:
            connection.execute(delete(outbox).where(outbox.c.seq <= last_seq))
            connection.execute(delete(publication))
            connection.execute(insert(publication), rows)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Give all records of one instant; others may write to the register meanwhile."""
        with self._database.read() as connection:
            last_seq = connection.scalar(select(func.max(outbox.c.seq))) or 0
            record_count = connection.scalar(select(func.count()).select_from(credentials)) or 0
            yield Snapshot(read_records(connection), record_count, last_seq)
