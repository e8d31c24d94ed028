"""The workers together: as many as there should be, started again when they die, replaced one by one.

There is a place more than workers: in a rolling restart the new one answers before the old one drains.
Nothing here waits: the supervisor calls `look` about ten times a second.
"""

from collections.abc import Callable, Sequence

import structlog

from verifier.errors import VerifierError
from verifier.host.engine import Engine
from verifier.host.place import Change, Place
from verifier.host.restarts import Restarts
from verifier.host.rows import Row
from verifier.host.worker_config import WorkerConfig

_log = structlog.get_logger("verifier")


class WorkersFailed(VerifierError):
    """Workers die again and again; a restart does not help."""


class NeverReady(VerifierError):
    """A worker ended before it had answered once, at the first start: it cannot run as it was told to."""


class Workers:
    """Keeps `count` workers."""

    def __init__(
        self,
        engine: Engine,
        rows: Sequence[Row],
        *,
        count: int,
        configure: Callable[[int], WorkerConfig],
        monotonic: Callable[[], float],
    ) -> None:
        """`rows` has one more than `count`. `configure` returns the configuration for a place, by number."""
        self._places = [Place(number, row, engine, monotonic=monotonic) for number, row in enumerate(rows)]
        self._count = count
        self._configure = configure
        self._monotonic = monotonic
        # By place.
        self._restarts = [Restarts() for _ in rows]
        self._start_at_s: dict[int, float] = {}  # by place: when to start there, and nobody is there yet
        # A rolling restart: who still runs with an older configuration, and who was started with the next one
        # and is not ready yet. Once one was, the next configuration is the one for all that start.
        self._to_replace: list[Place] = []
        self._next = configure
        self._successor: Place | None = None
        self._successor_configure = configure
        self._is_first_start = True
        self.restarted = 0

    @property
    def serving(self) -> int:
        """How many answer."""
        return sum(place.is_ready for place in self._places)

    @property
    def are_all_ready(self) -> bool:
        """Whether as many answer as there should be."""
        return self.serving >= self._count

    @property
    def are_gone(self) -> bool:
        """Whether no process is left."""
        return all(place.is_empty for place in self._places)

    def start(self) -> None:
        """Start all of them at once."""
        for place in self._places[: self._count]:
            self._start(place)

    def look(self) -> None:
        """Start what is due and go on with a rolling restart; raises NeverReady or WorkersFailed."""
        for place in self._places:
            self._note(place, place.look())
        if self._is_first_start and self.are_all_ready:
            self._is_first_start = False
        now_s = self._monotonic()
        for number, start_at_s in list(self._start_at_s.items()):
            if now_s >= start_at_s:
                del self._start_at_s[number]
                self.restarted += 1
                self._start(self._places[number])
        self._roll()

    def replace(self, configure: Callable[[int], WorkerConfig]) -> None:
        """Begin to replace every worker by one with another configuration, whatever replacement goes on."""
        self._next = configure
        # Also those that died and are about to start again, perhaps for what is mended now.
        self._to_replace = [one for one in self._places if one.number in self._start_at_s or one.is_running]

    def drain(self) -> None:
        """Ask all to finish, and start none again."""
        self._start_at_s.clear()
        self._to_replace.clear()
        self._successor = None
        for place in self._places:
            place.drain()

    def wait_step(self) -> None:
        """See who has finished, after drain()."""
        for place in self._places:
            place.look()

    def kill(self) -> None:
        """End all of them now."""
        for place in self._places:
            place.kill()

    def _start(self, place: Place) -> None:
        try:
            place.start(self._configure(place.number))
        except OSError as error:
            _log.error("worker cannot be started", worker=place.number, error=str(error))
            self._died(place)

    def _note(self, place: Place, change: Change) -> None:
        if change is Change.READY:
            _log.info("worker is ready", worker=place.number)
        elif change is Change.DIED and place is self._successor:
            self._successor_failed()
        elif change is Change.DIED:
            self._died(place)

    def _died(self, place: Place) -> None:
        if self._is_first_start:
            raise NeverReady("a worker ended before it was ready: see the log above")
        delay_s = self._restarts[place.number].died(self._monotonic())
        if delay_s is None:
            raise WorkersFailed(f"worker {place.number} died again and again")
        _log.warning("worker is started again", worker=place.number, in_s=delay_s)
        self._start_at_s[place.number] = self._monotonic() + delay_s

    def _roll(self) -> None:
        """Take the next step of a rolling restart: start a successor, or let the old one drain for it."""
        if self._successor is not None:
            if self._successor.is_ready:
                self._succeed()
            return
        if not self._to_replace:
            return
        free = next(
            (one for one in self._places if one.is_empty and one.number not in self._start_at_s), None
        )
        if free is None:
            return  # the one before still drains
        self._successor, self._successor_configure = free, self._next
        try:
            free.start(self._next(free.number))
        except OSError as error:
            _log.error("worker cannot be started", worker=free.number, error=str(error))
            self._successor_failed()

    def _succeed(self) -> None:
        self._configure = self._successor_configure
        self._successor = None
        old = self._to_replace.pop(0)
        self._start_at_s.pop(old.number, None)  # it died meanwhile, and has its successor already
        old.drain()
        if not self._to_replace:
            _log.info("every worker runs with the new configuration")

    def _successor_failed(self) -> None:
        place, self._successor = self._successor, None
        if place in self._to_replace:  # its configuration was replaced meanwhile as well
            self._to_replace.remove(place)
            return
        self._to_replace.clear()
        _log.error("the new configuration does not run: other workers keep the old one")
