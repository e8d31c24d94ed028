"""Archived scans: stored once, found again, counted."""

import contextlib
from typing import Any

import pytest
from sqlalchemy import event, insert

from issuer.register import scan_stats
from issuer.register.database import Database
from issuer.register.scan_stats import QuarterStats, ScanStats, StatsPlace
from issuer.register.scans import Place, Scans
from issuer.register.schema import credentials
from tests.issuer.archive.passages import EXPIRED, NOW, NOW_MS, passage, rows
from tests.issuer.register.people import enrol

QUARTER_MS = 900_000
START_MS = NOW_MS - NOW_MS % QUARTER_MS


@pytest.fixture
def scans(sqlite_database: Database) -> Scans:
    return Scans(database=sqlite_database)


@pytest.fixture
def stats(sqlite_database: Database) -> ScanStats:
    return ScanStats(database=sqlite_database)


def found(scans: Scans, **search: object) -> list[str]:
    page, _ = scans.page(page_size=100, **search)  # type: ignore[arg-type]
    return [row.scan_id.decode() for row in page]


def test_a_scan_is_stored_once_with_all_that_it_says(database: Database) -> None:
    scans = Scans(database=database)
    entries = rows(
        passage(gate_id="\0 北门/\x1b[2J", scan_id="a\0", status_age_ms=2**64 - 1, code_hash=b""),
        passage(verdict=255, credential_index=2**32 - 1),
    )
    assert scans.store([*entries, entries[0]]) == 2
    assert scans.store(entries) == 0
    page, following = scans.page(page_size=10)
    assert sorted(page) == sorted(entries)
    assert following is None


def test_a_gate_is_searched_with_its_lanes(scans: Scans) -> None:
    for name in ("hub", "hub/1", "hub/1/a", "hub/10", "hub/2", "hub2", "hu"):
        scans.store(rows(passage(gate_id=name, scan_id=name)))
    assert set(found(scans, gate_id=b"hub")) == {"hub", "hub/1", "hub/1/a", "hub/10", "hub/2"}
    assert set(found(scans, gate_id=b"hub/1")) == {"hub/1", "hub/1/a"}
    assert found(scans, gate_id=b"nowhere") == []


def test_a_gate_that_begins_with_a_slash_is_a_gate_like_others(scans: Scans, stats: ScanStats) -> None:
    for name in ("/x", "/x/1", "/", "//y"):
        scans.store(rows(passage(gate_id=name, scan_id=name, verified_at_ms=START_MS)))
    assert set(found(scans, gate_id=b"/x")) == {"/x", "/x/1"}
    assert found(scans, gate_id=b"/x/1") == ["/x/1"]
    assert [one.gate_id for one in all_stats(stats)] == [b"/", b"/x"]
    assert [one.gate_id for one in all_stats(stats, gate_id=b"/x")] == [b"/x"]


def test_a_credential_is_looked_for_among_its_own_scans_whatever_else_is_asked(
    scans: Scans, sqlite_database: Database
) -> None:
    statements: list[tuple[str, Any]] = []

    @event.listens_for(sqlite_database._readers, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    scans.store(rows(passage(gate_id="hub/1", scan_id="here"), passage(gate_id="hub")))
    asked = {"gate_id": b"hub/1", "credential_index": 7, "from_ms": NOW_MS, "to_ms": NOW_MS + 1}
    assert found(scans, **asked) == ["here"]
    statement, parameters = statements[-1]
    with sqlite_database.read() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    assert "scans_of_credential" in plan[0][-1]


def test_times_and_credentials_narrow_the_search(scans: Scans) -> None:
    for number in range(4):
        scans.store(
            rows(passage(scan_id=f"{number}", verified_at_ms=NOW_MS + number, credential_index=number))
        )
    assert found(scans) == ["3", "2", "1", "0"]
    assert found(scans, from_ms=NOW_MS + 1, to_ms=NOW_MS + 3) == ["2", "1"]
    assert found(scans, credential_index=2) == ["2"]
    scans.store(rows(passage(scan_id="red", verdict=3, verified_at_ms=NOW_MS - 1)))
    assert found(scans, verdict=3) == ["red"]
    assert found(scans, verdict=3, from_ms=NOW_MS) == []
    assert found(scans, credential_index=2, gate_id=b"north-1", from_ms=NOW_MS + 3) == []


def test_pages_follow_each_other_without_a_gap_also_within_a_millisecond(scans: Scans) -> None:
    scans.store(
        rows(*(passage(scan_id=f"{number}", verified_at_ms=NOW_MS + number // 4) for number in range(10)))
    )
    seen: list[str] = []
    place: Place | None = None
    while True:
        page, place = scans.page(page_size=3, before=place)
        seen += [row.scan_id.decode() for row in page]
        if place is None:
            break
    assert sorted(seen) == [f"{number}" for number in range(10)]
    assert set(seen[:2]) == {"8", "9"}


def all_stats(stats: ScanStats, page_size: int = 100, **search: object) -> list[QuarterStats]:
    asked: dict[str, object] = {"gate_id": b"", "from_ms": START_MS, "to_ms": START_MS + 4 * QUARTER_MS}
    collected: list[QuarterStats] = []
    place: StatsPlace | None = None
    while True:
        page, place = stats.page(page_size=page_size, after=place, **(asked | search))  # type: ignore[arg-type]
        assert len(page) <= page_size
        collected += page
        if place is None:
            return collected


def enter_a_morning(scans: Scans) -> None:
    def at(quarter: int, gate: str, credential: int, verdict: int = 1, colour: int = 1) -> None:
        moment = START_MS + quarter * QUARTER_MS + 5
        new = passage(
            gate_id=gate, verified_at_ms=moment, credential_index=credential, verdict=verdict, colour=colour
        )
        scans.store(rows(new))

    at(0, "a", 1)
    at(0, "a/2", 1)
    at(0, "a", 2, verdict=2, colour=2)
    at(0, "a", 0, verdict=4, colour=0)
    at(0, "a", 9, verdict=EXPIRED, colour=0)  # a screenshot
    at(2, "a", 1)
    at(1, "b", 3)
    at(4, "b", 3)  # after the time asked for
    at(-1, "c", 4)  # before it
    at(3, "d", 5)


@pytest.mark.parametrize("page_size", [1, 2, 100])
def test_people_verdicts_and_colours_are_counted_by_gate_and_quarter(
    scans: Scans, stats: ScanStats, page_size: int
) -> None:
    enter_a_morning(scans)
    counted = all_stats(stats, page_size)
    places = [(one.gate_id, (one.quarter_at * 1000 - START_MS) // QUARTER_MS) for one in counted]
    assert places == [(b"a", 0), (b"a", 2), (b"b", 1), (b"d", 3)]
    first = counted[0]
    assert (first.people, first.verdicts, first.colours) == (
        2,
        {1: 2, 2: 1, 4: 1, EXPIRED: 1},
        {0: 2, 1: 2, 2: 1},
    )


def test_people_are_holders_however_many_codes_each_of_them_shows(database: Database) -> None:
    first, _ = enrol(database, 2)  # with the credentials 1 and 2
    with database.write() as connection:
        card = insert(credentials).values(holder_id=first, kind=2, generation=1, state=1, issued_at=NOW)
        connection.execute(card)
    scans = Scans(database=database)
    for shown in (1, 3, 3, 2, 9, 10, 0):  # 9 and 10 are not on the register
        scans.store(rows(passage(verified_at_ms=START_MS, credential_index=shown)))
    (counted,) = all_stats(ScanStats(database=database))
    assert (counted.people, counted.verdicts) == (4, {1: 7})


def test_one_gate_or_one_lane_is_counted(scans: Scans, stats: ScanStats) -> None:
    enter_a_morning(scans)
    assert [one.gate_id for one in all_stats(stats, gate_id=b"b")] == [b"b"]
    (lane,) = all_stats(stats, gate_id=b"a/2")
    assert (lane.gate_id, lane.people, lane.verdicts) == (b"a/2", 1, {1: 1})
    assert all_stats(stats, gate_id=b"nowhere") == []


def test_many_gates_without_a_scan_cost_a_bounded_look_at_a_time(
    scans: Scans, stats: ScanStats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_stats, "_GATES_AT_ONCE", 2)
    enter_a_morning(scans)
    page, place = stats.page(
        gate_id=b"", from_ms=START_MS + 3 * QUARTER_MS, to_ms=START_MS + 4 * QUARTER_MS, page_size=10
    )
    assert (page, place) == ([], StatsPlace(b"c", START_MS + 3 * QUARTER_MS))
    assert len(all_stats(stats)) == 4


def test_it_is_the_same_on_postgresql(postgres_url: str) -> None:
    with contextlib.closing(Database.open(postgres_url)) as database:
        scans, stats = Scans(database=database), ScanStats(database=database)
        enter_a_morning(scans)
        assert [(one.gate_id, one.people) for one in all_stats(stats, 2)] == [
            (b"a", 2),
            (b"a", 1),
            (b"b", 1),
            (b"d", 1),
        ]
        assert [one.people for one in all_stats(stats, gate_id=b"a/2")] == [1]
        newest, place = scans.page(page_size=6, gate_id=b"a")
        assert (len(newest), place) == (6, None)
        assert len(scans.page(page_size=9, gate_id=b"a", credential_index=1)[0]) == 3
        first, place = scans.page(page_size=3, from_ms=START_MS)
        second, end = scans.page(page_size=10, from_ms=START_MS, before=place)
        assert (len({*first, *second}), end) == (9, None)
