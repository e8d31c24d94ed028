"""The supervisor: starts the workers, keeps them running, renews them, and ends with them.

It waits for signals and looks at its workers ten times a second. SIGTERM and SIGINT drain, SIGHUP renews
every worker with the configuration as it is then.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from verifier.counters import Counter
from verifier.errors import SettingsError
from verifier.host.metrics import Skew
from verifier.host.rows import Phase, Row
from verifier.host.signals import Signals
from verifier.host.worker_config import WorkerConfig
from verifier.host.workers import NeverReady, Workers

_LOOK_S = 0.1
_SKEW_S = 10.0

_log = structlog.get_logger("verifier")

Configure = Callable[[int], WorkerConfig]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The configuration as it is now."""

    configure: Configure  # for workers that start from now on
    except_for: Sequence[str] = ()  # settings that have changed, and need a restart


class Supervisor:
    """Runs the workers."""

    def __init__(
        self,
        workers: Workers,
        *,
        signals: Signals,
        reload: Callable[[], Reloaded | None],
        on_ready: Callable[[], None],
        skew: Skew,
        rows: tuple[Row, ...],
    ) -> None:
        """`reload` reads the configuration anew, None where it cannot be used; `on_ready` is called once all
        workers answer.
        """
        self._workers = workers
        self._signals = signals
        self._reload = reload
        self._on_ready = on_ready
        self._skew = skew
        self._rows = rows
        self._sample_at_s = time.monotonic() + _SKEW_S

    def run(self) -> None:
        """Return when all workers have ended as they were told to.

        Raises SettingsError when a worker cannot be started or run at all, and WorkersFailed when one dies
        again and again and no other answers.
        """
        try:
            self._start()
            while not self._signals.stops:
                if self._signals.is_to_reload:
                    self._signals.is_to_reload = False
                    self._renew()
                self._workers.look()
                self._sample()
                self._signals.wait(_LOOK_S)
        finally:
            self._end()

    def _start(self) -> None:
        try:
            self._workers.start()
            while not (self._signals.stops or self._workers.are_all_ready):
                self._workers.look()
                self._signals.wait(_LOOK_S / 5)
        except NeverReady as error:
            raise SettingsError(str(error)) from None
        if not self._signals.stops:
            self._on_ready()

    def _renew(self) -> None:
        reloaded = self._reload()
        if reloaded is not None:
            # Whatever has changed: the certificates may have, in files of the same name.
            _log.info("workers are replaced one by one")
            self._workers.replace(reloaded.configure, except_for=reloaded.except_for)

    def _end(self) -> None:
        _log.info("verifier drains")
        self._workers.drain()
        # Each worker that does not end in its time is killed, so this comes to an end.
        while not self._workers.are_gone:
            self._workers.wait_step()
            self._signals.wait(_LOOK_S / 5)

    def _sample(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._sample_at_s:
            self._sample_at_s = now_s + _SKEW_S
            self._skew.sample(
                [row.counters.get(Counter.CALLS) for row in self._rows],
                serving=sum(row.phase is Phase.SERVING for row in self._rows),
            )
