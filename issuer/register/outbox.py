"""The outbox: credentials whose record is on its way from the register to Redis.

Written in the transaction of the change itself; read, in order, and emptied by the publisher alone. A row
says which credential and not what: the record is read when it is published, in the same transaction as
the row. So what is written to Redis is never older than what was written before it.
"""

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, true

from issuer.register.database import Database
from issuer.register.records import PACKED, Shard, apart, count_shards, next_shard, read_shard, together
from issuer.register.schema import credentials, holder_status, outbox, publication
from verifier.wire.status_store import RECORDS_PER_SHARD


@dataclass(frozen=True, slots=True)
class Batch:
    """The first rows that are waiting, with the records as they are now."""

    last_seq: int  # 0: nothing is waiting
    row_count: int
    updates: Sequence[tuple[int, int]]  # credential_index and record, by index, each index once


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """Where we left the feed of a partition."""

    epoch: str
    feed_id: str  # the last entry of ours that Redis must still have heard of


@dataclass(frozen=True, slots=True)
class Comparison:
    """A shard as it should be, and where Redis has it otherwise."""

    shard: Shard
    differing: Sequence[tuple[int, int]]  # credential_index and the right record, by index


def enqueue(connection: Connection, which: ColumnElement[bool]) -> int:
    """Put the credentials that `which`, a condition on `credentials`, selects into the outbox.

    Belongs into the transaction that changed them. Returns the last seq given, 0 when there is none.
    """
    chosen = select(credentials.c.credential_index).where(which).order_by(credentials.c.credential_index)
    entered = insert(outbox).from_select([outbox.c.credential_index], chosen)
    done = connection.execute(entered, execution_options={"preserve_rowcount": True})
    return _last_seq(connection) if done.rowcount else 0


def enqueue_indices(connection: Connection, indices: Collection[int]) -> int:
    """Put credentials into the outbox, as `enqueue` does."""
    if not indices:
        return 0
    connection.execute(insert(outbox), [{"credential_index": index} for index in indices])
    return _last_seq(connection)


class Outbox:
    """What the publisher sees of the register. Every method raises RegisterUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def next_batch(self, limit: int, *, without: Collection[int] = (), partitions: int = 1) -> Batch:
        """Return the first rows that are waiting, at most `limit`, `without` those of some partitions."""
        of_others = _is_not_of(without, partitions)
        waiting = select(outbox).where(of_others).order_by(outbox.c.seq).limit(limit).subquery()
        # By index: neighbours lie on one page. It takes the third off the time of changes all over a city.
        first = select(waiting).order_by(waiting.c.credential_index).limit(limit).subquery()
        with self._database.read() as connection:
            last_seq, row_count, indices, records = connection.execute(
                select(
                    func.max(first.c.seq),
                    func.count(),
                    together(connection, first.c.credential_index),
                    together(connection, PACKED),
                ).select_from(
                    first.outerjoin(
                        credentials, first.c.credential_index == credentials.c.credential_index
                    ).outerjoin(holder_status, credentials.c.holder_id == holder_status.c.holder_id)
                )
            ).one()
        # Rows of one credential have one record: each has the present one.
        updates = sorted(dict(zip(apart(indices), apart(records), strict=True)).items())
        return Batch(last_seq or 0, row_count, updates)

    def require_ours(self) -> None:
        """Raise RegisterUnavailable when another process serves this register, or it cannot be written."""
        with self._database.write():
            pass

    def last_seq(self) -> int:
        """Return the seq of the last row; 0 when nothing is waiting."""
        with self._database.read() as connection:
            return _last_seq(connection)

    def backlog(self) -> int:
        """Return about how many rows are waiting: numbers left out by transactions that failed count too.

        It costs two look-ups, however long the outbox is.
        """
        with self._database.read() as connection:
            first, last = connection.execute(
                select(
                    select(func.min(outbox.c.seq)).scalar_subquery(),
                    select(func.max(outbox.c.seq)).scalar_subquery(),
                )
            ).one()
        return 0 if last is None else last - first + 1

    def positions(self) -> Mapping[int, FeedPosition]:
        """Return where we left the feeds, by partition; empty before Redis was ever written."""
        with self._database.read() as connection:
            return {
                row.partition: FeedPosition(row.epoch, row.feed_id)
                for row in connection.execute(select(publication))
            }

    def settle(
        self, last_seq: int, positions: Mapping[int, FeedPosition], *, without: Collection[int] = ()
    ) -> None:
        """Drop the rows up to `last_seq`, which are in Redis, and note where the feeds stand now.

        Rows `without` which that was done, those of some partitions, stay.
        """
        rows = [
            {"partition": partition, "epoch": position.epoch, "feed_id": position.feed_id}
            for partition, position in positions.items()
        ]
        with self._database.write() as connection:
            is_settled = and_(outbox.c.seq <= last_seq, _is_not_of(without, len(positions)))
            connection.execute(delete(outbox).where(is_settled))
            connection.execute(delete(publication))
            connection.execute(insert(publication), rows)

    def count_shards(self) -> int:
        """Return how many shards there are, up to the last that has a record."""
        with self._database.read() as connection:
            return count_shards(connection)

    def next_shard(self, shard: int) -> int | None:
        """Return the first shard from `shard` on that has a record, None when there is none."""
        with self._database.read() as connection:
            return next_shard(connection, shard)

    def read_shard(self, number: int) -> Shard:
        """Return a shard as it is now."""
        with self._database.read() as connection:
            return read_shard(connection, number)

    def compare(self, number: int, held: bytes) -> Comparison:
        """Compare a shard with what Redis holds of it; credentials that wait in the outbox don't count.

        `held` was read before, and nobody has written to Redis since.
        """
        first = number * RECORDS_PER_SHARD
        with self._database.read() as connection:
            shard = read_shard(connection, number)
            differing = _differing(first, shard.content, held)
            if differing:
                for index in _waiting(connection, first):
                    differing.pop(index, None)
        return Comparison(shard, sorted(differing.items()))


def _is_not_of(left_out: Collection[int], partitions: int) -> ColumnElement[bool]:
    if not left_out:
        return true()
    return (outbox.c.credential_index // RECORDS_PER_SHARD % partitions).not_in(sorted(left_out))


def _waiting(connection: Connection, first: int) -> "array[int]":
    """Return the credentials of the shard that begins with `first` which wait in the outbox."""
    of_the_shard = outbox.c.credential_index.between(first, first + RECORDS_PER_SHARD - 1)
    chosen = select(outbox.c.credential_index).where(of_the_shard).distinct().subquery()
    return apart(connection.scalar(select(together(connection, chosen.c.credential_index))))


def _differing(first: int, content: bytes, held: bytes) -> dict[int, int]:
    """Return the records of `content` that differ, by index; a shard may end early, the rest being zeros."""
    if content == held:
        return {}
    size = max(len(content), len(held))
    ours, theirs = (memoryview(shard.ljust(size, b"\0")).cast("Q") for shard in (content, held))
    return {first + at: record for at, record in enumerate(ours) if record != theirs[at]}


def _last_seq(connection: Connection) -> int:
    return connection.scalar(select(func.max(outbox.c.seq))) or 0
