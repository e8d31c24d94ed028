"""A site: one connection, and the people who come to it when they are due."""

import itertools
import random
import uuid
from collections.abc import Iterator, Sequence
from typing import Final

import gevent

from loadtest.arrivals import due_times
from loadtest.corpus_file import CorpusFile, Walk
from loadtest.crowd.arrival import Arrival, groups
from loadtest.crowd.lanes import Stream
from loadtest.crowd.lines import Batch, Line, Shared, Unary

_LINES: Final[dict[str, type[Line]]] = {"unary": Unary, "batch": Batch, "stream": Stream}


class Site:
    """Runs in one greenlet. It is one of the plan's sites, so it has that part of the crowd."""

    def __init__(self, shared: Shared, corpus: CorpusFile, *, began_at: float, from_s: float) -> None:
        """Connect. People come from `from_s` seconds after `began_at`, the run's begin, Unix time."""
        self.line: Final = _LINES[shared.options.flavour](shared)
        self.is_over = False
        self._shared, self._options = shared, shared.options
        self._began_at, self._from_s = began_at, from_s
        self._rng = random.Random()
        self._walk = Walk(corpus, self._rng.getrandbits(64))
        self._name = uuid.uuid4().hex[:16]
        self._numbers = itertools.count(1)

    def run(self) -> None:
        """Return when the run is over and nothing is under way; raises CorpusTooOld."""
        if self._options.arrivals == "closed":
            self._run_closed()
        else:
            self._run_open()
        self.line.wait_until_idle()

    def _run_open(self) -> None:
        most = self._options.most_together
        linger_s = self._options.linger_s if self._options.flavour == "batch" else 0.0
        together = groups(self._due_times(), linger_s=linger_s, most=most)
        for wanted_at, due in together:
            self._wait_until(wanted_at)
            if self.is_over:
                return
            self.line.arrive(self._arrivals(due), wanted_at)

    def _run_closed(self) -> None:
        """The next come when the last are through: finds a ceiling, and shows nothing of what people wait."""
        count = self._options.most_together
        end = self._began_at + self._options.scenario.duration_s
        self._wait_until(self._began_at + self._from_s)
        while not self.is_over and (now := self._shared.now()) < end:
            self.line.arrive(self._arrivals([now] * count), now)
            self.line.wait_until_idle()

    def _due_times(self) -> Iterator[float]:
        scenario = self._options.scenario
        since_begin = due_times(
            self._options.profile,
            per_s=self._options.per_site_s,
            duration_s=scenario.duration_s,
            process=self._options.arrivals,
            rng=self._rng,
        )
        return (self._began_at + due_s for due_s in since_begin if due_s >= self._from_s)

    def _arrivals(self, due: Sequence[float]) -> list[Arrival]:
        key_changes_at = self._began_at + self._options.key_changes_at_s
        now = self._shared.now()
        return [
            Arrival(
                at,
                f"{self._name}-{next(self._numbers)}",
                # What they show is what is right now: who was due long ago holds a newer code by now.
                self._walk.next(now, 1 if now >= key_changes_at else 0),
                self.line,
            )
            for at in due
        ]

    def _wait_until(self, at: float) -> None:
        # Where we are behind, answers and other sites have their turn all the same.
        if at <= self._shared.now():
            gevent.sleep(0)
        # gevent's timers count from when its loop last looked at the clock, so they can be early.
        while not self.is_over and (ahead_s := at - self._shared.now()) > 0:
            gevent.sleep(ahead_s)
