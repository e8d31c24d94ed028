"""The record of calls: who, what, when, with what outcome. It holds no personal data of holders."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from issuer.access.clients import client_named
from issuer.register.database import Database
from issuer.register.schema import calls, clients

# Targets are a few words; whatever a caller makes of one, it takes no more room than this.
_MAX_TARGET_CHARACTERS = 128


@dataclass(frozen=True, slots=True)
class CallEntry:
    """A call that was recorded."""

    seq: int
    client: str
    method: str
    target: str
    called_at: int
    outcome: str  # gRPC status code by name; empty while under way, or where the issuer died during it


class Calls:
    """Records calls, and reads the record. Threads share it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def begin(self, *, client_id: int, method: str, target: str, now: int) -> int:
        """Record that a call begins and return its seq; raises RegisterUnavailable."""
        values = {
            "client_id": client_id,
            "method": method,
            "target": target[:_MAX_TARGET_CHARACTERS],
            "called_at": now,
            "outcome": "",
        }
        with self._database.write() as connection:
            return int(connection.execute(calls.insert().values(values).returning(calls.c.seq)).scalar_one())

    def end(self, seq: int, *, outcome: str) -> None:
        """Record how a call ended; raises RegisterUnavailable."""
        with self._database.write() as connection:
            connection.execute(calls.update().where(calls.c.seq == seq).values(outcome=outcome))

    def moments(self, *, client_id: int, methods: Sequence[str], since: int, limit: int) -> Sequence[int]:
        """Return when calls of a client to `methods` began that ended OK, after `since`, the newest first.

        Unix seconds; `limit` of them at most. Raises RegisterUnavailable.
        """
        of_client = calls.c.client_id == client_id
        # Walks the index of the client's calls back through that time only, not through all of them.
        older = select(calls.c.seq).where(of_client, calls.c.called_at <= since)
        last_older = older.order_by(calls.c.seq.desc()).limit(1).scalar_subquery()
        query = (
            select(calls.c.called_at)
            .where(
                of_client,
                calls.c.seq > func.coalesce(last_older, 0),
                calls.c.method.in_(methods),
                calls.c.outcome == "OK",
            )
            .order_by(calls.c.seq.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return connection.scalars(query).all()

    def page(self, *, client: str, page_size: int, before_seq: int) -> tuple[Sequence[CallEntry], bool]:
        """Return calls, the newest first, and whether there are older ones.

        An empty `client` stands for all, a `before_seq` of 0 for the first page. Raises NotFound for a
        client that never was, or RegisterUnavailable.
        """
        query = select(calls, clients.c.name).join(clients).order_by(calls.c.seq.desc()).limit(page_size + 1)
        if before_seq:
            query = query.where(calls.c.seq < before_seq)
        with self._database.read() as connection:
            if client:
                query = query.where(calls.c.client_id == client_named(connection, client).client_id)
            rows = connection.execute(query).all()
        entries = [
            CallEntry(row.seq, row.name, row.method, row.target, row.called_at, row.outcome)
            for row in rows[:page_size]
        ]
        return entries, len(rows) > page_size
