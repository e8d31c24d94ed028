"""What a clerk is told when something is wrong, and the exit code that a program sees."""

from pathlib import Path

import pytest

from issuer.access.bearer import make_key, write_key_file
from loadtest.embedded_redis import free_port
from tests.issuer.cli.commands import ADD, Run, run_alone
from tests.issuer.running_issuer import RunningIssuer


def test_an_issuer_that_does_not_answer_is_exit_code_3_with_advice() -> None:
    result = run_alone("credential", "show", 1, "--server", f"127.0.0.1:{free_port()}")
    assert result.exit_code == 3
    assert "gatelight-issuer serve" in result.stderr


def test_a_folder_without_an_issuer_is_exit_code_3_with_advice(tmp_path: Path) -> None:
    result = run_alone("credential", "show", 1, "--folder", tmp_path)
    assert result.exit_code == 3
    assert "--folder" in result.stderr


def test_a_no_of_the_issuer_is_exit_code_1_with_advice(run: Run) -> None:
    result = run("credential", "show", 999)
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: the issuer says no: there is no credential 999. "
        "Look it up with `gatelight-issuer credential list`.\n"
    )
    assert result.stdout == ""


def test_people_never_see_the_list_that_a_command_sends(run: Run) -> None:
    result = run(*ADD, "--region", "x" * 65, "--apply")
    assert result.exit_code == 1
    assert "says no: region: expected at most 64 characters" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("credential", "show", "none"),
        ("credential", "show", "0"),
        ("credential", "issue", "1", "PLASTIC"),
        ("credential", "issue", "1"),
        ("credential", "issue", "1", "PHONE", "--from", "orders.csv"),
        ("credential", "issue", "1", "PHONE", "--valid-until", "tomorrow"),
        ("holder", "show"),
        ("holder", "show", "1", "--external-id", "1"),
        ("status", "set", "1", "BLUE", "--authority", "a"),
        ("status", "set", "1", "GREEN"),
        ("status", "set", "1", "RED", "--authority", "a"),
        ("status", "set", "1", "GREEN", "--authority", "a", "--negative-test", "yesterday"),
        ("status", "verify-history", "--head", "7"),
        ("status", "verify-history", "--head", f"7:{'x' * 64}"),
        ("code", "save", "1", "code.pdf"),
        ("bundle", "issue", "1", "--windows", "2881"),
        ("bundle", "issue"),
        ("key", "activate", "abc"),
        ("client", "add", "somebody"),
        ("credential", "show", "1", "--timeout-s", "0"),
        ("credential", "show", "1", "--key-file", "no-such-file"),
    ],
)
def test_a_command_that_makes_no_sense_is_exit_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert len(result.stderr.splitlines()[-1]) > len("Error: ")


def test_a_misspelt_variable_is_exit_code_2() -> None:
    result = run_alone("credential", "show", 1, GATELIGHT_ISSUER_SERVR="x")
    assert result.exit_code == 2
    assert "did you mean GATELIGHT_ISSUER_SERVER?" in result.stderr


def test_an_unknown_key_is_told_what_to_do(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "unknown.key"
    write_key_file(path, make_key())
    result = run("holder", "list", "--key-file", path)
    assert result.exit_code == 1
    assert "client add" in result.stderr


def test_a_role_that_is_missing_is_named_with_what_to_do(run: Run, approver: tuple[str, str]) -> None:
    result = run(*ADD, "--apply", *approver)
    assert result.exit_code == 1
    assert "--key-file" in result.stderr
    assert "role clerk" in result.stderr


def test_a_command_waits_no_longer_than_it_was_told(running_issuer: RunningIssuer, run: Run) -> None:
    with running_issuer.database.write():
        result = run(*ADD, "--apply", "--timeout-s", "0.5")
    assert result.exit_code == 3
    assert "Look whether the change was made" in result.stderr
