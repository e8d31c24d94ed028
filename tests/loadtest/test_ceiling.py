"""The server that does nothing, and what generators reach against it."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtest.__main__ import main
from loadtest.ceiling import Asking, asking_of, measure_ceiling
from loadtest.processes import ServerProcess
from loadtest.scenarios import SCENARIOS
from verifier.client import VerifierClient
from verifier.envoy.process import EnvoyEngine
from verifier.host.engine import EngineUnavailable
from verifier.verdict import Verdict


def envoy_runs() -> bool:
    try:
        EnvoyEngine()
    except EngineUnavailable:
        return False
    return True


needs_envoy = pytest.mark.skipif(not envoy_runs(), reason="Envoy does not run here")


@pytest.fixture(params=["grpcio", pytest.param("envoy", marks=needs_envoy)])
def gate(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VerifierClient]:
    """A gate that asks the empty server on each engine."""
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "loadtest.null_server", request.param, str(port_file)]
    with ServerProcess("null-server", command, folder=tmp_path) as server:
        address = f"127.0.0.1:{server.wait_for_file(port_file)}"
        with VerifierClient(address, gate_id="null", deadline_s=10) as gate:
            yield gate


def test_an_empty_server_answers_every_call_in_the_right_shape(gate: VerifierClient) -> None:
    # The client refuses answers that are not of their scan.
    assert gate.verify(b"whatever").verdict is Verdict.GREEN
    many = gate.verify_many([b"one", b"two", b"three"])
    lane = list(gate.stream([b"one", b"two", b"three"]))
    assert [answer.verdict for answer in (*many, *lane)] == [Verdict.GREEN] * 6


def test_the_ceiling_says_what_was_reached_by_whom_and_at_what_cost() -> None:
    reached = measure_ceiling(Asking("batch", 1, sites=20, batch_size=4), duration_s=2)
    assert reached.per_s > 0
    assert reached.generator_cores > 0
    assert reached.server_cores > 0
    assert (reached.ceiling.per_s, reached.ceiling.generators) == (reached.per_s, 1)
    assert str(reached.asking) == "batch of 4, 20 connections"


@pytest.mark.parametrize(
    ("sites", "people_a_minute", "processes", "asking"),
    [
        # One a site in 50 ms, who waits for those who come meanwhile.
        (16, 19_200, 1, "batch of 2, 16 connections"),
        (400, 60_000, 1, "batch of 1, 400 connections"),
        # More calls may be under way than there are connections.
        (4, 600_000, 1, "batch of 100, 16 connections"),
        # As many as may be under way at once.
        (400, 1_400_000, 1, "batch of 4, 400 connections"),
        (400, 14_000_000, 1, "batch of 30, 66 connections"),
        (400, 14_000_000, 3, "batch of 30, 198 connections"),
    ],
)
def test_a_ceiling_is_of_the_calls_that_the_run_makes(
    sites: int, people_a_minute: float, processes: int, asking: str
) -> None:
    scenario = replace(SCENARIOS["steady"], sites=sites, people_a_minute=people_a_minute)
    found = asking_of(scenario, flavour="batch", processes=processes, arrivals="poisson")
    assert str(found) == asking
    assert found.is_possible


def test_other_ways_to_ask_have_a_scan_in_a_call() -> None:
    found = asking_of(SCENARIOS["mass-test"], flavour="unary", processes=2, arrivals="even")
    assert found == Asking("unary", 2, sites=400)
    closed = asking_of(SCENARIOS["steady"], flavour="batch", processes=1, arrivals="closed")
    assert closed == Asking("batch", 1, sites=16, batch_size=100)


@pytest.mark.parametrize(
    "options",
    [
        ["--flavour", "batch", "--sites", "21"],
        ["--processes", "17"],
        ["--batch-size", "10"],
    ],
)
def test_more_than_may_be_under_way_is_a_usage_error(options: list[str]) -> None:
    assert CliRunner().invoke(main, ["ceiling", *options]).exit_code == 2
