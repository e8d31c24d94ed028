"""The master's part of a run, or that of the only process: merges, carries out acts, judges, writes."""

import logging
import math
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import gevent

from loadtest import measures, percentiles
from loadtest.crowd.acts import carry_out, carry_out_all, left_undone
from loadtest.crowd.given_corpus import LEAD_S
from loadtest.crowd.machine import describe_machine
from loadtest.crowd.options import LoadOptions
from loadtest.crowd.report import Report
from loadtest.crowd.tally import MOST_WRONG
from loadtest.recording import DoneAct, Generator, Plan, Recording

RIGHT, MISSED, PROVES_NOTHING = 0, 1, 3
# After everybody's patience is over: generators wait 5 s longer for what is still under way, and then report.
_SPARE_S: Final = 10.0
# Where the generator itself keeps more of the crowd away, nobody saw what such a crowd does to the server.
_MOST_MISSED: Final = 0.01
# How far the number of those who came may be from what was asked for, besides chance.
_MOST_ASTRAY: Final = 0.01
_DEVIATIONS: Final = 4

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seen:
    """What is known of a generator."""

    name: str
    reports: int = 0
    last_number: int = 0  # of its reports
    sites: int = 0
    cpu_s: float = 0.0
    longest_pause_s: float = 0.0
    has_ended: bool = False
    is_gone: bool = False


class Control:
    """One run, from its begin to its exit code."""

    def __init__(self, options: LoadOptions, generators: Iterable[str], now: Callable[[], float]) -> None:
        """Begin, with the generators that take part, by the ids that Locust has for them.

        `now` is a clock of Unix time that never jumps.
        """
        self.options: Final = options
        self._now = now
        self.name: Final = uuid.uuid4().hex
        self.began_at: Final = now() + LEAD_S
        self._generators = {one: _Seen(f"generator-{n}") for n, one in enumerate(generators, 1)}
        scenario = options.scenario
        self.recording: Final = Recording(
            plan=Plan(
                scenario=scenario.name,
                about=scenario.about,
                people_a_minute=scenario.people_a_minute,
                duration_s=scenario.duration_s,
                flavour=options.flavour,
                arrivals=options.arrivals,
                sites=scenario.sites,
                max_in_flight=options.max_in_flight,
                deadline_s=scenario.deadline_s,
                attempts=scenario.attempts,
            ),
            began_at=self.began_at,
        )
        self._acting = gevent.spawn(
            carry_out_all,
            scenario.acts,
            began_at=self.began_at,
            duration_s=scenario.duration_s,
            hand=options.hand,
            now=now,
            done=self._done,
        )

    @property
    def passed_s(self) -> float:
        """Seconds since the begin; below 0 before it."""
        return self._now() - self.began_at

    def has_ended(self) -> bool:
        """Tell whether there is nothing more to wait for."""
        if all(one.has_ended or one.is_gone for one in self._generators.values()):
            return True
        scenario = self.options.scenario
        return self.passed_s > scenario.duration_s + 2 * self.options.patience_s + _SPARE_S

    def note_who_is_there(self, generators: Iterable[str]) -> None:
        """Wait for nobody else; whoever is gone without a last report may come back."""
        there = set(generators)
        for name, one in self._generators.items():
            one.is_gone = name not in there

    def take(self, generator: str, report: Report) -> None:
        """Take a report; one of another run is left alone."""
        if report.run != self.name:
            return
        # Those who join later take part as well.
        seen = self._generators.setdefault(generator, _Seen(f"generator-{len(self._generators) + 1}"))
        seen.sites, seen.cpu_s, seen.longest_pause_s = report.sites, report.cpu_s, report.longest_pause_s
        seen.reports, seen.last_number, seen.has_ended = seen.reports + 1, report.number, report.is_last
        for at, second in report.seconds.items():
            self.recording.add_second(at, second)
        for problem in report.problems:
            self._problem(f"{seen.name}: {problem}")
        for wrong in report.wrong:
            if len(self.recording.wrong) < MOST_WRONG:
                self.recording.wrong.append(wrong)
                _log.error(
                    "wrong verdict: scan %s (%s): expected %s, got %s",
                    *(wrong.scan_id, wrong.kind, wrong.expected, wrong.got),
                )

    def finish(self, more_problems: Iterable[str]) -> int:
        """Judge the run, write results.json and the tables for programs, and return the exit code."""
        self._acting.kill()
        self._put_servers_right()
        recording, options = self.recording, self.options
        for problem in more_problems:
            self._problem(problem)
        self._look_for_gaps()
        self._look_for_people()
        self._look_for_sites()
        passed_s = max(1.0, min(self.passed_s, options.scenario.duration_s))
        recording.generators = [
            Generator(one.name, one.cpu_s / passed_s, one.sites, one.longest_pause_s)
            for one in self._generators.values()
        ]
        pauses = [one.longest_pause_s for one in self._generators.values()]
        recording.machine = describe_machine() | {
            "longest pause of a generator": f"{max(pauses, default=0) * 1000:.0f} ms"
        }
        recording.thresholds = measures.judge(recording, options.scenario.thresholds)
        for problem in measures.unseen(recording, recording.thresholds):
            self._problem(problem)
        recording.limited_by = measures.limited_by(recording)
        options.results.mkdir(parents=True, exist_ok=True)
        recording.write(options.results)
        percentiles.write_csv(recording, options.results)
        return exit_code(recording)

    def _look_for_gaps(self) -> None:
        scenario = self.options.scenario
        if self.passed_s < scenario.duration_s:
            self._problem(
                f"the run was stopped after {max(0, self.passed_s):.0f} of {scenario.duration_s:g} s"
            )
        for one in self._generators.values():
            if not one.has_ended:
                self._problem(f"{one.name} did not report its end")
            if one.reports != one.last_number:
                self._problem(f"{one.last_number - one.reports} reports of {one.name} got lost")
        undone = len(scenario.acts) - len(self.recording.acts)
        if undone:
            self._problem(f"{undone} of {len(scenario.acts)} acts were not done")
        for act in self.recording.acts:
            if act.problem:
                self._problem(f"{act.name} could not be done: {act.problem}")

    def _look_for_people(self) -> None:
        """Compare who was due with who had to be, and with what became of them."""
        total, options = self.recording.total(), self.options
        if not total.due:
            self._problem("nobody came")
        # Who was sent late was seen: the delay counts as waiting, so the server can only look worse for it.
        if total.missed > _MOST_MISSED * total.due:
            self._problem(f"the generators could not send {total.missed:,} of {total.due:,} scans")
        ended = total.right + total.wrong + total.failed + total.missed + total.missed_by_server
        if ended != total.due:
            self._problem(f"of {total.due:,} scans that were due, {ended:,} came to an end")
        planned = options.planned()
        noise = _DEVIATIONS * math.sqrt(planned) + _MOST_ASTRAY * planned
        is_whole = options.arrivals != "closed" and self.passed_s >= options.scenario.duration_s
        if is_whole and abs(total.due - planned) > noise:
            self._problem(f"{total.due:,} scans were due, where {planned:,.0f} were planned")

    def _look_for_sites(self) -> None:
        """Of a short run, those who would have come to a site are too few to be missed."""
        opened = sum(one.sites for one in self._generators.values())
        planned = self.options.most_sites
        if self.passed_s >= self.options.scenario.duration_s and opened < planned:
            self._problem(f"{opened} of {planned} sites were opened")

    def _put_servers_right(self) -> None:
        """Thaw and start what was left frozen or dead: the run was stopped, or an act could not be done."""
        scenario = self.options.scenario
        done = [act.name for act in self.recording.acts if not act.problem]
        for name in left_undone(scenario.acts, until=self.passed_s / scenario.duration_s, done=done):
            act = carry_out(name, self.options.hand, self._now)
            if act.problem:
                self._problem(f"{name} could not be done: {act.problem}")

    def _done(self, act: DoneAct) -> None:
        self.recording.acts.append(act)
        log: Callable[..., None] = _log.error if act.problem else _log.info
        log("%s %s", act.name, f"could not be done: {act.problem}" if act.problem else "done")

    def _problem(self, problem: str) -> None:
        if problem not in self.recording.problems:
            self.recording.problems.append(problem)


def exit_code(recording: Recording) -> int:
    """Return what a run that was judged ends with."""
    # A wrong verdict is proven, whatever else went wrong.
    if any(second.wrong for second in recording.seconds.values()):
        return MISSED
    if recording.problems:
        return PROVES_NOTHING
    return RIGHT if all(one.is_met for one in recording.thresholds) else MISSED
