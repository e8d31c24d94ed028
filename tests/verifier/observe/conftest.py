"""What is really told to Prometheus, by processes that run."""

import contextlib
import socket
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.issuer.certificates import Authority
from tests.signer import Signer
from tests.verifier.engines.serving import publish, serving
from tests.verifier.observe.exposed import of_issuer, of_verifier
from verifier.bearer import hash_key, make_key
from verifier.errors import NotReady
from verifier.host.following import Following
from verifier.host.shared import SharedMemory
from verifier.wire.gate_list import ListedGate

# What there is once there is something to tell of.
_LATE = (
    "status_age_seconds", "kept_state_age_seconds", "descriptors_open", "gate_list_left_seconds",
    "redis_reply_seconds", "tls_certificate_left_seconds",
)  # fmt: skip

# Told where Redis runs on another machine alone.
_REMOTE = "clock_redis_seconds"


@pytest.fixture(scope="package")
def exposed(shared_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every metric that there is, with its labels: of a verifier that has all there can be to tell of."""
    folder = tmp_path_factory.mktemp("exposed")
    publish(shared_redis_url, gates=[ListedGate("north", "all", (hash_key(make_key()),))])
    names = _keep_state(folder / "journal/state", shared_redis_url)
    assert _REMOTE in names
    pair = Authority(folder).issue("verifier")
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--metrics-listen", metrics]
    options += ["--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key)]
    with serving("grpcio", shared_redis_url, folder, *options):
        told: dict[str, set[str]] = eventually(lambda: _whole(of_verifier(metrics)))
    return told | {f"gatelight_verifier_{_REMOTE}": set()} | of_issuer()


def _keep_state(folder: Path, redis_url: str) -> set[str]:
    """Leave there what an earlier run kept: a running one does so after minutes. Return all gauges' names."""
    shared = SharedMemory.create(partitions=1, capacity=65_536, rows=1)
    following = Following(
        shared, root=Signer().root, redis_url=redis_url, journal=None, state=folder, state_max_age_s=3_600
    )
    following.start()
    (age,) = (gauge for gauge in following.gauges() if gauge.name == "status_age_seconds")

    def is_loaded() -> bool:
        with contextlib.suppress(NotReady):
            return age.read() is not None
        return False

    eventually(is_loaded)
    following.finish()
    return {gauge.name for gauge in following.gauges()}


def _whole(told: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return it once it is whole, nothing before."""
    return told if all(f"gatelight_verifier_{name}" in told for name in _LATE) else {}
