"""One generating process: its sites, what they share, and its reports to the master.

Knows gRPC: imported after Locust forked. gRPC must have been told of gevent before.
"""

import time
from collections.abc import Callable
from typing import Final

import gevent

from loadtest.corpus_file import CorpusError
from loadtest.crowd.bound import Bound
from loadtest.crowd.connection import CannotConnect, Target
from loadtest.crowd.given_corpus import LEAD_S, UnfitCorpus, open_corpus
from loadtest.crowd.lines import Shared
from loadtest.crowd.options import LoadOptions
from loadtest.crowd.report import Report
from loadtest.crowd.site import Site
from loadtest.crowd.tally import Tally
from loadtest.crowd.verdicts import Verdicts

_TURN_S: Final = 0.1
# A site that opens later than that replaces one of a generator that is gone: it does not make up for it.
_OPENS_WITHIN_S: Final = 5.0
# What may still be under way after everybody's patience is over, on a machine without a moment to spare.
_SPARE_S: Final = 5.0


class CannotGenerate(Exception):
    """This process cannot take part; the message is for people."""


class Generator:
    """Takes part in one run."""

    def __init__(
        self,
        options: LoadOptions,
        *,
        run: str,
        passed_s: float,
        send: Callable[[Report], None],
        tell: Callable[[str, float, int, Exception | None], None],
    ) -> None:
        """Begin a moment from now, or where the others are: `passed_s` after their begin.

        `send` takes a report to the master, about one a second; `tell` is Locust's own statistics. Raises
        CannotGenerate.
        """
        # A clock that is set while we run would make people wait for hours.
        self._offset = time.time() - time.monotonic()
        self._options, self._run, self._send_report = options, run, send
        self.began_at: Final = self.now() + LEAD_S - passed_s
        self._end = self.began_at + options.scenario.duration_s
        try:
            self._corpus = open_corpus(options)
            target = Target(options)
        except (UnfitCorpus, CannotConnect) as error:
            raise CannotGenerate(str(error)) from None
        self._tally = Tally()
        self._bound = Bound(
            most=options.max_in_flight,
            patience_s=options.patience_s,
            tally=self._tally,
            now=self.now,
            is_closed=options.arrivals == "closed",
        )
        self._shared = Shared(
            options, target, self._tally, self._bound, Verdicts(self._tally), self.now, tell
        )
        self._sites: set[Site] = set()
        self._sites_opened = 0
        self._problems: list[str] = []
        self._began_cpu_s = self._seen_cpu_s = time.process_time()
        self._longest_pause_s = 0.0
        self._is_over = False
        # gRPC on gevent waits for each call on a native thread: with fewer, answers wait for each other.
        gevent.get_hub().threadpool.maxsize = options.max_in_flight + options.scenario.sites
        self._turning = gevent.spawn(self._turn)

    def now(self) -> float:
        """Return the Unix time."""
        return time.monotonic() + self._offset

    def run_site(self) -> None:
        """Open a site, and return when the run is over; closes it also when the greenlet is killed."""
        passed_s = self.now() - self.began_at
        opens_with_all = self._options.openings.rate_at(0) >= 1 and passed_s < _OPENS_WITHIN_S
        site = Site(
            self._shared,
            self._corpus,
            began_at=self.began_at,
            from_s=0.0 if opens_with_all else max(0.0, passed_s),
        )
        self._sites.add(site)
        self._sites_opened += 1
        try:
            site.run()
        except CorpusError as error:
            self._problems.append(str(error))
        except Exception as error:
            # Locust would count it, and go on as if nothing were missing.
            self._problems.append(f"a site failed: {error!r}")
            raise
        finally:
            site.is_over = True
            self._sites.discard(site)
            # It cannot wait where the greenlet is being killed, and who is under way gets their answer.
            gevent.spawn(_close_when_idle, site)

    def stop(self) -> None:
        """End before the end: whoever is under way is not waited for."""
        if not self._is_over:
            for site in self._sites:
                site.is_over = True
            self._bound.clear()
            self._finish()

    def _turn(self) -> None:
        """Do what is to be done all the time, until everything has ended."""
        reported_at = wanted_at = self.now()
        while not self._is_over:
            wanted_at = max(self.now(), wanted_at) + _TURN_S
            while (ahead_s := wanted_at - self.now()) > 0:
                gevent.sleep(ahead_s)
            now = self.now()
            self._longest_pause_s = max(self._longest_pause_s, now - wanted_at)
            self._pass_time(now)
            self._bound.advance()
            for site in tuple(self._sites):
                site.line.give_up_overdue(now)
            if self._has_ended(now):
                self._finish()
            elif int(now) > int(reported_at):
                reported_at = now
                self._report(int(now), is_last=False)

    def _pass_time(self, now: float) -> None:
        cpu_s = time.process_time()
        self._tally.pass_time(now, cpu_s - self._seen_cpu_s)
        self._seen_cpu_s = cpu_s

    def _has_ended(self, now: float) -> bool:
        if now < self._end:
            return False
        left = self._tally.under_way + self._bound.waiting
        if not left and not self._sites:
            return True
        if now < self._end + 2 * self._options.patience_s + _SPARE_S:
            return False
        self._problems.append(f"{left} scans never ended")
        return True

    def _finish(self) -> None:
        self._is_over = True
        self._pass_time(self.now())
        self._report(None, is_last=True)

    def _report(self, before: int | None, *, is_last: bool) -> None:
        report = Report(
            run=self._run,
            seconds=self._tally.take() if before is None else self._tally.take(before),
            wrong=self._tally.take_wrong(),
            problems=self._problems,
            sites=self._sites_opened,
            cpu_s=time.process_time() - self._began_cpu_s,
            longest_pause_s=self._longest_pause_s,
            is_last=is_last,
        )
        self._problems = []
        self._send_report(report)


def _close_when_idle(site: Site) -> None:
    site.line.wait_until_idle()
    site.line.close()
