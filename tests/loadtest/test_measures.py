"""Measures of a recording, thresholds, and who was the limit."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from loadtest.measures import UnknownMeasure, judge, limited_by, measure, names, threshold, unpushed, unseen
from loadtest.recording import Ceiling, DoneAct, Generator, Plan, Recording, Second, ServerSample
from loadtest.scenario import Threshold
from loadtest.scenarios import SCENARIOS

BEGAN_AT = 1_700_000_000


def plan(*, per_s: float = 100, arrivals: str = "even") -> Plan:
    return Plan(
        scenario="steady",
        about="",
        people_a_minute=per_s * 60,
        duration_s=20,
        flavour="unary",
        arrivals=arrivals,
        sites=4,
        max_in_flight=50,
        deadline_s=1,
        attempts=1,
    )


def recording_of(seconds: Iterable[Second], *, per_s: float = 100, arrivals: str = "even") -> Recording:
    recording = Recording(plan(per_s=per_s, arrivals=arrivals), float(BEGAN_AT))
    for at, second in enumerate(seconds, BEGAN_AT):
        recording.add_second(at, second)
    return recording


def good(due: int = 100, *, right: int | None = None, honest_s: float = 0.005) -> Second:
    second = Second(due=due, sent=due, right=due if right is None else right, generator_cpu_s=0.4)
    second.honest.record(honest_s, due)
    return second


def acted(recording: Recording, *at_s: float) -> Recording:
    recording.acts = [DoneAct("freeze-verifier", BEGAN_AT + at, 0.0) for at in at_s]
    return recording


def test_every_measure_has_a_line_and_is_none_for_a_run_in_which_nothing_was_due() -> None:
    nothing = Recording(plan(), 0.0)

    for name, about in names().items():
        assert about
        assert "\n" not in about
        assert measure(nothing, name) is None


def test_every_measure_is_taken_of_a_whole_run() -> None:
    recording = acted(recording_of(good() for _ in range(20)), 5, 10)
    recording.servers = [ServerSample("verifier-1", BEGAN_AT + n, n, 90, 40) for n in range(20)]
    recording.seconds[BEGAN_AT].hostile.record(0.01)

    assert not [name for name in names() if measure(recording, name) is None]


def test_every_threshold_of_our_scenarios_is_on_a_measure_in_its_direction() -> None:
    for scenario in SCENARIOS.values():
        for one in scenario.thresholds:
            assert threshold(one.measure, one.limit) == one


def test_an_unknown_measure_names_those_that_there_are() -> None:
    with pytest.raises(UnknownMeasure, match=r"'p99'.*honest_p99_ms"):
        measure(Recording(plan(), 0.0), "p99")
    with pytest.raises(UnknownMeasure):
        judge(Recording(plan(), 0.0), [Threshold("p99", 1)])
    with pytest.raises(UnknownMeasure):
        threshold("p99", 1)


def test_counts_and_shares_are_of_what_was_due() -> None:
    recording = recording_of(
        [
            Second(
                due=100,
                sent=90,
                right=80,
                wrong=1,
                failed=9,
                late=5,
                missed=4,
                missed_by_server=6,
                retries=20,
            )
        ]
    )

    assert measure(recording, "wrong") == 1
    assert measure(recording, "missed_by_server") == 6
    assert measure(recording, "right_share") == pytest.approx(0.8)
    assert measure(recording, "failed_share") == pytest.approx(0.09)
    assert measure(recording, "late_share") == pytest.approx(0.05)
    assert measure(recording, "retries_share") == pytest.approx(0.2)


def test_a_server_that_never_answered_gave_no_verdict_that_could_be_wrong() -> None:
    recording = recording_of([Second(due=100, sent=100, failed=100)])

    assert measure(recording, "wrong") is None
    assert not judge(recording, [Threshold("wrong", 0)])[0].is_met


@pytest.mark.parametrize(("due", "is_peak"), [(89, False), (90, True), (110, True)])
def test_the_peak_is_where_nine_tenths_of_the_rate_were_due(due: int, is_peak: bool) -> None:
    recording = recording_of([good(20), good(due), good(20)])

    assert measure(recording, "per_s") == (due if is_peak else None)


def test_the_peak_has_its_poorer_seconds_as_well() -> None:
    # As a few people come by chance, ten a second in the mean.
    recording = recording_of([good(one) for one in (2, 10, 7, 13, 5, 15, 10, 3)], per_s=10)
    assert measure(recording, "per_s") == 10

    del recording.seconds[BEGAN_AT + 4]
    assert measure(recording, "per_s") == pytest.approx(55 / 6)


def test_a_sustained_rate_is_of_seconds_that_follow_upon_each_other() -> None:
    recording = recording_of([*(good() for _ in range(9)), *(good(80) for _ in range(9)), good()])

    assert measure(recording, "sustained_per_s") == pytest.approx((9 * 80 + 100) / 10)


def test_the_rate_that_was_sustained_is_that_of_the_worst_ten_seconds() -> None:
    recording = recording_of(
        [*(good(right=100) for _ in range(10)), *(good(right=50) for _ in range(10)), good(right=100)]
    )

    assert measure(recording, "per_s") == pytest.approx((11 * 100 + 10 * 50) / 21)
    assert measure(recording, "sustained_per_s") == 50


def test_closed_arrivals_are_at_their_peak_in_every_whole_second() -> None:
    recording = recording_of([good(3), good(80), good(40), good(1)], arrivals="closed")

    assert measure(recording, "per_s") == 60


def test_the_worst_second_is_a_whole_one_with_enough_people() -> None:
    recording = recording_of(
        [good(right=0), good(right=70), good(5, right=0), good(right=130), good(right=99), good(right=0)]
    )
    recording.add_second(BEGAN_AT + 6, Second(right=100))

    assert measure(recording, "worst_second_right_share") == pytest.approx(0.7)


def test_latencies_are_measured_for_each_class_and_around_the_acts() -> None:
    recording = recording_of(good(honest_s=wait) for wait in (0.001, 0.002, 0.4, 0.9, 0.004))
    acted(recording, 3.7, 2.2)

    assert measure(recording, "honest_p99_before_acts_ms") == pytest.approx(2)
    assert measure(recording, "honest_p99_during_acts_ms") == pytest.approx(900, rel=0.001)
    assert measure(recording, "honest_p99_after_acts_ms") == pytest.approx(4)
    assert measure(recording, "honest_max_ms") == pytest.approx(900, rel=0.001)
    assert measure(recording, "honest_p50_ms") == pytest.approx(4)


@pytest.mark.parametrize(
    ("right", "acted_at", "recovered_s"),
    [
        # Never noticed.
        ([100] * 10, 3.5, 0),
        # At nine tenths again in the second that begins at 6.
        ([100, 100, 100, 0, 0, 88, 89, 400, 100, 100], 3.5, 2.5),
        # A good second or two in between do not count.
        ([100, 100, 100, 0, 100, 100, 0, 100, 100, 100], 3.0, 4),
        # Until the end is enough.
        ([100, 100, 100, 0, 0, 0, 0, 0, 0, 100], 3.0, 6),
        ([100, 100, 100, 0, 0, 0, 0, 0, 0, 88], 3.0, None),
        # Nobody came after the act.
        ([100] * 10, 10.0, None),
    ],
)
def test_recovery_takes_until_goodput_is_back_for_good(
    right: list[int], acted_at: float, recovered_s: float | None
) -> None:
    recording = acted(recording_of(good(right=one) for one in right), 1.0, acted_at)
    # The last second is cut, and what comes back later is no part of the run.
    recording.add_second(BEGAN_AT + 10, good(20, right=0))
    recording.add_second(BEGAN_AT + 11, Second(right=20))

    assert measure(recording, "recovered_s") == (
        recovered_s if recovered_s is None else pytest.approx(recovered_s)
    )


def test_a_second_of_which_nothing_is_known_is_no_recovery() -> None:
    recording = acted(recording_of(good() for _ in range(10)), 3.0)
    del recording.seconds[BEGAN_AT + 4]

    assert measure(recording, "recovered_s") == pytest.approx(2)


def test_without_an_act_there_is_nothing_to_recover_from() -> None:
    recording = recording_of(good() for _ in range(10))

    assert measure(recording, "recovered_s") is None
    assert not judge(recording, [Threshold("recovered_s", 5)])[0].is_met


def samples(
    name: str, memory_mib: list[float], *, every_s: float = 60, pids: str = "", cores: float = 1
) -> list[ServerSample]:
    return [
        ServerSample(
            name, BEGAN_AT + at * every_s, at * every_s * cores, memory, 40 + at, int((pids or "1" * 99)[at])
        )
        for at, memory in enumerate(memory_mib)
    ]


def test_growth_is_a_line_through_what_the_worst_server_held_once_it_was_warm() -> None:
    recording = recording_of([good()])
    # An hour and a half, of which the first half hour is steep.
    warming = [100 + 10 * minute for minute in range(30)] + [400 + minute / 60 for minute in range(61)]
    recording.servers = samples("redis", [50.0] * 91) + samples("verifier-1", warming)

    assert measure(recording, "server_memory_growth_mib") == pytest.approx(1, abs=0.01)
    assert measure(recording, "server_descriptors_growth") == pytest.approx(60)


def test_growth_of_a_verifier_is_told_for_an_hour_and_a_worker() -> None:
    recording = recording_of([good()])
    rising = samples("verifier-1", [90 + n / 30 for n in range(31)])
    recording.servers = samples("redis", [50.0 + n for n in range(31)])
    recording.servers += [replace(one, processes=3, own_mib=one.memory_mib) for one in rising]

    assert measure(recording, "server_memory_mib_an_hour_a_worker") == pytest.approx(1)


def test_what_a_short_run_saw_is_not_stretched_to_an_hour() -> None:
    recording = recording_of([good()])
    recording.servers = samples("redis", [50 + number for number in range(12)], every_s=1)

    assert measure(recording, "server_memory_growth_mib") == pytest.approx(7)


def test_a_server_that_was_started_anew_is_measured_from_then_on() -> None:
    recording = recording_of([good()])
    recording.servers = samples("redis", [10, 10, 10, 90, 90, 90, 90], pids="1112222")

    assert measure(recording, "server_memory_growth_mib") == pytest.approx(0)


def test_two_samples_are_no_line() -> None:
    recording = recording_of([good()])
    recording.servers = samples("redis", [10, 10])

    assert measure(recording, "server_memory_growth_mib") is None
    assert not judge(recording, [Threshold("server_memory_growth_mib", 5)])[0].is_met


@pytest.mark.parametrize(
    ("limit", "is_floor", "is_met"),
    [(100, False, True), (99.9, False, False), (100, True, True), (100.1, True, False)],
)
def test_a_threshold_is_met_at_its_limit(limit: float, is_floor: bool, is_met: bool) -> None:
    recording = recording_of(good() for _ in range(5))

    result = judge(recording, [Threshold("per_s", limit, is_floor)])[0]

    assert (result.value, result.is_met) == (100, is_met)


def test_only_what_nobody_wanted_to_see_is_met_without_a_value() -> None:
    recording = recording_of([good()])
    thresholds = [
        Threshold("hostile_p99_ms", 5),
        Threshold("server_memory_growth_mib", 5),
        Threshold("recovered_s", 5),
        Threshold("worst_second_right_share", 0.5, is_floor=True),
    ]

    results = judge(recording, thresholds)

    assert [one.value for one in results] == [None] * 4
    assert [one.is_met for one in results] == [True, False, False, False]
    # Where nothing was sent, nothing was shown of anybody.
    assert not judge(recording_of([Second(due=5, missed=5)]), thresholds)[0].is_met


def test_servers_that_nobody_watched_are_a_problem_of_who_wants_to_know_their_growth() -> None:
    recording = recording_of([good()])
    thresholds = [Threshold("wrong", 0), Threshold("server_descriptors_growth", 5)]

    assert unseen(recording, thresholds[:1]) == []
    assert unseen(recording, thresholds) == [
        "nobody watched the servers, so nobody knows server_descriptors_growth"
    ]
    recording.servers = samples("redis", [10, 10, 10])
    assert unseen(recording, judge(recording, thresholds)) == []


def a_run() -> Recording:
    recording = recording_of(good() for _ in range(9))
    recording.generators = [Generator("worker-0", 0.3, 2)]
    recording.ceiling = Ceiling(1000, 1)
    return recording


def test_a_run_within_its_limits_has_none() -> None:
    assert limited_by(a_run()) == ""
    assert limited_by(Recording(plan(), 0.0)) == ""


def test_late_arrivals_are_the_generators_fault() -> None:
    recording = a_run()
    recording.seconds[BEGAN_AT].late = 9
    recording.seconds[BEGAN_AT].failed = 80
    assert limited_by(recording).startswith("server: 80 of 900 scans got no verdict")

    recording.seconds[BEGAN_AT].late = 10
    assert limited_by(recording) == "generator: 1.1% of the arrivals were sent late"
    recording.seconds[BEGAN_AT].missed = 90
    assert limited_by(recording).endswith("were sent late, 10.0% of the arrivals could not be sent")


def test_a_busy_generator_is_the_limit() -> None:
    recording = a_run()
    recording.generators.append(Generator("worker-1", 0.95, 2))

    assert limited_by(recording) == "generator: a generator used 0.95 cores"


def test_a_generator_that_stood_still_is_the_limit() -> None:
    recording = a_run()
    recording.generators.append(Generator("worker-1", 0.3, 2, longest_pause_s=0.5))
    assert limited_by(recording) == ""

    recording.generators.append(Generator("worker-2", 0.3, 2, longest_pause_s=0.7))
    assert limited_by(recording) == "generator: a generator stood still for 0.70 s"


def test_of_several_generators_the_busiest_counts_at_the_peak() -> None:
    recording = a_run()
    # All of them used 0.4 cores over the run, and 1.2 at its peak.
    recording.generators = [Generator("worker-0", 0.3, 2), Generator("worker-1", 0.1, 2)]
    for second in recording.seconds.values():
        second.generator_cpu_s = 1.2
    assert limited_by(recording) == ""

    recording.generators[0] = Generator("worker-0", 0.32, 2)
    recording.generators[1] = Generator("worker-1", 0.08, 2)
    assert limited_by(recording) == "generator: a generator used 0.96 cores"


def test_a_machine_that_generators_and_servers_share_is_the_limit() -> None:
    recording = a_run()
    recording.machine = {"cores": "2"}
    # Generators use 0.4 cores.
    recording.servers = samples("redis", [9] * 9, every_s=1, cores=0.3)
    recording.servers += samples("verifier-1", [9] * 9, every_s=1, cores=1.05)
    assert limited_by(recording) == ""

    recording.servers += samples("issuer", [9] * 9, every_s=1, cores=0.05)
    recording.seconds[BEGAN_AT].late = 90
    assert limited_by(recording) == ("machine: generators and servers used 1.80 of its 2 cores at the peak")


def test_a_server_that_was_started_anew_at_the_peak_used_what_both_of_it_used() -> None:
    recording = a_run()
    recording.machine = {"cores": "1"}
    before = samples("redis", [9] * 5, every_s=1, cores=0.8)
    after = samples("redis", [9] * 4, every_s=1, cores=0.8, pids="2222")
    recording.servers = [*before, *(replace(one, at=one.at + 5) for one in after)]

    assert limited_by(recording) == ("machine: generators and servers used 1.10 of its 1 cores at the peak")


def test_a_generator_that_was_busy_at_the_peak_alone_is_the_limit() -> None:
    recording = a_run()
    for second in recording.seconds.values():
        second.generator_cpu_s = 0.97
    for at in range(100, 160):
        recording.add_second(BEGAN_AT + at, good(10))

    assert limited_by(recording) == "generator: a generator used 0.97 cores"


def test_a_ceiling_that_is_near_is_the_limit() -> None:
    recording = a_run()
    recording.ceiling = Ceiling(120, 1)
    assert limited_by(recording) == ""

    recording.ceiling = Ceiling(119, 1)
    assert limited_by(recording).startswith("generator: it reaches 119/s with an empty server")


@pytest.mark.parametrize(
    ("per_s", "late", "missed", "proves"), [(99, 5, 4, True), (99, 6, 4, False), (100, 6, 4, True)]
)
def test_generators_that_cannot_send_what_was_asked_for_prove_nothing(
    per_s: int, late: int, missed: int, proves: bool
) -> None:
    recording = a_run()
    recording.ceiling = Ceiling(per_s, 1)
    recording.seconds[BEGAN_AT].late, recording.seconds[BEGAN_AT].missed = late, missed
    assert unpushed(recording) == (
        []
        if proves
        else [
            "the generators reach 99/s with an empty server, where 100/s were asked for: "
            "10 of 900 scans were late or missed"
        ]
    )


def test_nothing_was_asked_for_of_closed_arrivals_or_where_no_ceiling_is_known() -> None:
    recording = recording_of((good() for _ in range(5)), arrivals="closed")
    recording.seconds[BEGAN_AT].late = 90
    recording.ceiling = Ceiling(50, 1)
    assert unpushed(recording) == []

    recording = a_run()
    recording.seconds[BEGAN_AT].late = 90
    recording.ceiling = None
    assert unpushed(recording) == []


def test_scans_that_had_to_wait_are_the_servers_fault() -> None:
    recording = a_run()
    recording.seconds[BEGAN_AT].held = 30
    recording.seconds[BEGAN_AT].missed_by_server = 2

    assert limited_by(recording) == (
        "server: 30 of 900 scans had to wait for others to be answered, "
        "2 of 900 scans were never sent for that reason"
    )


def test_waits_that_grow_at_a_steady_rate_are_the_servers_fault() -> None:
    recording = recording_of(good(honest_s=0.01 * 2**number) for number in range(6))

    assert limited_by(recording) == "server: the median wait rose from 10.0 to 160.1 ms during the peak"


def test_closed_arrivals_are_limited_by_the_server_unless_the_generator_was_busy() -> None:
    recording = recording_of((good() for _ in range(5)), arrivals="closed")
    recording.generators = [Generator("worker-0", 0.5, 2)]
    assert limited_by(recording) == "server: 100/s were reached, with room in the generators"

    recording.ceiling = Ceiling(110, 1)
    assert limited_by(recording).startswith("generator: it reaches 110/s")
