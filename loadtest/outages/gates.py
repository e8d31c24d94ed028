"""Honest gates: scans due at an even pace, whatever becomes of those before, each with its right verdict.

They use the client that is the product's, with its deadline and its retries, so that what fails here is what
a person at a gate would have met. Every tenth is not one scan but a gate hub's batch.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loadtest.corpus_file import Scan
from loadtest.latency import Latencies
from verifier.client import VerifierClient, VerifierClientError

BATCH = 20
_EVERY_BATCH = 10
# More than are ever under way: the longest that a call may take, 2 s, at the pace of the longest run.
_THREADS = 64
_MOST_WAITING = 10_000


@dataclass(slots=True)
class Phase:
    """What came of the scans that were due in one part of a trial."""

    latencies: Latencies = field(default_factory=Latencies)
    right: int = 0
    wrong: Counter[tuple[str, str]] = field(default_factory=Counter)  # by verdict expected and got
    failed: Counter[str] = field(default_factory=Counter)  # by gRPC status: no verdict at all
    oldest_status_s: float = 0.0

    @property
    def scans(self) -> int:
        """How many were due."""
        return self.right + self.wrong.total() + self.failed.total()


class Gates:
    """Scans all the time, from start() to stop(), and counts by phase."""

    def __init__(self, connect: Callable[[], VerifierClient], scans: Sequence[Scan], *, rate: float) -> None:
        """Ask `rate` calls a second over one client that `connect` makes; `scans` come again and again."""
        self._connect = connect
        self._scans = scans
        self._rate = rate
        self._phase = Phase()
        self._due: queue.Queue[tuple[float, int, Phase] | None] = queue.Queue(_MOST_WAITING)
        self._counting = threading.Lock()
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self.missed = 0  # by ourselves: the queue was full

    def start(self) -> None:
        """Begin."""
        self._client = self._connect()
        self._threads = [threading.Thread(target=self._ask_all, daemon=True) for _ in range(_THREADS)]
        self._pacing = threading.Thread(target=self._pace, daemon=True)
        for thread in (*self._threads, self._pacing):
            thread.start()

    def begin_phase(self) -> Phase:
        """Count the scans that are due from now on in a phase of their own, and return it."""
        self._phase = phase = Phase()
        return phase

    def stop(self) -> None:
        """Return when the last scan that was due has its answer."""
        self._ending.set()
        self._pacing.join()
        for _ in self._threads:
            self._due.put(None)
        for thread in self._threads:
            thread.join()
        self._client.close()

    def _pace(self) -> None:
        begun_at_s, number = time.monotonic(), 0
        while True:
            due_at_s = begun_at_s + number / self._rate
            if self._ending.wait(max(0.0, due_at_s - time.monotonic())):
                return
            try:
                self._due.put_nowait((due_at_s, number, self._phase))
            except queue.Full:
                self.missed += 1
            number += 1

    def _ask_all(self) -> None:
        while (due := self._due.get()) is not None:
            due_at_s, number, phase = due
            count = BATCH if number % _EVERY_BATCH == 0 else 1
            shown = [self._scans[(number * BATCH + one) % len(self._scans)] for one in range(count)]
            self._ask(shown, due_at_s, phase)

    def _ask(self, shown: Sequence[Scan], due_at_s: float, phase: Phase) -> None:
        try:
            if len(shown) == 1:
                answers = [self._client.verify(shown[0].qr_text)]
            else:
                answers = self._client.verify_many(scan.qr_text for scan in shown)
        except VerifierClientError as error:
            with self._counting:
                phase.failed[error.status] += len(shown)
            return
        took_s = time.monotonic() - due_at_s
        with self._counting:
            phase.latencies.record(took_s, len(shown))
            for scan, answer in zip(shown, answers, strict=True):
                if answer.verdict is scan.verdict:
                    phase.right += 1
                else:
                    got = answer.verdict.name if answer.verdict else "UNSPECIFIED"
                    phase.wrong[scan.verdict.name, got] += 1
                phase.oldest_status_s = max(phase.oldest_status_s, answer.status_age_ms / 1e3)
