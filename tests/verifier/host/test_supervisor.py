"""What a supervisor does when it is told to stop."""

import pytest

from tests.verifier.host.test_workers import Stage
from verifier.errors import SettingsError
from verifier.host.metrics import Skew
from verifier.host.signals import Signals
from verifier.host.supervisor import Supervisor


def _supervisor(stage: Stage, signals: Signals) -> Supervisor:
    return Supervisor(
        stage.workers,
        signals=signals,
        reload=lambda: None,
        on_ready=lambda: None,
        skew=Skew(),
        rows=stage.rows,
    )


def test_a_verifier_that_never_came_up_leaves_no_worker_behind() -> None:
    stage = Stage()
    stage.engine.bad.add("first")
    with Signals() as signals, pytest.raises(SettingsError, match="before it was ready"):
        _supervisor(stage, signals).run()
    assert not stage.alive


def test_a_worker_that_cannot_be_spawned_at_the_first_start_is_an_error_that_is_told() -> None:
    stage = Stage()
    stage.engine.trouble = OSError(2, "No such file or directory")
    with Signals() as signals, pytest.raises(SettingsError, match="before it was ready"):
        _supervisor(stage, signals).run()
