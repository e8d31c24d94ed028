"""The register in a SQLite file.

WAL mode with synchronous=FULL: what was acknowledged survives a power cut. It costs one flush to disk for
each transaction (0.2 ms on the machine of the README), which a batch of a thousand shares.
"""

import sqlite3
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

# What lies beside the file while it is in use: the log, and the log's index. They belong to this very file.
COMPANIONS = ("-wal", "-shm")
# Longer than any transaction of ours; then somebody else holds the file, and waiting will not help.
LOCK_WAIT_S = 5.0
# To empty the log, those who read an older state have to be waited for; an export of a city takes minutes.
_READERS_WAIT_MS = 250
_READER_PRAGMAS = ("foreign_keys=ON", "query_only=ON")
# Hashes of documents are random, so each batch of an import touches a thousand pages of their index: it is
# kept in memory (128 MiB of this one connection), and a page that many batches change goes home once, when
# the log has 64 MiB. A million holders in batches of 1 000: 61 s with SQLite's own values, 41 s with a cache
# alone, 24 s with both. What was acknowledged is in the log, whatever its size.
_WRITER_PRAGMAS = ("foreign_keys=ON", "cache_size=-131072", "wal_autocheckpoint=16384")


def reading_engine(url: URL, *, connections: int) -> Engine:
    """Return the connections that read."""
    return _engine(url, connections, "BEGIN", _READER_PRAGMAS)


def writing_engine(url: URL) -> Engine:
    """Return the connection that writes."""
    # A transaction that begins as a reader cannot become a writer when another has written meanwhile.
    return _engine(url, 1, "BEGIN IMMEDIATE", _WRITER_PRAGMAS)


def migrating_engine(url: URL) -> Engine:
    """Return the connection that migrates: tables that others refer to are made anew."""
    return _engine(url, 1, "BEGIN IMMEDIATE", ("foreign_keys=OFF",))


def empty_log(writer: Engine) -> bool:
    """Bring the log home into the file and cut it to nothing; tell whether that was done.

    Without it, what was overwritten in the file stays legible in the log. Needs the turn of the writer; in
    vain while somebody reads an older state, or another process writes.
    """
    connection = writer.raw_connection()
    try:
        driver: Any = connection.driver_connection  # a transaction, which SQLAlchemy begins, would forbid it
        driver.execute(f"PRAGMA busy_timeout = {_READERS_WAIT_MS}").close()
        try:
            (is_busy, *_) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            driver.execute(f"PRAGMA busy_timeout = {LOCK_WAIT_S * 1000:.0f}").close()
    except sqlite3.Error:
        return False
    finally:
        connection.close()
    return not is_busy


def why(error: BaseException | None) -> str:
    """Return what the driver says. It names tables, columns and rules, never values."""
    return str(error)


def _engine(url: URL, connections: int, begin: str, pragmas: tuple[str, ...]) -> Engine:
    engine = create_engine(
        url,
        # Parameters are names and hashes; SQLAlchemy would put them into its error texts.
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=LOCK_WAIT_S,
        connect_args={"timeout": LOCK_WAIT_S},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # the driver leaves BEGIN to us
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "recursive_triggers=ON", *pragmas):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
