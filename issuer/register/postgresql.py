"""The register in a PostgreSQL database.

Every wait is bounded, and on our side as well: a server that is frozen keeps its connections open and
its own timeouts do not run. A connection that had to be waited for too long is closed, and the next
call makes another, so that a server that was restarted is used again at once.

Texts of the server quote values, a unique violation the very name it found twice, so none gets out of
here: only the server's code for what happened, and the rule that was broken.
"""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import URL, Connection, Engine, create_engine, event

from issuer.errors import RegisterUnavailable

_CONNECT_TIMEOUT_S = 3
# For the question whether a connection that was unused for a while still works.
_PING_TIMEOUT_S = 3.0
# A batch of an import takes a fraction of a second; reading a whole city goes by pages.
STATEMENT_TIMEOUT_S = 15.0
_LOCK_TIMEOUT_S = 5
# Others wait for a transaction of ours, so one whose process is frozen is given up.
_IDLE_IN_TRANSACTION_TIMEOUT_S = 60
# The server says by itself that a statement took too long; we stop waiting for it only after that.
_GRACE_S = 2.0
# Longer than the pool is exhausted while the server is well.
_POOL_TIMEOUT_S = 5.0

_CONNECTION_DEFAULTS: dict[str, Any] = {
    "connect_timeout": _CONNECT_TIMEOUT_S,
    "application_name": "gatelight-issuer",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class CannotConnect(psycopg.OperationalError):
    """The server cannot be reached, or does not let us in. The text comes before any parameter was sent."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits for its server for a bounded time, and is closed when that was in vain."""

    patience_s: float | None = _PING_TIMEOUT_S

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for one answer of the server; raises psycopg.OperationalError."""
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # an answer that comes after all would be taken for that to another question
            raise psycopg.OperationalError("no answer in time") from None


def reading_engine(url: URL, *, connections: int) -> Engine:
    """Return the connections that read; a transaction sees one state of the register."""
    return _engine(url, connections, isolation_level="REPEATABLE READ", is_read_only=True)


def writing_engine(url: URL) -> Engine:
    """Return the one connection that writes."""
    return _engine(url, 1, isolation_level="READ COMMITTED")


def locking_engine(url: URL) -> Engine:
    """Return the connection that the lock of the serving process belongs to."""
    return _engine(url, 1, isolation_level="AUTOCOMMIT")


def migrating_engine(url: URL) -> Engine:
    """Return the connection that migrates, and takes the time that it needs."""
    return _engine(url, 1, isolation_level="READ COMMITTED", is_bounded=False)


def why(error: BaseException | None) -> str:
    """Return what happened, and the rule that was broken, without the values that broke it."""
    if isinstance(error, CannotConnect):
        return str(error)
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    if state is None:
        return "the connection broke"
    constraint = error.diag.constraint_name if isinstance(error, psycopg.Error) else None
    return " ".join(filter(None, (type(error).__name__, state, constraint)))


def insert_new(connection: Connection, table: str, rows: Sequence[Sequence[Any]]) -> int:
    """Insert rows, a value for each column, leaving out those that are there; return how many were not.

    Raises RegisterUnavailable. By COPY, the quickest way in, into a table of the connection's own, which is
    emptied at the commit: COPY itself cannot leave out what is there.
    """
    driver: Any = connection.connection.driver_connection
    names = {"table": sql.Identifier(table), "arrived": sql.Identifier(f"arrived_{table}")}
    try:
        with driver.cursor() as cursor:
            cursor.execute(
                sql.SQL(
                    "CREATE TEMPORARY TABLE IF NOT EXISTS {arrived} (LIKE {table}) ON COMMIT DELETE ROWS"
                ).format(**names)
            )
            cursor.execute(sql.SQL("SELECT * FROM {arrived} LIMIT 0").format(**names))
            types = [column.type_code for column in cursor.description]
            with cursor.copy(sql.SQL("COPY {arrived} FROM STDIN (FORMAT binary)").format(**names)) as copy:
                copy.set_types(types)
                for row in rows:
                    copy.write_row(row)
            cursor.execute(
                sql.SQL("INSERT INTO {table} SELECT * FROM {arrived} ON CONFLICT DO NOTHING").format(**names)
            )
            return int(cursor.rowcount)
    except psycopg.Error as error:
        raise RegisterUnavailable(f"the register cannot be used: {why(error)}") from None


def _engine(
    url: URL,
    connections: int,
    *,
    isolation_level: str,
    is_read_only: bool = False,
    is_bounded: bool = True,
) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,  # they are names and hashes, and SQLAlchemy would put them into its errors
        isolation_level=isolation_level,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_S,
        pool_pre_ping=True,
    )
    statement_timeout_s = STATEMENT_TIMEOUT_S if is_bounded else 0
    settings = {
        "statement_timeout": _milliseconds(statement_timeout_s),  # 0: none
        "lock_timeout": _milliseconds(_LOCK_TIMEOUT_S),
        "idle_in_transaction_session_timeout": _milliseconds(_IDLE_IN_TRANSACTION_TIMEOUT_S),
        "default_transaction_read_only": "on" if is_read_only else "off",
    }

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, parameters: dict[str, Any]) -> BoundedConnection:
        try:
            return BoundedConnection.connect(*arguments, **(_CONNECTION_DEFAULTS | parameters))
        except psycopg.Error as error:
            raise CannotConnect(_first_line(error)) from None

    @event.listens_for(engine, "connect")
    def prepare(connection: BoundedConnection, _record: Any) -> None:
        connection.autocommit = True
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.autocommit = False

    @event.listens_for(engine, "checkout")
    def be_patient(connection: BoundedConnection, _record: Any, _proxy: Any) -> None:
        connection.patience_s = statement_timeout_s + _GRACE_S if is_bounded else None

    @event.listens_for(engine, "checkin")
    def be_impatient(connection: BoundedConnection | None, _record: Any) -> None:
        if connection is not None:
            connection.patience_s = _PING_TIMEOUT_S

    return engine


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"


def _first_line(error: psycopg.Error) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
