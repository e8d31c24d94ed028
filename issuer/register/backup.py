"""Back up a SQLite register, and put a backup in its place. PostgreSQL has its own tools for both.

A register that is served can be backed up: the copy is of one instant, and writers go on meanwhile.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import URL, text

from issuer.errors import NotInitialised, RegisterUnavailable, SettingsError, SetupError
from issuer.register import address, sqlite
from issuer.register.database import Database
from issuer.register.migrate import known_revision, transaction
from issuer.register.taken_over import Replaced, read_replaced, take_over


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    revision: str  # of the schema; `register migrate` brings an older one up to date
    replaced: Path | None  # where the register lies now that was there before
    skipped_numbers: int = 0  # of holders, credentials and so on: nobody knows which were given since
    # Keys, clients and gates' credentials that were ended since the backup are not in force again.
    keeps_endings: bool = False


def back_up(database: Database, file: Path) -> None:
    """Copy the register to a new file, readable by its owner alone.

    Raises SettingsError for PostgreSQL, SetupError when the file is there already or cannot be written, or
    RegisterUnavailable.
    """
    if database.path is None:
        raise SettingsError(
            f"{database.name} is backed up by PostgreSQL's own program: pg_dump --format=custom"
        )
    with _temporary(file) as copy:
        with database.read() as connection:
            source: Any = connection.connection.driver_connection
            try:
                _copy(source, copy)
            except sqlite3.Error as error:
                raise SetupError(f"{file} cannot be written: {error}") from None
        _sync(copy)
        try:
            file.hardlink_to(copy)  # unlike a move, this refuses to replace
        except FileExistsError:
            raise SetupError(
                f"{file} exists already, and nothing was touched: name another file, or move that one away"
            ) from None


def restore(file: Path, url_or_path: str | Path, *, now: int) -> Restored:
    """Put a backup in the place of a register, whose own file is kept beside it; `now` is Unix seconds.

    The register must not be served: the caller holds the issuer's folder.

    What happened since the backup is not in the register any more, but Redis has it still: records that
    are newer than the register's. The register would find the feed where it left it and take Redis for
    its own, and those records would stay until each holder's next change. So the register is made to
    forget what it published. The issuer then writes all of Redis anew at its next start, under a new
    epoch, and verifiers load that.

    From the register that is replaced comes what must not be undone (taken_over.py); where that cannot be
    read, or is another issuer's, a stretch of numbers is skipped instead.

    Raises NotInitialised when there is no such backup, SchemaMismatch when it is no register or newer than
    this program, RegisterUnavailable when it is damaged, SettingsError for PostgreSQL, or SetupError when
    a file cannot be written.
    """
    url = address.parse(url_or_path)
    if url.get_backend_name() != address.SQLITE:
        raise SettingsError(
            f"{address.shown(url)} is restored by PostgreSQL's own program: pg_restore; start the issuer "
            "then, and run gatelight-issuer cache rebuild --apply, because Redis has newer records"
        )
    if not file.is_file():
        raise NotInitialised(f"there is no backup at {file}")
    register = Path(str(url.database))
    with _temporary(register) as copy:
        try:
            with contextlib.closing(sqlite3.connect(file)) as source:
                _copy(source, copy)
        except sqlite3.Error as error:
            raise RegisterUnavailable(f"{file} cannot be read: {error}") from None
        restored = _prepare(copy, read_replaced(register), name=str(file))
        _sync(copy)
        replaced = _set_aside(register, now)
        copy.rename(register)
    return replace(restored, replaced=replaced)


def _copy(source: sqlite3.Connection, path: Path) -> None:
    """Copy a database as it is at this instant, with what is still in its log."""
    with contextlib.closing(sqlite3.connect(path)) as copy:
        source.backup(copy)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prepare(copy: Path, later: Replaced | None, *, name: str) -> Restored:
    """Look whether a copy is whole, make it forget what it published, and have it take over what is later."""
    with transaction(URL.create(address.SQLITE, database=str(copy))) as connection:
        revision = known_revision(connection, name=name)
        if (found := connection.scalar(text("PRAGMA integrity_check(1)"))) != "ok":
            raise RegisterUnavailable(f"{name} is damaged: {found}")
        connection.execute(text("DELETE FROM publication"))
        skipped, keeps_endings = take_over(connection, later, revision=revision)
    return Restored(revision, None, skipped, keeps_endings)


def _set_aside(register: Path, now: int) -> Path | None:
    """Rename a register, with its log, and return its new path; None when there was none.

    The log goes too, whatever became of the register: SQLite would take it for that of the backup.
    """
    aside = register.with_name(f"{register.name}.replaced-{now}")
    if aside.exists():
        raise SetupError(f"{aside} exists already: move it away first")
    was_there = register.exists()
    for companion in ("", *sqlite.COMPANIONS):
        path = register.with_name(register.name + companion)
        if path.exists():
            path.rename(aside.with_name(aside.name + companion))
    return aside if was_there else None


@contextlib.contextmanager
def _temporary(file: Path) -> Iterator[Path]:
    """Give an empty file beside `file`, for its owner alone, that is removed again if it is still there."""
    path = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        yield path
    except OSError as error:
        raise SetupError(f"{file} cannot be written: {error.strerror}") from None
    finally:
        for companion in ("", *sqlite.COMPANIONS):
            path.with_name(path.name + companion).unlink(missing_ok=True)
