"""The daily purge."""

from collections.abc import Sequence
from typing import Any

import pytest

from issuer.archive.purge import DailyPurge
from issuer.clock_guard import STEADY_S, ClockGuard
from issuer.register import purges as purges_module
from issuer.register.database import Database
from issuer.register.purges import PurgeEntry, Purges
from issuer.register.scans import Scans
from issuer.register.suspects import NewSuspect, Suspects
from tests.issuer.archive.passages import NOW, NOW_MS, passage, rows

DAY_S = 86_400


class Purging:
    """A purge whose clocks are moved by hand."""

    def __init__(self, database: Database, retention_days: int = 28) -> None:
        self.database = database
        self.purges = Purges(database=database)
        self.now = float(NOW)
        self.is_working = True
        self.monotonic = 1_000.0
        self.purge = self.restarted(retention_days)

    def restarted(self, retention_days: int = 28) -> DailyPurge:
        guard = ClockGuard(monotonic=lambda: self.monotonic, last_recorded_at=lambda: None)
        self.purge = DailyPurge(
            purges=self.purges,
            scans=Scans(database=self.database),
            retention_days=retention_days,
            clock=lambda: self.now,
            monotonic=lambda: self.monotonic,
            clock_guard=guard,
            is_working=lambda: self.is_working,
        )
        return self.purge

    def enter(self, *days_ago: float) -> None:
        scans = [passage(verified_at_ms=NOW_MS - int(days * DAY_S * 1_000)) for days in days_ago]
        Scans(database=self.database).store(rows(*scans))

    def suspect(self, days_ago: int) -> None:
        at_ms = NOW_MS - days_ago * DAY_S * 1_000
        one = NewSuspect(bytes([days_ago]), 7, 1, b"north", at_ms, b"south", at_ms)
        assert Suspects(database=self.database).add([one])

    def step(self, times: int = 1, *, after_s: float = 0) -> None:
        self.now += after_s
        self.monotonic += after_s
        for _ in range(times):
            self.purge.step()

    def left(self) -> int:
        return len(Scans(database=self.database).page(page_size=100)[0])

    def reports(self) -> Sequence[PurgeEntry]:
        return self.purges.page(page_size=100, before_seq=0)[0]


@pytest.fixture
def purging(sqlite_database: Database) -> Purging:
    return Purging(sqlite_database)


def test_what_is_older_than_the_retention_goes_with_its_suspects(database: Database) -> None:
    purging = Purging(database)
    purging.enter(0, 27, 28, 28.001, 40)
    purging.suspect(27)
    purging.suspect(29)
    purging.step()
    assert purging.left() == 3
    (report,) = purging.reports()
    assert (report.scans, report.suspects, report.is_done) == (2, 1, True)
    assert (report.purged_at, report.before_ms) == (NOW, NOW_MS - 28 * DAY_S * 1_000)
    assert (report.retention_days, report.is_daily) == (28, True)


def test_it_is_done_once_a_day(purging: Purging) -> None:
    purging.step(3)
    purging.step(3, after_s=DAY_S - 1)
    assert len(purging.reports()) == 1
    purging.step(3, after_s=61)
    assert len(purging.reports()) == 2


def test_a_slice_is_short_and_the_next_goes_on(purging: Purging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purges_module, "SLICE_ROWS", 2)
    purging.enter(0, *[30] * 5)
    purging.step()
    assert (purging.left(), purging.reports()[0].scans) == (4, 2)
    purging.restarted()  # the report says how far it came, and it goes on
    purging.step(2)
    assert purging.left() == 1
    (report,) = purging.reports()
    assert (report.scans, report.is_done) == (5, True)


def test_another_retention_holds_at_once(purging: Purging) -> None:
    purging.enter(0, 10)
    purging.step()
    purging.restarted(retention_days=7)
    purging.step()
    assert purging.left() == 1
    assert [report.retention_days for report in purging.reports()] == [7, 28]


def test_an_archive_that_stands_by_removes_nothing(purging: Purging) -> None:
    purging.enter(0, 10)
    purging.restarted(retention_days=7)
    purging.is_working = False
    purging.step(after_s=DAY_S)
    assert (purging.left(), purging.reports()) == (2, [])
    purging.is_working = True
    purging.step()
    assert purging.left() == 1


def test_archives_that_take_turns_with_two_retentions_purge_once_each(purging: Purging) -> None:
    purges = [purging.purge, purging.restarted(retention_days=7)]
    for _ in range(5):
        for purging.purge in purges:
            purging.step(after_s=61)
    assert [report.retention_days for report in purging.reports()] == [7, 28]


def test_a_clock_that_is_wrong_and_steady_removes_what_is_old_beside_the_newest_scan(
    purging: Purging,
) -> None:
    purging.enter(*range(30))
    purging.now += 60 * DAY_S
    purging.step()
    assert purging.left() == 28
    (report,) = purging.reports()
    assert report.before_ms == NOW_MS - 27 * DAY_S * 1_000
    purging.now -= 60 * DAY_S  # set right
    purging.restarted()
    purging.step()
    assert len(purging.reports()) == 2  # that report of the future holds up none


def test_a_clock_that_leaps_removes_nothing(purging: Purging) -> None:
    purging.enter(1)
    purging.step()
    purging.now += 365 * DAY_S
    purging.step(after_s=STEADY_S - 1)
    assert purging.left() == 1
    purging.now -= 365 * DAY_S
    purging.step(after_s=STEADY_S + 1)
    assert purging.left() == 1


def test_a_purge_by_hand_is_no_daily_one(purging: Purging) -> None:
    purging.enter(3, 1)
    counted = purging.purges.count(retention_days=2, now=NOW)
    assert (counted.seq, counted.scans) == (0, 1)
    assert purging.reports() == []
    *_, purge = purging.purges.run(retention_days=2, now=NOW)
    assert (purge.scans, purge.is_daily, purge.is_done) == (1, False, True)
    assert purging.purges.last_daily() is None


def test_reports_come_in_pages(purging: Purging) -> None:
    for number in range(3):
        list(purging.purges.run(retention_days=1, now=NOW + number))
    page, has_more = purging.purges.page(page_size=2, before_seq=0)
    assert ([one.seq for one in page], has_more) == ([3, 2], True)
    rest: Any = purging.purges.page(page_size=2, before_seq=2)
    assert ([one.seq for one in rest[0]], rest[1]) == ([1], False)
