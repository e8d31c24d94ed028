"""Verifiers for faults of a machine: what they keep lies where we know, and their disk can be full.

Where Linux lets us, each journal lies on a small disk in memory that nobody else sees, and that is gone with
its verifier. Redis is asked through a network that can be slow.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from issuer.signing import WINDOW_S
from loadtest.office import CREDENTIALS, CityOffice, city_office
from loadtest.outages.scene import Scene, Verifier, running
from loadtest.outages.slow_proxy import SlowProxy
from loadtest.processes import READY_TIMEOUT_S, ProcessError
from verifier.wire.code import Code

WORKERS = 2
_SIDE_BY_SIDE = 2
_LOOK_S = 0.05
# Phones show a new code every half a minute.
_SHOWN_AFTER_S = 15
# More than a journal takes in a trial.
_DISK_MIB = 32
_MOUNT = f'mount -t tmpfs -o size={_DISK_MIB}m none "$0" && exec "$@"'
_MAY_MOUNT_TIMEOUT_S = 10


class HostScene(Scene):
    """A verifier of each engine, with two workers."""

    codes_good_s = 7_200  # shorter than a day, by which clocks are set wrong
    workers = WORKERS

    def __init__(
        self,
        office: CityOffice,
        *,
        folder: Path,
        engines: Sequence[str],
        proxy: SlowProxy | None = None,
    ) -> None:
        """None is started yet; `proxy` is one in front of the office's Redis. Raises OSError."""
        self.proxy = proxy
        self._disk = folder / "disk"
        self._disk.mkdir()
        runner = _runner(self._disk)
        self.is_disk_small = bool(runner)
        super().__init__(
            office,
            folder=folder,
            engines=engines,
            redis_url=proxy.redis_url if proxy else None,
            options=["--workers", str(self.workers)],
            runner=runner,
        )

    def begin_verifier(self, engine: str, *options: str) -> Verifier:
        """Start one more, with a journal and a kept state of its own; does not wait for it."""
        number = len(self.verifiers)
        kept = ("--journal", str(self._disk / str(number)), "--state", str(self._state(number)))
        return super().begin_verifier(engine, *kept, *options)

    def journal_of(self, verifier: Verifier) -> Path:
        """Return where the journal of a verifier that runs can be reached."""
        inside = self._disk / str(self.verifiers.index(verifier))
        return Path(f"/proc/{verifier.process.pid}/root{inside}") if self.is_disk_small else inside

    def state_of(self, verifier: Verifier) -> Path:
        """Return the folder of what a verifier keeps for its next start."""
        return self._state(self.verifiers.index(verifier))

    def _state(self, number: int) -> Path:
        return self.folder / f"state-{number}"

    def _code_for_once(self, credential_index: int) -> bytes:
        """Return a code as phones show them, of a minute: a clock that is wrong does not let it pass."""
        enrolled = self.city.file.people[credential_index]
        begun = self.now() - _SHOWN_AFTER_S
        return self.sign(Code(enrolled.kind, credential_index, enrolled.generation, begun, begun + WINDOW_S))


class PairScene(HostScene):
    """Verifiers side by side, with a worker each: gates know all, and ask those of their own engine first."""

    workers = 1
    is_side_by_side = True

    def start_all(self) -> None:
        """Start one of each engine, or two of the only one; raises ProcessError."""
        for number in range(max(_SIDE_BY_SIDE, len(self.engines))):
            self.begin_verifier(self.engines[number % len(self.engines)])
        self.wait_for(*self.verifiers)

    def asked(self) -> Verifier:
        """Return the verifier, of the engine struck now, that gates ask; raises ProcessError when none do."""
        most = max(self.struck_verifiers(), key=_gates)
        if not _gates(most):
            raise ProcessError(f"no gate asks {most.process.name}")
        return most

    def _target(self, engine: str) -> str:
        """All of them: gRPC goes to another one when one is gone."""
        in_order = sorted(self.verifiers, key=lambda one: one.engine != engine)
        return "ipv4:" + ",".join(one.address for one in in_order)


def asked_worker(verifier: Verifier) -> psutil.Process:
    """Return the worker of a verifier that most gates ask; raises ProcessError."""
    workers = verifier.workers()
    if not workers:
        raise ProcessError(f"{verifier.process.name} does not run")
    return max(workers, key=lambda worker: _gates_of(verifier, worker))


def on_host(do: Callable[[HostScene], object]) -> Callable[[Scene], object]:
    """Return what a fault does to a scene of these, as it is said of any scene."""

    def done(scene: Scene) -> object:
        if not isinstance(scene, HostScene):
            raise TypeError(f"expected verifiers on a machine of their own, got {type(scene).__name__}")
        return do(scene)

    return done


def on_pair(do: Callable[[PairScene], object]) -> Callable[[Scene], object]:
    """Return the same of what a fault does to verifiers side by side."""

    def done(scene: Scene) -> object:
        if not isinstance(scene, PairScene):
            raise TypeError(f"expected verifiers side by side, got {type(scene).__name__}")
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
    folder: Path, *, engines: Sequence[str], credentials: int = CREDENTIALS
) -> Iterator[HostScene]:
    """Set up Redis, a proxy, a city and these verifiers in `folder`, and tear them down again.

    Raises ProcessError.
    """
    with (
        city_office(folder, credentials=credentials) as office,
        SlowProxy(office.redis.port) as proxy,
        running(HostScene(office, folder=folder, engines=engines, proxy=proxy)) as here,
    ):
        yield here


@contextmanager
def pair_scene(
    folder: Path, *, engines: Sequence[str], credentials: int = CREDENTIALS
) -> Iterator[PairScene]:
    """Set up the same with verifiers side by side, for faults that take a whole one away."""
    with (
        city_office(folder, credentials=credentials) as office,
        running(PairScene(office, folder=folder, engines=engines)) as here,
    ):
        yield here


def _gates(verifier: Verifier) -> int:
    return sum(_gates_of(verifier, worker) for worker in verifier.workers())


def _gates_of(verifier: Verifier, worker: psutil.Process) -> int:
    """Return how many connections a worker has that gates made."""
    port = int(verifier.address.rpartition(":")[2])
    with contextlib.suppress(psutil.Error):
        connections = worker.net_connections("tcp")
        return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port for one in connections)
    return 0


def _runner(disk: Path) -> Sequence[str]:
    """Return the command that gives a process a small disk of its own there; empty where that may not be."""
    for unshare in (["unshare", "-m"], ["unshare", "-rm"]):  # the second one for who is not root
        runner = [*unshare, "sh", "-c", _MOUNT, str(disk)]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run([*runner, "true"], check=True, capture_output=True, timeout=_MAY_MOUNT_TIMEOUT_S)
            return runner
    return []
