"""One generating process: its sites, what they share, and its reports to the master.

Knows gRPC: imported after Locust forked. gRPC must have been told of gevent before.
"""

import time
from collections.abc import Callable
from typing import Final

import gevent

from loadtest.corpus_file import CorpusError
from loadtest.crowd.bound import Bound
from loadtest.crowd.clock import steady_clock
from loadtest.crowd.connection import CannotConnect, Target
from loadtest.crowd.given_corpus import UnfitCorpus, open_corpus
from loadtest.crowd.lines import Shared
from loadtest.crowd.options import LoadOptions
from loadtest.crowd.report import Report
from loadtest.crowd.site import Site
from loadtest.crowd.tally import Tally
from loadtest.crowd.verdicts import Verdicts

_TURN_S: Final = 0.1
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
        """Take part in a run that began `passed_s` ago; below 0 it is still to begin.

        `send` takes a report to the master, about one a second; `tell` is Locust's own statistics. Raises
        CannotGenerate.
        """
        self.now: Final = steady_clock()
        self._options, self._run, self._send_report = options, run, send
        self.began_at: Final = self.now() - passed_s
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
        self._reports = 0
        self._began_cpu_s = self._seen_cpu_s = time.process_time()
        self._longest_pause_s = 0.0
        self._is_over = False
        # gRPC on gevent waits for each call on a native thread: with fewer, answers wait for each other.
        gevent.get_hub().threadpool.maxsize = options.max_in_flight + options.scenario.sites
        self._turning = gevent.spawn(self._turn)

    def run_site(self) -> None:
        """Open a site, and return when the run is over; closes it also when the greenlet is killed."""
        opens_s = self._options.site_opens_s(self.now() - self.began_at)
        # Those that are open from the begin connect before it.
        while opens_s and (ahead_s := self.began_at + opens_s - self.now()) > 0:
            gevent.sleep(ahead_s)
        site = Site(self._shared, self._corpus, began_at=self.began_at, from_s=opens_s)
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
            if self._is_over:  # stopped meanwhile: the last report is out
                return
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
        if not (self._tally.under_way or self._bound.waiting or self._sites):
            return True
        return now >= self._end + 2 * self._options.patience_s + _SPARE_S

    def _finish(self) -> None:
        self._is_over = True
        self._pass_time(self.now())
        self._report(None, is_last=True)

    def _report(self, before: int | None, *, is_last: bool) -> None:
        self._reports += 1
        report = Report(
            run=self._run,
            number=self._reports,
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
