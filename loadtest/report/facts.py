"""What a run was and what came of it, in words and tables: the same on the page and in the summary."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from loadtest.recording import DoneAct, Recording, ThresholdResult
from loadtest.report import numbers
from loadtest.report.timeline import Timeline

_LOCUST_REPORT = "locust.html"


class Outcome(Enum):
    """What the run says about the servers."""

    HELD = "held"
    DID_NOT_HOLD = "did not hold"
    PROVES_NOTHING = "proves nothing"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table; `is_bad` when it is a reason for the outcome."""

    cells: Sequence[str]
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `align` has a letter for each column, l for words and r for numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    align: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All text of a report."""

    scenario: str
    about: str
    outcome: Outcome
    reasons: Sequence[str]
    limit: str  # who was at its limit
    is_generator_the_limit: bool
    glance: Sequence[tuple[str, str]]  # name and figure
    thresholds: Table
    latency: Table
    scans: Table
    errors: Table
    wrong: Table
    acts: Table
    generators: Table
    plan: Table
    machine: Table
    locust_report: str  # its name, in the same folder; "" when there is none

    @property
    def headline(self) -> str:
        """One line."""
        said = self.outcome.value
        if self.is_generator_the_limit and self.outcome is not Outcome.PROVES_NOTHING:
            said += ", with the generator at its limit"
        return f"{said}: {'; '.join(self.reasons)}" if self.reasons else said

    @property
    def tables(self) -> Sequence[Table]:
        """Those that stand below the pictures, as far as they have something to say."""
        of_run = (self.scans, self.errors, self.wrong, self.acts)
        return [table for table in (*of_run, self.generators, self.plan, self.machine) if table.rows]


def gather(recording: Recording, timeline: Timeline, folder: Path) -> Facts:
    """Put in words what `recording` has; `folder` is where Locust's own report may lie."""
    outcome, reasons = _outcome(recording, timeline)
    return Facts(
        scenario=recording.plan.scenario,
        about=recording.plan.about,
        outcome=outcome,
        reasons=reasons,
        limit=_limit(recording),
        is_generator_the_limit=_is_generator_the_limit(recording),
        glance=_glance(recording, timeline),
        thresholds=_thresholds(recording),
        latency=_latency(timeline),
        scans=_scans(timeline),
        errors=_errors(timeline),
        wrong=_wrong(recording),
        acts=_acts(recording),
        generators=_generators(recording),
        plan=_plan(recording),
        machine=Table(
            "Machine and versions", ("", ""), [Row(one) for one in recording.machine.items()], "ll"
        ),
        locust_report=_LOCUST_REPORT if (folder / _LOCUST_REPORT).is_file() else "",
    )


def _outcome(recording: Recording, timeline: Timeline) -> tuple[Outcome, Sequence[str]]:
    nothing = list(recording.problems)
    nothing = nothing or [f"{act.name} could not be done" for act in recording.acts if act.problem]
    if not timeline.total.due:
        nothing.append("no scan was due")
    if nothing and not timeline.total.wrong:  # a wrong verdict is proven, whatever else went wrong
        return Outcome.PROVES_NOTHING, nothing
    missed = [_missed(one) for one in recording.thresholds if not one.is_met]
    if timeline.total.wrong and not any(one.measure == "wrong" for one in recording.thresholds):
        missed.append(f"{numbers.count(timeline.total.wrong)} wrong verdicts")
    if missed:
        return Outcome.DID_NOT_HOLD, missed
    if not recording.thresholds:
        return Outcome.PROVES_NOTHING, ["no threshold was set"]
    if _is_generator_the_limit(recording):
        # A delay of the generator's is in the latency; what it may hide is that fewer came at once.
        most = max(second.sent for second in recording.seconds.values())
        return Outcome.HELD, [f"at most {numbers.count(most)} scans were sent in a second"]
    return Outcome.HELD, []


def _missed(threshold: ThresholdResult) -> str:
    name = numbers.words(threshold.measure)
    if threshold.value is None:
        return f"{name} could not be measured"
    limit = f"{'needed' if threshold.is_floor else 'allowed'} {_limit_of(threshold)}"
    return f"{name} {numbers.measured(threshold.measure, threshold.value)}, {limit}"


def _limit_of(threshold: ThresholdResult) -> str:
    return numbers.measured(threshold.measure, threshold.limit)


def _is_generator_the_limit(recording: Recording) -> bool:
    return recording.limited_by.startswith("generator")


def _limit(recording: Recording) -> str:
    who, _, why = recording.limited_by.partition(": ")
    if not who:
        return "Neither generators nor servers were seen at a limit."
    return f"The {who} was at its limit{': ' if why else ''}{why}."


def _glance(recording: Recording, timeline: Timeline) -> Sequence[tuple[str, str]]:
    total = timeline.total
    most = max((second.right for second in recording.seconds.values()), default=0)
    return [
        ("scans due", numbers.count(total.due)),
        ("right", numbers.share(total.right, total.due)),
        ("wrong", numbers.count(total.wrong)),
        ("peak goodput", f"{numbers.count(most)}/s"),
        ("p50", numbers.milliseconds(total.honest.percentile_ms(50))),
        ("p99", numbers.milliseconds(total.honest.percentile_ms(99))),
        ("p99.9", numbers.milliseconds(total.honest.percentile_ms(99.9))),
        ("max", numbers.milliseconds(total.honest.max_ms)),
    ]


def _thresholds(recording: Recording) -> Table:
    rows = [
        Row(
            (
                one.measure,
                numbers.measured(one.measure, one.value),
                f"{'at least' if one.is_floor else 'at most'} {_limit_of(one)}",
                _judgement(one),
            ),
            is_bad=not one.is_met,
        )
        for one in recording.thresholds
    ]
    return Table("Thresholds", ("measure", "measured", "allowed", ""), rows, "lrrl")


def _judgement(threshold: ThresholdResult) -> str:
    if not threshold.is_met:
        return "missed"
    return "met" if threshold.value is not None else "not looked at"


def _latency(timeline: Timeline) -> Table:
    shown = {"honest": timeline.total.honest}
    if timeline.total.hostile:
        shown["hostile"] = timeline.total.hostile
    found = [latencies.percentiles_ms() for latencies in shown.values()]
    rows = [Row((name, *(numbers.milliseconds(one[name]) for one in found))) for name in found[0]]
    rows.append(Row(("scans", *(numbers.count(latencies.count) for latencies in shown.values()))))
    note = (
        "From the moment at which a scan was due to its verdict, or to when it was given up; a hub's time to"
        " collect is in it. Hostile: forged, altered or damaged codes, other QR codes, garbage."
    )
    return Table("Latency", ("", *shown), rows, "lrr"[: 1 + len(shown)], note)


def _scans(timeline: Timeline) -> Table:
    total = timeline.total
    counts = (
        ("due", total.due, "somebody stood there", False),
        ("sent", total.sent, "for the first time", False),
        ("right", total.right, "got the verdict that they had to", False),
        ("wrong", total.wrong, "got another one", True),
        ("failed", total.failed, "were given up without a verdict", True),
        ("missed by the server", total.missed_by_server, "never sent: as many as allowed were waiting", True),
        ("missed by the generator", total.missed, "never sent, though fewer were waiting", True),
        ("late", total.late, "sent late by the generator; the delay is in the latency", False),
        ("held back", total.held, "had to wait to be sent: as many as allowed were waiting", False),
        ("retries", total.retries, "further attempts", False),
    )
    rows = [
        Row((name, numbers.count(number), numbers.share(number, total.due), meaning), bool(is_bad and number))
        for name, number, meaning, is_bad in counts
    ]
    return Table("Scans", ("", "count", "of those due", "what it means"), rows, "lrrl")


def _errors(timeline: Timeline) -> Table:
    rows = [Row((status, numbers.count(number))) for status, number in timeline.total.errors.most_common()]
    return Table("Errors", ("gRPC status", "attempts"), rows, "lr")


def _wrong(recording: Recording) -> Table:
    rows = [Row((one.scan_id, one.kind, one.expected, one.got), is_bad=True) for one in recording.wrong]
    return Table("First wrong verdicts", ("scan_id", "kind", "expected", "got"), rows, "llll")


def _acts(recording: Recording) -> Table:
    def row(act: DoneAct) -> Row:
        at, took = numbers.seconds(act.at - recording.began_at), numbers.seconds(act.took_s)
        return Row((act.name, at, took, act.problem or "done"), is_bad=bool(act.problem))

    rows = [row(act) for act in sorted(recording.acts, key=lambda act: act.at)]
    return Table("What was done meanwhile", ("act", "at", "took", ""), rows, "lrrl")


def _generators(recording: Recording) -> Table:
    rows = [Row((one.name, f"{one.cores:.2f}", numbers.count(one.sites))) for one in recording.generators]
    busiest = max((one.cores for one in recording.generators), default=0.0)
    note = f"A generator is one process and can use one core; the busiest used {busiest:.2f}."
    if recording.ceiling is None:
        note += " What they reach against a server that does nothing was not measured."
    else:
        most = max((second.sent for second in recording.seconds.values()), default=0)
        reached, processes = numbers.count(recording.ceiling.per_s), recording.ceiling.generators
        who = f"{processes} generator{'s' if processes > 1 else ''}"
        sent = numbers.share(most, recording.ceiling.per_s)
        note += (
            f" The ceiling of {who} against a server that does nothing is {reached} scans a second;"
            f" in its busiest second this run sent {sent} of it."
        )
    return Table("Generators", ("", "cores", "sites"), rows, "lrr", note)


def _plan(recording: Recording) -> Table:
    plan = recording.plan
    rows = (
        ("scenario", plan.scenario),
        ("people a minute, at the peak", numbers.count(plan.people_a_minute)),
        ("that is, a second", numbers.plain(plan.people_a_minute / 60)),
        ("duration", numbers.seconds(plan.duration_s)),
        ("flavour", plan.flavour),
        ("arrivals", _ARRIVALS.get(plan.arrivals, plan.arrivals)),
        ("sites, a connection each", numbers.count(plan.sites)),
        ("under way at once, of one generator", f"at most {numbers.count(plan.max_in_flight)}"),
        ("deadline of an attempt", numbers.seconds(plan.deadline_s)),
        ("attempts", f"at most {plan.attempts}"),
    )
    return Table("Plan", ("", ""), [Row(row) for row in rows], "ll")


_ARRIVALS = {
    "even": "open, evenly spaced",
    "poisson": "open, at random (Poisson)",
    "closed": "closed: a site sends when it has been answered, which hides queues",
}
