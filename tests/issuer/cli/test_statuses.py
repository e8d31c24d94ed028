"""Status as a clerk sets it and an auditor checks it, and what a second person has to agree to."""

import re
import threading

import pytest
from sqlalchemy import text

from issuer.v1 import access_pb2
from tests.eventually import eventually
from tests.issuer.cli.commands import Run, read_json, read_lines
from tests.issuer.running_issuer import RunningIssuer

RED = ("status", "set", 1, "RED", "--reason", 12, "--authority", "office", "--apply")


@pytest.fixture(autouse=True)
def holder(running_issuer: RunningIssuer) -> None:
    """Holder 1, with a credential."""
    running_issuer.issue()


def test_a_plan_shows_the_masked_name_and_the_present_colour(run: Run) -> None:
    green = ("status", "set", 1, "GREEN", "--authority", "office")
    assert run(*green).stdout.startswith("would set holder 1 (王*秀), now without a colour, to GREEN\n")
    assert run(*green, "--apply").exit_code == 0
    yellow = ("status", "set", 1, "yellow", "--reason", 12, "--authority", "office", "--valid-until", "+14d")
    told = run(*yellow).stdout
    assert told.startswith(
        "would set holder 1 (王*秀), now GREEN, to YELLOW, reason 12 (close contact of a case), until 20"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (99, "GREEN", "--authority", "a"),
        (1, "RED", "--authority", "a", "--reason", 999),
        (1, "GREEN", "--authority", "a", "--reason", 12),
    ],
)
def test_nonsense_is_refused_before_it_is_applied(run: Run, arguments: tuple[object, ...]) -> None:
    result = run("status", "set", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")


def test_a_reason_that_is_not_on_the_list_is_answered_with_those_that_are(run: Run) -> None:
    assert (
        "12 (close contact of a case)"
        in run("status", "set", 1, "RED", "--authority", "a", "--reason", 999).stderr
    )


def test_what_was_set_is_shown(run: Run) -> None:
    test = ("--negative-test", "2026-01-02T03:04:05Z", "--evidence", "file 7")
    command = (
        "status",
        "set",
        1,
        "yellow",
        "--reason",
        12,
        "--authority",
        "a",
        "--valid-until",
        "+14d",
        *test,
    )
    assert read_json(run(*command, "--json", "--apply")) == {
        "applied": True,
        "holder_id": 1,
        "colour": "YELLOW",
        "publication": "PUBLISHED",
    }
    shown = read_json(run("status", "show", 1, "--json"))
    assert shown.pop("valid_until") > 0
    assert shown == {
        "holder_id": 1,
        "colour": "YELLOW",
        "reason": 12,
        "reason_text": "close contact of a case",
        "last_negative_test": 1_767_323_040,
    }
    (change,) = read_lines(run("status", "history", 1, "--json"))
    assert (change["operator"], change["evidence"], change["source"]) == ("local", "file 7", "MANUAL")


def test_a_red_waits_for_a_second_person_as_exit_code_4(run: Run, approver: tuple[str, str]) -> None:
    result = run(*RED)
    assert result.exit_code == 4
    assert (
        "waits for a second person: ask an approver to run "
        "`gatelight-issuer approval approve 1 --apply --key-file THEIR.key`" in result.stdout
    )
    assert read_json(run("status", "show", 1, "--json"))["colour"] == "NONE"

    own = run("approval", "approve", 1, "--apply")
    assert own.exit_code == 1
    assert "role approver" in own.stderr

    plan = run("approval", "approve", 1, *approver)
    assert "\nwould approve request 1 of local: " in plan.stdout
    done = run("approval", "approve", 1, "--apply", *approver)
    assert done.exit_code == 0
    assert "request 1 is APPROVED by approver" in done.stdout
    assert read_json(run("status", "show", 1, "--json"))["colour"] == "RED"
    assert run("approval", "approve", 1, *approver).exit_code == 1
    assert "approval show 1" in run("approval", "approve", 1, *approver).stderr


def test_the_second_person_is_shown_every_change_before_agreeing(run: Run, approver: tuple[str, str]) -> None:
    run(*RED, "--evidence", "file 7", "--valid-until", "4000000000")
    shown = run("approval", "show", 1, *approver)
    plan = run("approval", "approve", 1, *approver)
    for result in (shown, plan):
        header = next(line for line in result.stdout.splitlines() if line.startswith("holder id"))
        columns = [
            "holder id",
            "colour",
            "reason",
            "valid until",
            "negative test at",
            "authority",
            "evidence",
        ]
        assert re.split(r"  +", header) == columns
        (change,) = (line for line in result.stdout.splitlines() if line.startswith("1 "))
        assert change.split()[:3] == ["1", "RED", "12"]
        assert "2096-10-02" in change
        assert change.endswith("file 7")
    change_of = {
        "holder_id": 1,
        "colour": "RED",
        "reason": 12,
        "valid_until": 4_000_000_000,
        "negative_test_at": 0,
        "authority": "office",
        "evidence": "file 7",
    }
    for command in ("show", "approve"):
        told = read_json(run("approval", command, 1, "--json", *approver))
        assert told["status_changes"] == [change_of]


def test_for_programs_a_request_that_waits_is_an_object(run: Run) -> None:
    result = run(*RED, "--json")
    assert result.exit_code == 4
    assert result.stdout == '{"applied": false, "approval_id": 1, "waits_for": "approval"}\n'


def test_with_wait_the_outcome_is_printed_once_somebody_agreed(
    run: Run, running_issuer: RunningIssuer
) -> None:
    def agree() -> None:
        eventually(
            lambda: running_issuer.client.access.ListApprovals(access_pb2.ListApprovalsRequest()).approvals
        )
        running_issuer.approve(1)

    second_person = threading.Thread(target=agree)
    second_person.start()
    result = run(*RED, "--wait", 30)
    second_person.join()
    assert result.exit_code == 0
    assert "request 1 is APPROVED by approver" in result.stdout


def test_a_wait_ends(run: Run) -> None:
    result = run(*RED, "--wait", "0.1")
    assert result.exit_code == 4


def test_a_request_is_rejected_or_taken_back(run: Run, approver: tuple[str, str]) -> None:
    run(*RED)
    assert run("approval", "reject", 1, "--apply", *approver).exit_code == 0
    assert read_json(run("approval", "show", 1, "--json"))["state"] == "REJECTED"
    run(*RED)
    assert run("approval", "reject", 2, "--apply").exit_code == 0
    states = [one["state"] for one in read_lines(run("approval", "list", "--json"))]
    assert states == ["REJECTED", "REJECTED"]
    assert run("approval", "list", "--state", "PENDING", "--json").stdout == ""


def test_the_reasons_are_listed(run: Run) -> None:
    listed = {one["code"]: one for one in read_lines(run("status", "reasons", "--json"))}
    assert listed[12]["colours"] == ["YELLOW", "RED"]
    assert "close contact of a case" in run("status", "reasons").stdout


def test_a_history_is_verified_and_a_noted_head_is_found_again(
    run: Run, running_issuer: RunningIssuer
) -> None:
    running_issuer.set_colour(1, 1)
    first = read_json(run("status", "verify-history", "--json"))
    assert (first["sound"], first["verified"]) == (True, 1)
    running_issuer.set_colour(1, 2)
    again = run("status", "verify-history", "--head", first["head"])
    assert again.exit_code == 0
    assert "sound     yes" in again.stdout
    other = f"1:{'0' * 64}"
    assert run("status", "verify-history", "--head", other).exit_code == 1


def test_an_edited_history_is_exit_code_1(run: Run, running_issuer: RunningIssuer) -> None:
    running_issuer.set_colour(1, 1)
    running_issuer.set_colour(1, 2)
    with running_issuer.database.write() as connection:
        for (name,) in connection.execute(
            text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'status_changes'")
        ).all():
            connection.execute(text(f"DROP TRIGGER {name}"))
        connection.execute(text("UPDATE status_changes SET colour = 1 WHERE seq = 2"))
    result = run("status", "verify-history")
    assert result.exit_code == 1
    assert "broken seq" in result.stdout
    assert "compare it with a backup" in result.stderr
