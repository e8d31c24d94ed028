"""The register's database: connections, transactions, and the errors that come of them.

SQLite in a file, or PostgreSQL at a URL; what differs between them lies in sqlite.py and postgresql.py.
One connection writes and the others read, so that readers cannot write.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from issuer.errors import NotInitialised, RegisterUnavailable
from issuer.register import address, sqlite
from issuer.register.driver_errors import translated
from issuer.register.migrate import install, require_current
from issuer.register.serving_lock import ServingLock
from issuer.register.turns import Turns

# More threads than the server has; SQLAlchemy's default would make the sixteenth wait for the fifteenth.
_MAX_READERS = 32
_TURN_WAIT_S = 5.0


class Database:
    """The database of one register. Threads share it."""

    def __init__(self, url_or_path: str | Path) -> None:
        """Connect to a database, whatever is in it; `create` and `open` are what others call."""
        self._url = address.parse(url_or_path)
        self._serving_lock: ServingLock | None = None
        if self.dialect == address.SQLITE:
            self._why: Callable[[BaseException | None], str] = sqlite.why
            self._readers = sqlite.reading_engine(self._url, connections=_MAX_READERS)
            self._writer = sqlite.writing_engine(self._url)
        else:
            from issuer.register import postgresql  # noqa: PLC0415 - a package that not everybody has

            self._why = postgresql.why
            self._readers = postgresql.reading_engine(self._url, connections=_MAX_READERS)
            self._writer = postgresql.writing_engine(self._url)
            self._serving_lock = ServingLock(postgresql.locking_engine(self._url))
        self._is_log_to_be_emptied = False
        self._turns = Turns()

    @classmethod
    def create(cls, url_or_path: str | Path) -> Self:
        """Make a new register; raises AlreadyInitialised, SettingsError or RegisterUnavailable.

        A file is made readable by its owner alone. A PostgreSQL database has to be there already.
        """
        install(address.parse(url_or_path))
        return cls(url_or_path)

    @classmethod
    def open(cls, url_or_path: str | Path) -> Self:
        """Open a register; raises NotInitialised, SchemaMismatch, SettingsError or RegisterUnavailable."""
        database = cls(url_or_path)
        if database.path is not None and not database.path.exists():
            raise NotInitialised(f"there is no register at {database.name}: run gatelight-issuer init")
        try:
            with database.read() as connection:
                require_current(connection, name=database.name)
        except BaseException:
            database.close()
            raise
        return database

    @property
    def dialect(self) -> str:
        """Which database it is: address.SQLITE or address.POSTGRESQL."""
        return self._url.get_backend_name()

    @property
    def name(self) -> str:
        """Where the register lies, for messages; never with a password."""
        return address.shown(self._url)

    @property
    def path(self) -> Path | None:
        """The file of a SQLite register."""
        return Path(str(self._url.database)) if self.dialect == address.SQLITE else None

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a transaction that reads one state of the register; raises RegisterUnavailable."""
        with translated(self._why), self._readers.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a transaction that writes, whole or not at all.

        Raises RegisterUnavailable, and RegisterRefused when a rule of the register forbids it. Nothing was
        changed then, except when a PostgreSQL server was lost in the very commit: it may have been made.

        Writers of this process take turns here, in the order in which they came. SQLite's own waiting is
        by sleeping and trying.
        """
        if not self._turns.acquire(timeout_s=_TURN_WAIT_S):
            raise RegisterUnavailable("the register is busy")
        try:
            with translated(self._why), self._writer.connect() as connection:
                if self._serving_lock is not None:
                    self._serving_lock.require()
                with connection.begin():
                    yield connection
        finally:
            self._turns.release()

    def empty_log(self) -> bool:
        """Leave nothing legible in the log of a SQLite register; tell whether that was done.

        For after an erasure, which stands whatever comes of this. Where somebody reads an older state, or
        there is no turn to be had, it is tried again at the next call and when the register is closed.
        """
        if self.dialect != address.SQLITE:
            return True
        self._is_log_to_be_emptied = True
        if not self._turns.acquire(timeout_s=_TURN_WAIT_S):
            return False
        try:
            self._is_log_to_be_emptied = not sqlite.empty_log(self._writer)
        except SQLAlchemyError:
            return False
        finally:
            self._turns.release()
        return not self._is_log_to_be_emptied

    @contextlib.contextmanager
    def lock_for_serving(self) -> Iterator[None]:
        """Keep other processes from serving this register; raises AlreadyServed or RegisterUnavailable.

        A SQLite register lies in the issuer's folder, whose lock (issuer/folder.py) does that already.
        """
        if self._serving_lock is None:
            yield
            return
        with translated(self._why):
            self._serving_lock.take()
        try:
            yield
        finally:
            self._serving_lock.release()

    def close(self) -> None:
        """Close all connections."""
        self._readers.dispose()
        if self._is_log_to_be_emptied:
            self.empty_log()
        self._writer.dispose()
        if self._serving_lock is not None:
            self._serving_lock.close()
