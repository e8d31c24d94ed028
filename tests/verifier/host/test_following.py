"""A journal that is of no use is told of before the first scan, and at the end only what is true."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.signer import Signer
from tests.verifier.journal.scans import open_journal, scan
from verifier.errors import SettingsError
from verifier.host.following import Following
from verifier.host.shared import SharedMemory
from verifier.journal.shipper import Shipper

_NOWHERE = "redis://127.0.0.1:1/0"


def _following(journal: Path) -> Following:
    shared = SharedMemory.create(partitions=1, capacity=16, rows=2)
    return Following(shared, root=Signer().root, redis_url=_NOWHERE, journal=journal)


@contextlib.contextmanager
def _another_verifier(journal: Path) -> Iterator[None]:
    shipper = Shipper(journal, redis_url=_NOWHERE)
    assert shipper.take_folder()
    yield
    shipper.close()


def test_a_journal_is_for_its_owner_alone_and_nothing_of_the_trial_stays(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    following = _following(folder)
    following.start()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.iterdir()} == {"journal.id", "shipper.lock"}
    following.finish()


@pytest.mark.parametrize("place", ["file", "file/journal", "/proc/nope"])
def test_a_journal_that_cannot_be_written_is_named_before_the_start(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        SettingsError, match=r"--journal: cannot write in .*: .*; name another folder, or say"
    ):
        _following(tmp_path / place).start()


def test_a_full_disk_stops_no_verdict_at_the_start_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("verifier.host.following.try_to_write", fail)
    following = _following(tmp_path)
    with capture_logs() as logs:
        following.start()
    assert logs[0]["event"] == "scan log cannot be written, verdicts go on"
    following.finish()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_journal_that_may_only_be_read_is_none(tmp_path: Path) -> None:
    with _another_verifier(tmp_path):
        pass  # it has left its files
    tmp_path.chmod(0o500)
    with pytest.raises(SettingsError, match="Permission denied"):
        _following(tmp_path).start()


def test_two_verifiers_do_not_share_a_journal(tmp_path: Path) -> None:
    with _another_verifier(tmp_path), pytest.raises(SettingsError, match="is in use by another verifier"):
        _following(tmp_path).start()
    following = _following(tmp_path)
    following.start()
    following.finish()


@pytest.mark.parametrize("has_scans", [True, False])
def test_what_waits_on_the_disk_is_told_of_if_there_is_any(tmp_path: Path, has_scans: bool) -> None:
    following = _following(tmp_path)
    following.start()
    if has_scans:
        journal = open_journal(tmp_path)
        journal.append(scan(1))
        journal.close()
    with capture_logs() as logs:
        following.finish()
    told = [log["folder"] for log in logs if "waits on the disk" in log["event"]]
    assert told == [str(tmp_path)] * has_scans


def test_nothing_is_said_to_wait_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    following = _following(folder)
    following.start()
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("no folder")
    (tmp_path / "elsewhere" / "shipper.lock").unlink()
    with capture_logs() as logs:
        following.finish()
    assert not [log for log in logs if "waits on the disk" in log["event"]]
    (error,) = [log for log in logs if log["event"].startswith("scan log is not shipped")]
    assert str(folder) in error["trouble"]
