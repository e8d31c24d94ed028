"""What a fault is done to: Redis, who writes the status there, and verifiers of each engine.

For the main thread. Engines stand in one scene, so that what is the same for all is done once.
"""

import contextlib
import http.client
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import psutil

from issuer.key_store import key_id_of
from issuer.signing import sign_code
from loadtest.city import ENTRY_GATE_ID, GATE_ID, City
from loadtest.embedded_redis import EmbeddedRedis, free_port
from loadtest.office import CityOffice
from loadtest.outages.slow_proxy import SlowProxy
from loadtest.outages.wall_clock import WallClock
from loadtest.process_tree import tree
from loadtest.processes import ProcessError, ServerProcess
from loadtest.stage import wait_until_admitted, wait_until_serving
from verifier.client import VerifierClient
from verifier.client_tls import ClientTls
from verifier.wire.code import Code

# What a verifier's metrics say: by name, with labels as Prometheus writes them, in order of their names:
# 'x_total{verdict="GREEN"}'.
Metrics = Mapping[str, float]

# People whose codes are not among those that come again and again: some are shown once, at the gate where a
# code opens once, and the colour of some is changed.
KEPT_BACK = 3_000
CHANGED = 300

_METRICS_TIMEOUT_S = 2


@dataclass(frozen=True, slots=True)
class Verifier:
    """A verifier that was started, and may be gone by now."""

    process: ServerProcess
    engine: str
    address: str
    metrics_address: str
    journal: Path
    command: Sequence[str] = ()

    def metrics(self) -> Metrics:
        """Return what it says to Prometheus; raises OSError."""
        url = f"http://{self.metrics_address}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=_METRICS_TIMEOUT_S) as answer:
                text: str = answer.read().decode()
        except http.client.HTTPException as error:  # it was killed in the middle of its answer
            raise ConnectionError(type(error).__name__) from None
        return read_metrics(text)

    def workers(self) -> Sequence[psutil.Process]:
        """Return the processes that it started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [one for one in tree(self.process) if one.pid != self.process.pid]
        return ()


class Scene:
    """The running parts."""

    tls: ClientTls | None = None  # how gates connect; None: in plain text
    # Of codes that come again and again: longer than anybody shows them, also in weeks (long_faults.py).
    codes_good_s = 100 * 86_400
    is_side_by_side = False  # gates know more than one verifier
    proxy: SlowProxy | None = None  # through which verifiers ask Redis

    def __init__(
        self,
        office: CityOffice,
        *,
        folder: Path,
        engines: Sequence[str],
        redis_url: str | None = None,
        options: Sequence[str] = (),
        runner: Sequence[str] = (),
    ) -> None:
        """`options` are for each verifier; none is started yet. Raises OSError.

        Without a `redis_url` of their own they ask the office's Redis. `runner` is a command that becomes the
        one given behind it, after some preparation.
        """
        self.office = office
        self.folder = folder
        self.engines = engines
        self.clock = WallClock(folder / "clock")  # of all verifiers
        self._redis_url = redis_url or office.redis.url
        self._options = options
        self._runner = runner
        self._changes = 0
        self.engines_struck = engines  # by a fault, now: all of them, unless it is in turn
        self.verifiers: list[Verifier] = []

    @property
    def city(self) -> City:
        """Who writes the status."""
        return self.office.city

    @property
    def redis(self) -> EmbeddedRedis:
        """The server itself."""
        return self.office.redis

    def start_all(self) -> None:
        """Start one of each engine, and wait until all let our gates in; raises ProcessError."""
        for engine in self.engines:
            self.begin_verifier(engine)
        self.wait_for(*self.verifiers)

    def begin_verifier(self, engine: str, *options: str) -> Verifier:
        """Start one more, and do not wait for it.

        It has one worker, unless told otherwise, and remembers no codes.
        """
        name = f"verifier-{len(self.verifiers) + 1}"
        address, metrics_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        journal = self.folder / f"{name}.journal"
        command = [
            *(*self._runner, sys.executable, "-m", "verifier", "serve"),
            *("--listen", address, "--engine", engine),
            *("--root-key", str(self.office.root_key), "--redis-url", self._redis_url),
            *("--gate-auth", "key", "--known-codes", "0", "--workers", "1"),
            *("--port-file", str(self._port_file(name))),
            *("--journal", str(journal), "--metrics-listen", metrics_address, *self._options, *options),
        ]
        process = self._process(name, command)
        verifier = Verifier(process, engine, address, metrics_address, journal, command)
        self.verifiers.append(verifier)
        return verifier

    def start_again(self, *verifiers: Verifier, is_ready: bool = True) -> None:
        """Start some that have ended, all at once, with their addresses, journals and options.

        Waits until they let our gates in, unless they are not meant to be ready. Raises ProcessError.
        """
        again = []
        for verifier in verifiers:
            name = verifier.process.name
            self._port_file(name).unlink(missing_ok=True)
            again.append(replace(verifier, process=self._process(name, verifier.command)))
            self.verifiers[self.verifiers.index(verifier)] = again[-1]
        self.wait_for(*again, is_ready=is_ready)

    def wait_for(self, *verifiers: Verifier, is_ready: bool = True) -> None:
        """Return when these listen, and let our gates in where they are to be ready; raises ProcessError."""
        for verifier in verifiers:
            verifier.process.wait_for_file(self._port_file(verifier.process.name))
            if is_ready:
                if self.tls is None:
                    wait_until_serving(verifier.address, verifier.process)
                with self.connect(verifier) as gate:
                    wait_until_admitted(gate, verifier.process)

    def of(self, engine: str) -> Verifier:
        """Return the verifier of an engine that its gates ask first; raises ProcessError without one."""
        for verifier in self.verifiers:
            if verifier.engine == engine:
                return verifier
        raise ProcessError(f"there is no verifier on {engine}")

    def struck_verifiers(self) -> Sequence[Verifier]:
        """Return those of the engines that a fault is done to now."""
        return [one for one in self.verifiers if one.engine in self.engines_struck]

    def connect(self, verifier: Verifier) -> VerifierClient:
        """Return a gate of this one verifier."""
        return self._gate(verifier.address)

    def gate(self, engine: str, *, opens_once: bool = False) -> VerifierClient:
        """Return a gate that asks an engine's verifier first; `opens_once` is the one-entry gate."""
        return self._gate(self._target(engine), opens_once=opens_once)

    def code(self, credential_index: int) -> bytes:
        """Return the QR text of a code that is valid now, by the clock of the verifiers."""
        enrolled, now = self.city.file.people[credential_index], self.now()
        code = Code(enrolled.kind, credential_index, enrolled.generation, now, now + self.codes_good_s)
        return self.sign(code)

    def now(self) -> int:
        """Return the time by the clock of the verifiers, unless it was set wrong, Unix seconds."""
        return int(time.time() + self.clock.slept_s)

    def sign(self, code: Code) -> bytes:
        """Return the QR text of a code as the issuer signs it."""
        key = self.city.file.key()
        return sign_code(code, key=key, key_id=key_id_of(key))

    def someone_green(self) -> int:
        """Return the credential of somebody whose colour may be changed: another one each time."""
        greens = [index for index in range(CHANGED) if self.city.file.people[index].verdict.name == "GREEN"]
        self._changes += 1
        return greens[self._changes % len(greens)]

    def codes_for_once(self, engine: str) -> Iterator[bytes]:
        """Yield QR texts of people who are green, another one each time, and none of another engine's.

        Redis knows of all who have entered, wherever it was.
        """
        people = self.city.file.people
        greens = [index for index in range(CHANGED, KEPT_BACK) if people[index].verdict.name == "GREEN"]
        mine = greens[self.engines.index(engine) :: len(self.engines)]
        while True:  # the same person again has another code, seconds later
            yield from map(self._code_for_once, mine)

    def close(self) -> None:
        """Stop the verifiers, the last one first; the office is its owner's to close."""
        self.redis.thaw()
        for verifier in reversed(self.verifiers):
            verifier.process.stop()

    def _target(self, engine: str) -> str:
        return self.of(engine).address

    def _code_for_once(self, credential_index: int) -> bytes:
        return self.code(credential_index)

    def _gate(self, target: str, *, opens_once: bool = False) -> VerifierClient:
        gate_id, key = GATE_ID, self.city.gate_key
        if opens_once:
            gate_id, key = ENTRY_GATE_ID, self.city.entry_gate_key
        return VerifierClient(target, gate_id=gate_id, bearer_key=key, tls=self.tls)

    def _process(self, name: str, command: Sequence[str]) -> ServerProcess:
        return ServerProcess(name, command, folder=self.folder, environment=self.clock.environment)

    def _port_file(self, name: str) -> Path:
        return self.folder / f"{name}.port"


AnyScene = TypeVar("AnyScene", bound=Scene)


@contextmanager
def running(scene: AnyScene) -> Iterator[AnyScene]:
    """Start all verifiers of a scene, and stop them again; raises ProcessError."""
    try:
        scene.start_all()
        yield scene
    finally:
        scene.close()


def read_metrics(text: str) -> Metrics:
    """Return what stands in the text format of Prometheus, as its library writes it: without times."""
    samples = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}
