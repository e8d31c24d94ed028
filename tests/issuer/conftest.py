"""Fixtures of the issuer's tests."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import structlog

from issuer.register.database import Database
from tests.issuer.emptied_register import EmptiedRegister
from tests.issuer.postgres_server import PostgresServer

QUICK_N = 1 << 4

if TYPE_CHECKING:
    from issuer.register.outbox import Outbox
    from tests.issuer.running_issuer import RunningIssuer
    from tests.issuer.serving import Serving


@pytest.fixture(autouse=True)
def _quiet_logs() -> None:
    """Keep what threads log away from the output of commands that are tested in this process."""

    def drop(*_: object) -> NoReturn:
        raise structlog.DropEvent

    structlog.reset_defaults()  # a command that was run in this process may have configured it
    structlog.configure(processors=[drop])


@pytest.fixture(autouse=True)
def _quick_key_files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let key files open in no time; those that another process opens need 1 << 14, the least it accepts."""
    if request.module.__name__.endswith("test_key_file"):
        return
    monkeypatch.setattr("issuer.key_file._N", QUICK_N)
    monkeypatch.setattr("issuer.key_file._ACCEPTED_N", (QUICK_N, 1 << 14))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for the tests of this worker."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def _postgres_to_break() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def own_postgres(_postgres_to_break: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL that a test may freeze and kill; it works again afterwards."""
    yield _postgres_to_break
    _postgres_to_break.mend()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty register in a file, to copy: making one takes longer."""
    path = tmp_path_factory.mktemp("template") / "register.db"
    Database.create(path).close()
    return path


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: PostgresServer) -> str:
    """The same in a database of the server; its name."""
    Database.create(postgres_server.create_database("template_register")).close()
    return "template_register"


@pytest.fixture
def sqlite_url(_sqlite_template: Path, tmp_path: Path) -> str:
    """A new register in a file."""
    shutil.copy(_sqlite_template, tmp_path / "register.db")
    return f"sqlite:///{tmp_path / 'register.db'}"


@pytest.fixture(scope="session")
def _emptied_register(postgres_server: PostgresServer, _postgres_template: str) -> Iterator[EmptiedRegister]:
    register = EmptiedRegister(postgres_server, _postgres_template)
    yield register
    register.close()


@pytest.fixture
def postgres_url(_emptied_register: EmptiedRegister) -> Iterator[str]:
    """A new register in a PostgreSQL database, or one as good as new."""
    yield _emptied_register.lend()
    _emptied_register.take_back()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A new register, once in a file and once in PostgreSQL: what `--register-url` takes."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The database of a new register, on SQLite and on PostgreSQL."""
    database = Database.open(database_url)
    yield database
    database.close()


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    """The database of a new register, where it does not matter which."""
    database = Database.open(sqlite_url)
    yield database
    database.close()


@pytest.fixture
def serving(sqlite_database: Database) -> "Iterator[Serving]":
    """A server with stand-ins for most services."""
    from tests.issuer.serving import Serving

    serving = Serving(sqlite_database)
    yield serving
    serving.stop()


@pytest.fixture
def outbox(database: Database) -> "Outbox":
    """Its outbox."""
    from issuer.register.outbox import Outbox

    return Outbox(database)


@pytest.fixture
def start_issuer(tmp_path: Path) -> "Iterator[Callable[..., RunningIssuer]]":
    """Starts issuers that are stopped at the end of the test."""
    from tests.issuer.running_issuer import RunningIssuer

    started: list[RunningIssuer] = []

    def start(redis_url: str, **options: Any) -> "RunningIssuer":
        issuer = RunningIssuer(tmp_path, redis_url, **options)
        started.append(issuer)
        return issuer

    yield start
    for issuer in started:
        issuer.stop()


@pytest.fixture
def running_issuer(start_issuer: "Callable[..., RunningIssuer]", redis_url: str) -> "RunningIssuer":
    """An issuer with a Redis that works."""
    return start_issuer(redis_url)
