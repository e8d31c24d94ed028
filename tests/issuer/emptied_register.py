"""A PostgreSQL register that one test after another gets as if it were new: it is emptied in between.

Making a database and dropping it takes many times as long, for a server of the tests flushes nothing but
copies some hundred files. What a test changed beyond rows (a table, a trigger, an index) shows in the
catalogue of the database; then the next test gets a database that is really new.
"""

import itertools

import psycopg
from psycopg import sql

from tests.issuer.postgres_server import PostgresServer

# Deleted rows stay in the files until somebody vacuums; reading past them would take longer and longer.
_MAX_BYTES = 8 << 20
_KICK_TIMEOUT_MS = 5_000

_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
_SEQUENCES = "SELECT seqrelid::regclass::text, seqstart FROM pg_sequence"
# The transaction that wrote it last stands in each row of the catalogue. 16384 is the first oid of ours.
_CATALOGUE = """
    SELECT xmin::text, oid FROM pg_class WHERE oid >= 16384
    UNION ALL SELECT xmin::text, oid FROM pg_trigger WHERE oid >= 16384
    UNION ALL SELECT xmin::text, oid FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT xmin::text, oid FROM pg_constraint WHERE oid >= 16384
    UNION ALL SELECT xmin::text, attrelid FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT xmin::text, oid FROM pg_attrdef WHERE oid >= 16384
    UNION ALL SELECT xmin::text, oid FROM pg_namespace WHERE oid >= 16384
    UNION ALL SELECT xmin::text, setdatabase FROM pg_db_role_setting
    ORDER BY 2, 1
"""
_KICK = """
    SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_SIZE = (
    "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relkind = 'r' AND oid >= 16384"
)

_numbers = itertools.count(1)


class EmptiedRegister:
    """The register of a worker's tests."""

    def __init__(self, server: PostgresServer, template: str) -> None:
        """Make it when it is first asked for, as a copy of the database `template`."""
        self._server = server
        self._template = template
        self._name = ""  # empty: there is none
        self._connection: psycopg.Connection | None = None  # kept, since a new one knows no table yet
        self._catalogue: list[tuple[object, ...]] = []
        self._rows: dict[str, list[tuple[object, ...]]] = {}  # of a new register, by table

    def lend(self) -> str:
        """Return the URL of a register without a trace of other tests."""
        if not self._name:
            self._name = f"register_{next(_numbers)}"
            self._server.create_database(self._name, template=self._template)
            connection = self._connection = self._connect()
            self._catalogue = connection.execute(_CATALOGUE).fetchall()
            tables = [name for (name,) in connection.execute(_TABLES)]
            self._rows = {
                name: connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name))).fetchall()
                for name in tables
            }
        return self._server.url(self._name)

    def take_back(self) -> None:
        """Empty it; or remove it, where it cannot be as it was."""
        connection = self._connection
        assert connection is not None, "nothing was lent"
        connection.execute(_KICK, (_KICK_TIMEOUT_MS,))
        is_as_it_was = connection.execute(_CATALOGUE).fetchall() == self._catalogue
        size = connection.execute(_SIZE).fetchone()
        if is_as_it_was and size is not None and size[0] <= _MAX_BYTES:
            self._empty(connection)
            return
        self.close()
        self._server.drop_database(self._name)
        self._name = ""

    def close(self) -> None:
        """Leave the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _empty(self, connection: psycopg.Connection) -> None:
        with connection.transaction():
            # No triggers: neither those that keep history append-only nor those of foreign keys.
            connection.execute("SET LOCAL session_replication_role = replica")
            for name, rows in self._rows.items():
                table = sql.Identifier(name)
                connection.execute(sql.SQL("DELETE FROM {}").format(table))
                for row in rows:
                    marks = sql.SQL(", ").join([sql.Placeholder()] * len(row))
                    connection.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(table, marks), row)
            for name, start in connection.execute(_SEQUENCES).fetchall():
                connection.execute("SELECT setval(%s::regclass, %s, false)", (name, start))

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self._server.folder), user="postgres", dbname=self._name, autocommit=True
        )
