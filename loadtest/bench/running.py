"""A verifier under measurement: all of its processes, what they cost, what they hold, what they answered."""

import os
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from loadtest.bench.measured import Measured
from loadtest.city import City
from loadtest.embedded_redis import free_port
from loadtest.processes import ServerProcess
from loadtest.stage import wait_until_serving

_VERDICTS = "gatelight_verifier_verdicts"
_SCRAPE_TIMEOUT_S = 5


class RunningVerifier:
    """`gatelight-verifier serve` with gate keys, policies, scan log and metrics switched on."""

    def __init__(self, city: City, *, engine: str, workers: int, folder: Path) -> None:
        """Start it and wait until it serves; raises ProcessError."""
        name = f"{engine}-{workers}-{city.credentials}"
        port_file = folder / f"{name}.port"
        port_file.unlink(missing_ok=True)
        self.engine = engine
        self.workers = workers
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

    def green_scans(self) -> int:
        """Return how many scans were answered GREEN since the start, over all workers.

        Raises WrongAnswer if one was answered otherwise.
        """
        counted = self._verdicts()
        if any(count for verdict, count in counted.items() if verdict != "GREEN"):
            raise WrongAnswer(f"expected GREEN alone, got {dict(counted)}")
        return counted.get("GREEN", 0)

    def _verdicts(self) -> Mapping[str, int]:
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=_SCRAPE_TIMEOUT_S) as answer:
            text = answer.read().decode()
        return {
            sample.labels["verdict"]: int(sample.value)
            for family in text_string_to_metric_families(text)
            if family.name == _VERDICTS
            for sample in family.samples
            if sample.name.endswith("_total")
        }


class WrongAnswer(Exception):
    """A measured server gave another verdict than it had to; the figures would mean nothing."""


def last_core() -> int:
    """Return the core for the generator; servers have the first one."""
    return (os.cpu_count() or 1) - 1
