"""An honest gate beside peers that send anything: `python -m tests.fuzz server` does it for longer."""

from collections.abc import Iterator

import pytest

from tests.fuzz.server import MARKER, hostile_beside_honest
from tests.verifier.engines.one_worker import OneWorker, one_worker
from tests.verifier.engines.serving import ENGINES, GREEN_INDEX, RED_INDEX, publish
from verifier.limits import Limits
from verifier.verdict import Verdict

SECONDS = 3
EXPECTED = {GREEN_INDEX: Verdict.GREEN, RED_INDEX: Verdict.RED}


@pytest.fixture(scope="module", params=ENGINES)
def worker(request: pytest.FixtureRequest, shared_redis_url: str) -> Iterator[OneWorker]:
    publish(shared_redis_url)
    with one_worker(request.param, shared_redis_url, limits=Limits(slow_peer_s=0.5)) as worker:
        yield worker


def test_hostile_bytes_cost_an_honest_gate_nothing(
    worker: OneWorker, capfd: pytest.CaptureFixture[str]
) -> None:
    # With pauses: it is to be seen what comes of each, not how many there can be.
    outcome = hostile_beside_honest(worker.port, seconds=SECONDS, expected=EXPECTED, pause_s=0.02)
    assert (outcome.failed, outcome.wrong) == ([], [])
    assert outcome.answered > 10
    assert outcome.attacks.total() > 10
    assert worker.process.poll() is None, "the worker ended"
    logged = "".join(capfd.readouterr())
    assert MARKER.decode() not in logged
    assert "Traceback" not in logged
