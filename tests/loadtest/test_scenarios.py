"""The scenarios as they are written down: complete, and sound in every number."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from loadtest import measures
from loadtest.__main__ import main
from loadtest.arrivals import Profile
from loadtest.mix import KINDS
from loadtest.scenario import ACTS, Scenario
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
