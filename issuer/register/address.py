"""Where a register lies: a file, or a database of a PostgreSQL server. Texts here never show a password."""

import importlib
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from issuer.errors import SettingsError

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
_POSTGRESQL_DRIVER = "postgresql+psycopg"


def parse(url_or_path: str | Path) -> URL:
    """Return the URL of a register given as a path, `sqlite:///...` or `postgresql+psycopg://...`.

    Raises SettingsError.
    """
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        if not str(url_or_path):
            raise SettingsError("the register's URL is empty")
        return URL.create(SQLITE, database=str(url_or_path))
    scheme = url_or_path.partition("://")[0]
    if scheme in {"postgresql", "postgres"}:
        raise SettingsError(f"the register's URL begins with {scheme}://: write {_POSTGRESQL_DRIVER}://")
    if scheme not in {SQLITE, _POSTGRESQL_DRIVER}:
        raise SettingsError(
            f"the register's URL has the scheme {_shown(scheme)}: it is a path, {SQLITE}:///<path> or "
            f"{_POSTGRESQL_DRIVER}://<user>@<host>/<database>"
        )
    try:
        url = make_url(url_or_path)
    except (ArgumentError, ValueError):  # their texts may quote it
        raise SettingsError(f"the register's URL cannot be read: it begins with {scheme}://") from None
    if scheme == SQLITE:
        return _file(url)
    if not url.database:
        raise SettingsError("the register's URL names no database: end it with /<database>")
    try:
        importlib.import_module("psycopg")
    except ImportError:  # it is missing, or the library that it needs
        raise SettingsError("PostgreSQL needs another package: pip install 'gatelight[postgres]'") from None
    return url


def shown(url: URL) -> str:
    """Return the register's name for messages: the path, or database and server."""
    if url.get_backend_name() == SQLITE:
        return str(url.database)
    host = url.host or url.query.get("host") or "the local socket"
    where = f"{host}:{url.port}" if url.port else f"{host}"
    return f"the PostgreSQL database {url.database} at {where}"


def _file(url: URL) -> URL:
    if not url.database or url.database == ":memory:":
        raise SettingsError(f"the register's URL names no file: {SQLITE}:///<path>")
    if url.host or url.query:
        raise SettingsError(f"the register's URL has more than a path: {SQLITE}:///<path>")
    return url


def _shown(scheme: str) -> str:
    """Return the scheme if it is one: a mistyped URL may have anything in front."""
    is_plain = scheme.replace("+", "").isalnum() and len(scheme) <= 32
    return scheme if is_plain else "of no database"
