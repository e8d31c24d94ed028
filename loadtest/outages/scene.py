"""What a fault is done to: Redis, who writes the status there, and verifiers. For the main thread."""

import contextlib
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families

from loadtest.embedded_redis import free_port
from loadtest.office import CityOffice, city_office
from loadtest.process_tree import tree
from loadtest.processes import READY_TIMEOUT_S, ProcessError, ServerProcess
from loadtest.stage import wait_until_serving
from verifier.client import NotAdmitted, VerifierClient

_METRICS_TIMEOUT_S = 2
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Verifier:
    """A verifier that was started, and may be gone by now."""

    process: ServerProcess
    address: str
    metrics_address: str
    journal: Path

    def metrics(self) -> Mapping[str, float]:
        """Return what it says to Prometheus, by name and labels; raises OSError."""
        url = f"http://{self.metrics_address}/metrics"
        with urllib.request.urlopen(url, timeout=_METRICS_TIMEOUT_S) as answer:
            text = answer.read().decode()
        return {
            sample.name + _labels(sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def workers(self) -> Sequence[psutil.Process]:
        """Return the processes that it started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [one for one in tree(self.process) if one.pid != self.process.pid]
        return ()


class Scene:
    """The running parts."""

    def __init__(
        self,
        office: CityOffice,
        *,
        folder: Path,
        engine: str,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`options` and `environment` are for each verifier; none is started yet."""
        self.office = office
        self.folder = folder
        self.engine = engine
        self._options = options
        self._environment = environment
        self.verifiers: list[Verifier] = []

    def start_verifier(self, *options: str, is_ready: bool = True) -> Verifier:
        """Start one more and, unless it is not meant to be ready, wait until it lets our gate in.

        Raises ProcessError. It has one worker, unless told otherwise, and remembers no codes.
        """
        name = f"verifier-{len(self.verifiers) + 1}"
        address, metrics_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        journal, port_file = self.folder / f"{name}.journal", self.folder / f"{name}.port"
        process = ServerProcess(
            name,
            [
                *(sys.executable, "-m", "verifier", "serve", "--listen", address, "--engine", self.engine),
                *("--root-key", str(self.office.root_key), "--redis-url", self.office.redis.url),
                *("--gate-auth", "key", "--known-codes", "0", "--workers", "1"),
                *("--port-file", str(port_file)),
                *("--journal", str(journal), "--metrics-listen", metrics_address, *self._options, *options),
            ],
            folder=self.folder,
            environment=self._environment,
        )
        verifier = Verifier(process, address, metrics_address, journal)
        self.verifiers.append(verifier)
        process.wait_for_file(port_file)
        if is_ready:
            wait_until_serving(address, process)
            self._wait_until_admitted(verifier)
        return verifier

    def close(self) -> None:
        """Stop the verifiers, the last one first; the office is its owner's to close."""
        self.office.redis.thaw()
        for verifier in reversed(self.verifiers):
            verifier.process.stop()

    def _wait_until_admitted(self, verifier: Verifier) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        gate_id, key = self.office.gate_id, self.office.gate_key
        with VerifierClient(verifier.address, gate_id=gate_id, bearer_key=key) as gate:
            while time.monotonic() < deadline:
                with contextlib.suppress(NotAdmitted):
                    gate.verify(b"is anybody there")
                    return
                time.sleep(_LOOK_S)
        raise ProcessError(f"{verifier.process.name} does not know our gate:\n{verifier.process.tail()}")


@contextmanager
def scene(folder: Path, *, engine: str, options: Sequence[str] = ()) -> Iterator[Scene]:
    """Set up Redis, a city and one verifier in `folder`, and tear them down again; raises ProcessError."""
    with city_office(folder) as office:
        running = Scene(office, folder=folder, engine=engine, options=options)
        try:
            running.start_verifier()
            yield running
        finally:
            running.close()


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""
