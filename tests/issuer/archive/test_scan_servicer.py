"""What staff are told of the archive, and what the record of calls keeps of their asking."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import grpc
import pytest

from issuer.access.calls import Calls
from issuer.access.roles import Caller, Role
from issuer.answers import Gatekeeper
from issuer.register import purges
from issuer.register.database import Database
from issuer.register.purges import Purges
from issuer.register.scan_stats import ScanStats
from issuer.register.scans import Scans
from issuer.register.suspects import NewSuspect, Suspects
from issuer.scan_servicer import ScanServicer
from issuer.v1 import scans_pb2 as pb
from tests.issuer.archive.passages import passage, rows
from tests.issuer.cli.commands import Run, read_json, read_lines, runs_against
from tests.issuer.conftest import QUICK_N
from tests.issuer.running_issuer import RunningIssuer

NOW_MS = int(time.time() * 1000) // 1000 * 1000
DAY_MS = 86_400_000
ESCAPE = "north\x1b[2J\u202e"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str) -> Iterator[RunningIssuer]:
    """An issuer with an archive of one morning, for all tests here; none of them removes what others need."""
    from issuer import key_file

    before = key_file._N, key_file._ACCEPTED_N
    key_file._N, key_file._ACCEPTED_N = QUICK_N, (QUICK_N, 1 << 14)
    try:
        issuer = RunningIssuer(tmp_path_factory.mktemp("scans"), shared_redis_url)
    finally:
        key_file._N, key_file._ACCEPTED_N = before
    fill(issuer)
    yield issuer
    issuer.stop()


def fill(issuer: RunningIssuer) -> None:
    at = {"not_before": NOW_MS // 1000 - 60, "expires_at": NOW_MS // 1000}
    entries = [
        passage(scan_id="s-1", gate_id="north/1", verified_at_ms=NOW_MS - 9_000, code_hash=b"h" * 16, **at),
        passage(scan_id="s-2", gate_id="north", verified_at_ms=NOW_MS - 8_000, verdict=99, **at),
        passage(scan_id=ESCAPE, gate_id=ESCAPE, verified_at_ms=NOW_MS - 7_000, credential_index=8),
        passage(scan_id="old", verified_at_ms=NOW_MS - 40 * DAY_MS),
    ]
    Scans(database=issuer.database).store(rows(*entries))
    suspect = NewSuspect(b"i", 7, 1, b"north/1", NOW_MS - 9_000, ESCAPE.encode(), NOW_MS - 8_000)
    Suspects(database=issuer.database).add([suspect])


@pytest.fixture
def run(issuer: RunningIssuer) -> Run:
    return runs_against(issuer)


def refused(method: Callable[[Any], Any], request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        method(request)
    return caught.value.code(), caught.value.details() or ""


def test_scans_are_found_page_by_page_with_all_that_was_logged(issuer: RunningIssuer) -> None:
    search = issuer.client.scans.SearchScans
    first = search(pb.SearchScansRequest(page_size=3))
    assert [one.scan_id for one in first.scans] == [ESCAPE, "s-2", "s-1"]
    assert first.scans[2].gate_id == "north/1"
    assert (first.scans[2].code_hash, first.scans[2].status_age_ms) == (b"h" * 16, 200)
    second = search(pb.SearchScansRequest(page_size=3, page_token=first.next_page_token))
    assert [one.scan_id for one in second.scans] == ["old"]
    assert second.next_page_token == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("page_token", "x"),
        ("page_token", "é"),
        ("page_token", "AAAA"),
        ("page_size", 1_001),
        ("gate_id", "g" * 65),
        ("from_ms", -1),
        ("to_ms", 2**62),
    ],
)
def test_a_search_that_breaks_the_api_is_told_where(issuer: RunningIssuer, field: str, value: Any) -> None:
    for request, method in (
        (pb.SearchScansRequest(**{field: value}), issuer.client.scans.SearchScans),
        (pb.GetScanStatsRequest(**{field: value}), issuer.client.scans.GetScanStats),
    ):
        code, text = refused(method, request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert text.startswith((field, "to_ms"))


def test_a_lane_is_searched_a_day_at_a_time_or_for_one_credential(issuer: RunningIssuer) -> None:
    search = issuer.client.scans.SearchScans
    for asked in (
        pb.SearchScansRequest(gate_id="north/1"),
        pb.SearchScansRequest(gate_id="north/1", to_ms=NOW_MS),
        pb.SearchScansRequest(gate_id="north/1", from_ms=NOW_MS - 2 * DAY_MS),
    ):
        code, text = refused(search, asked)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert text.startswith("from_ms")
    for asked in (
        pb.SearchScansRequest(gate_id="north/1", from_ms=NOW_MS - DAY_MS, to_ms=NOW_MS),
        pb.SearchScansRequest(gate_id="north/1", credential_index=7),
    ):
        assert [one.scan_id for one in search(asked).scans] == ["s-1"]


def test_counts_until_a_moment_are_of_the_day_before_it(issuer: RunningIssuer) -> None:
    until_ms = NOW_MS - 40 * DAY_MS + 1
    stats = issuer.client.scans.GetScanStats(pb.GetScanStatsRequest(to_ms=until_ms)).stats
    assert [one.gate_id for one in stats] == ["north-1"]
    assert not issuer.client.scans.GetScanStats(pb.GetScanStatsRequest(to_ms=until_ms + 2 * DAY_MS)).stats
    assert not issuer.client.scans.GetScanStats(pb.GetScanStatsRequest(to_ms=1_000)).stats


def test_counts_are_of_the_last_day_or_of_31_days_at_most(issuer: RunningIssuer) -> None:
    stats = issuer.client.scans.GetScanStats(pb.GetScanStatsRequest(gate_id="north")).stats
    assert sum(count.scans for one in stats for count in one.verdicts) == 2
    too_long = pb.GetScanStatsRequest(from_ms=NOW_MS - 32 * DAY_MS, to_ms=NOW_MS)
    assert refused(issuer.client.scans.GetScanStats, too_long)[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_the_record_of_calls_says_what_was_asked_for_without_a_gates_text(issuer: RunningIssuer) -> None:
    request = pb.SearchScansRequest(gate_id=ESCAPE, credential_index=8, from_ms=5)
    issuer.client.scans.SearchScans(request)
    entries, _ = Calls(database=issuer.database).page(client="", page_size=1, before_seq=0)
    assert entries[0].method == "ScanService/SearchScans"
    assert entries[0].target == "credential 8, one gate, 5 to 0"


def test_the_retention_is_the_archives_where_none_is_named(issuer: RunningIssuer) -> None:
    dry = pb.PurgeScansRequest(is_dry_run=True)
    code, text = refused(issuer.client.scans.PurgeScans, dry)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "no archive has told its own yet" in text
    Purges(database=issuer.database).begin(retention_days=50, now=NOW_MS // 1000, is_daily=True)
    assert issuer.client.scans.PurgeScans(dry).purge.scans == 0
    dry.retention_days = 30
    assert issuer.client.scans.PurgeScans(dry).purge.scans == 1


def test_a_purge_ends_when_its_client_goes_away(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purges, "SLICE_ROWS", 2)
    old = [passage(verified_at_ms=NOW_MS - 40 * DAY_MS) for _ in range(9)]
    Scans(database=sqlite_database).store(rows(*old))
    gatekeeper = mock.create_autospec(Gatekeeper, instance=True)
    gatekeeper.authenticate.return_value = Caller(1, "operator", frozenset({Role.OPERATOR}))
    context = mock.create_autospec(grpc.ServicerContext, instance=True)
    context.is_active.side_effect = [True, False, False]
    servicer = ScanServicer(
        scans=Scans(database=sqlite_database),
        stats=ScanStats(database=sqlite_database),
        suspects=Suspects(database=sqlite_database),
        purges=Purges(database=sqlite_database),
        gatekeeper=gatekeeper,
        clock=lambda: NOW_MS / 1000,
    )
    told = servicer.PurgeScans(pb.PurgeScansRequest(retention_days=30), context)
    assert told.purge.scans == 4
    assert [one.scans for one in Purges(database=sqlite_database).page(page_size=9, before_seq=0)[0]] == [4]
    assert gatekeeper.end.call_args.kwargs == {"outcome": "CANCELLED"}


# The command line


def test_a_search_on_the_command_line_does_nothing_to_the_terminal(run: Run) -> None:
    result = run("scan", "search", "--limit", 3)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "north\\x1b[2J\\u202e" in result.stdout
    header, *lines = result.stdout.splitlines()
    assert header.split()[:3] == ["verified", "at", "gate"]
    assert [line.split()[-1] for line in lines[1:]] == ["s-2", "s-1"]


def test_a_search_is_narrowed_and_printed_for_programs(run: Run) -> None:
    (found,) = read_lines(run("scan", "search", "--credential", 8, "--json"))
    assert (found["gate_id"], found["verified_at_ms"]) == (ESCAPE, NOW_MS - 7_000)
    listed = read_lines(run("scan", "search", "--gate", "north", "--from", NOW_MS // 1000 - 60, "--json"))
    assert [(one["scan_id"], one["verdict"]) for one in listed] == [("s-2", "99"), ("s-1", "GREEN")]
    assert run("scan", "search", "--to", 100_000_000).stdout == ""
    assert [one["scan_id"] for one in read_lines(run("scan", "search", "--from", "-2h", "--json"))] == [
        ESCAPE,
        "s-2",
        "s-1",
    ]
    assert len(read_lines(run("scan", "search", "--verdict", "green", "--to", "-0m", "--json"))) == 3
    assert run("scan", "search", "--verdict", "RED").stdout == ""
    wrong = run("scan", "search", "--from", "1h ago")
    assert wrong.exit_code == 2
    assert "-90m, -2h, -7d" in " ".join(wrong.stderr.split())


def test_counts_and_suspects_are_listed(run: Run) -> None:
    counted = read_lines(run("scan", "stats", "--gate", "north", "--json"))
    assert {"GREEN", "99"} == {name for one in counted for name in one["verdicts"]}
    assert run("scan", "stats").exit_code == 0
    (suspect,) = read_lines(run("scan", "suspects", "--credential", 7, "--json"))
    assert (suspect["kind"], suspect["first_gate_id"]) == ("PHONE", "north/1")
    shown = run("scan", "suspects").stdout
    assert "\\x1b" in shown
    assert "\x1b" not in shown


def test_a_purge_says_what_it_would_do_and_does_it(run: Run) -> None:
    told = run("scan", "purge", "--retention-days", 35)
    assert told.stdout.startswith("would remove 1 scans and 0 suspects from before ")
    assert len(read_lines(run("scan", "search", "--json"))) == 4
    done = read_json(run("scan", "purge", "--retention-days", 35, "--apply", "--json"))
    assert (done["applied"], done["scans"]) == (True, 1)
    assert len(read_lines(run("scan", "search", "--json"))) == 3
    (newest, *_) = read_lines(run("scan", "purges", "--limit", 1, "--json"))
    assert newest["scans"] == 1
    assert run("scan", "purges").exit_code == 0
    assert run("scan", "purge", "--retention-days", 0).exit_code == 2


def test_an_operator_alone_does_not_see_scans(run: Run, issuer: RunningIssuer, tmp_path: Path) -> None:
    key = tmp_path / "op.key"
    run("client", "add", "op", "--role", "operator", "--key-to", key, "--apply")
    issuer.approve(1)
    result = run("scan", "search", "--key-file", key)
    assert (result.exit_code, result.stdout) == (1, "")
    assert run("scan", "stats", "--key-file", key).exit_code == 0
