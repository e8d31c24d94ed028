"""gatelight-issuer archive as a real process, and what may not happen beside it."""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest
import redis

from issuer.errors import AlreadyServed, NotInitialised
from issuer.folder import Folder, archiving, locked, still
from issuer.register.database import Database
from issuer.register.scans import Scans
from loadtest.processes import ServerProcess
from tests.eventually import eventually
from tests.issuer.archive.passages import archived, passage, put, ship
from tests.issuer.cli.commands import run_alone


@pytest.fixture
def folder(tmp_path: Path, sqlite_database: Database) -> Folder:
    """The folder of a register; an archive needs nothing else of it."""
    return Folder(tmp_path)


def test_it_archives_beside_what_serves_until_it_is_told_to_stop(
    folder: Folder, sqlite_database: Database, redis_url: str, tmp_path: Path
) -> None:
    environment = {"GATELIGHT_ISSUER_FOLDER": str(folder.path), "GATELIGHT_REDIS_URL": redis_url}
    command = [sys.executable, "-m", "issuer", "archive", "--retention-days", "36000"]
    with redis.Redis.from_url(redis_url) as client, locked(folder):
        put(client, {"e": b"CANARY" * 9})
        now = int(time.time())
        times = {"verified_at_ms": now * 1000, "not_before": now - 30, "expires_at": now + 30}
        copies = [passage(gate_id=gate, code_hash=b"c" * 16, **times) for gate in ("CANARY", "north-1")]
        ship(client, 1, *copies)
        with ServerProcess("archive", command, folder=tmp_path, environment=environment) as process:
            eventually(lambda: archived(client) == 1, timeout_s=30)
            assert process.stop() == 0
        lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    assert len(Scans(database=sqlite_database).page(page_size=10)[0]) == 2
    events = " ".join(line["event"] for line in lines)
    for event in ("archive is running", "damaged batch", "suspected copy", "archive stopped"):
        assert event in events
    assert "CANARY" not in process.log.read_text()


def test_archives_hold_the_folder_together_and_nobody_puts_the_register_away(folder: Folder) -> None:
    with archiving(folder), archiving(folder), locked(folder):
        pass
    with archiving(folder), pytest.raises(AlreadyServed, match="an archive works on"), still(folder):
        pass
    with still(folder), pytest.raises(AlreadyServed, match="is being changed"), archiving(folder):
        pass


def test_a_register_is_not_restored_under_an_archive(folder: Folder, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    shutil.copy(folder.register, backup)
    with archiving(folder):
        result = run_alone("register", "restore", backup, "--folder", folder.path, "--apply", "--yes")
    assert result.exit_code == 1
    assert "an archive works on" in result.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--redis-url", "nonsense"), "redis_url"),
        (("--retention-days", "0"), "--retention-days"),
        (("--walk-s", "0"), "--walk-s"),
        (("--metrics-listen", "here"), "--metrics-listen"),
    ],
)
def test_settings_that_make_no_sense_are_exit_code_2(
    folder: Folder, options: tuple[str, str], said: str
) -> None:
    result = run_alone("archive", "--folder", folder.path, *options)
    assert result.exit_code == 2
    assert said in result.output


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotInitialised), archiving(Folder(tmp_path / "nowhere")):
        pass
