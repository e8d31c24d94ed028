"""What a supervisor does when it is told to stop."""

import pytest

from tests.verifier.host.test_workers import Stage
from verifier.errors import SettingsError
from verifier.host.metrics import Skew
from verifier.host.supervisor import Signals, Supervisor


def _supervisor(stage: Stage, signals: Signals) -> Supervisor:
    return Supervisor(
        stage.workers,
        signals=signals,
        reload=lambda: None,
        on_ready=lambda: None,
        skew=Skew(),
        rows=stage.rows,
    )


def test_a_second_signal_ends_workers_at_once() -> None:
    stage, signals = Stage(), Signals()
    signals.stops = 2
    _supervisor(stage, signals).run()
    assert len(stage.engine.started) == 2
    assert not stage.alive


def test_a_verifier_that_never_came_up_leaves_no_worker_behind() -> None:
    stage = Stage()
    stage.engine.bad.add("first")
    with pytest.raises(SettingsError, match="before it was ready"):
        _supervisor(stage, Signals()).run()
    assert not stage.alive
