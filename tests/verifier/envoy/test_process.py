"""Starting Envoy, and saying why it cannot be."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.verifier.envoy.test_bootstrap import CONFIG
from verifier.envoy import process
from verifier.envoy.admin import Admin, AdminError
from verifier.host.engine import EngineUnavailable


def test_the_engine_says_what_to_do_where_there_is_no_envoy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(EngineUnavailable, match=r"install gatelight\[envoy\]"):
        process.EnvoyEngine()
    reason = process.is_available()
    assert reason is not None
    assert "uvloop" in reason


def test_the_engine_says_what_to_do_on_other_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(EngineUnavailable, match="--engine grpcio"):
        process.EnvoyEngine()


def test_the_engine_says_what_to_do_where_python_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    server = pytest.importorskip("pyvoy._server")
    monkeypatch.setattr(server, "get_envoy_environ", lambda: {"PYTHONPATH": ""})
    with pytest.raises(EngineUnavailable, match="libpython"):
        process.EnvoyEngine()


def test_an_envoy_that_does_not_answer_is_an_error_and_no_wait(tmp_path: Path) -> None:
    with pytest.raises(AdminError):
        Admin(str(tmp_path / "nobody.sock")).connections()


def test_a_run_folder_that_is_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    if process.is_available() is not None:
        pytest.skip("there is no Envoy")
    folder = tmp_path / ("x" * 120)
    changed = CONFIG.from_json(CONFIG.to_json().replace("/run/gatelight", str(folder)))
    with pytest.raises(OSError, match="too long"):
        process.EnvoyEngine().spawn(changed)


def test_the_worker_never_loads_grpcio() -> None:
    code = "import sys, verifier.envoy.app; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
