"""The folder of a run is gone after it, or after the next one's start."""

import os
from pathlib import Path

import pytest

from verifier.errors import SettingsError
from verifier.host.run_folder import run_folder


def test_a_folder_is_ours_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    with run_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "admin.sock").touch()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    left = tmp_path / "gatelight-verifier-killed"
    left.mkdir()
    (left / "lock").touch()
    (left / "admin.sock").touch()
    with run_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_a_run_that_goes_on_keeps_its_folder(tmp_path: Path) -> None:
    with run_folder(tmp_path) as one, run_folder(tmp_path) as other:
        assert sorted(tmp_path.iterdir()) == sorted([one, other])


def test_a_link_by_our_name_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "lock").touch()
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "gatelight-verifier-x").symlink_to(precious)
    with run_folder(parent):
        assert (precious / "lock").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SettingsError, match="cannot make a folder"), run_folder(tmp_path):
        pass


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot make a folder"), run_folder(tmp_path / "nowhere"):
        pass
