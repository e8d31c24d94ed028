"""What a clerk is told when something is wrong, and the exit code that a program sees."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from issuer.access.bearer import make_key, write_key_file
from issuer.answers import retry_advice
from issuer.cli.session import explain
from issuer.errors import TooMany
from issuer.tls import ServerTls
from loadtest.embedded_redis import free_port
from tests.issuer.certificates import Authority
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


@pytest.fixture
def tls_address(tmp_path: Path) -> Iterator[str]:
    """Where something speaks TLS, with a certificate of authority.pem in the folder."""
    mine = Authority(tmp_path).issue("issuer")
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port("127.0.0.1:0", ServerTls(mine.certificate, mine.key).read())
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_a_certificate_that_is_not_trusted_is_told_from_an_issuer_that_is_gone(
    tls_address: str, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other").certificate
    result = run_alone("holder", "list", "--server", tls_address, "--tls-ca", other)
    assert result.exit_code == 3
    assert "its certificate is not trusted: give the CA that signed it with --tls-ca" in result.stderr
    assert "Is it running?" not in result.stderr


def test_plain_text_to_an_issuer_with_tls_is_told(tls_address: str) -> None:
    result = run_alone("holder", "list", "--server", tls_address)
    assert result.exit_code == 3
    assert "If it speaks TLS, give its CA with --tls-ca" in result.stderr


def test_tls_to_an_issuer_without_is_told(running_issuer: RunningIssuer, tmp_path: Path) -> None:
    ca = Authority(tmp_path).certificate
    result = run_alone("holder", "list", "--server", running_issuer.address, "--tls-ca", ca)
    assert result.exit_code == 3
    assert "it does not speak TLS" in result.stderr


def test_a_no_of_the_issuer_is_exit_code_1_with_advice(run: Run) -> None:
    result = run("credential", "show", 999)
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: the issuer says no: there is no credential 999. "
        "Look it up with `gatelight-issuer credential list`.\n"
    )
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (("approval", "show", 999), "approval list"),
        (("status", "show", 999), "holder list"),
        (("credential", "issue", 999, "PHONE"), "holder list"),
        (("bundle", "issue", 999), "credential list"),
    ],
)
def test_what_is_not_there_is_looked_up_where_it_would_be(
    run: Run, command: tuple[object, ...], advice: str
) -> None:
    result = run(*command)
    assert result.exit_code == 1
    assert f"`gatelight-issuer {advice}`" in result.stderr


def test_an_app_that_is_not_there_is_looked_up_among_the_clients(run: Run) -> None:
    run(*ADD, "--apply")
    result = run("credential", "issue", 1, "PHONE", "--app", "nobody", "--apply")
    assert result.exit_code == 1
    assert "`gatelight-issuer client list`" in result.stderr


@pytest.mark.parametrize(
    "command", [("status", "set", 1, "GREEN", "--authority", "a"), ("credential", "issue", 1, "PHONE")]
)
def test_an_end_that_is_over_is_refused_before_a_plan_is_printed(
    run: Run, command: tuple[object, ...]
) -> None:
    run(*ADD, "--apply")
    result = run(*command, "--valid-until", "2020-01-01")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "+14d" in result.stderr


def test_a_time_that_the_issuer_refuses_is_told_with_the_forms_that_are_taken(run: Run) -> None:
    run(*ADD, "--apply")
    result = run("status", "set", 1, "GREEN", "--authority", "a", "--negative-test", "+3d", "--apply")
    assert result.exit_code == 1
    assert "2026-11-21T08:30 (local) or Unix seconds" in result.stderr


class _Failed(grpc.RpcError):
    """A call that failed as gRPC's own do."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


def test_nobody_is_told_twice_to_try_again() -> None:
    error = _Failed(grpc.StatusCode.UNAVAILABLE, "Redis does not answer: try again")
    told = explain(error, "unix:/issuer.sock").message
    assert told.lower().count("try again") == 1


class _TooMany(_Failed):
    """A refusal with what the issuer sends beside it."""

    def trailing_metadata(self) -> Any:
        return (("grpc-retry-pushback-ms", "-1"), *retry_advice(TooMany("", retry_after_s=41)))


def test_who_asks_too_often_is_told_how_long_to_wait() -> None:
    too_often = _TooMany(grpc.StatusCode.RESOURCE_EXHAUSTED, "credential 7 asked too often")
    assert explain(too_often, "unix:/issuer.sock").message == (
        "the issuer says no: credential 7 asked too often. Try again in 41 s."
    )
    unsaid = _Failed(grpc.StatusCode.RESOURCE_EXHAUSTED, "too often")
    assert explain(unsaid, "unix:/issuer.sock").message.endswith("too often. Wait a little, and try again.")


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


def test_whoever_approves_their_own_request_is_told_who_can(
    run: Run, tmp_path: Path, running_issuer: RunningIssuer
) -> None:
    path = tmp_path / "both.key"
    run("client", "add", "both", "--role", "clerk", "--role", "approver", "--key-to", path, "--apply")
    running_issuer.approve(1)
    run(*ADD, "--apply")
    red = ("status", "set", 1, "RED", "--reason", 12, "--authority", "a", "--apply", "--key-file", path)
    assert run(*red).exit_code == 4
    result = run("approval", "approve", 2, "--apply", "--key-file", path)
    assert result.exit_code == 1
    assert "Ask another approver" in result.stderr
    assert "somebody who has it" not in result.stderr


def test_with_wait_whom_to_ask_is_said_once(run: Run) -> None:
    run(*ADD, "--apply")
    result = run("status", "set", 1, "RED", "--reason", 12, "--authority", "a", "--apply", "--wait", "0.1")
    assert result.exit_code == 4
    assert result.output.count("approval approve 1 --apply --key-file THEIR.key") == 1
    assert "request 1 still waits" in result.stdout
