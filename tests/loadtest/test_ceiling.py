"""The server that does nothing, and what generators reach against it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.ceiling import measure_ceiling
from loadtest.processes import ServerProcess
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
    reached = measure_ceiling(flavour="batch", processes=1, duration_s=2)
    assert reached.per_s > 0
    assert reached.generators == 1
    assert reached.generator_cores > 0
    assert reached.server_cores > 0
    assert reached.ceiling.per_s == reached.per_s
