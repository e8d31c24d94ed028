"""The register's database: connections, transactions, and the errors that come of them.

SQLite in WAL mode with synchronous=FULL: what was acknowledged survives a power cut. It costs one
flush to disk for each change (0.2 ms on the machine of the README), which a request of a thousand shares.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, Connection, create_engine, event, insert, select
from sqlalchemy.exc import DatabaseError

from issuer.errors import NotInitialised, RegisterUnavailable, SchemaMismatch
from issuer.register.schema import SCHEMA_VERSION, metadata, schema_version

# Longer than any transaction of ours; then somebody else holds the file, and waiting will not help.
_LOCK_WAIT_S = 5.0
# More threads than the server has; SQLAlchemy's default would make the sixteenth wait for the fifteenth.
_MAX_CONNECTIONS = 32
_BEGIN = "gatelight_begin"


class Database:
    """The database at one file. Threads share it."""

    def __init__(self, path: Path) -> None:
        """Open the file; it is created by `create` only."""
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            # Parameters are names and hashes; SQLAlchemy would put them into its error texts.
            hide_parameters=True,
            pool_size=_MAX_CONNECTIONS,
            connect_args={"timeout": _LOCK_WAIT_S},
        )
        event.listen(self._engine, "connect", _prepare_connection)
        event.listen(self._engine, "begin", _begin)
        self._writers = threading.Lock()

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a new register, readable by its owner alone; raises FileExistsError."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        database = cls(path)
        with database.write() as connection:
            metadata.create_all(connection)
            connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
        return database

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a register; raises NotInitialised, SchemaMismatch or RegisterUnavailable."""
        if not path.exists():
            raise NotInitialised(f"there is no register at {path}: run gatelight-issuer init")
        database = cls(path)
        with database.read() as connection:
            if not connection.dialect.has_table(connection, schema_version.name):
                raise SchemaMismatch(f"{path} is not a register")
            found = connection.scalar(select(schema_version.c.version))
        if found != SCHEMA_VERSION:
            raise SchemaMismatch(
                f"{path} has schema {found}, and this program needs {SCHEMA_VERSION}: "
                "run the version of gatelight that made it"
            )
        return database

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a transaction that reads one state of the register; raises RegisterUnavailable."""
        with _translated(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a transaction that writes, whole or not at all; raises RegisterUnavailable.

        Writers of this process take turns here, because SQLite's own waiting is by sleeping and trying.
        """
        if not self._writers.acquire(timeout=_LOCK_WAIT_S):
            raise RegisterUnavailable("the register is busy")
        try:
            with _translated(), self._engine.connect() as connection:
                connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
                with connection.begin():
                    yield connection
        finally:
            self._writers.release()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise RegisterUnavailable(f"the register cannot be used: {error.orig}") from None


def _prepare_connection(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver leaves BEGIN to us
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    # A transaction that begins as a reader cannot become a writer when another has written meanwhile.
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
