"""A run in slots: nothing is lost, and rates are over the time that a slot has."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from loadtest.recording import Recording, Second, ServerSample
from loadtest.report.timeline import Timeline
from tests.loadtest.recordings import BEGAN_AT, day, empty, monday, one_second, plan, second


def test_every_scan_of_a_day_is_in_one_of_some_hundred_slots() -> None:
    recording = day()
    timeline = Timeline.of(recording)
    assert 200 < len(timeline.slots) <= 600
    assert timeline.total.due == sum(slot.total.due for slot in timeline.slots) == 50 * 1_440
    assert timeline.total.honest.count == sum(one.honest.count for one in recording.seconds.values())


def test_a_short_run_has_a_slot_for_each_second() -> None:
    timeline = Timeline.of(monday())
    assert [slot.total.due for slot in timeline.slots[1:18]] == [200] * 17
    assert [slot.begins_s for slot in timeline.slots[:3]] == pytest.approx([0, 0.6, 1.6])


def test_the_total_is_that_of_the_recording() -> None:
    recording = monday()
    ours, theirs = Timeline.of(recording).total, recording.total()
    assert ours.to_json() == theirs.to_json()


def test_a_sliver_of_a_second_at_an_end_is_drawn_with_its_neighbour() -> None:
    recording = Recording(plan(3.0), BEGAN_AT + 0.5)
    rng = random.Random(1)
    dues = {0: 10, 1: 100, 2: 100, 3: 90}
    recording.seconds = {int(BEGAN_AT) + at: second(due, rng=rng) for at, due in dues.items()}
    slots = Timeline.of(recording).slots
    rates = [slot.total.due / slot.lasts_s for slot in slots]
    assert rates == pytest.approx([100.0] * 3)


def test_what_comes_back_after_the_end_has_slots_of_its_own() -> None:
    recording = one_second()
    recording.seconds[int(BEGAN_AT) + 4] = Second(right=7)
    slots = Timeline.of(recording).slots
    assert [slot.total.right for slot in slots] == [100, 0, 0, 0, 7]
    assert slots[-1].lasts_s == 1.0


def test_what_was_before_the_beginning_is_counted_but_not_drawn() -> None:
    recording = one_second()
    recording.seconds[int(BEGAN_AT) - 2] = Second(generator_cpu_s=0.5)
    timeline = Timeline.of(recording)
    assert [slot.begins_s for slot in timeline.slots] == [0.0]
    assert timeline.total.generator_cpu_s == pytest.approx(0.5 + 0.01)


def test_scans_under_way_do_not_add_up_over_seconds() -> None:
    recording = Recording(plan(86_400.0), BEGAN_AT)
    recording.seconds = {int(BEGAN_AT) + at: Second(due=1, in_flight=5) for at in (0, 1, 2, 86_399)}
    assert max(slot.total.in_flight for slot in Timeline.of(recording).slots) == 5


def test_an_empty_run_has_no_slots() -> None:
    timeline = Timeline.of(empty())
    assert (list(timeline.slots), dict(timeline.servers)) == ([], {})


def served(*samples: tuple[float, float], pids: Sequence[int] = ()) -> Recording:
    """Return a run with a server seen at some seconds, with so much CPU time each."""
    recording = Recording(plan(), BEGAN_AT)
    recording.servers = [
        ServerSample("redis", BEGAN_AT + at, cpu_s, 25.0, 20, pid)
        for (at, cpu_s), pid in zip(samples, pids or [7] * len(samples), strict=True)
    ]
    return recording


def test_cores_are_cpu_time_between_two_looks_at_a_server() -> None:
    points = Timeline.of(served((0, 7.0), (1, 7.5), (2, 8.5))).servers["redis"]
    assert [point.cores for point in points] == [None, pytest.approx(0.5), pytest.approx(1.0)]


def test_a_server_that_was_started_anew_counts_from_zero() -> None:
    samples = ((0, 7.0), (1, 7.5), (2, 0.25), (3, 0.5))
    points = Timeline.of(served(*samples, pids=(7, 7, 8, 8))).servers["redis"]
    assert [point.cores for point in points][1:] == pytest.approx([0.5, 0.25, 0.25])
    # Also where it has used more already.
    points = Timeline.of(served((0, 0.1), (1, 0.5), pids=(7, 8))).servers["redis"]
    assert points[-1].cores == pytest.approx(0.5)


def test_a_process_that_is_missed_for_a_moment_is_drawn_neither_as_a_restart_nor_as_work() -> None:
    points = Timeline.of(served((0, 700.0), (1, 700.5), (2, 90.0), (3, 701.0), (4, 701.5))).servers["redis"]
    assert [point.cores for point in points][1:] == pytest.approx([0.5, 0.0, 0.5, 0.5])


def test_a_process_that_ended_for_good_takes_its_time_with_it() -> None:
    points = Timeline.of(served((0, 700.0), (1, 700.5), (2, 90.0), (3, 90.5), (4, 91.0))).servers["redis"]
    assert [point.cores for point in points][1:] == pytest.approx([0.5, 0.0, 0.0, 0.5])


def test_a_server_that_was_gone_leaves_a_gap() -> None:
    samples = ((0, 7.0), (1, 7.5), (9, 0.25), (10, 0.5))
    points = Timeline.of(served(*samples, pids=(7, 7, 8, 8))).servers["redis"]
    assert [point.memory_mib for point in points] == [25.0, 25.0, None, 25.0, 25.0]
    assert [point.cores for point in points][2:] == [None, None, pytest.approx(0.25)]


def test_verdicts_and_errors_add_up_over_a_slot() -> None:
    recording = Recording(plan(86_400.0), BEGAN_AT - 0.4)
    one = Second(due=1, verdicts=Counter(GREEN=1), errors=Counter(UNAVAILABLE=2))
    recording.seconds = {int(BEGAN_AT) + at: one for at in range(0, 86_400, 60)}
    assert Timeline.of(recording).total.verdicts == Counter(GREEN=1_440)
    assert Timeline.of(recording).total.errors == Counter(UNAVAILABLE=2_880)
