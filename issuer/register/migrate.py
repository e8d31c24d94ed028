"""Make a register, and bring an older one to the schema of this program: offline, in one transaction."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, Connection, func, inspect, select, text

from issuer.errors import AlreadyInitialised, AlreadyServed, NotInitialised, SchemaMismatch, SetupError
from issuer.register import address, migrations, sqlite
from issuer.register.driver_errors import translated
from issuer.register.migrations import HEAD
from issuer.register.schema import history_head, metadata
from issuer.register.serving_lock import SERVING_LOCK

_FIRST_RELEASE = "0001"
_COMMAND = "gatelight-issuer register migrate"


def install(url: URL) -> None:
    """Make a new register; raises AlreadyInitialised, SetupError or RegisterUnavailable.

    In a PostgreSQL database, tables that nothing was entered into are taken as they are: an initialisation
    that was interrupted leaves them.
    """
    path = Path(str(url.database)) if url.get_backend_name() == address.SQLITE else None
    if path is not None:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise AlreadyInitialised(f"{path} exists already: nothing was touched") from None
        except OSError as error:
            raise SetupError(f"{path} cannot be made: {error.strerror}") from None
    try:
        with transaction(url) as connection:
            if not _is_installed(connection, name=address.shown(url)):
                _upgrade(connection)
    except BaseException:
        if path is not None:
            for companion in ("", *sqlite.COMPANIONS):
                path.with_name(path.name + companion).unlink(missing_ok=True)
        raise


def migrate(url_or_path: str | Path) -> tuple[str, str]:
    """Bring a register to the schema of this program; return the revisions before and after.

    The register must not be served. Raises NotInitialised, SchemaMismatch when it is newer than this
    program, AlreadyServed (PostgreSQL; for SQLite the caller holds the issuer's folder), SettingsError or
    RegisterUnavailable, the register being as it was.
    """
    url = address.parse(url_or_path)
    name = address.shown(url)
    if url.get_backend_name() == address.SQLITE and not Path(str(url.database)).exists():
        raise NotInitialised(f"there is no register at {name}: run gatelight-issuer init")
    with transaction(url) as connection:
        before = known_revision(connection, name=name)
        _upgrade(connection, since=before)
    return before, HEAD


def require_current(connection: Connection, *, name: str) -> None:
    """Raise NotInitialised, or SchemaMismatch unless the schema is this program's."""
    found = known_revision(connection, name=name)
    if found != HEAD:
        raise SchemaMismatch(
            f"{name} has schema {found}, and this program needs {HEAD}: stop the issuer, back up the "
            f"register, and run {_COMMAND}"
        )


def known_revision(connection: Connection, *, name: str) -> str:
    """Return the revision of a register's schema.

    Raises NotInitialised for an empty database of a server, SchemaMismatch for what is no register or is
    newer than this program.
    """
    tables = inspect(connection).get_table_names()
    if not tables and connection.dialect.name == address.POSTGRESQL:
        raise NotInitialised(f"there is no register in {name}: run gatelight-issuer init")
    if "alembic_version" in tables:
        found = str(connection.scalar(text("SELECT version_num FROM alembic_version")))
    elif "schema_version" in tables:
        found = _FIRST_RELEASE
    else:
        raise SchemaMismatch(f"{name} is not a register")
    if found > HEAD:
        raise SchemaMismatch(
            f"{name} has schema {found}, and this program knows up to {HEAD}: run the version of gatelight "
            "that made it, or a later one"
        )
    return found


@contextlib.contextmanager
def transaction(url: URL) -> Iterator[Connection]:
    """Give a transaction for changes of the schema; raises AlreadyServed or RegisterUnavailable."""
    if url.get_backend_name() == address.SQLITE:
        why, engine = sqlite.why, sqlite.migrating_engine(url)
    else:
        from issuer.register import postgresql  # noqa: PLC0415 - a package that not everybody has

        why, engine = postgresql.why, postgresql.migrating_engine(url)
    try:
        with translated(why), engine.connect() as connection, connection.begin():
            if engine.dialect.name == address.POSTGRESQL:
                _refuse_served(connection)
            yield connection
            if engine.dialect.name == address.SQLITE:
                _require_whole(connection, name=address.shown(url))
    finally:
        engine.dispose()


def _is_installed(connection: Connection, *, name: str) -> bool:
    """Tell whether there is a register that nothing was entered into; raises AlreadyInitialised."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return False
    if "alembic_version" in tables and known_revision(connection, name=name) == HEAD:
        # The head of the history is there before anything else is.
        others = [table for table in metadata.sorted_tables if table is not history_head]
        if all(connection.execute(select(table).limit(1)).first() is None for table in others):
            return True
    raise AlreadyInitialised(f"{name} is not empty: nothing was touched")


def _require_whole(connection: Connection, *, name: str) -> None:
    if connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise SchemaMismatch(f"{name} has rows that refer to others that are missing: restore a backup")


def _refuse_served(connection: Connection) -> None:
    if not connection.scalar(select(func.pg_try_advisory_xact_lock(SERVING_LOCK))):
        raise AlreadyServed("another process serves this register: stop that one first")


def _upgrade(connection: Connection, *, since: str | None = None) -> None:
    """Run the migrations; `since` is the revision of a register that does not say it in Alembic's way."""
    from alembic import command  # noqa: PLC0415 - half a second that serving need not wait for
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    if since == _FIRST_RELEASE:
        command.stamp(config, _FIRST_RELEASE)
    command.upgrade(config, HEAD)
