"""A whole Gatelight for a scenario, on this machine: Redis, who writes the status, and verifiers to break.

Set it up, and have acts done, from the main thread (guard.py).
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from loadtest.embedded_redis import free_port
from loadtest.office import Office, city_office, issuer_office
from loadtest.process_tree import Running, tree
from loadtest.processes import ProcessError, ServerProcess
from loadtest.scenario import Act
from loadtest.stage import wait_until_admitted, wait_until_serving
from loadtest.verdict_metrics import read_verdicts
from verifier.client import VerifierClient

START_VERIFIER = "start-verifier"


class Town:
    """The running parts, with a place for each verifier that the acts start later."""

    def __init__(
        self, office: Office, *, folder: Path, engine: str, workers: int | None, acts: Sequence[Act] = ()
    ) -> None:
        """Start the first verifier and wait until it serves; raises ProcessError.

        `workers` None: as many as the verifier says itself, one a core.
        """
        self.office = office
        self._folder = folder
        self._engine = engine
        self._workers = workers
        self._verifiers: list[ServerProcess] = []
        self._metrics: dict[str, str] = {}
        later = sum(act.name == START_VERIFIER for act in acts)
        # All addresses are known from the start, since generators are told once.
        self.addresses = tuple(f"127.0.0.1:{free_port()}" for _ in range(1 + later))
        try:
            self.start_verifier()
        except BaseException:
            self.close()
            raise

    @property
    def servers(self) -> Mapping[str, Running]:
        """What runs, or is meant to."""
        return {**self.office.servers, **{one.name: one for one in self._verifiers}}

    def never_asked(self) -> Sequence[str]:
        """Return the verifiers that joined later and, as far as they say, told nobody GREEN."""
        joined = list(self._metrics.items())[1:]
        return [name for name, address in joined if not _greens(address)]

    def do(self, act: str) -> None:
        """Carry out an act of a scenario; returns when it is done. Raises ProcessError, ValueError."""
        acts: Mapping[str, Callable[[], object]] = {
            "freeze-verifier": self.freeze_verifiers,
            "thaw-verifier": self.thaw_verifiers,
            START_VERIFIER: self.start_verifier,
            "freeze-redis": self.office.redis.freeze,
            "thaw-redis": self.office.redis.thaw,
            "kill-redis": self.office.redis.kill,
            "start-redis": self.office.start_redis,
            "publish-next-key": self.office.publish_next_key,
            "new-epoch": self.office.new_epoch,
        }
        if act not in acts:
            raise ValueError(f"nobody can do {act!r}")
        acts[act]()

    def start_verifier(self) -> None:
        """Start the next verifier and wait until it lets our gate in; raises ProcessError.

        It remembers no codes: a corpus has fewer than a crowd, and each site shows them in an order of its
        own, so that a verifier would know one in five already. At a gate each code is new.
        """
        number = len(self._verifiers) + 1
        if number > len(self.addresses):
            raise ProcessError(f"there is no address for verifier-{number}")
        address = self.addresses[number - 1]
        port_file = self._folder / f"verifier-{number}.port"
        name = f"verifier-{number}"
        self._metrics[name] = f"127.0.0.1:{free_port()}"
        verifier = ServerProcess(
            name,
            [
                *(sys.executable, "-m", "verifier", "serve", "--listen", address),
                *("--root-key", str(self.office.root_key), "--redis-url", self.office.redis.url),
                *("--engine", self._engine, "--gate-auth", "key", "--known-codes", "0"),
                *(("--workers", str(self._workers)) if self._workers else ()),
                *("--journal", str(self._folder / f"verifier-{number}.journal")),
                *("--metrics-listen", self._metrics[name], "--port-file", str(port_file)),
            ],
            folder=self._folder,
        )
        self._verifiers.append(verifier)
        verifier.wait_for_file(port_file)
        wait_until_serving(address, verifier)
        with VerifierClient(address, gate_id=self.office.gate_id, bearer_key=self.office.gate_key) as gate:
            wait_until_admitted(gate, verifier)

    def freeze_verifiers(self) -> None:
        """Stop all processes of all verifiers in their tracks, those first that would notice."""
        for verifier in self._verifiers:
            for process in _tree(verifier):
                _send(process, signal.SIGSTOP)

    def thaw_verifiers(self) -> None:
        """Let frozen verifiers go on."""
        for verifier in self._verifiers:
            for process in reversed(_tree(verifier)):
                _send(process, signal.SIGCONT)

    def close(self) -> None:
        """Stop the verifiers, frozen or not; the office is its owner's to close."""
        self.office.redis.thaw()  # they end sooner than they would without an answer
        self.thaw_verifiers()
        for verifier in reversed(self._verifiers):
            verifier.stop()


def _greens(metrics_address: str) -> int:
    with contextlib.suppress(OSError):
        return read_verdicts(metrics_address)["GREEN"]
    return 0


def _tree(verifier: ServerProcess) -> Sequence[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return tree(verifier)
    return ()


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


@contextmanager
def town(
    folder: Path, *, engine: str, workers: int | None, has_issuer: bool = False, acts: Sequence[Act] = ()
) -> Iterator[Town]:
    """Set up a town in `folder` and tear it down again; raises ProcessError."""
    with issuer_office(folder) if has_issuer else city_office(folder) as office:
        running = Town(office, folder=folder, engine=engine, workers=workers, acts=acts)
        try:
            yield running
        finally:
            running.close()
