"""Fixtures of the tests of keys."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from issuer.register.database import Database
from tests.issuer.keys.turning import Turning


@pytest.fixture
def turning(database: Database, tmp_path: Path) -> Turning:
    """A rotation on a new register, with SQLite and with PostgreSQL."""
    return Turning(database, tmp_path)


@pytest.fixture
def start_turning(sqlite_url: str, tmp_path: Path) -> Iterator[Callable[..., Turning]]:
    """Makes a rotation with thresholds of the test's own, on SQLite."""
    database = Database.open(sqlite_url)
    yield lambda **options: Turning(database, tmp_path, **options)
    database.close()
