"""The scenarios as they are written down: complete, and sound in every number."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from loadtest import measures
from loadtest.__main__ import main
from loadtest.arrivals import Profile
from loadtest.mix import KINDS
from loadtest.recording import DoneAct, Plan, Recording, Second, ServerSample
from loadtest.scenario import ACTS, Scenario, Threshold
from loadtest.scenarios import SCENARIOS

MORNINGS = {
    *("steady", "monday-0830", "mass-test", "retry-storm", "rollover"),
    *("cold-start", "dependency-down", "garbage-flood", "soak"),
}
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda one: one.name)


def test_every_morning_has_a_scenario() -> None:
    assert set(SCENARIOS) == MORNINGS
    assert all(name == one.name for name, one in SCENARIOS.items())


@every_scenario
def test_a_scenario_names_only_what_there_is(scenario: Scenario) -> None:
    assert {act.name for act in scenario.acts} <= set(ACTS)
    assert set(scenario.mix) <= set(KINDS)
    for limit in scenario.thresholds:
        assert measures.threshold(limit.measure, limit.limit) == limit


@every_scenario
def test_a_scenario_is_about_a_crowd_from_beginning_to_end(scenario: Scenario) -> None:
    assert max(share for _, share in Profile(scenario.profile).points) == 1
    assert Profile(scenario.openings).rate_at(1) == 1
    moments = [act.at for act in scenario.acts]
    assert moments == sorted(moments)
    assert all(0 < at < 1 for at in moments)


@every_scenario
def test_a_wrong_verdict_is_forgiven_on_no_morning(scenario: Scenario) -> None:
    limits = {limit.measure: limit.limit for limit in scenario.thresholds}
    assert limits["wrong"] == 0


def a_morning(scenario: Scenario) -> Recording:
    """Return a run of two minutes in which everything went well, with its acts in the middle of it."""
    recording = Recording(
        Plan(
            scenario.name, "", 6_000, 120, "unary", "even", 16, 2_000, scenario.deadline_s, scenario.attempts
        ),
        began_at=1_000.0,
    )
    for at in range(1_000, 1_120):
        second = Second(due=100, sent=100, right=100)
        second.honest.record(0.005, 100)
        recording.add_second(at, second)
        recording.servers.append(ServerSample("verifier-1", at, 0.0, 100, 40))
    recording.acts = [DoneAct(act.name, 1_000 + act.at * 120, 0.1) for act in scenario.acts]
    return recording


def spoil(recording: Recording, measure: str) -> None:
    """Let that go wrong which `measure` is there for."""
    last_act = max((act.at for act in recording.acts), default=1_000)
    if measure in ("wrong", "failed", "missed", "missed_by_server"):
        setattr(recording.seconds[1_060], measure, 1)
    elif measure.startswith("server_"):
        recording.servers = [
            replace(one, memory_mib=one.at, own_mib=one.at, descriptors=int(one.at))
            for one in recording.servers
        ]
    for at, second in recording.seconds.items():
        if measure == "right_share" or (measure == "recovered_s" and last_act < at < last_act + 8):
            second.right = 80
        # Two seconds of two minutes, wherever they are; of those who come after the acts as well.
        if measure.startswith("honest_") and at in (1_118, 1_119):
            second.honest.record(2, 100)


@pytest.mark.parametrize(
    ("scenario", "limit"),
    [
        pytest.param(scenario, limit, id=f"{scenario.name}-{limit.measure}")
        for scenario in SCENARIOS.values()
        for limit in scenario.thresholds
    ],
)
def test_each_limit_is_kept_on_a_good_morning_and_missed_when_that_goes_wrong(
    scenario: Scenario, limit: Threshold
) -> None:
    recording = a_morning(scenario)
    assert all(one.is_met for one in measures.judge(recording, scenario.thresholds))

    spoil(recording, limit.measure)
    assert not measures.judge(recording, [limit])[0].is_met


@every_scenario
def test_what_the_generator_could_not_send_is_forgiven_on_no_morning(scenario: Scenario) -> None:
    assert Threshold("missed", 0) in scenario.thresholds


def test_waits_count_also_after_redis_came_back() -> None:
    scenario = SCENARIOS["dependency-down"]
    recording = a_morning(scenario)
    for at in range(1_110, 1_120):
        recording.seconds[at].honest.record(0.4, 100)
    missed = [one.measure for one in measures.judge(recording, scenario.thresholds) if not one.is_met]
    assert missed == ["honest_p99_ms"]


def test_nobody_asks_twice_while_a_verifier_joins() -> None:
    assert SCENARIOS["cold-start"].attempts == 1


def test_a_soak_is_half_the_steady_crowd() -> None:
    assert SCENARIOS["soak"].people_a_minute == SCENARIOS["steady"].people_a_minute / 2


def test_what_is_frozen_or_killed_comes_back() -> None:
    for scenario in SCENARIOS.values():
        names = [act.name for act in scenario.acts]
        for freeze, thaw in (
            ("freeze-verifier", "thaw-verifier"),
            ("freeze-redis", "thaw-redis"),
            ("kill-redis", "start-redis"),
        ):
            assert names.count(freeze) == names.count(thaw)
            assert freeze not in names or names.index(freeze) < names.index(thaw)


def test_scenarios_are_read_without_grpc() -> None:
    command = "import sys, loadtest.scenarios; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False, timeout=30).returncode == 0


def test_the_command_line_lists_them() -> None:
    listed = CliRunner().invoke(main, ["scenarios"])
    assert listed.exit_code == 0
    assert all(name in listed.stdout for name in MORNINGS)
    described = json.loads(CliRunner().invoke(main, ["scenarios", "--json"]).stdout)
    assert {one["name"] for one in described} == MORNINGS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tuesday"], "no scenario tuesday: there are steady"),
        (["steady", "--threshold", "honest_p99_ms"], "is not NAME=NUMBER"),
        (["steady", "--threshold", "speed=1"], "no measure is called 'speed'"),
        (["rollover", "--issuer"], "leave out --issuer"),
    ],
)
def test_what_cannot_be_run_is_a_usage_error(arguments: list[str], message: str) -> None:
    ended = CliRunner().invoke(main, ["run", *arguments])
    assert ended.exit_code == 2
    assert message in " ".join(ended.stderr.split())
