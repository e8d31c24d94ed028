"""gatelight-issuer as its staff use it, against a real issuer."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from issuer.cli import main
from loadtest.embedded_redis import EmbeddedRedis, free_port
from loadtest.qr_image import read_qr_image
from tests.issuer.running_issuer import KEY, ROOT, RunningIssuer
from tests.issuer.terminal_picture import read_terminal
from verifier.authenticate import authenticate
from verifier.wire.code import CredentialKind
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet

KEY_SET = KeySet.of(version=1, issued_at=0, expires_at=2**33, keys=[VerifyingKey(KEY.public_key)])
COMMANDS = [
    ("init",),
    ("serve",),
    ("holder", "add"),
    *(("credential", verb) for verb in ("issue", "show", "replace", "suspend", "resume", "revoke")),
    ("status", "set"),
    ("code", "show"),
    ("code", "save"),
    ("bundle", "issue"),
    ("key-set", "show"),
]

ADD = ("holder", "add", "--name", "王小秀", "--document-type", "ID", "--document-number", "E12345678")

Run = Callable[..., Result]


@pytest.fixture
def run(running_issuer: RunningIssuer) -> Run:
    """Runs a command against a running issuer."""

    def run(*arguments: object, **options: Any) -> Result:
        command = [str(argument) for argument in arguments]
        environment = {"GATELIGHT_ISSUER_SERVER": running_issuer.address}
        return CliRunner().invoke(main, command, env=environment, **options)

    return run


def run_alone(*arguments: object, **environment: str) -> Result:
    """Run a command without an issuer."""
    unset = {"GATELIGHT_PASSPHRASE": None, "GATELIGHT_PASSPHRASE_FILE": None}
    return CliRunner().invoke(main, [str(one) for one in arguments], env={**unset, **environment})


def read_json(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def authenticated(qr_text: bytes) -> tuple[CredentialKind, int]:
    code = authenticate(qr_text, KEY_SET, int(time.time()))
    return code.kind, code.credential_index


# Help and errors


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_with_an_example(command: tuple[str, ...]) -> None:
    result = run_alone(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: gatelight-issuer {' '.join(command)}" in " ".join(result.output.split())


def test_the_help_tells_the_exit_codes() -> None:
    assert "Exit codes: 0 done" in " ".join(run_alone("--help").output.split())


def test_an_issuer_that_does_not_answer_is_exit_code_3_with_advice() -> None:
    result = run_alone("credential", "show", 1, "--server", f"127.0.0.1:{free_port()}")
    assert result.exit_code == 3
    assert "gatelight-issuer serve" in result.stderr


def test_a_no_of_the_issuer_is_exit_code_1(run: Run) -> None:
    result = run("credential", "show", 999)
    assert result.exit_code == 1
    assert result.stderr == "Error: the issuer says no: there is no credential 999\n"
    assert result.stdout == ""


def test_people_never_see_the_list_that_a_command_sends(run: Run) -> None:
    run(*ADD, "--apply")
    expected = "Error: the issuer says no: document_number: this document belongs to holder 1 already\n"
    assert run(*ADD, "--apply").stderr == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ("credential", "show", "none"),
        ("credential", "show", "0"),
        ("credential", "issue", "1", "PLASTIC"),
        ("status", "set", "1", "BLUE", "--authority", "a"),
        ("status", "set", "1", "GREEN"),
        ("status", "set", "1", "RED", "--authority", "a"),
        ("status", "set", "1", "GREEN", "--authority", "a", "--negative-test", "yesterday"),
        ("code", "save", "1", "code.pdf"),
        ("bundle", "issue", "1", "--windows", "2881"),
        ("credential", "show", "1", "--timeout-s", "0"),
    ],
)
def test_a_command_that_makes_no_sense_is_exit_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_misspelt_variable_is_exit_code_2() -> None:
    result = run_alone("credential", "show", 1, GATELIGHT_ISSUER_SERVR="x")
    assert result.exit_code == 2
    assert "did you mean GATELIGHT_ISSUER_SERVER?" in result.stderr


# Holders, credentials, status


def test_without_apply_nothing_is_changed(run: Run, running_issuer: RunningIssuer) -> None:
    result = run(*ADD)
    assert result.exit_code == 0
    assert (
        result.stdout == "would enter 王*秀 into the register\nNothing was changed. To do it, add --apply.\n"
    )
    assert running_issuer.enrol() == [1]


def test_with_apply_a_holder_is_entered_and_the_name_stays_masked(run: Run) -> None:
    result = run(*ADD, "--apply")
    assert result.exit_code == 0
    assert result.stdout == "enter 王*秀 into the register\nholder id  1\n"


def test_what_must_not_stand_in_the_shells_history_can_be_typed(run: Run) -> None:
    typed = "王小秀\nID\nE12345678\n"
    result = run("holder", "add", "--apply", "--json", input=typed)
    assert result.exit_code == 0
    assert result.stdout.endswith('{"applied": true, "holder_id": 1}\n')


def test_programs_get_json(run: Run) -> None:
    assert read_json(run(*ADD, "--json")) == {
        "applied": False,
        "plan": "enter 王*秀 into the register",
    }
    assert read_json(run(*ADD, "--json", "--apply")) == {"applied": True, "holder_id": 1}
    assert read_json(run("credential", "issue", 1, "paper", "--json", "--apply")) == {
        "applied": True,
        "credential_index": 1,
        "publication": "PUBLISHED",
    }
    negative_test = ("--negative-test", "2026-01-02T03:04:05Z")
    status = ("status", "set", 1, "yellow", "--reason", 31, "--authority", "a", *negative_test)
    assert read_json(run(*status, "--json", "--apply")) == {
        "applied": True,
        "holder_id": 1,
        "colour": "YELLOW",
        "publication": "PUBLISHED",
    }
    assert read_json(run("credential", "show", 1, "--json")) == {
        "credential_index": 1,
        "holder_id": 1,
        "masked_name": "王*秀",
        "kind": "PAPER",
        "generation": 1,
        "state": "ACTIVE",
        "colour": "YELLOW",
        "reason": 31,
        "last_negative_test": 1_767_323_040,
    }


def test_a_credential_is_shown_to_people(run: Run, running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    assert run("credential", "show", index).stdout == (
        "credential index    1\n"
        "holder id           1\n"
        "masked name         王*秀\n"
        "kind                PHONE\n"
        "generation          1\n"
        "state               ACTIVE\n"
        "colour              NONE\n"
        "reason              0\n"
        "last negative test  -\n"
    )


@pytest.mark.parametrize(
    ("verb", "plan", "state"),
    [
        ("suspend", "suspend PHONE credential 1 of 王*秀, now ACTIVE", "SUSPENDED"),
        ("revoke", "revoke PHONE credential 1 of 王*秀, now ACTIVE", "REVOKED"),
        ("replace", "replace generation 1 of PHONE credential 1 of 王*秀 by 2", "ACTIVE"),
    ],
)
def test_a_credential_is_changed_only_with_apply(
    run: Run, running_issuer: RunningIssuer, verb: str, plan: str, state: str
) -> None:
    index = running_issuer.issue()
    before = read_json(run("credential", "show", index, "--json"))
    assert f"would {plan}\n" in run("credential", verb, index).stdout
    assert read_json(run("credential", "show", index, "--json")) == before
    assert run("credential", verb, index, "--apply").stdout.startswith(f"{plan}\n")
    assert read_json(run("credential", "show", index, "--json"))["state"] == state


def test_a_suspended_credential_is_resumed(run: Run, running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    run("credential", "suspend", index, "--apply")
    assert "now SUSPENDED" in run("credential", "resume", index, "--apply").stdout
    assert read_json(run("credential", "show", index, "--json"))["state"] == "ACTIVE"


def test_a_plan_for_an_unknown_credential_is_refused_before_it_is_applied(run: Run) -> None:
    assert run("credential", "revoke", 999).exit_code == 1


def test_people_are_told_that_a_change_is_pending(
    start_issuer: Callable[..., RunningIssuer], own_redis: EmbeddedRedis
) -> None:
    issuer = start_issuer(own_redis.url)
    index = issuer.issue()
    own_redis.kill()
    result = run_alone("credential", "suspend", index, "--apply", "--server", issuer.address)
    assert result.exit_code == 0
    assert "PENDING" in result.stdout
    assert "Safe in the register" in result.stdout


# Codes


def test_a_code_is_drawn_in_the_terminal_so_that_it_is_read(run: Run, running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    result = run("code", "show", index)
    *drawing, last = result.stdout.splitlines()
    assert authenticated(read_terminal("\n".join(drawing)).text.encode()) == (CredentialKind.PHONE, index)
    assert last.startswith(f"PHONE credential {index}, generation 1, valid ")
    assert "GL1:" not in result.output


def test_a_drawing_is_light_on_dark_whatever_the_terminal(run: Run, running_issuer: RunningIssuer) -> None:
    lines = run("code", "show", running_issuer.issue(), color=True).stdout.splitlines()
    assert all(line.startswith("\x1b[97m\x1b[40m") and line.endswith("\x1b[0m") for line in lines[:-1])


@pytest.mark.parametrize("name", ["code.png", "CODE.PNG"])
def test_a_code_is_saved_as_a_picture_that_is_read(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path, name: str
) -> None:
    index = running_issuer.issue(2)
    saved = read_json(run("code", "save", index, tmp_path / name, "--json"))
    assert saved["file"] == str(tmp_path / name)
    assert authenticated(read_qr_image(tmp_path / name)) == (CredentialKind.PAPER, index)


def test_a_code_is_saved_as_svg(run: Run, running_issuer: RunningIssuer, tmp_path: Path) -> None:
    result = run("code", "save", running_issuer.issue(), tmp_path / "code.svg")
    assert result.exit_code == 0
    assert "symbol      7-M\n" in result.stdout
    assert "<svg" in (tmp_path / "code.svg").read_text()


def test_a_picture_is_overwritten_only_by_force(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    index, path = running_issuer.issue(), tmp_path / "code.png"
    path.write_bytes(b"mine")
    result = run("code", "save", index, path)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert path.read_bytes() == b"mine"
    assert run("code", "save", index, path, "--force").exit_code == 0
    assert authenticated(read_qr_image(path)) == (CredentialKind.PHONE, index)


def test_a_picture_that_cannot_be_written_is_told(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    result = run("code", "save", running_issuer.issue(), tmp_path / "nowhere" / "code.png")
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr


def test_a_bundle_is_one_json_object_a_line(run: Run, running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    lines = [json.loads(line) for line in run("bundle", "issue", index, "--windows", 3).stdout.splitlines()]
    assert [set(line) for line in lines] == [{"qr_text", "not_before", "expires_at"}] * 3
    assert authenticated(lines[0]["qr_text"].encode()) == (CredentialKind.PHONE, index)
    assert lines[2]["not_before"] == lines[0]["not_before"] + 60


def test_no_code_is_shown_of_a_suspended_credential(run: Run, running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    run("credential", "suspend", index, "--apply")
    result = run("code", "show", index)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"credential {index} is SUSPENDED" in result.stderr


def test_the_key_set_is_shown_once_its_signature_is_found_right(run: Run, tmp_path: Path) -> None:
    (tmp_path / "root.pub").write_bytes(ROOT.root_pem)
    shown = read_json(run("key-set", "show", "--root-key", tmp_path / "root.pub", "--json"))
    assert (shown["version"], len(shown["key_ids"])) == (1, 1)
    assert shown["expires_at"] > time.time()


def test_a_key_set_of_another_root_is_not_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "root.pub").write_bytes(type(ROOT)("another").root_pem)
    result = run("key-set", "show", "--root-key", tmp_path / "root.pub")
    assert (result.exit_code, result.stdout) == (1, "")


def test_a_missing_root_key_is_told(run: Run, tmp_path: Path) -> None:
    result = run("key-set", "show", "--root-key", tmp_path / "root.pub")
    assert result.exit_code == 2
    assert "--root-key" in result.stderr


# Making an issuer


def test_init_says_what_it_made_and_what_comes_next(tmp_path: Path) -> None:
    folder = tmp_path / "issuer"
    result = run_alone("init", "--folder", folder, GATELIGHT_PASSPHRASE="CANARY")
    assert result.exit_code == 0
    assert f"Next: gatelight-issuer serve --folder {folder}\n" in result.stdout
    assert "valid for 90 days" in result.stdout
    for path in folder.rglob("*.key"):
        assert str(path) in result.stdout
    assert "CANARY" not in result.output


def test_init_refuses_to_overwrite(tmp_path: Path) -> None:
    arguments = ("init", "--folder", tmp_path / "issuer", "--json")
    made = read_json(run_alone(*arguments, GATELIGHT_PASSPHRASE="p"))
    assert Path(made["root_public_key"]).exists()
    result = run_alone(*arguments, GATELIGHT_PASSPHRASE="p")
    assert result.exit_code == 1
    assert "nothing was touched" in result.stderr


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


def test_a_command_waits_no_longer_than_it_was_told(running_issuer: RunningIssuer) -> None:
    with running_issuer.database.write():
        result = run_alone(*ADD, "--apply", "--server", running_issuer.address, "--timeout-s", "0.2")
    assert result.exit_code == 3
    assert "Look whether the change was made" in result.stderr
