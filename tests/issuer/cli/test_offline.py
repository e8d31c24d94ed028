"""The commands that work on the issuer's folder: making it, serving it, and the register in it."""

import sqlite3
import stat
from pathlib import Path

import pytest

from issuer.register.migrations import HEAD
from tests.issuer.cli.commands import ADD, Run, read_json, run_alone
from tests.issuer.running_issuer import RunningIssuer, make_folder


def test_init_says_what_it_made_and_what_comes_next(tmp_path: Path) -> None:
    folder = tmp_path / "issuer"
    result = run_alone("init", "--folder", folder, GATELIGHT_PASSPHRASE="CANARY")
    assert result.exit_code == 0
    assert f"Next: gatelight-issuer serve --folder {folder}\n" in result.stdout
    assert "valid for 30 days" in result.stdout
    for path in [*folder.rglob("*.key"), *folder.glob("*.toml"), *folder.glob("*.db")]:
        assert str(path) in result.stdout
    assert "CANARY" not in result.output


def test_init_refuses_to_overwrite(tmp_path: Path) -> None:
    arguments = ("init", "--folder", tmp_path / "issuer", "--json")
    made = read_json(run_alone(*arguments, GATELIGHT_PASSPHRASE="p"))
    assert Path(made["root_public_key"]).exists()
    assert Path(made["approver_key"]).exists()
    result = run_alone(*arguments, GATELIGHT_PASSPHRASE="p")
    assert result.exit_code == 1
    assert "nothing was touched" in result.stderr
    assert "gatelight-issuer serve" in result.stderr


@pytest.mark.parametrize("command", ["init", "serve"])
def test_a_missing_passphrase_is_told_and_not_waited_for(tmp_path: Path, command: str) -> None:
    result = run_alone(command, "--folder", tmp_path / "issuer")
    assert result.exit_code == 2
    assert "--passphrase-file" in result.stderr
    assert not (tmp_path / "issuer").exists()


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:50061", "[::]:0", "example.org:50061"])
def test_serve_stays_on_this_machine_unless_told(tmp_path: Path, listen: str) -> None:
    result = run_alone("serve", "--folder", tmp_path, "--listen", listen, GATELIGHT_PASSPHRASE="p")
    assert result.exit_code == 2
    assert "--insecure" in result.stderr


@pytest.mark.parametrize(
    ("environment", "advice"),
    [({}, "gatelight-issuer init"), ({"GATELIGHT_ISSUER_PARTITIONS": "0"}, "partitions")],
)
def test_serve_says_why_it_cannot(tmp_path: Path, environment: dict[str, str], advice: str) -> None:
    result = run_alone("serve", "--folder", tmp_path, GATELIGHT_PASSPHRASE="p", **environment)
    assert result.exit_code in (1, 2)
    assert advice in result.stderr
    assert "Traceback" not in result.output


# The register


def test_a_register_is_backed_up_while_it_is_served(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    run(*ADD, "--apply")
    backup = tmp_path / "backup.db"
    result = run("register", "backup", backup)
    assert result.exit_code == 0, result.output
    assert f"register restore {backup}" in result.stdout
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    again = run("register", "backup", backup)
    assert again.exit_code == 1
    assert "name another file" in again.stderr


def test_a_backup_is_put_back_with_apply_and_what_was_there_is_kept(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    backup, folder = tmp_path / "backup.db", tmp_path / "another"
    run("register", "backup", backup)
    make_folder(folder)
    before = (folder / "register.db").read_bytes()
    restore = ("register", "restore", backup, "--folder", folder)
    assert run_alone(*restore).stdout.startswith(f"would put {backup} in the place of the register")
    assert (folder / "register.db").read_bytes() == before
    result = run_alone(*restore, "--apply")
    assert result.exit_code == 0, result.output
    (kept,) = folder.glob("register.db.replaced-*")
    assert str(kept) in result.stdout
    assert "gatelight-issuer serve" in result.stdout


def test_a_backup_that_is_not_there_is_told(tmp_path: Path) -> None:
    make_folder(tmp_path / "issuer")
    result = run_alone(
        "register", "restore", tmp_path / "none.db", "--folder", tmp_path / "issuer", "--apply"
    )
    assert result.exit_code == 1
    assert "there is no backup" in result.stderr


def test_a_register_that_is_current_is_not_migrated(tmp_path: Path) -> None:
    make_folder(tmp_path / "issuer")
    migrate = ("register", "migrate", "--folder", tmp_path / "issuer")
    assert run_alone(*migrate).stdout == f"the register has schema {HEAD} already: there is nothing to do\n"
    result = run_alone(*migrate, "--apply")
    assert result.exit_code == 0, result.output
    assert f"schema {HEAD} already" in result.stdout


def test_a_migration_says_before_what_it_would_do(tmp_path: Path) -> None:
    folder = tmp_path / "issuer"
    make_folder(folder)
    (folder / "reasons.toml").unlink()
    migrate = ("register", "migrate", "--folder", folder)
    assert "would make what its folder lacks" in run_alone(*migrate).stdout
    assert not (folder / "reasons.toml").exists()
    with sqlite3.connect(folder / "register.db") as old:
        old.execute("UPDATE alembic_version SET version_num = '0000'")
    old.close()
    told = run_alone(*migrate).stdout
    assert told.startswith(f"would bring the register from schema 0000 to {HEAD}\nNothing was changed.")


@pytest.mark.parametrize("verb", [("migrate",), ("migrate", "--apply"), ("backup", "x.db")])
def test_a_folder_without_a_register_is_told(tmp_path: Path, verb: tuple[str, ...]) -> None:
    (tmp_path / "empty").mkdir()
    result = run_alone("register", *verb, "--folder", tmp_path / "empty")
    assert result.exit_code == 1
    assert "there is no register" in result.stderr


def test_an_old_register_is_backed_up_before_it_is_migrated(tmp_path: Path) -> None:
    folder = tmp_path / "issuer"
    make_folder(folder)
    with sqlite3.connect(folder / "register.db") as old:
        old.execute("UPDATE alembic_version SET version_num = '0000'")
    old.close()
    result = run_alone("register", "backup", tmp_path / "backup.db", "--folder", folder)
    assert result.exit_code == 0, result.output
