"""What becomes of an arrival, by a clock that is moved by hand; and what the user may ask for."""

import os
import select
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import configargparse  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.corpus_file import Scan
from loadtest.crowd import command
from loadtest.crowd.acts import carry_out_all
from loadtest.crowd.arrival import Arrival, groups
from loadtest.crowd.bound import Bound
from loadtest.crowd.clock import steady_clock
from loadtest.crowd.options import LoadOptions, OptionError, add_options, read_options, require_room
from loadtest.crowd.report import Report
from loadtest.crowd.tally import Tally
from loadtest.crowd.verdicts import Verdicts, WrongAnswer
from loadtest.recording import DoneAct, Second, WrongVerdict
from loadtest.scenario import Act
from loadtest.scenarios import SCENARIOS
from verifier.verdict import Verdict

SCAN = Scan(b"GL1:1", Verdict.GREEN, "green")
BEGIN = 1_000.0
PATIENCE_S = 5.0


class Sent:
    """Where scans go; nothing ever comes back by itself."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.left = 0

    def send(self, arrivals: Sequence[Arrival]) -> None:
        self.ids += [arrival.scan_id for arrival in arrivals]

    def leave(self, count: int) -> None:
        self.left += count


class Street:
    """A bound of two, and a clock."""

    def __init__(self, most: int = 2) -> None:
        self.now = BEGIN
        self.tally = Tally()
        self.sent = Sent()
        self.bound = Bound(most=most, patience_s=PATIENCE_S, tally=self.tally, now=lambda: self.now)

    def arrive(self, *due: float, wanted_at: float | None = None) -> None:
        arrivals = [Arrival(at, f"{at:g}", SCAN, self.sent) for at in due]
        self.bound.arrive(arrivals, due[0] if wanted_at is None else wanted_at)

    def answer(self, due: float) -> None:
        self.tally.answered(due, SCAN, self.now, "GREEN", is_right=True)
        self.tally.ended(1)
        self.bound.advance()

    def second(self, at: float = BEGIN) -> Second:
        return self.tally.take().get(int(at), Second())


def test_an_arrival_is_sent_when_it_is_due() -> None:
    street = Street()
    street.arrive(BEGIN)
    second = street.second()
    assert (second.due, second.sent, second.late, second.held) == (1, 1, 0, 0)
    assert second.in_flight == 1


@pytest.mark.parametrize(("behind_s", "late"), [(0.04, 0), (0.06, 1)])
def test_an_arrival_is_late_when_it_is_sent_long_after_it_had_to_be(behind_s: float, late: int) -> None:
    street = Street()
    street.now += behind_s
    street.arrive(BEGIN)
    second = street.second()
    assert (second.sent, second.late) == (1, late)


@pytest.mark.parametrize(("behind_s", "missed"), [(4.9, 0), (5.1, 1)])
def test_an_arrival_is_missed_when_nobody_would_have_waited_so_long(behind_s: float, missed: int) -> None:
    street = Street()
    street.now += behind_s
    street.arrive(BEGIN)
    assert street.tally.under_way == 1 - missed
    assert street.sent.left == missed
    taken = street.tally.take()
    assert taken[int(BEGIN)].missed == taken[int(BEGIN)].honest.count == missed
    assert sum(second.sent for second in taken.values()) == 1 - missed


def test_what_a_hub_collects_is_not_late_while_it_collects() -> None:
    street = Street()
    street.now += 0.5
    street.arrive(BEGIN, BEGIN + 0.1, wanted_at=BEGIN + 0.5)
    second = street.second()
    assert (second.sent, second.late) == (2, 0)


def test_who_finds_the_bound_reached_is_held_and_sent_in_turn() -> None:
    street = Street()
    street.arrive(BEGIN, BEGIN + 0.001, BEGIN + 0.002, BEGIN + 0.003)
    street.now += 1
    street.arrive(BEGIN + 1)
    assert street.sent.ids == ["1000", "1000"]
    street.answer(BEGIN)
    assert street.sent.ids == ["1000", "1000", "1000"]
    assert street.bound.waiting == 2
    taken = street.tally.take()
    assert (taken[1000].held, taken[1001].held) == (2, 1)
    assert taken[1000].late == taken[1001].late == 0


def test_who_has_waited_too_long_in_line_was_missed_by_the_server() -> None:
    street = Street()
    street.arrive(BEGIN, BEGIN, BEGIN)
    street.now += PATIENCE_S - 0.1
    street.bound.advance()
    assert street.bound.waiting == 1
    street.now += 0.2
    street.bound.advance()
    assert street.bound.waiting == 0
    second = street.second()
    assert second.missed_by_server == street.sent.left == 1
    # Those who were never sent stood there as well.
    assert second.honest.max_ms == pytest.approx(5_100, rel=0.001)


def test_nobody_is_waited_for_whom_a_stopped_run_leaves_in_line() -> None:
    street = Street()
    street.arrive(BEGIN, BEGIN, BEGIN)
    street.bound.clear()
    assert (street.sent.left, street.bound.waiting) == (1, 0)


def test_latency_counts_in_the_second_in_which_a_scan_was_due() -> None:
    street = Street()
    street.arrive(BEGIN)
    street.now += 7
    street.answer(BEGIN)
    taken = street.tally.take()
    assert taken[1000].honest.max_ms == pytest.approx(7_000, rel=0.001)
    assert taken[1007].right == 1
    assert not taken[1007].honest


def test_a_scan_without_a_verdict_waited_all_the_same() -> None:
    street = Street()
    street.arrive(BEGIN)
    street.tally.failed(BEGIN, SCAN, BEGIN + 5)
    second = street.second()
    assert second.honest.max_ms == pytest.approx(5_000, rel=0.001)


def test_parts_of_a_second_add_up_to_it() -> None:
    street = Street()
    street.arrive(BEGIN)
    street.now += 2
    street.tally.pass_time(street.now, 0.5)
    first = street.tally.take(street.now)
    assert list(first) == [1000]
    street.answer(BEGIN)
    rest = street.tally.take()
    first[1000].add(rest[1000])
    assert (first[1000].due, first[1000].in_flight, first[1000].honest.count) == (1, 1, 1)
    assert rest[1002].generator_cpu_s == 0.5
    assert rest[1002].in_flight == 1


@given(
    st.lists(st.floats(0, 10), max_size=40).map(sorted),
    st.sampled_from([0.0, 0.02, 1.0]),
    st.integers(1, 5),
)
def test_groups_have_everybody_and_nobody_waits_longer_than_the_hub_lingers(
    due: list[float], linger_s: float, most: int
) -> None:
    found = list(groups(due, linger_s=linger_s, most=most))
    assert [at for _, group in found for at in group] == due
    for sent_at, group in found:
        assert 1 <= len(group) <= most
        assert group[-1] <= sent_at <= group[0] + linger_s
    assert [sent_at for sent_at, _ in found] == sorted(sent_at for sent_at, _ in found)


def test_an_answer_to_another_scan_is_wrong_whatever_it_says() -> None:
    tally = Tally()
    verdicts = Verdicts(tally)
    arrival = Arrival(BEGIN, "mine", SCAN, Sent())
    tally.sent(BEGIN, 3)
    assert verdicts.answered(arrival, BEGIN, "mine", Verdict.GREEN) is None
    failure = verdicts.answered(arrival, BEGIN, "yours", Verdict.GREEN)
    assert isinstance(failure, WrongAnswer)
    assert verdicts.answered(arrival, BEGIN, "mine", 99) is not failure
    assert [one.got for one in tally.take_wrong()] == ["GREEN of another scan", "99"]
    assert tally.take()[1000].wrong == 2


def test_a_report_is_carried_as_plain_values() -> None:
    wrong = WrongVerdict("a-1", "green", "GREEN", "RED")
    report = Report("run", 1, {5: Second(due=2)}, [wrong], ["why"], 3, 1.5, 0.25, is_last=True)
    back = Report.from_json(report.to_json())
    assert back == report


def test_a_clock_that_is_set_moves_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = steady_clock()
    before = now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert before <= now() < before + 60


def given_options(*arguments: str, **changed: Any) -> LoadOptions:
    # The class of which Locust's is one: importing Locust would have gevent patch the tests.
    parser = configargparse.ArgumentParser()
    add_options(parser)
    parsed = parser.parse_args(["--corpus", "corpus.bin", *arguments], env_vars={})
    return read_options(Namespace(**{**vars(parsed), **changed}), "10.0.0.1:1,10.0.0.2:1")


def test_the_scenario_says_what_the_user_does_not() -> None:
    options = given_options()
    assert options.scenario == SCENARIOS["steady"]
    assert options.addresses == ["10.0.0.1:1", "10.0.0.2:1"]
    assert options.corpus == Path("corpus.bin")


def test_the_user_has_the_last_word() -> None:
    options = given_options(
        *("--people-a-minute", "600", "--duration", "5", "--sites", "2", "--attempts", "3"),
        *("--threshold", "failed=7", "--threshold", "per_s=9"),
    )
    assert options.per_site_s == 5
    assert (options.scenario.duration_s, options.patience_s) == (5, 15)
    thresholds = {one.measure: one for one in options.scenario.thresholds}
    assert thresholds["failed"].limit == 7
    assert thresholds["per_s"].is_floor
    assert thresholds["wrong"].limit == 0


def test_what_the_web_ui_leaves_empty_is_not_given() -> None:
    options = given_options(people_a_minute="", sites="", duration="7", threshold=None)
    assert options.scenario.sites == SCENARIOS["steady"].sites
    assert options.scenario.duration_s == 7


def test_sites_open_as_the_scenario_has_it() -> None:
    options = given_options("--scenario", "mass-test", "--duration", "100", "--sites", "200")
    assert (options.open_sites(0), options.open_sites(19), options.open_sites(21)) == (10, 10, 200)


def test_a_site_is_begun_ahead_and_opens_at_its_moment() -> None:
    options = given_options("--scenario", "mass-test", "--duration", "100", "--sites", "200")
    assert [options.begun_sites(at_s) for at_s in (-1.0, 18, 19, 50)] == [10, 10, 200, 200]
    assert [options.site_opens_s(at_s) for at_s in (-1.0, 0.2, 19, 20.5, 24)] == [0, 0, 20, 20, 20]


def test_a_site_in_the_place_of_a_lost_one_does_not_make_up_for_it() -> None:
    options = given_options("--scenario", "mass-test", "--duration", "100", "--sites", "200")
    assert options.site_opens_s(60) == 60


def test_what_is_planned_is_what_sites_are_open_for() -> None:
    crowd = ("--people-a-minute", "6000", "--duration", "60")
    assert given_options(*crowd).planned() == pytest.approx(6_000)
    assert given_options(*crowd, "--scenario", "mass-test").planned() == pytest.approx(6_000 * 0.81)
    monday = given_options(*crowd, "--scenario", "monday-0830")
    assert monday.planned() == pytest.approx(6_000 * monday.profile.area())


def test_closed_arrivals_that_would_wait_for_each_other_are_refused() -> None:
    options = given_options("--arrivals", "closed", "--flavour", "batch", "--sites", "40")
    require_room(options, 2)
    with pytest.raises(OptionError, match="4000 scans at once"):
        require_room(options, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--people-a-minute", "many"), "--people-a-minute is a number, not 'many'"),
        (("--duration", "0"), "--duration is 1 or more, not 0"),
        (("--batch-size", "1001"), "--batch-size is 1 to 1000, not 1001"),
        (("--threshold", "failed"), "--threshold is NAME=NUMBER, not 'failed'"),
        (("--threshold", "luck=1"), "no measure is called 'luck'"),
        (("--scenario", "dependency-down"), "dependency-down needs a hand on the servers"),
        (("--hand", "it's"), "--hand is a command: No closing quotation"),
        (("--profile-csv", "/nowhere.csv"), "--profile-csv: /nowhere.csv: No such file"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(arguments: Sequence[str], message: str) -> None:
    with pytest.raises(OptionError, match="^.*" + message.replace(".", r"\.")):
        given_options(*arguments)


@pytest.mark.parametrize(
    ("hand", "problem"),
    [
        ("true", ""),
        ("false", "exit code 1"),
        ("sh -c 'echo begun; echo no such server >&2; exit 3'", "no such server"),
        ("/nowhere/hand", "not found"),
    ],
)
def test_an_act_is_done_by_the_users_command_or_says_why_not(hand: str, problem: str) -> None:
    acts: list[DoneAct] = []
    carry_out_all(
        [Act(0.0, "freeze-redis")],
        began_at=BEGIN,
        duration_s=10,
        hand=hand,
        now=lambda: BEGIN,
        done=acts.append,
    )
    assert [act.name for act in acts] == ["freeze-redis"]
    assert acts[0].problem == problem if problem in ("", "exit code 1") else problem in acts[0].problem


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    assert command.run(["sh", "-c", "cat /dev/zero > /dev/null; exit 0"], 0) is None
    os.close(writer)
    # The pipe ends when nobody has its other end any more.
    ended, _, _ = select.select([reader], [], [], 10)
    os.close(reader)
    assert ended


def test_the_most_sites_are_those_of_the_fullest_moment() -> None:
    assert given_options("--scenario", "mass-test", "--sites", "200").most_sites == 200
    assert given_options("--sites", "3").most_sites == 3


def test_that_the_crowd_changes_its_key_is_no_hands_business() -> None:
    acts: list[DoneAct] = []
    carry_out_all(
        [Act(0.0, "crowd-changes-key")],
        began_at=BEGIN,
        duration_s=10,
        hand="",
        now=lambda: BEGIN,
        done=acts.append,
    )
    assert [act.problem for act in acts] == [""]
