"""Gates and groups, as operators work with them."""

import hashlib
import stat
from pathlib import Path

import pytest

from issuer.access.bearer import read_key_file
from issuer.access.calls import Calls
from issuer.cli import session
from issuer.v1 import gates_pb2 as pb
from tests.issuer.certificates import Authority
from tests.issuer.cli.commands import Run, read_json, read_lines
from tests.issuer.running_issuer import RunningIssuer
from verifier.bearer import hash_key


@pytest.fixture
def stations(run: Run) -> str:
    """The name of a group."""
    assert run("group", "add", "stations", "--one-entry", "--apply").exit_code == 0
    return "stations"


def gates(run: Run) -> list[dict[str, object]]:
    return read_lines(run("gate", "list", "--json"))


def credentials(run: Run) -> list[tuple[str, str]]:
    """Return what the only gate is known by."""
    (gate,) = gates(run)
    held = gate["credentials"]
    assert isinstance(held, list)
    return [(one["kind"], one["sha256"]) for one in held]


def test_a_gate_is_added_with_a_key_that_only_its_file_holds(run: Run, stations: str, tmp_path: Path) -> None:
    path = tmp_path / "north-3.key"
    add = ("gate", "add", "north-3", "--group", stations, "--key-to", path)
    assert run(*add).stdout.startswith("would add the gate north-3 to the group stations\n")
    assert not path.exists()
    told = read_json(run(*add, "--apply", "--json"))
    assert told == {
        "applied": True,
        "gate": "north-3",
        "key_file": str(path),
        "publication": "PUBLISHED",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credentials(run) == [("key", hash_key(read_key_file(path)).hex())]
    assert "north-3" in run("gate", "list", "--group", stations).stdout


def test_without_a_file_the_key_is_shown_once(run: Run, stations: str) -> None:
    told = read_json(run("gate", "add", "a", "--group", stations, "--apply", "--json"))
    assert credentials(run) == [("key", hash_key(told["key"]).hex())]


def test_a_gate_is_known_by_a_certificate(run: Run, stations: str, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("north-3")
    add = ("gate", "add", "north-3", "--group", stations, "--certificate", pair.certificate)
    assert run(*add, "--apply").exit_code == 0
    ((kind, sha256),) = credentials(run)
    assert kind == "certificate"
    assert len(bytes.fromhex(sha256)) == hashlib.sha256().digest_size


def test_a_plan_is_refused_where_the_issuer_would_refuse_the_gate(
    run: Run, stations: str, tmp_path: Path
) -> None:
    for name in ("bad gate!", "", "a/1"):
        refused = run("gate", "add", name, "--group", stations)
        assert refused.exit_code == 1
        assert "expected 1 to 48 characters" in refused.stderr
    certificate = ("--certificate", Authority(tmp_path).issue("gate").certificate)
    assert run("gate", "add", "north-3", "--group", stations, *certificate, "--apply").exit_code == 0
    for taken in (("add", "north-4", "--group", stations), ("renew", "north-3")):
        refused = run("gate", *taken, *certificate)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "gate north-3 is known by this certificate: make a new one" in refused.stderr


def test_a_gate_is_renewed_without_a_pause(run: Run, stations: str, tmp_path: Path) -> None:
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    run("gate", "add", "north-3", "--group", stations, "--key-to", old, "--apply")
    ((_, first),) = credentials(run)
    renew = ("gate", "renew", "north-3", "--key-to", new)
    assert run(*renew).stdout.startswith(
        f"would give the gate north-3 a further key, beside key {first[:16]}\n"
    )
    assert run(*renew, "--apply").exit_code == 0
    assert len(credentials(run)) == 2
    third = run("gate", "renew", "north-3", "--key-to", tmp_path / "third.key", "--apply")
    assert third.exit_code == 1
    assert "take the old one away first" in third.output
    drop = ("gate", "drop-credential", "north-3", first[:16])
    assert run(*drop).stdout.startswith(f"would take key {first[:16]} from the gate north-3\n")
    assert run(*drop, "--apply").exit_code == 0
    assert credentials(run) == [("key", hash_key(read_key_file(new)).hex())]
    last = run("gate", "drop-credential", "north-3", credentials(run)[0][1], "--apply")
    assert last.exit_code == 1
    assert "only credential" in last.output


def test_a_gate_is_moved_and_removed(run: Run, stations: str) -> None:
    run("group", "add", "offices", "--apply")
    run("gate", "add", "north-3", "--group", stations, "--apply")
    move = ("gate", "move", "north-3", "offices")
    assert run(*move).stdout.startswith("would move the gate north-3 from the group stations to offices\n")
    assert run(*move, "--apply").exit_code == 0
    assert gates(run)[0]["group"] == "offices"
    assert run("gate", "remove", "north-3").stdout.startswith("would remove the gate north-3 of the group")
    assert run("gate", "remove", "north-3", "--apply").exit_code == 0
    assert gates(run) == []


def test_one_gate_is_found_by_one_call_among_many(
    run: Run, stations: str, running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_PAGE_SIZE", 1)
    calls = Calls(database=running_issuer.database)
    for number in range(3):
        run("gate", "add", f"a-{number}", "--group", stations, "--apply")
    list_gates = running_issuer.client.gates.ListGates
    found = list_gates(pb.ListGatesRequest(gate_id="a-1", page_size=1))
    assert ([one.gate_id for one in found.gates], found.has_more) == (["a-1"], False)
    assert not list_gates(pb.ListGatesRequest(gate_id="a-9")).gates
    before = calls.page(client="", page_size=1, before_seq=0)[0][0].seq
    assert run("gate", "remove", "a-2").exit_code == 0
    assert calls.page(client="", page_size=1, before_seq=0)[0][0].seq == before + 1


def test_a_policy_is_set_option_by_option_and_the_rest_stays(run: Run, stations: str) -> None:
    change = ("group", "set", stations, "--max-test-age-s", 3_600, "--max-status-age-s", 2.5)
    assert run(*change).stdout.splitlines()[:3] == [
        "would set the policy of the group stations (gates: 0)",
        "  is:       one entry for each code, a card again after 900 s; green alone opens",
        "  will be:  a test of the last 3600 s; a status of the last 2.5 s; one entry for each code, a card "
        "again after 900 s; green alone opens",
    ]
    assert run(*change, "--apply").exit_code == 0
    assert read_json(run("group", "list", "--json")) == {
        "name": "stations",
        "gates": 0,
        "max_test_age_s": 3_600,
        "max_status_age_s": 2.5,
        "yellow_opens": False,
        "one_entry": True,
        "paper_entry_s": 900,
    }
    run("group", "set", stations, "--max-test-age-s", 0, "--no-one-entry", "--yellow-opens", "--apply")
    changed = read_json(run("group", "list", "--json"))
    assert (changed["max_test_age_s"], changed["max_status_age_s"]) == (None, 2.5)
    assert (changed["yellow_opens"], changed["one_entry"]) == (True, False)
    assert run("group", "set", stations, "--yellow-opens").exit_code == 1


def test_an_age_below_a_millisecond_does_not_become_none(run: Run, stations: str) -> None:
    run("group", "set", stations, "--max-status-age-s", 0.0001, "--apply")
    assert read_json(run("group", "list", "--json"))["max_status_age_s"] == 0.001


def test_a_group_is_removed_once_it_is_empty(run: Run, stations: str) -> None:
    run("gate", "add", "north-3", "--group", stations, "--apply")
    refused = run("group", "remove", stations)
    assert refused.exit_code == 1
    assert "gate list --group stations" in refused.output
    run("gate", "remove", "north-3", "--apply")
    assert run("group", "remove", stations, "--apply").exit_code == 0
    assert run("group", "list", "--json").stdout == ""


def test_what_cannot_be_done_is_exit_code_1_and_leaves_no_key(
    run: Run, stations: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.key"
    for refused in (
        ("gate", "add", "a", "--group", "nowhere", "--key-to", path, "--apply"),
        ("gate", "add", "a/1", "--group", stations, "--key-to", path, "--apply"),
        ("gate", "renew", "a", "--key-to", path, "--apply"),
        ("gate", "move", "a", stations),
        ("gate", "remove", "a"),
        ("gate", "drop-credential", "a", "0123"),
        ("gate", "list", "--group", "nowhere"),
        ("group", "add", stations),
        ("group", "set", "nowhere", "--one-entry"),
        ("group", "remove", "nowhere"),
    ):
        result = run(*refused)
        assert result.exit_code == 1, refused
        assert "gatelight-issuer g" in result.output or "Mend that" in result.output, result.output
        assert not path.exists()
    assert gates(run) == []


@pytest.mark.parametrize(
    "options",
    [
        ("--certificate", "no-such-file"),
        ("--certificate", __file__),
        ("--certificate", __file__, "--key-to", "x"),
        ("--key-to", __file__),
    ],
)
def test_options_that_make_no_sense_are_exit_code_2(run: Run, options: tuple[str, ...]) -> None:
    assert run("gate", "add", "a", "--group", "b", *options, "--apply").exit_code == 2
