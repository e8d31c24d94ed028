"""A reload is measured by what workers run with, not by what was tried and did not run."""

from collections.abc import Callable
from typing import Any, cast

from structlog.testing import capture_logs

from verifier.config import VerifierSettings, load_settings
from verifier.host.supervisor import Configure, Reloaded
from verifier.host.worker_config import WorkerConfig
from verifier.main import _Reload


def _configure(settings: VerifierSettings, number: int) -> WorkerConfig:
    return cast("WorkerConfig", settings.effective_gate_auth)


class Reloads:
    """Reads what the test says, and knows what runs."""

    def __init__(self) -> None:
        first = load_settings({"root_key": "root.pub"})
        self.said: dict[str, Any] = {}
        self.taken: list[Configure] = []
        self.running: Configure = lambda number: _configure(first, number)
        self.reload: Callable[[], Reloaded | None] = _Reload(
            first,
            load=lambda: load_settings({"root_key": "root.pub"} | self.said),
            configure=_configure,
            in_force=lambda: self.running,
            on_taken=self.taken.append,
            engine="grpcio",
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
    reloads.running = running.configure
    reloads.said = {"gate_auth": "none"}
    assert reloads.reload() is None
    assert reloads.taken == [reloads.running]
    reloads.said = {"gate_auth": "key", "threads": 4}
    assert reloads.reload() is not None


def test_what_needs_a_restart_is_named_at_every_reload() -> None:
    reloads = Reloads()
    reloads.said = {"journal": "elsewhere"}
    for _ in range(2):
        reloaded = reloads.reload()
        assert reloaded is not None
        assert reloaded.except_for == ["journal"]
        reloads.running = reloaded.configure


def test_web_pages_that_the_engine_lets_in_by_no_means_are_warned_of() -> None:
    reloads = Reloads()
    reloads.said = {"cors_origins": "https://gate.example"}
    with capture_logs() as logs:
        assert reloads.reload() is not None
    assert [log["event"].partition(":")[0] for log in logs] == ["no web page may call"]


def test_whatever_is_wrong_with_a_file_the_old_configuration_holds() -> None:
    reloads = Reloads()
    reloads.said = {"tls_certificate": "a\0b", "tls_key": "a\0b"}
    with capture_logs() as logs:
        assert reloads.reload() is None
    assert logs[0]["event"] == "the configuration cannot be used, the old one holds"
