"""The seam between the supervisor and whatever hosts a worker."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from typing import Protocol

from verifier.errors import VerifierError
from verifier.host.worker_config import WorkerConfig

# The descriptor of the file that holds a worker's configuration.
WORKER_FD_VARIABLE = "GATELIGHT_WORKER_FD"


class EngineUnavailable(VerifierError):
    """The engine cannot run on this machine; the message says why, and what to do."""


class Process(Protocol):
    """A process of ours: what of subprocess.Popen the supervisor uses."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it still runs."""


class Engine(Protocol):
    """Starts and ends workers. Both are called in the main thread of the supervisor."""

    name: str

    def spawn(self, config: WorkerConfig) -> Process:
        """Start a worker with `config`, which reaches it by worker_environment(); raises OSError.

        It sets its row's pid and phase, ends by itself when the supervisor is gone, and is in a process group
        of its own: Ctrl-C is for the supervisor.
        """

    def drain(self, process: Process, config: WorkerConfig) -> None:
        """Ask the worker to take nothing new, finish in `config.grace_s` seconds and exit; does not wait."""


class GrpcioEngine:
    """The portable engine: a Python process with grpcio's server."""

    name = "grpcio"

    def spawn(self, config: WorkerConfig) -> Process:
        """Start a worker."""
        return start_worker([sys.executable, "-m", "verifier.host.grpcio_worker"], config)

    def drain(self, process: Process, config: WorkerConfig) -> None:  # noqa: ARG002 - it has it already
        """Ask the worker to finish."""
        process.send_signal(signal.SIGTERM)


def start_worker(
    command: list[str], config: WorkerConfig, environment: dict[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start `command` as a worker: with its configuration, what it inherits, and nothing to wait for.

    `environment` is added to ours. Secrets travel in a file without a name: every user of the machine sees
    the arguments of a process, and its own user the environment.
    """
    with tempfile.TemporaryFile() as file:
        file.write(config.to_json().encode())
        file.flush()
        descriptor = file.fileno()
        worker = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=(descriptor, config.shared_fd, config.life_fd),
            env=dict(os.environ) | (environment or {}) | {WORKER_FD_VARIABLE: str(descriptor)},
            process_group=0,
            # As Python has set them: a file that may not grow is then an error, and no end by SIGXFSZ. The
            # Python inside Envoy leaves signals as they are.
            restore_signals=False,
        )
    keep_turns_long(worker.pid)
    return worker


def keep_turns_long(pid: int) -> None:
    """Let no thread of a process that has just begun interrupt another one when it wakes (Linux).

    On the one core of a worker, a thread that woke for each call that came in took the core from the one that
    verified, and gave it back with cold caches. Without that, a scan on a lane costs 105 and not 140
    microseconds of CPU (Envoy; grpcio 185 and not 240), a unary one 5 to 20 % less.
    """
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):  # not allowed here, or the process has ended
            os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))


def inherited_config() -> WorkerConfig:
    """Return the configuration that start_worker() handed to this process."""
    descriptor = int(os.environ[WORKER_FD_VARIABLE])
    return WorkerConfig.from_json(os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode())
