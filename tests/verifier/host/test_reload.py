"""A reload is measured by what workers run with, not by what was tried and did not run."""

from collections.abc import Callable
from typing import Any, cast

from verifier.config import VerifierSettings, load_settings
from verifier.host.supervisor import Configure
from verifier.host.worker_config import WorkerConfig
from verifier.main import _Reload


def _configure(settings: VerifierSettings, number: int) -> WorkerConfig:
    return cast("WorkerConfig", settings.effective_gate_auth)


class Reloads:
    """Reads what the test says, and knows what runs."""

    def __init__(self) -> None:
        first = load_settings({"root_key": "root.pub"})
        self.said: dict[str, Any] = {}
        self.running: Configure = lambda number: _configure(first, number)
        self.reload: Callable[[], Configure | None] = _Reload(
            first,
            load=lambda: load_settings({"root_key": "root.pub"} | self.said),
            configure=_configure,
            in_force=lambda: self.running,
        )


def test_what_was_tried_and_did_not_run_can_be_taken_back() -> None:
    reloads = Reloads()
    reloads.said = {"gate_auth": "key"}
    assert reloads.reload() is not None
    reloads.said = {"gate_auth": "none"}
    assert reloads.reload() is not None


def test_what_runs_is_not_weakened_and_goes_on() -> None:
    reloads = Reloads()
    reloads.said = {"gate_auth": "key"}
    running = reloads.reload()
    assert running is not None
    reloads.running = running
    reloads.said = {"gate_auth": "none"}
    assert reloads.reload() is None
    reloads.said = {"gate_auth": "key", "threads": 4}
    assert reloads.reload() is not None
