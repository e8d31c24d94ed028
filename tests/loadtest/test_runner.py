"""The mornings on which nothing is done to the servers, all at once in one town, so that it takes seconds."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner

from loadtest.__main__ import main
from loadtest.processes import ProcessError
from loadtest.recording import Ceiling, ServerSample, ThresholdResult
from loadtest.runner import _outcome
from loadtest.scenario_run import Generated, NotPossible, Setting, adapt, complete
from loadtest.scenarios import SCENARIOS
from loadtest.town import Town, town
from tests.loadtest.recordings import held
from tests.loadtest.replay import PEOPLE_A_MINUTE, Replay, replay

QUIET = tuple(name for name, one in SCENARIOS.items() if not one.acts)
# What a server keeps in its first seconds says nothing of hours.
ANY_GROWTH = (
    "server_memory_mib_an_hour_a_worker=1000000",
    "server_memory_growth_mib=1000",
    "server_descriptors_growth=1000",
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with town(tmp_path_factory.mktemp("town"), engine="grpcio", workers=1) as here:
        yield here


@pytest.fixture(scope="module")
def replays(here: Town, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Replay]:
    folder = tmp_path_factory.mktemp("results")

    def replay_one(name: str) -> Replay:
        return replay(here, name, folder / name, thresholds=ANY_GROWTH if name == "soak" else ())

    with ThreadPoolExecutor(len(QUIET)) as pool:
        return dict(zip(QUIET, pool.map(replay_one, QUIET), strict=True))


def test_a_steady_crowd_gets_right_verdicts(replays: Mapping[str, Replay]) -> None:
    total = replays["steady"].conclude().total()
    assert total.failed == total.missed_by_server == 0
    assert {"GREEN", "YELLOW", "EXPIRED"} <= set(total.verdicts)


def test_ten_times_the_crowd_comes_within_a_minute_of_the_hour(replays: Mapping[str, Replay]) -> None:
    recording = replays["monday-0830"].conclude()
    due = [second.due for _, second in sorted(recording.seconds.items())]
    assert max(due) > 3 * due[0]
    assert recording.total().failed == 0


def test_all_sites_connect_at_once(replays: Mapping[str, Replay]) -> None:
    recording = replays["mass-test"].conclude()
    due = [second.due for _, second in sorted(recording.seconds.items())]
    # One of eight sites is there from the beginning.
    assert max(due) > 3 * due[0]
    assert recording.total().failed == 0


def test_honest_people_are_served_in_a_flood_of_garbage(replays: Mapping[str, Replay]) -> None:
    total = replays["garbage-flood"].conclude().total()
    assert total.hostile.count > 2 * total.honest.count > 0
    assert total.failed == 0


def test_a_soak_has_its_servers_watched(replays: Mapping[str, Replay]) -> None:
    values = {one.measure: one.value for one in replays["soak"].conclude().thresholds}
    assert values["server_memory_growth_mib"] is not None
    assert values["server_descriptors_growth"] is not None


def test_a_verifier_that_nobody_asked_proves_nothing() -> None:
    recording = held()
    asked, not_asked = Generated(Path(), 0, []), Generated(Path(), 0, [], ["verifier-2"])

    assert complete(recording, asked, None) == 0
    assert complete(recording, not_asked, None) == 3
    assert recording.problems == ["verifier-2 was never asked"]
    assert _outcome(recording, Path(), 3)["problems"] == recording.problems


def test_what_the_generators_could_not_see_is_a_problem_until_somebody_did() -> None:
    recording = held()
    recording.thresholds = [ThresholdResult("server_memory_growth_mib", 16, False, None, False)]
    samples = [ServerSample("redis", recording.began_at + at, at, 9, 9) for at in range(9)]

    assert complete(recording, Generated(Path(), 0, []), None) == 3
    assert "nobody watched the servers" in recording.problems[0]
    # The generators said so as well.
    assert complete(recording, Generated(Path(), 3, samples), None) == 0
    assert recording.problems == []


def test_generators_that_could_not_keep_up_prove_nothing() -> None:
    recording = held()
    next(iter(recording.seconds.values())).late = recording.total().due
    assert complete(recording, Generated(Path(), 0, []), None) == 0
    assert recording.limited_by.startswith("generator")

    assert complete(recording, Generated(Path(), 0, []), Ceiling(1, 1)) == 3
    assert recording.problems[0].startswith("the generators reach 1/s with an empty server")


def test_a_run_that_proves_nothing_says_why() -> None:
    recording = held()
    assert complete(recording, Generated(Path(), 3, []), None) == 3
    assert recording.problems == ["the generators ended with 3: see locust.log"]

    recording.problems = ["nobody came"]
    assert complete(recording, Generated(Path(), 3, []), None) == 3
    assert recording.problems == ["nobody came"]


def test_a_wrong_verdict_is_proven_whatever_else_went_wrong() -> None:
    recording = held()
    next(iter(recording.seconds.values())).wrong = 1
    assert complete(recording, Generated(Path(), 3, [], ["verifier-2"]), None) == 1


@pytest.mark.parametrize("command", [["run", "steady"], ["load"], ["ceiling"]])
def test_a_process_that_fails_meanwhile_proves_nothing(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise ProcessError("the generators ended with -9")

    for module in ("run_command.run_all", "load.run_all", "ceiling.measure_ceiling"):
        monkeypatch.setattr(f"loadtest.{module}", fail)
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 3
    assert ended.stderr == "Error: the generators ended with -9\n"


def test_a_scenario_goes_with_numbers_and_with_time() -> None:
    adapted = adapt(SCENARIOS["steady"], Setting(people_a_minute=PEOPLE_A_MINUTE, duration_s=7))
    assert (adapted.people_a_minute, adapted.duration_s) == (PEOPLE_A_MINUTE, 7)
    assert adapted.thresholds == SCENARIOS["steady"].thresholds


def test_lanes_are_as_many_as_a_verifier_lets_one_gate_have() -> None:
    assert adapt(SCENARIOS["mass-test"], Setting(flavour="stream")).sites == 64
    with pytest.raises(NotPossible, match="64 lanes"):
        adapt(SCENARIOS["mass-test"], Setting(flavour="stream", sites=65))


def test_keys_of_a_real_issuer_do_not_change_at_will() -> None:
    with pytest.raises(NotPossible, match="leave out --issuer"):
        adapt(SCENARIOS["rollover"], Setting(has_issuer=True))
