"""Server processes that we start: with a log file, a way to tell when they are ready, and no orphans."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from loadtest import guard

# A server that has not answered by then will not: even a cold start from a slow disk takes a few seconds.
READY_TIMEOUT_S = 30
# Longer than any server's own grace period; after it, SIGKILL.
STOP_TIMEOUT_S = 15
_POLL_S = 0.01
_STOPS_S = 1.0
_RUNS = (psutil.STATUS_RUNNING, psutil.STATUS_SLEEPING, psutil.STATUS_DISK_SLEEP, psutil.STATUS_IDLE)


class ProcessError(Exception):
    """A server did not start, or did not do what it was started for; the message ends with its log."""


class ServerProcess:
    """One server process, killed when its starter dies. Start it from the main thread (see guard.py)."""

    def __init__(
        self, name: str, command: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start `command`, its standard output and error going to `folder/name.log`."""
        self.name = name
        self.log = folder / f"{name}.log"
        guarded = [sys.executable, "-S", "-E", guard.__file__, str(os.getpid()), *command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                guarded,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for us: we stop the servers, in their order.
                start_new_session=True,
                env=_without_settings(os.environ) | dict(environment or {}),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id, of the server itself."""
        return self._process.pid

    def is_running(self) -> bool:
        """Tell whether the process still exists, frozen or not."""
        return self._process.poll() is None

    def wait_for_file(self, path: Path, timeout_s: float = READY_TIMEOUT_S) -> str:
        """Return what the server wrote to `path` once it is there; raises ProcessError."""
        deadline = time.monotonic() + timeout_s
        while not (content := _line_in(path)):
            if not self.is_running():
                raise ProcessError(f"{self.name} ended with {self._process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} was not ready after {timeout_s} s:\n{self.tail()}")
            time.sleep(_POLL_S)
        return content

    def wait(self, timeout_s: float) -> int:
        """Wait for the process to end by itself and return its exit code; raises ProcessError."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} did not end within {timeout_s} s:\n{self.tail()}") from None

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> int:
        """Ask the server to stop, insist after STOP_TIMEOUT_S, and return its exit code."""
        if self.is_running():
            self.thaw()
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def kill(self) -> None:
        """Kill the server with SIGKILL and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send the server a signal."""
        self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop the server in its tracks: connections stay open and nothing answers."""
        self.send(signal.SIGSTOP)
        # On a busy machine its threads go on for a moment.
        until = time.monotonic() + _STOPS_S
        while psutil.Process(self.pid).status() in _RUNS and time.monotonic() < until:
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self.send(signal.SIGCONT)


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what is meant for other servers than ours."""
    return {name: value for name, value in environment.items() if not name.startswith("GATELIGHT_")}


def _line_in(path: Path) -> str:
    """Return the line in a file, empty until all of it is there."""
    try:
        content = path.read_text()
    except FileNotFoundError:
        return ""
    return content.strip() if content.endswith("\n") else ""
