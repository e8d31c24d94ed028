"""What the master makes of reports, by a clock that is moved by hand: when a run proves nothing."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import configargparse  # type: ignore[import-untyped]
import pytest

from loadtest.crowd.control import MISSED, PROVES_NOTHING, RIGHT, Control
from loadtest.crowd.options import add_options, read_options
from loadtest.crowd.report import Report
from loadtest.recording import DoneAct, Recording, Second

BEGIN = 1_000.0
# 100 a second for ten seconds.
CROWD = ("--people-a-minute", "6000", "--duration", "10")
DUE = 1_000


class Master:
    """A run with one generator."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.now = BEGIN
        self._folder = folder
        parser = configargparse.ArgumentParser()
        add_options(parser)
        arguments = ("--corpus", "corpus.bin", "--results", str(folder), *CROWD, *options)
        parsed: Namespace = parser.parse_args(arguments, env_vars={})
        self.control = Control(read_options(parsed, "127.0.0.1:1"), ["one"], lambda: self.now)
        self._number = 0
        self.sites = self.control.options.scenario.sites

    def take(self, *, is_last: bool = False, is_lost: bool = False, **counts: Any) -> None:
        self._number += 1
        second = Second(**counts)
        second.honest.record(0.01, second.due)
        report = Report(
            self.control.name, self._number, {1001: second}, [], [], self.sites, 0, 0, is_last=is_last
        )
        if not is_lost:
            self.control.take("one", report)

    def finish(self, *, after_s: float = 10.5) -> tuple[int, Sequence[str]]:
        """Return the exit code, and the problems that were written."""
        self.now = self.control.began_at + after_s
        return self.control.finish([]), Recording.read(self._folder).problems


@pytest.fixture
def master(tmp_path: Path) -> Master:
    return Master(tmp_path)


def test_a_run_in_which_all_is_well_is_right(master: Master) -> None:
    master.take(due=DUE, sent=DUE, right=DUE, is_last=True)
    assert master.finish() == (RIGHT, [])


def test_problems_are_written(master: Master) -> None:
    master.take(due=DUE, sent=DUE, right=DUE)
    assert master.finish() == (PROVES_NOTHING, ["generator-1 did not report its end"])


@pytest.mark.parametrize("after_s", [9.0, 10.5])
def test_who_was_still_under_way_when_a_run_was_stopped_is_missed(master: Master, after_s: float) -> None:
    master.take(due=DUE, sent=DUE, right=DUE - 36, is_last=True)
    exit_code, problems = master.finish(after_s=after_s)
    assert exit_code == PROVES_NOTHING
    assert "of 1,000 scans that were due, 964 came to an end" in problems


@pytest.mark.parametrize(("missed", "proves"), [(10, True), (11, False)])
def test_scans_that_the_generator_could_not_send_make_a_run_prove_nothing(
    master: Master, missed: int, proves: bool
) -> None:
    right = DUE - missed
    master.take(due=DUE, sent=right, right=right, missed=missed, is_last=True)
    _, problems = master.finish()
    expected = [] if proves else [f"the generators could not send {missed} of 1,000 scans"]
    assert problems == expected


def test_what_the_server_kept_away_or_was_sent_late_was_seen(master: Master) -> None:
    half = DUE // 2
    master.take(due=DUE, sent=half, right=half, late=half, missed_by_server=half, is_last=True)
    assert master.finish() == (MISSED, [])


@pytest.mark.parametrize("arrivals", ["poisson", "closed"])
def test_a_site_that_never_opened_is_noticed(tmp_path: Path, arrivals: str) -> None:
    master = Master(tmp_path, "--arrivals", arrivals)
    master.sites -= 1
    master.take(due=DUE, sent=DUE, right=DUE, is_last=True)
    assert master.finish() == (PROVES_NOTHING, ["15 of 16 sites were opened"])


def test_sites_that_would_have_opened_after_a_run_was_stopped_are_not_missed(tmp_path: Path) -> None:
    master = Master(tmp_path, "--scenario", "mass-test")
    master.sites = 20
    master.take(due=50, sent=50, right=50, is_last=True)
    assert master.finish(after_s=1.0) == (PROVES_NOTHING, ["the run was stopped after 1 of 10 s"])


# Four deviations are 126, and one in a hundred are ten.
@pytest.mark.parametrize(("due", "proves"), [(864, True), (863, False), (1_136, True), (1_137, False)])
def test_who_should_have_come_and_did_not_is_noticed(master: Master, due: int, proves: bool) -> None:
    master.take(due=due, sent=due, right=due, is_last=True)
    _, problems = master.finish()
    assert problems == ([] if proves else [f"{due:,} scans were due, where 1,000 were planned"])


def test_closed_arrivals_have_no_plan(tmp_path: Path) -> None:
    master = Master(tmp_path, "--arrivals", "closed")
    master.take(due=9_000, sent=9_000, right=9_000, is_last=True)
    assert master.finish()[1] == []


def test_a_report_that_got_lost_is_noticed(master: Master) -> None:
    master.take(due=20, sent=20, right=20, is_lost=True)
    master.take(due=DUE, sent=DUE, right=DUE, is_last=True)
    assert master.finish() == (PROVES_NOTHING, ["1 reports of generator-1 got lost"])


@pytest.mark.parametrize(
    ("after_s", "asked"), [(1.0, []), (2.0, ["thaw-redis"]), (6.0, ["thaw-redis", "start-redis"])]
)
def test_a_stopped_run_leaves_no_server_frozen_or_dead(
    tmp_path: Path, after_s: float, asked: Sequence[str]
) -> None:
    said = tmp_path / "said"
    hand = f"""sh -c 'echo "$0" >> {said}'"""
    master = Master(tmp_path, "--scenario", "dependency-down", "--hand", hand)
    master.take(due=5, sent=5, right=5, is_last=True)
    _, problems = master.finish(after_s=after_s)
    assert (said.read_text().split() if said.exists() else []) == asked
    assert "4 of 4 acts were not done" in problems


def test_what_could_not_be_put_right_during_the_run_is_tried_again_at_its_end(tmp_path: Path) -> None:
    said = tmp_path / "said"
    hand = f"""sh -c 'echo "$0" >> {said}'"""
    master = Master(tmp_path, "--scenario", "dependency-down", "--hand", hand)
    master.take(due=DUE, sent=DUE, right=DUE, is_last=True)
    for act in master.control.options.scenario.acts:
        problem = "no answer within 20 s" if act.name == "thaw-redis" else ""
        master.control.recording.acts.append(DoneAct(act.name, BEGIN, 0.1, problem))
    assert master.finish() == (PROVES_NOTHING, ["thaw-redis could not be done: no answer within 20 s"])
    assert said.read_text().split() == ["thaw-redis"]
