"""Two verifiers side by side, for faults of a machine: gates know both, and each has a disk that can be full.

The wall clock of both can be set (wall_clock.py). Where Linux lets us, their journals lie on a small disk in
memory that nobody else sees, and that is gone with them.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from issuer.key_store import key_id_of
from issuer.signing import WINDOW_S, sign_code
from loadtest.city import City
from loadtest.office import CREDENTIALS, CityOffice, city_office
from loadtest.outages.scene import CHANGED, KEPT_BACK, Scene, Verifier
from loadtest.outages.wall_clock import WallClock
from loadtest.processes import READY_TIMEOUT_S, ProcessError
from verifier.wire.code import Code

WORKERS = 2
_VERIFIERS = 2
_LOOK_S = 0.02
# Phones show a new code every half a minute.
_SHOWN_AFTER_S = 15
# More than a journal takes in a trial.
_DISK_MIB = 32
_MOUNT = f'mount -t tmpfs -o size={_DISK_MIB}m none "$0" && exec "$@"'
_MAY_MOUNT_TIMEOUT_S = 10


class HostScene(Scene):
    """Two verifiers."""

    def __init__(self, office: CityOffice, *, folder: Path, engine: str, workers: int = WORKERS) -> None:
        """None is started yet; raises OSError."""
        self.clock = WallClock(folder / "clock")
        self._disk = folder / "disk"
        self._disk.mkdir()
        runner = _runner(self._disk)
        self.is_disk_small = bool(runner)
        super().__init__(
            office,
            folder=folder,
            engine=engine,
            options=["--workers", str(workers)],
            environment=self.clock.environment,
            runner=runner,
        )

    def start_all(self) -> None:
        """Start both; raises ProcessError."""
        for number in range(_VERIFIERS):
            journal, state = self._disk / str(number), self._state(number)
            self.start_verifier("--journal", str(journal), "--state", str(state))

    def codes_for_once(self) -> Iterator[bytes]:
        """Yield codes as phones show them, of a minute each: a clock that is wrong does not let them pass."""
        city = self.city
        while True:
            for index in range(CHANGED, KEPT_BACK):
                if city.file.people[index].verdict.name == "GREEN":
                    yield _code_of_a_minute(city, index)

    def journal_of(self, verifier: Verifier) -> Path:
        """Return where the journal of a verifier that runs can be reached."""
        inside = self._disk / str(self.verifiers.index(verifier))
        return Path(f"/proc/{verifier.process.pid}/root{inside}") if self.is_disk_small else inside

    def state_of(self, verifier: Verifier) -> Path:
        """Return the folder of what a verifier keeps for its next start."""
        return self._state(self.verifiers.index(verifier))

    def _state(self, number: int) -> Path:
        return self.folder / f"state-{number}"

    def asked(self) -> Verifier:
        """Return the verifier that the gates ask."""
        return max(self.verifiers, key=lambda one: sum(_gates(one, worker) for worker in one.workers()))

    def asked_worker(self) -> psutil.Process:
        """Return the worker that most gates ask; raises ProcessError."""
        verifier = self.asked()
        workers = verifier.workers()
        if not workers:
            raise ProcessError("no verifier runs")
        return max(workers, key=lambda worker: _gates(verifier, worker))

    def _target(self, verifier: Verifier | None) -> str:
        """All of them, in their order, unless one is named: gRPC goes to another one when one is gone."""
        if verifier is not None:
            return verifier.address
        return "ipv4:" + ",".join(one.address for one in self.verifiers)


def on_host(do: Callable[[HostScene], object]) -> Callable[[Scene], object]:
    """Return what a fault does to a scene of these, as it is said of any scene."""

    def done(scene: Scene) -> object:
        if not isinstance(scene, HostScene):
            raise TypeError(f"expected two verifiers side by side, got {type(scene).__name__}")
        return do(scene)

    return done


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Return when something holds; raises ProcessError, saying what, when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise ProcessError(f"{what}: not so after {timeout_s:g} s")
        time.sleep(_LOOK_S)


@contextmanager
def host_scene(
    folder: Path, *, engine: str, credentials: int = CREDENTIALS, workers: int = WORKERS
) -> Iterator[HostScene]:
    """Set up Redis, a city and two verifiers in `folder`, and tear them down again; raises ProcessError."""
    with city_office(folder, credentials=credentials) as office:
        running = HostScene(office, folder=folder, engine=engine, workers=workers)
        try:
            running.start_all()
            yield running
        finally:
            running.close()


def _code_of_a_minute(city: City, credential_index: int) -> bytes:
    enrolled = city.file.people[credential_index]
    begun = int(time.time()) - _SHOWN_AFTER_S
    code = Code(enrolled.kind, credential_index, enrolled.generation, begun, begun + WINDOW_S)
    key = city.file.key()
    return sign_code(code, key=key, key_id=key_id_of(key))


def _gates(verifier: Verifier, worker: psutil.Process) -> int:
    """Return how many connections a worker has that gates made."""
    port = int(verifier.address.rpartition(":")[2])
    with contextlib.suppress(psutil.Error):
        connections = worker.net_connections("tcp")
        return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port for one in connections)
    return 0


@contextmanager
def small_host_scene(folder: Path, *, engine: str, credentials: int = CREDENTIALS) -> Iterator[HostScene]:
    """Set up the same with a worker each, for faults that start them again and again."""
    with host_scene(folder, engine=engine, credentials=credentials, workers=1) as running:
        yield running


def _runner(disk: Path) -> Sequence[str]:
    """Return the command that gives a process a small disk of its own there; empty where that may not be."""
    for unshare in (["unshare", "-m"], ["unshare", "-rm"]):  # the second one for who is not root
        runner = [*unshare, "sh", "-c", _MOUNT, str(disk)]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run([*runner, "true"], check=True, capture_output=True, timeout=_MAY_MOUNT_TIMEOUT_S)
            return runner
    return []
