"""Holders, credentials and codes as a clerk works with them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from issuer.v1 import issuer_pb2
from loadtest.embedded_redis import EmbeddedRedis
from loadtest.qr_image import read_qr_image
from tests.issuer.cli.commands import ADD, Run, read_json, read_lines, runs_against
from tests.issuer.running_issuer import RunningIssuer
from tests.issuer.terminal_picture import read_terminal
from verifier.authenticate import authenticate
from verifier.wire.code import CredentialKind
from verifier.wire.key_set import read_key_set


def authenticated(issuer: RunningIssuer, qr_text: bytes) -> tuple[CredentialKind, int]:
    signed = issuer.client.issuer.GetKeySet(issuer_pb2.GetKeySetRequest()).signed_key_set
    code = authenticate(qr_text, read_key_set(signed, issuer.root), int(issuer.clock()))
    return code.kind, code.credential_index


# Holders


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


def test_what_cannot_be_asked_for_without_a_terminal_is_named(run: Run) -> None:
    result = run("holder", "add", "--name", "王小秀", "--document-type", "ID", "--apply", input="")
    assert result.exit_code == 2
    assert "give --document-number: there is no terminal to ask for it" in result.stderr


def test_what_must_not_stand_in_the_shells_history_can_be_typed(run: Run) -> None:
    typed = "王小秀\nID\nE12345678\n"
    result = run("holder", "add", "--apply", "--json", input=typed)
    assert result.exit_code == 0
    assert result.stdout.endswith('{"applied": true, "holder_id": 1}\n')


@pytest.mark.parametrize("apply", [(), ("--apply",)])
def test_a_person_who_has_an_entry_is_told_before_anything_is_planned(
    run: Run, apply: tuple[str, ...]
) -> None:
    run(*ADD, "--apply")
    result = run(*ADD, *apply)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "holder show 1" in result.stderr


def test_a_dependant_is_entered_with_the_guardian(run: Run) -> None:
    run(*ADD, "--apply")
    child = ("holder", "add", "--name", "王冰", "--document-type", "ID", "--document-number", "E2")
    result = run(*child, "--guardian", 1, "--apply")
    assert "carried by holder 1 (王*秀)" in result.stdout
    assert read_json(run("holder", "show", 1, "--json"))["dependant_ids"] == [2]
    assert run(*child, "--guardian", 9).exit_code == 1


def test_names_are_masked_unless_revealed_which_is_recorded(run: Run) -> None:
    run(*ADD, "--external-id", "p-1", "--apply")
    assert "王小秀" not in run("holder", "show", 1).stdout
    assert read_json(run("holder", "show", "--external-id", "p-1", "--json"))["name"] == "王*秀"
    assert read_json(run("holder", "show", 1, "--reveal", "--json"))["name"] == "王小秀"
    assert read_lines(run("holder", "list", "--reveal", "--json"))[0]["name"] == "王小秀"
    recorded = [call["target"] for call in read_lines(run("call", "list", "--json"))]
    assert "holder 1, revealed" in recorded


def test_a_holder_is_found_by_document_with_the_number_typed(run: Run) -> None:
    run(*ADD, "--apply")
    for options in (("--document-type", "ID"), ("--document-type", "ID", "--document-number", "-")):
        result = run("holder", "list", *options, "--json", input="E12345678\n")
        assert [one["holder_id"] for one in read_lines(result)] == [1]
        assert "E12345678" not in result.stdout
    assert run("holder", "list", "--document-type", "ID", "--json", input="other\n").stdout == ""


def test_a_list_has_all_pages_and_no_more_than_its_limit(run: Run, running_issuer: RunningIssuer) -> None:
    for _ in range(3):
        running_issuer.enrol(700)
    assert [one["holder_id"] for one in read_lines(run("holder", "list", "--json"))] == list(range(1, 2_101))
    for limit in (1, 999, 1_000, 1_001, 2_100):
        assert len(read_lines(run("holder", "list", "--json", "--limit", limit))) == limit


def test_a_table_in_a_pipe_has_a_line_for_each_row(run: Run, running_issuer: RunningIssuer) -> None:
    running_issuer.enrol(1_000, name="A" * 200)
    running_issuer.enrol(500, name="王小秀")
    lines = run("holder", "list").stdout.splitlines()
    assert lines[0].split("  ")[0] == "holder id"
    assert len(lines) == 1_501
    assert not any("\x1b" in line for line in lines)


def test_an_empty_list_says_so_and_prints_nothing_for_programs(run: Run) -> None:
    result = run("holder", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "There is none." in result.stderr
    assert run("holder", "list", "--json").output == ""


def test_a_holder_is_erased_with_the_credentials(run: Run, running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    plan = run("holder", "erase", 1)
    assert plan.stdout.startswith("would erase holder 1 (王*秀) for good, with 1 credential\n")
    done = read_json(run("holder", "erase", 1, "--apply", "--json"))
    assert done["revoked_credentials"] == 1
    assert read_json(run("credential", "show", index, "--json"))["state"] == "REVOKED"
    for command in (
        ("holder", "erase", 1),
        ("credential", "issue", 1, "PHONE"),
        ("status", "set", 1, "GREEN", "--authority", "a"),
    ):
        assert run(*command).exit_code == 1


# Credentials


def test_programs_get_json(run: Run) -> None:
    assert read_json(run(*ADD, "--json")) == {"applied": False, "plan": "enter 王*秀 into the register"}
    assert read_json(run(*ADD, "--json", "--apply")) == {"applied": True, "holder_id": 1}
    assert read_json(run("credential", "issue", 1, "paper", "--json", "--apply")) == {
        "applied": True,
        "credential_index": 1,
        "publication": "PUBLISHED",
    }
    shown = read_json(run("credential", "show", 1, "--json"))
    assert shown.pop("issued_at") > 0
    assert shown == {
        "credential_index": 1,
        "holder_id": 1,
        "kind": "PAPER",
        "generation": 1,
        "state": "ACTIVE",
        "app": "",
        "valid_until": 0,
        "external_id": "",
        "masked_name": "王*秀",
        "status": {
            "colour": "NONE",
            "reason": 0,
            "reason_text": "",
            "last_negative_test": 0,
            "valid_until": 0,
        },
    }


def test_a_credential_is_shown_to_people(run: Run, running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    told = dict(line.split("  ", 1) for line in run("credential", "show", index).stdout.splitlines())
    assert {name: value.strip() for name, value in told.items()}.items() >= {
        ("credential index", "1"),
        ("masked name", "王*秀"),
        ("kind", "PHONE"),
        ("state", "ACTIVE"),
        ("colour", "NONE"),
        ("valid until", "-"),
    }


def test_a_credential_may_end_by_itself_and_belong_to_an_app(run: Run, running_issuer: RunningIssuer) -> None:
    running_issuer.enrol()
    run("client", "add", "city-app", "--role", "app", "--apply")
    options = ("--app", "city-app", "--valid-until", "+180d", "--external-id", "o-1")
    plan = run("credential", "issue", 1, "PHONE", *options)
    assert "valid until" in plan.stdout
    assert "fetched by city-app" in plan.stdout
    assert run("credential", "issue", 1, "PHONE", *options, "--apply").exit_code == 0
    shown = read_json(run("credential", "show", 1, "--json"))
    assert (shown["app"], shown["external_id"]) == ("city-app", "o-1")
    assert abs(shown["valid_until"] - running_issuer.clock() - 180 * 86_400) < 60


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


@pytest.mark.parametrize("verb", ["replace", "suspend", "resume", "revoke"])
def test_a_plan_that_cannot_be_carried_out_is_refused_before_it_is_applied(
    run: Run, running_issuer: RunningIssuer, verb: str
) -> None:
    assert run("credential", verb, 999).exit_code == 1
    index = running_issuer.issue()
    run("credential", "revoke", index, "--apply")
    result = run("credential", verb, index)
    assert result.exit_code == 1
    assert "credential issue 1 PHONE" in result.stderr


@pytest.mark.parametrize(("count", "carried"), [(1, "1 dependant"), (2, "2 dependants")])
def test_erasing_a_guardian_says_who_is_left_without_one(run: Run, count: int, carried: str) -> None:
    run(*ADD, "--apply")
    for number in range(count):
        child = ("--name", "王小小", "--document-type", "ID", "--document-number", f"C{number}")
        assert run("holder", "add", *child, "--guardian", 1, "--apply").exit_code == 0
    assert f"; carries {carried}, who will have no guardian then\n" in run("holder", "erase", 1).stdout


def test_credentials_are_listed_by_kind_and_state(run: Run, running_issuer: RunningIssuer) -> None:
    for kind in (1, 2, 2):
        running_issuer.issue(kind)
    run("credential", "suspend", 3, "--apply")
    listed = read_lines(run("credential", "list", "--kind", "paper", "--state", "suspended", "--json"))
    assert [one["credential_index"] for one in listed] == [3]
    assert [
        one["credential_index"] for one in read_lines(run("credential", "list", "--holder", 2, "--json"))
    ] == [2]


def test_people_are_told_that_a_change_is_pending(
    start_issuer: Callable[..., RunningIssuer], own_redis: EmbeddedRedis
) -> None:
    issuer = start_issuer(own_redis.url)
    index = issuer.issue()
    own_redis.kill()
    result = runs_against(issuer)("credential", "suspend", index, "--apply")
    assert result.exit_code == 0
    assert "PENDING" in result.stdout
    assert "Safe in the register" in result.stdout


# Codes and bundles


def test_a_code_is_drawn_in_the_terminal_so_that_it_is_read(run: Run, running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    result = run("code", "show", index)
    *drawing, last = result.stdout.splitlines()
    read = read_terminal("\n".join(drawing)).text.encode()
    assert authenticated(running_issuer, read) == (CredentialKind.PHONE, index)
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
    assert authenticated(running_issuer, read_qr_image(tmp_path / name)) == (CredentialKind.PAPER, index)


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
    assert authenticated(running_issuer, read_qr_image(path)) == (CredentialKind.PHONE, index)


def test_a_picture_that_cannot_be_written_is_told(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    result = run("code", "save", running_issuer.issue(), tmp_path / "nowhere" / "code.png")
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr


def test_a_bundle_is_one_json_object_a_line(run: Run, running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    lines = [json.loads(line) for line in run("bundle", "issue", index, "--windows", 3).stdout.splitlines()]
    assert [set(line) for line in lines] == [{"credential_index", "qr_text", "not_before", "expires_at"}] * 3
    assert authenticated(running_issuer, lines[0]["qr_text"].encode()) == (CredentialKind.PHONE, index)
    assert lines[2]["not_before"] == lines[0]["not_before"] + 60


def test_bundles_of_many_name_those_that_got_none(run: Run, running_issuer: RunningIssuer) -> None:
    first, second = running_issuer.issue(), running_issuer.issue()
    run("credential", "suspend", second, "--apply")
    result = run("bundle", "issue", first, second, 999)
    assert result.exit_code == 1
    assert [json.loads(line)["credential_index"] for line in result.stdout.splitlines()] == [first]
    assert f"credential {second}: NOT_ACTIVE" in result.stderr
    assert "credential 999: NOT_FOUND" in result.stderr


def test_no_code_is_shown_of_a_suspended_credential(run: Run, running_issuer: RunningIssuer) -> None:
    index = running_issuer.issue()
    run("credential", "suspend", index, "--apply")
    result = run("code", "show", index)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"credential {index} is SUSPENDED" in result.stderr
