"""Servers under measurement: all of their processes, and how it shows what they answered."""

import os
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import redis
from prometheus_client.parser import text_string_to_metric_families

from loadtest.baseline.service import status_key
from loadtest.bench.answers import WrongAnswer
from loadtest.bench.measured import Measured
from loadtest.city import City
from loadtest.embedded_redis import free_port
from loadtest.processes import ServerProcess
from loadtest.stage import wait_until_serving

_VERDICTS = "gatelight_verifier_verdicts"
_SCRAPE_TIMEOUT_S = 5


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


class RunningVerifier:
    """`gatelight-verifier serve` with gate keys, policies, scan log and metrics switched on."""

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
        self.process = ServerProcess(name, command, folder=folder)
        began = time.perf_counter()
        try:
            self.address = f"127.0.0.1:{self.process.wait_for_file(port_file)}"
            wait_until_serving(self.address, self.process)
            took = time.perf_counter() - began
        except BaseException:
            self.process.stop()
            raise
        self.loaded_in = Measured(f"from start to serving, {city.credentials:,} credentials", "s", (took,))

    @contextmanager
    def answering(self, scans: int) -> Iterator[None]:
        """Raise WrongAnswer unless so many scans were answered GREEN meanwhile, and none otherwise."""
        before = self._verdicts()
        yield
        answered = self._verdicts() - before
        if answered != Counter(GREEN=scans):
            raise WrongAnswer(f"{self.name}: expected {scans} scans to be GREEN, got {dict(answered)}")

    def _verdicts(self) -> Counter[str]:
        """Return how many scans all workers answered since the start, by verdict."""
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=_SCRAPE_TIMEOUT_S) as answer:
            text = answer.read().decode()
        return Counter(
            {
                sample.labels["verdict"]: int(sample.value)
                for family in text_string_to_metric_families(text)
                if family.name == _VERDICTS
                for sample in family.samples
                if sample.name.endswith("_total")
            }
        )


class RunningBaseline:
    """The naive verifier, which counts nothing: what is asked beside the load has to tell."""

    name = "naive"

    def __init__(self, city: City, *, redis_url: str, folder: Path) -> None:
        """Write the status of the city's credentials to an empty Redis, and start; raises ProcessError."""
        with redis.Redis.from_url(redis_url) as client:
            client.mset({status_key(index): "GREEN 1" for index in range(city.credentials)})
        port_file = folder / "naive.port"
        command = [sys.executable, "-m", "loadtest.baseline", str(port_file), "--redis-url", redis_url]
        command += ["--public-key", city.public_key.hex()]
        self.process = ServerProcess("naive", command, folder=folder)
        try:
            self.address = f"127.0.0.1:{self.process.wait_for_file(port_file)}"
        except BaseException:
            self.process.stop()
            raise

    def answering(self, scans: int) -> AbstractContextManager[None]:
        """Nothing: it has no counters."""
        del scans
        return nullcontext()


class EmptyServer:
    """Does nothing, on an engine: what a call or a message costs without a verifier."""

    def __init__(self, engine: str, *, folder: Path) -> None:
        """Start it; raises ProcessError."""
        self.name = f"empty {engine}"
        port_file = folder / f"empty-{engine}.port"
        module = {"grpcio": "loadtest.empty_server", "envoy": "loadtest.empty_envoy"}[engine]
        command = [sys.executable, "-m", module, str(port_file)]
        self.process = ServerProcess(f"empty-{engine}", command, folder=folder)
        try:
            self.address = f"127.0.0.1:{self.process.wait_for_file(port_file)}"
        except BaseException:
            self.process.stop()
            raise

    def answering(self, scans: int) -> AbstractContextManager[None]:
        """Nothing: it answers no scans."""
        del scans
        return nullcontext()


def last_core() -> int:
    """Return the core for the generator; servers have the first one."""
    return (os.cpu_count() or 1) - 1
