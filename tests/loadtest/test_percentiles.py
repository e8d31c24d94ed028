"""A recording on the console and in CSV."""

import csv
import io
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from loadtest.percentiles import CSV_NAME, SECONDS_CSV_NAME, show, write_csv
from loadtest.recording import (
    Ceiling,
    DoneAct,
    Generator,
    Plan,
    Recording,
    Second,
    ThresholdResult,
    WrongVerdict,
)

PLAN = Plan(
    scenario="dependency-down",
    about="",
    people_a_minute=120_000,
    duration_s=60,
    flavour="unary",
    arrivals="poisson",
    sites=16,
    max_in_flight=500,
    deadline_s=5,
    attempts=1,
)


def a_recording() -> Recording:
    first = Second(due=30_000, sent=30_000, right=29_998, wrong=2, in_flight=80, generator_cpu_s=0.5)
    first.honest.record(0.004, 20_000)
    first.honest.record(12, 2)
    first.hostile.record(0.002, 5_000)
    second = Second(due=1_000, sent=990, right=980, failed=10, held=10, missed_by_server=10)
    second.errors = Counter(DEADLINE_EXCEEDED=10)
    second.honest.record(0.008, 990)
    return Recording(
        plan=PLAN,
        began_at=1_700_000_000.0,
        seconds={1_700_000_001: second, 1_700_000_000: first},
        generators=[Generator("worker-0", 0.41, 8), Generator("worker-1", 0.4, 8)],
        wrong=[
            WrongVerdict("01890a5d-ac96-774b-bcce-b302099a8057", "current", "GREEN", "STATUS_TOO_OLD"),
            WrongVerdict("[red]", "forged", "BAD_SIGNATURE", "GREEN"),
        ],
        acts=[
            DoneAct("kill-redis", 1_700_000_000.5, 0.02),
            DoneAct("start-redis", 1_700_000_001.5, 0.0, "no [hand]"),
        ],
        ceiling=Ceiling(7_400, 2),
        thresholds=[
            ThresholdResult("wrong", 0, False, 2, False),
            ThresholdResult("per_s", 1_800, True, 1_989.333, True),
            ThresholdResult("recovered_s", 5, False, None, False),
            ThresholdResult("hostile_p99_ms", 100, False, None, True),
        ],
        limited_by="server: 10 of 31,000 scans got no verdict",
    )


def shown(recording: Recording, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(recording, console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


GOLDEN = """\
dependency-down: 120,000 people a minute (2,000/s), unary, poisson arrivals, 16 connections, 60 s

scans                                         count   of those due
──────────────────────────────────────────────────────────────────
due                                          31,000
sent                                         30,990        99.97 %
right verdict                                30,978        99.93 %
wrong verdict                                     2       < 0.01 %
no verdict                                       10         0.03 %
never sent: too many waited for the server       10         0.03 %
sent after waiting for that                      10         0.03 %
never sent: the generator was too slow            0
sent late by the generator                        0
further attempts                                  0

waited, ms    p50    p90    p99   p99.9   p99.99      max    scans
──────────────────────────────────────────────────────────────────
honest       4.00   4.00   8.00    8.00     8.00   12,001   20,992
hostile      2.00   2.00   2.00    2.00        -     2.00    5,000

threshold           limit    measured
────────────────────────────────────────────────────────────────
wrong                <= 0           2   missed
per_s            >= 1,800   1,989.333   met
recovered_s          <= 5           -   missed: nothing measured
hostile_p99_ms     <= 100           -   not looked at

scan_id (2 of 2 wrong)                 kind      expected        got
───────────────────────────────────────────────────────────────────────────────
01890a5d-ac96-774b-bcce-b302099a8057   current   GREEN           STATUS_TOO_OLD
[red]                                  forged    BAD_SIGNATURE   GREEN

kill-redis at 0.5 s took 0.02 s
start-redis at 1.5 s could not be done: no [hand]
attempts that failed: DEADLINE_EXCEEDED 10
cores that the generators used: worker-0 0.41, worker-1 0.40
ceiling of 2 generators, against a server that does nothing: 7,400/s
limited by the server: 10 of 31,000 scans got no verdict"""


def test_the_tables_say_all_that_a_run_was() -> None:
    assert shown(a_recording(), 120) == GOLDEN


def test_eighty_columns_are_enough() -> None:
    narrow = shown(a_recording(), 80)

    assert max(map(len, narrow.splitlines())) <= 80
    # Tables and sentences are the same; only sentences are wrapped.
    assert narrow.split() == GOLDEN.split()


def test_there_is_no_colour_and_no_row_for_what_was_not_there_without_a_terminal() -> None:
    nothing = shown(Recording(PLAN, 0.0), 80)

    assert "\x1b" not in nothing
    assert "threshold" not in nothing
    assert "\nhonest         -     -     -       -        -     -       0\n" in nothing


def test_closed_arrivals_claim_no_rate() -> None:
    recording = Recording(PLAN, 0.0)
    recording.plan = Plan(**{name: getattr(PLAN, name) for name in PLAN.__slots__} | {"arrivals": "closed"})

    assert shown(recording, 120).startswith(
        "dependency-down: as many as were answered, unary, closed arrivals"
    )


def test_the_csv_files_hold_percentiles_and_seconds(tmp_path: Path) -> None:
    write_csv(a_recording(), tmp_path)

    assert (tmp_path / CSV_NAME).read_text() == (
        "class,percentile,latency_ms,count\n"
        "honest,50,4.00,20992\n"
        "honest,90,4.00,20992\n"
        "honest,99,8.00,20992\n"
        "honest,99.9,8.00,20992\n"
        "honest,99.99,8.00,20992\n"
        "honest,100,12001.27,20992\n"
        "hostile,50,2.00,5000\n"
        "hostile,90,2.00,5000\n"
        "hostile,99,2.00,5000\n"
        "hostile,99.9,2.00,5000\n"
        "hostile,99.99,,5000\n"
        "hostile,100,2.00,5000\n"
    )
    assert (tmp_path / SECONDS_CSV_NAME).read_text() == (
        "time,due,sent,right,wrong,failed,late,missed,missed_by_server,held,in_flight,generator_cpu_s,"
        "honest_p50_ms,honest_p99_ms,honest_p99.9_ms,honest_max_ms\n"
        "1700000000,30000,30000,29998,2,0,0,0,0,0,80,0.5,4.00,4.00,4.00,12001.27\n"
        "1700000001,1000,990,980,0,10,0,0,10,10,0,0,8.00,8.00,,8.00\n"
    )


def test_without_a_scan_the_csv_files_have_no_latencies(tmp_path: Path) -> None:
    write_csv(Recording(PLAN, 0.0, seconds={7: Second()}), tmp_path)

    with (tmp_path / CSV_NAME).open() as file:
        assert {(row["latency_ms"], row["count"]) for row in csv.DictReader(file)} == {("", "0")}
    with (tmp_path / SECONDS_CSV_NAME).open() as file:
        assert [row["honest_p99_ms"] for row in csv.DictReader(file)] == [""]


@pytest.mark.parametrize("width", [20, 40])
def test_a_narrow_console_is_no_error(width: int) -> None:
    assert shown(a_recording(), width)
