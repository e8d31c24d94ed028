"""Fixtures of the issuer's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import structlog

from issuer.register.database import Database
from issuer.register.outbox import Outbox
from issuer.register.register import Register
from tests.issuer.running_issuer import DOCUMENTS, RunningIssuer


@pytest.fixture(autouse=True)
def _quiet_logs() -> None:
    """Keep what threads log away from the output of commands that are tested in this process."""

    def drop(*_: object) -> NoReturn:
        raise structlog.DropEvent

    structlog.reset_defaults()  # a command that was run in this process may have configured it
    structlog.configure(processors=[drop])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A new register's database."""
    database = Database.create(tmp_path / "register.db")
    yield database
    database.close()


@pytest.fixture
def register(database: Database) -> Register:
    """A new register."""
    return Register(database=database, documents=DOCUMENTS)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """Its outbox."""
    return Outbox(database)


@pytest.fixture
def start_issuer(tmp_path: Path) -> Iterator[Callable[..., RunningIssuer]]:
    """Starts issuers that are stopped at the end of the test."""
    started: list[RunningIssuer] = []

    def start(redis_url: str, **options: int) -> RunningIssuer:
        issuer = RunningIssuer(tmp_path, redis_url, **options)
        started.append(issuer)
        return issuer

    yield start
    for issuer in started:
        issuer.stop()


@pytest.fixture
def running_issuer(start_issuer: Callable[..., RunningIssuer], redis_url: str) -> RunningIssuer:
    """An issuer with a Redis that works."""
    return start_issuer(redis_url)
