"""The workers together: as many as there should be, started again when they die, replaced one by one.

There is a place more than workers: in a rolling restart the new one answers before the old one drains.
Nothing here waits: the supervisor calls `look` about ten times a second.
"""

from collections.abc import Callable, Sequence

import structlog

from verifier.errors import VerifierError
from verifier.host.engine import Engine
from verifier.host.place import Change, Place, cpu_time
from verifier.host.restarts import MAX_DELAY_S, Restarts
from verifier.host.rows import Row
from verifier.host.worker_config import WorkerConfig
from verifier.logs import where_raised

# A worker takes what is published before its first answer, so one that is ready serves at once, if ever. For
# this time it refuses the scans that come to it.
SERVE_TIMEOUT_S = 2.0

_log = structlog.get_logger("verifier")


class WorkersFailed(VerifierError):
    """Workers die again and again, and none answers; a restart does not help."""


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
        cpu_time: Callable[[int], int | None] = cpu_time,
    ) -> None:
        """`rows` has one more than `count`. `configure` returns the configuration for a place, by number;
        `cpu_time` is as in Place.
        """
        self._places = [
            Place(number, row, engine, monotonic=monotonic, cpu_time=cpu_time)
            for number, row in enumerate(rows)
        ]
        self._count = count
        self._configure = configure
        self._monotonic = monotonic
        # By place.
        self._restarts = [Restarts() for _ in rows]
        self._start_at_s: dict[int, float] = {}  # by place: when to start there, and nobody is there yet
        # A rolling restart: who still runs with an older configuration, and who was started with the next one
        # and does not serve yet. Once one does, the next configuration is the one for all that start.
        self._to_replace: list[Place] = []
        self._next = configure
        self._except_for: Sequence[str] = ()
        self._successor: Place | None = None
        self._successor_configure = configure
        self._successor_ready_at_s: float | None = None
        self._roll_restarts = Restarts()
        self._roll_at_s = 0.0
        self._started_with: dict[int, Callable[[int], WorkerConfig]] = {}  # by place
        self._is_first_start = True
        self.restarted = 0

    @property
    def serving(self) -> int:
        """How many answer."""
        return sum(place.is_ready for place in self._places)

    @property
    def outdated(self) -> int:
        """How many run with another configuration than the newest one that was to be taken up."""
        return sum(
            place.is_running and self._started_with[place.number] is not self._next for place in self._places
        )

    @property
    def configure(self) -> Callable[[int], WorkerConfig]:
        """What configures a worker that starts now: the newest configuration with which one served."""
        return self._configure

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
            others_answer = any(other.is_answering for other in self._places if other is not place)
            self._note(place, place.look(others_answer=others_answer))
        if self._is_first_start and self.are_all_ready:
            self._is_first_start = False
        now_s = self._monotonic()
        for number, start_at_s in list(self._start_at_s.items()):
            if now_s >= start_at_s:
                del self._start_at_s[number]
                self.restarted += 1
                self._start(self._places[number])
        self._roll()

    def replace(self, configure: Callable[[int], WorkerConfig], *, except_for: Sequence[str] = ()) -> None:
        """Begin to replace every worker by one with another configuration, whatever replacement goes on.

        `except_for` names settings that it does not take up.
        """
        self._next = configure
        self._except_for = except_for
        self._roll_restarts, self._roll_at_s = Restarts(), 0.0
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

    def _start(self, place: Place) -> None:
        if self._try_to_start(place, self._configure):
            self._restarts[place.number].started()
            return
        self._require_no_first_start()
        self._start_again(place, self._restarts[place.number].could_not_start())

    def _try_to_start(self, place: Place, configure: Callable[[int], WorkerConfig]) -> bool:
        self._started_with[place.number] = configure  # before anybody is there, of whom others may ask
        try:
            place.start(configure(place.number))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other workers go on
            why = (
                str(error) if isinstance(error, OSError) else f"{type(error).__name__} {where_raised(error)}"
            )
            _log.error("worker cannot be started", worker=place.number, error=why)
            return False
        return True

    def _note(self, place: Place, change: Change) -> None:
        if change is Change.READY:
            _log.info("worker is ready", worker=place.number)
        elif change is Change.DIED and place is self._successor:
            self._successor_failed()
        elif change is Change.DIED:
            self._died(place)

    def _died(self, place: Place) -> None:
        self._require_no_first_start()
        delay_s = self._restarts[place.number].died(self._monotonic())
        if delay_s is None:
            if not self.serving:
                raise WorkersFailed(f"worker {place.number} died again and again")
            # Whatever kills this one, those who answer would end with us.
            _log.error("worker dies again and again, others answer", worker=place.number)
            delay_s = MAX_DELAY_S
        self._start_again(place, delay_s)

    def _require_no_first_start(self) -> None:
        if self._is_first_start:
            raise NeverReady("a worker ended before it was ready: see the log above")

    def _start_again(self, place: Place, delay_s: float) -> None:
        _log.warning("worker is started again", worker=place.number, in_s=delay_s)
        self._start_at_s[place.number] = self._monotonic() + delay_s

    def _roll(self) -> None:
        """Take the next step of a rolling restart: start a successor, or let the old one drain for it."""
        if self._successor is not None:
            self._look_at_successor(self._successor)
            return
        if not self._to_replace or self._monotonic() < self._roll_at_s:
            return
        free = next(
            (one for one in self._places if one.is_empty and one.number not in self._start_at_s), None
        )
        if free is None:
            return  # the one before still drains
        self._successor, self._successor_configure = free, self._next
        self._successor_ready_at_s = None
        if not self._try_to_start(free, self._next):
            self._successor_failed()

    def _look_at_successor(self, successor: Place) -> None:
        if not successor.is_ready:
            return  # it dies, or is killed, if it never will be
        # Where nobody serves there is nothing to lose, and perhaps this configuration is what mends it.
        if successor.is_serving or not any(one.is_serving for one in self._to_replace):
            self._succeed()
            return
        now_s = self._monotonic()
        if self._successor_ready_at_s is None:
            self._successor_ready_at_s = now_s
        if now_s - self._successor_ready_at_s >= SERVE_TIMEOUT_S:
            _log.error("the new worker does not serve, and the old ones do", worker=successor.number)
            successor.drain()
            self._successor_failed()

    def _succeed(self) -> None:
        self._configure = self._successor_configure
        self._successor = None
        old = self._to_replace.pop(0)
        self._start_at_s.pop(old.number, None)  # it died meanwhile, and has its successor already
        old.drain()
        if not self._to_replace:
            exceptions = f" except {', '.join(self._except_for)}: restart for it" if self._except_for else ""
            _log.info(f"every worker runs with the new configuration{exceptions}")

    def _successor_failed(self) -> None:
        place, self._successor = self._successor, None
        if place in self._to_replace:  # its configuration was replaced meanwhile as well
            self._to_replace.remove(place)
            return
        if self._next is self._configure:
            # It runs elsewhere, so what failed here may pass, and workers should be alike.
            delay_s = self._roll_restarts.died(self._monotonic())
            self._roll_at_s = self._monotonic() + (MAX_DELAY_S if delay_s is None else delay_s)
            _log.error("a worker cannot be replaced yet: others run with the new configuration")
            return
        self._to_replace.clear()
        _log.error("the new configuration does not run: workers keep the old one")
