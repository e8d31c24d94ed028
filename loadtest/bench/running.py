"""Servers under measurement: all of their processes, and how it shows what they answered."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import redis

from loadtest.baseline.service import status_key
from loadtest.bench.answers import WrongAnswer
from loadtest.bench.measured import Measured
from loadtest.city import City
from loadtest.embedded_redis import free_port
from loadtest.processes import ServerProcess
from loadtest.stage import wait_until_serving
from loadtest.verdict_metrics import read_verdicts
from verifier.host.engine import keep_turns_long

# An empty server with grpcio's own pool and scheduling; the others are as the verifier's workers are.
STOCK = "stock grpcio"
_EMPTY = {
    STOCK: ("loadtest.empty_server", "stock"),
    "grpcio": ("loadtest.empty_server", "verifier"),
    "envoy": ("loadtest.empty_envoy",),
}


class Server(Protocol):
    """What answers scans of a city."""

    @property
    def name(self) -> str:
        """What it is called in a table."""

    @property
    def process(self) -> ServerProcess:
        """All of it."""

    @property
    def address(self) -> str:
        """Where it is asked."""

    def answering(self, scans: int) -> AbstractContextManager[None]:
        """Raise WrongAnswer unless so many scans were answered GREEN meanwhile, where it counts them."""

    @property
    def is_counting(self) -> bool:
        """Whether it counts what it answers."""


class RunningVerifier:
    """`gatelight-verifier serve` with gate keys, policies, scan log and metrics switched on."""

    is_counting = True

    def __init__(self, city: City, *, engine: str, workers: int, folder: Path) -> None:
        """Start it and wait until it serves; raises ProcessError."""
        name = f"{engine}-{workers}-{city.credentials}"
        port_file = folder / f"{name}.port"
        port_file.unlink(missing_ok=True)
        self.name = engine
        self._metrics = f"127.0.0.1:{free_port()}"
        command = [
            *(sys.executable, "-m", "verifier", "serve", "--listen", "127.0.0.1:0"),
            *("--root-key", str(city.root_file), "--redis-url", city.redis_url),
            *("--engine", engine, "--workers", str(workers), "--gate-auth", "key"),
            *("--journal", str(folder / f"{name}.journal"), "--port-file", str(port_file)),
            *("--metrics-listen", self._metrics),
            # The generator shows the same code again and again: here each has to cost its signature.
            *("--known-codes", "0"),
        ]
        began = time.perf_counter()
        self.process, self.address = _start(name, command, port_file)
        try:
            wait_until_serving(self.address, self.process)
        except BaseException:
            self.process.stop()
            raise
        took = time.perf_counter() - began
        self.loaded_in = Measured(f"from start to serving, {city.credentials:,} credentials", "s", (took,))

    @contextmanager
    def answering(self, scans: int) -> Iterator[None]:
        """Raise WrongAnswer unless so many scans were answered GREEN meanwhile, and none otherwise."""
        before = self.verdicts()
        yield
        answered = self.verdicts() - before
        if answered != Counter(GREEN=scans):
            raise WrongAnswer(f"{self.name}: expected {scans} scans to be GREEN, got {dict(answered)}")

    def verdicts(self) -> Counter[str]:
        """Return how many scans all workers answered since the start, by verdict."""
        return read_verdicts(self._metrics)


class _Uncounted:
    """A server without counters: the bytes of its answers and what is asked beside the load have to tell."""

    is_counting = False

    def __init__(
        self, name: str, command: list[str], port_file: Path, *, has_long_turns: bool = False
    ) -> None:
        """Start it; raises ProcessError."""
        self.name = name
        self.process, self.address = _start(port_file.stem, command, port_file, has_long_turns=has_long_turns)

    def answering(self, scans: int) -> AbstractContextManager[None]:
        """Nothing."""
        del scans
        return nullcontext()


class RunningBaseline(_Uncounted):
    """The naive verifier."""

    def __init__(self, city: City, *, redis_url: str, folder: Path) -> None:
        """Write the status of the city's credentials to an empty Redis, and start; raises ProcessError."""
        with redis.Redis.from_url(redis_url) as client:
            client.mset({status_key(index): "GREEN 1" for index in range(city.credentials)})
        port_file = folder / "naive.port"
        command = [sys.executable, "-m", "loadtest.baseline", str(port_file), "--redis-url", redis_url]
        command += ["--public-key", city.public_key.hex()]
        super().__init__("naive", command, port_file)


class EmptyServer(_Uncounted):
    """Does nothing, on an engine: what a call or a message costs without a verifier."""

    def __init__(self, engine: str, *, folder: Path) -> None:
        """Start a server on `engine`, with the verifier's settings, or STOCK; raises ProcessError."""
        module, *arguments = _EMPTY[engine]
        port_file = folder / f"empty-{engine.replace(' ', '-')}.port"
        command = [sys.executable, "-m", module, str(port_file), *arguments]
        super().__init__(f"empty {engine}", command, port_file, has_long_turns=engine != STOCK)


def _start(
    name: str, command: list[str], port_file: Path, *, has_long_turns: bool = False
) -> tuple[ServerProcess, str]:
    """Start a server that writes its port to a file; return it and its address; raises ProcessError."""
    process = ServerProcess(name, command, folder=port_file.parent)
    if has_long_turns:
        keep_turns_long(process.pid)
    try:
        return process, f"127.0.0.1:{process.wait_for_file(port_file)}"
    except BaseException:
        process.stop()
        raise
