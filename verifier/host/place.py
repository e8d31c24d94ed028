"""One place among the workers: the process that is there, and what is to become of it."""

import contextlib
import signal
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

import structlog

from verifier.host.engine import Engine, Process
from verifier.host.rows import Phase, Row
from verifier.host.worker_config import WorkerConfig

# A worker ticks ten times a second; one that says nothing for so long is frozen or hangs.
MAX_SILENCE_S = 10.0
# One that also used no processor time is frozen, and not only late. Gates wait 2 s for an answer: where
# another worker answers, this one is ended so soon that they get theirs there.
FROZEN_S = 1.0
# As _MAX_STEP_S, and shorter: nobody is frozen by what was seen in less than a few looks.
_MAX_FROZEN_STEP_S = 0.2
# Time for imports from a cold disk. The size of the mirror has no part in it.
START_TIMEOUT_S = 30.0
# After its grace a worker closes its journal and ends: more than enough.
GRACE_MARGIN_S = 3.0
# The supervisor may be frozen itself: what it slept through counts as this much silence of others.
_MAX_STEP_S = 1.0

_log = structlog.get_logger("verifier")


def cpu_time(pid: int) -> int | None:
    """Return the processor time that a process has used, in hundredths of a second; None where not known."""
    try:
        # proc(5): behind the name, which may have anything in it; fields 14 and 15.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[11]) + int(fields[12])
    except (OSError, IndexError, ValueError):  # another system, or it has ended
        return None


class Change(Enum):
    """What a look at a place found."""

    NOTHING = auto()
    READY = auto()  # the worker answers from now on
    DIED = auto()  # it ended without being asked to, or was killed because it hung
    DRAINED = auto()  # it ended as it was asked to


class Place:
    """Holds at most one worker process at a time."""

    def __init__(
        self,
        number: int,
        row: Row,
        engine: Engine,
        *,
        monotonic: Callable[[], float],
        cpu_time: Callable[[int], int | None] = cpu_time,
    ) -> None:
        """`cpu_time` returns what a process has used so far, by its id; None where that is not known."""
        self.number = number
        self._cpu_time = cpu_time
        self._row = row
        self._engine = engine
        self._monotonic = monotonic
        self._process: Process | None = None
        self._config: WorkerConfig | None = None
        self._is_ready = False
        self._kill_at_s: float | None = None  # set while it drains
        self._heartbeat_s = 0.0
        self._silent_s = 0.0
        self._still_s = 0.0  # the same, by looks of a length that proves something
        self._cpu_when_silent: int | None = None
        self._looked_at_s = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nobody is there."""
        return self._process is None

    @property
    def is_running(self) -> bool:
        """Whether there is a worker that was not asked to finish, ready or not."""
        return self._process is not None and self._kill_at_s is None

    @property
    def is_ready(self) -> bool:
        """Whether the worker answers, and was not asked to finish."""
        return self._is_ready and self._kill_at_s is None

    @property
    def is_serving(self) -> bool:
        """Whether the worker gives verdicts: it is ready, and nothing is missing."""
        return self.is_ready and self._row.phase is Phase.SERVING

    @property
    def is_answering(self) -> bool:
        """Whether the worker gives verdicts, and said so at the last look."""
        return self.is_serving and not self._silent_s

    def start(self, config: WorkerConfig) -> None:
        """Start a worker; raises whatever the engine raises, nobody being there then."""
        self._row.clear()
        self._process = self._engine.spawn(config)
        self._config = config
        self._is_ready, self._kill_at_s = False, None
        self._heartbeat_s = self._silent_s = self._still_s = 0.0
        self._looked_at_s = self._monotonic()

    def look(self, *, others_answer: bool = False) -> Change:
        """See what became of the worker since the last look; to be called about ten times a second.

        Where `others_answer` a frozen one is ended at once: with none of them, late answers are better.
        """
        if self._process is None:
            return Change.NOTHING
        now_s = self._monotonic()
        step_s = min(_MAX_STEP_S, now_s - self._looked_at_s)
        self._looked_at_s = now_s
        code = self._process.poll()
        if code is not None:
            return self._ended(code)
        if self._kill_at_s is not None:
            if now_s >= self._kill_at_s:
                _log.warning("worker does not end: killed", worker=self.number)
                self._send(signal.SIGKILL)
            return Change.NOTHING
        heartbeat_s = self._row.heartbeat_s
        is_alive = self._is_ready and heartbeat_s != self._heartbeat_s
        self._silent_s = 0.0 if is_alive else self._silent_s + step_s
        self._still_s = 0.0 if is_alive else self._still_s + min(_MAX_FROZEN_STEP_S, step_s)
        self._heartbeat_s = heartbeat_s
        is_frozen = self._is_ready and self._is_frozen(self._process.pid) and others_answer
        if is_frozen or self._silent_s >= (MAX_SILENCE_S if self._is_ready else START_TIMEOUT_S):
            _log.error("worker gives no sign of life: killed", worker=self.number)
            self._send(signal.SIGKILL)
            self._silent_s = self._still_s = 0.0
        if not self._is_ready and self._row.phase in (Phase.SERVING, Phase.NOT_SERVING):
            self._is_ready, self._silent_s = True, 0.0
            return Change.READY
        return Change.NOTHING

    def drain(self) -> None:
        """Ask the worker to finish, and see to it that it does."""
        if self._process is None or self._config is None or self._kill_at_s is not None:
            return
        self._kill_at_s = self._monotonic() + self._config.grace_s + GRACE_MARGIN_S
        self._row.ask_to_drain()
        self._send(signal.SIGCONT)  # a frozen one hears nothing
        with contextlib.suppress(OSError):
            self._engine.drain(self._process, self._config)

    def _is_frozen(self, pid: int) -> bool:
        """Tell whether it has been silent for so long, and used no processor time meanwhile."""
        if 0.0 < self._still_s <= _MAX_FROZEN_STEP_S:
            self._cpu_when_silent = self._cpu_time(pid)
        if self._still_s < FROZEN_S or self._cpu_when_silent is None:
            return False
        return self._cpu_time(pid) == self._cpu_when_silent

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.send_signal(number)

    def _ended(self, code: int) -> Change:
        was_asked = self._kill_at_s is not None
        if not was_asked:
            _log.error("worker died", worker=self.number, code=code)
        self._process = self._config = None
        self._is_ready, self._kill_at_s = False, None
        self._row.clear()
        return Change.DRAINED if was_asked else Change.DIED
