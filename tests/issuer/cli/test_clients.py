"""Clients and the record of calls, as operators and auditors work with them."""

import stat
from concurrent import futures
from pathlib import Path

import pytest

from issuer.access.bearer import read_key_file
from issuer.v1 import access_pb2
from tests.eventually import eventually
from tests.issuer.certificates import Authority
from tests.issuer.cli.commands import ADD, Run, read_json, read_lines
from tests.issuer.running_issuer import RunningIssuer


def test_a_client_is_added_with_a_key_of_its_own(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    path = tmp_path / "li.wei.key"
    add = ("client", "add", "li.wei", "--role", "clerk", "--role", "auditor", "--key-to", path)
    assert run(*add).stdout.startswith("would add the client li.wei, clerk, auditor\n")
    assert not path.exists()
    result = run(*add, "--apply")
    assert result.exit_code == 4, result.output
    assert "works only once a second person has approved it" in result.stdout
    running_issuer.approve(1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key_file(path) not in result.output
    assert run(*ADD, "--apply", "--key-file", path).exit_code == 0


def test_without_a_file_the_key_is_shown_once(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    told = read_json(run("client", "add", "app-1", "--role", "app", "--apply", "--json"))
    assert told["applied"] is True
    assert told["key"].startswith("gl_")
    assert told["key"] not in run("client", "list", "--json").stdout


def test_a_client_is_known_by_a_certificate(run: Run, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("client")
    result = run("client", "add", "gate-app", "--role", "app", "--certificate", pair.certificate, "--apply")
    assert result.exit_code == 0, result.output
    listed = {one["name"]: one["known_by"] for one in read_lines(run("client", "list", "--json"))}
    assert listed["gate-app"] == "certificate"


@pytest.mark.parametrize(
    "options",
    [
        ("--role", "app", "--certificate", "no-such-file"),
        ("--role", "app", "--certificate", __file__),
        ("--role", "app", "--certificate", __file__, "--key-to", "x"),
        ("--role", "app", "--key-to", __file__),
        ("--role", "chief"),
    ],
)
def test_options_that_make_no_sense_are_exit_code_2(run: Run, options: tuple[str, ...]) -> None:
    assert run("client", "add", "somebody", *options, "--apply").exit_code == 2


def test_a_name_is_never_given_twice(run: Run) -> None:
    run("client", "add", "a", "--role", "auditor", "--apply")
    run("client", "revoke", "a", "--apply")
    result = run("client", "add", "a", "--role", "auditor")
    assert (result.exit_code, result.stdout) == (1, "")


def test_roles_that_the_issuer_refuses_leave_no_key_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    result = run("client", "add", "a", "--role", "app", "--role", "clerk", "--key-to", path, "--apply")
    assert result.exit_code == 1
    assert not path.exists()


@pytest.mark.parametrize("role", ["approver", "operator", "clerk"])
def test_whoever_can_do_harm_needs_a_second_person(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path, role: str
) -> None:
    path = tmp_path / "boss.key"
    result = run("client", "add", "boss", "--role", role, "--key-to", path, "--apply")
    assert result.exit_code == 4
    assert run("approval", "list", "--key-file", path).exit_code == 1
    running_issuer.approve(1)
    assert run("approval", "list", "--key-file", path).exit_code == 0


def test_with_wait_a_clerk_is_added_once_somebody_agreed(
    run: Run, running_issuer: RunningIssuer, tmp_path: Path
) -> None:
    path = tmp_path / "mei.key"
    add = ("client", "add", "mei", "--role", "clerk", "--key-to", path, "--wait", 30, "--apply")
    with futures.ThreadPoolExecutor(1) as second_person:
        agreed = second_person.submit(approve_when_asked, running_issuer)
        result = run(*add)
        agreed.result()
    assert result.exit_code == 0, result.output
    assert "request 1 is APPROVED by approver" in result.stdout
    assert run(*ADD, "--apply", "--key-file", path).exit_code == 0


def approve_when_asked(issuer: RunningIssuer) -> None:
    listed = access_pb2.ListApprovalsRequest()
    eventually(lambda: len(issuer.approver.access.ListApprovals(listed).approvals) == 1)
    issuer.approve(1)


def test_a_revoked_client_is_refused(run: Run, running_issuer: RunningIssuer, tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    run("client", "add", "a", "--role", "clerk", "--key-to", path, "--apply")
    running_issuer.approve(1)
    assert run("holder", "list", "--key-file", path).exit_code == 0
    assert run("client", "revoke", "a").stdout.startswith("would revoke the client a for good\n")
    assert run("client", "revoke", "a", "--apply").exit_code == 0
    assert run("holder", "list", "--key-file", path).exit_code == 1
    assert run("client", "revoke", "a").exit_code == 1
    assert run("client", "revoke", "nobody").exit_code == 1


def test_the_record_of_calls_says_who_did_what_without_names(run: Run) -> None:
    run(*ADD, "--apply")
    calls = read_lines(run("call", "list", "--json"))
    assert ("local", "AdminService/EnrolHolders", "OK") in [
        (call["client"], call["method"], call["outcome"]) for call in calls
    ]
    assert "王小秀" not in run("call", "list").stdout
    assert len(read_lines(run("call", "list", "--limit", 1, "--json"))) == 1
    assert run("call", "list", "--client", "approver", "--json").stdout == ""
