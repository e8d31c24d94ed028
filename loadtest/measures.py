"""Measures of a recording by name, thresholds on them, and who was the limit.

A measure is None where there was nothing to measure, and then its threshold is not met: what was not seen is
not proven. Two cases are not judged, and count as met, since somebody chose not to look:
- hostile latencies, where the crowd was sent and held nobody hostile;
- the servers' memory and descriptors, where no server was watched, as in a run against servers elsewhere.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Final

from loadtest.latency import PERCENTILES, Latencies
from loadtest.recording import Recording, Second, ServerSample, ThresholdResult
from loadtest.scenario import Threshold

# A second belongs to the peak when this share of the peak's rate was due in it; and the system has recovered
# when this share of what is due comes back right.
_NEARLY: Final = 0.9
_SUSTAINED_S: Final = 10
_RECOVERED_FOR_S: Final = 3
# Where fewer are due in a second, one that comes back in the next second looks like an outage.
_LEAST_DUE: Final = 20
_HOUR_S: Final = 3600


class UnknownMeasure(Exception):
    """There is no measure of this name; the message lists those that there are."""


@dataclass(frozen=True, slots=True)
class _Measure:
    about: str
    take: "Callable[[_Run], float | None]"
    is_floor: bool = False  # the more, the better


def names() -> Mapping[str, str]:
    """Return all measures, each with what it says in a line."""
    return {name: one.about for name, one in _MEASURES.items()}


def threshold(name: str, limit: float) -> Threshold:
    """Return the threshold on a measure: a floor where more is better; raises UnknownMeasure."""
    return Threshold(name, limit, is_floor=_measure_of(name).is_floor)


def measure(recording: Recording, name: str) -> float | None:
    """Return a measure; None where there was nothing to measure; raises UnknownMeasure."""
    return _measure_of(name).take(_Run(recording))


def judge(recording: Recording, thresholds: Iterable[Threshold]) -> list[ThresholdResult]:
    """Return what came of each threshold; raises UnknownMeasure."""
    run = _Run(recording)
    return [_judge(run, one) for one in thresholds]


def limited_by(recording: Recording) -> str:
    """Return who kept the run from more: "generator: ..." or "server: ...", with figures; "" if neither did.

    The generator is asked first: where it was at its limit, what was seen of the server proves nothing.
    """
    run = _Run(recording)
    if reasons := _limits_of_generator(run):
        return f"generator: {', '.join(reasons)}"
    if reasons := _limits_of_server(run):
        return f"server: {', '.join(reasons)}"
    return ""


class _Run:
    """A recording, and what several measures need of it."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    @cached_property
    def total(self) -> Second:
        return self.recording.total()

    @cached_property
    def seconds(self) -> Sequence[tuple[int, Second]]:
        return sorted(self.recording.seconds.items(), key=lambda item: item[0])

    @cached_property
    def whole(self) -> Sequence[tuple[int, Second]]:
        """The seconds between the first and the last one in which a scan was due: these two are cut."""
        due = [at for at, second in self.seconds if second.due]
        return [(at, second) for at, second in self.seconds if due and due[0] < at < due[-1]]

    @cached_property
    def asked_per_s(self) -> float:
        return self.recording.plan.people_a_minute / 60

    @cached_property
    def peak(self) -> Sequence[Second]:
        """The seconds at the peak; with closed arrivals, which know no rate, all whole seconds."""
        if self.recording.plan.arrivals == "closed":
            return [second for _, second in self.whole]
        return [second for _, second in self.seconds if second.due >= _NEARLY * self.asked_per_s]


def _measure_of(name: str) -> _Measure:
    try:
        return _MEASURES[name]
    except KeyError:
        raise UnknownMeasure(f"no measure is called {name!r}; there are {', '.join(_MEASURES)}") from None


def _judge(run: _Run, one: Threshold) -> ThresholdResult:
    value = _measure_of(one.measure).take(run)
    if value is None:
        is_met = _is_not_looked_at(run, one.measure)
    else:
        is_met = value >= one.limit if one.is_floor else value <= one.limit
    return ThresholdResult(one.measure, one.limit, one.is_floor, value, is_met)


def _is_not_looked_at(run: _Run, name: str) -> bool:
    if name.startswith("hostile_"):
        return run.total.sent > 0
    return name.startswith("server_") and not run.recording.servers


# Counts and shares. Nothing can be said of a run in which nothing was due.


def _count(name: str, run: _Run) -> float | None:
    return float(getattr(run.total, name)) if run.total.due else None


def _wrong(run: _Run) -> float | None:
    # A server that never answered gave no wrong verdict, but nobody saw a right one either.
    return float(run.total.wrong) if run.total.right + run.total.wrong else None


def _share(name: str, run: _Run) -> float | None:
    return float(getattr(run.total, name)) / run.total.due if run.total.due else None


# Rates.


def _per_s(run: _Run) -> float | None:
    return statistics.fmean(second.right for second in run.peak) if run.peak else None


def _sustained_per_s(run: _Run) -> float | None:
    if not run.peak:
        return None
    right = [second.right for second in run.peak]
    length = min(_SUSTAINED_S, len(right))
    return min(statistics.fmean(right[at : at + length]) for at in range(len(right) - length + 1))


def _worst_second_right_share(run: _Run) -> float | None:
    busy = [second for _, second in run.whole if second.due >= _LEAST_DUE]
    return min((min(1.0, second.right / second.due) for second in busy), default=None)


# Latencies.


def _percentile_ms(of: str, percentile: float, run: _Run) -> float | None:
    latencies: Latencies = getattr(run.total, of)
    return latencies.percentile_ms(percentile)


def _honest_p99_ms(is_asked: Callable[[int, int, int], bool], run: _Run) -> float | None:
    """Return it for the seconds that are asked for: of them, of the first and of the last act."""
    if not run.recording.acts:
        return None
    acts = [math.floor(act.at) for act in run.recording.acts]
    latencies = Latencies()
    for at, second in run.seconds:
        if is_asked(at, min(acts), max(acts)):
            latencies.add(second.honest)
    return latencies.percentile_ms(99)


def _recovered_s(run: _Run) -> float | None:
    if not run.recording.acts or not run.whole:
        return None
    last = run.whole[-1][0]
    acted_at = max(act.at for act in run.recording.acts)
    for at in range(math.floor(acted_at), last + 1):
        stays = range(at, min(at + _RECOVERED_FOR_S, last + 1))
        if all(_is_well(run.recording.seconds.get(one)) for one in stays):
            return max(0.0, at - acted_at)
    return None


def _is_well(second: Second | None) -> bool:
    # Of a few, one that comes back in the next second is no outage.
    return second is None or second.right + 1 >= _NEARLY * second.due


# Servers.


def _growth_an_hour(of: str, run: _Run) -> float | None:
    by_name: dict[str, list[ServerSample]] = {}
    for sample in run.recording.servers:
        by_name.setdefault(sample.name, []).append(sample)
    found = [_growth_of_one(samples, of) for samples in by_name.values()]
    return max((growth for growth in found if growth is not None), default=None)


def _growth_of_one(samples: Sequence[ServerSample], of: str) -> float | None:
    """Return the growth by the line of least squares, without the first third, in which caches fill.

    A run that is shorter than an hour grows by what was seen: a line through ten seconds says nothing of an
    hour. What a server was before it was started anew is left out.
    """
    ordered = sorted(samples, key=lambda sample: sample.at)
    starts = [at for at, (before, after) in enumerate(pairwise(ordered), 1) if after.cpu_s < before.cpu_s]
    lived = ordered[max(starts, default=0) :]
    warm = lived[len(lived) // 3 :]
    if len(warm) < 3 or warm[0].at == warm[-1].at:
        return None
    line = statistics.linear_regression(
        [sample.at for sample in warm], [float(getattr(sample, of)) for sample in warm]
    )
    return line.slope * min(_HOUR_S, warm[-1].at - warm[0].at)


def _all_measures() -> dict[str, _Measure]:
    return {
        "wrong": _Measure("scans that got another verdict than they had to", _wrong),
        "failed": _Measure("scans that were sent and got no verdict", partial(_count, "failed")),
        "missed": _Measure("scans that the generator could not send", partial(_count, "missed")),
        "missed_by_server": _Measure(
            "scans never sent, since too many were waiting for answers", partial(_count, "missed_by_server")
        ),
        "right_share": _Measure(
            "scans with the right verdict / due", partial(_share, "right"), is_floor=True
        ),
        "failed_share": _Measure("scans without a verdict / due", partial(_share, "failed")),
        "late_share": _Measure("scans that the generator sent late / due", partial(_share, "late")),
        "missed_share": _Measure("scans that the generator could not send / due", partial(_share, "missed")),
        "held_share": _Measure("scans that waited until fewer were under way / due", partial(_share, "held")),
        "retries_share": _Measure("further attempts / due", partial(_share, "retries")),
        "per_s": _Measure("right verdicts a second at the peak", _per_s, is_floor=True),
        "sustained_per_s": _Measure(
            f"right verdicts a second in the worst {_SUSTAINED_S} s of the peak",
            _sustained_per_s,
            is_floor=True,
        ),
        "worst_second_right_share": _Measure(
            "right verdicts / due in the worst second", _worst_second_right_share, is_floor=True
        ),
        **_latency_measures("honest"),
        **_latency_measures("hostile"),
        "honest_p99_before_acts_ms": _Measure(
            "honest_p99_ms before the first act", partial(_honest_p99_ms, lambda at, first, _: at < first)
        ),
        "honest_p99_during_acts_ms": _Measure(
            "honest_p99_ms from the second of the first act to that of the last",
            partial(_honest_p99_ms, lambda at, first, last: first <= at <= last),
        ),
        "honest_p99_after_acts_ms": _Measure(
            "honest_p99_ms after the last act", partial(_honest_p99_ms, lambda at, _, last: at > last)
        ),
        "recovered_s": _Measure(
            f"seconds from the last act until {_NEARLY:.0%} of what is due comes back right, for "
            f"{_RECOVERED_FOR_S} s or to the last whole second",
            _recovered_s,
        ),
        "server_memory_mib_per_hour": _Measure(
            "growth of the memory of the server that grows most, after the first third",
            partial(_growth_an_hour, "memory_mib"),
        ),
        "server_descriptors_per_hour": _Measure(
            "growth of the open descriptors of the server that grows most, after the first third",
            partial(_growth_an_hour, "descriptors"),
        ),
    }


def _latency_measures(of: str) -> dict[str, _Measure]:
    whose = "people with codes of ours" if of == "honest" else "forged, garbage and other codes"
    found = {
        f"{of}_p{percentile:g}_ms": _Measure(
            f"what {percentile:g} in 100 of {whose} waited at most", partial(_percentile_ms, of, percentile)
        )
        for percentile in PERCENTILES
    }
    longest = _Measure(f"the longest wait of {whose}", partial(_percentile_ms, of, 100.0))
    return {**found, f"{of}_max_ms": longest}


_MEASURES: Final = _all_measures()


# Who was the limit.

# A process that uses more of a core has no time to look at the clock.
_BUSY_CORES: Final = 0.9
# What is reached against a server that does nothing must be this much more than what was asked for.
_ROOM: Final = 1.2
_FEW_LATE: Final = 0.01
_FEW_UNANSWERED: Final = 0.001
_RISE: Final = 3.0
_NOTICED_MS: Final = 50.0


def _limits_of_generator(run: _Run) -> list[str]:
    reasons = []
    for name, what in (("late", "were sent late"), ("missed", "could not be sent")):
        if (share := _share(name, run)) and share > _FEW_LATE:
            reasons.append(f"{share:.1%} of the arrivals {what}")
    if (cores := _cores_of_busiest(run)) > _BUSY_CORES:
        reasons.append(f"a generator used {cores:.2f} cores")
    is_closed = run.recording.plan.arrivals == "closed"
    wanted = (_per_s(run) or 0.0) if is_closed else run.asked_per_s
    ceiling = run.recording.ceiling
    if ceiling and ceiling.per_s < _ROOM * wanted:
        what = "reached" if is_closed else "asked for"
        reasons.append(
            f"it reaches {ceiling.per_s:,.0f}/s with an empty server, where {wanted:,.0f}/s were {what}"
        )
    return reasons


def _cores_of_busiest(run: _Run) -> float:
    """Return the cores of the busiest generator over the run, or of all in the mean at the peak."""
    generators = run.recording.generators
    if not generators:
        return 0.0
    at_peak = statistics.fmean(second.generator_cpu_s for second in run.peak) if run.peak else 0.0
    return max(at_peak / len(generators), *(one.cores for one in generators))


def _limits_of_server(run: _Run) -> list[str]:
    total = run.total
    unanswered = (
        (total.held, "had to wait for others to be answered"),
        (total.missed_by_server, "were never sent for that reason"),
        (total.failed, "got no verdict"),
    )
    if sum(count for count, _ in unanswered) > _FEW_UNANSWERED * total.due:
        return [f"{count:,} of {total.due:,} scans {what}" for count, what in unanswered if count]
    if rise := _rise_ms(run):
        return [f"the median wait rose from {rise[0]:.1f} to {rise[1]:.1f} ms during the peak"]
    if run.recording.plan.arrivals == "closed" and run.peak:
        return [f"{_per_s(run):,.0f}/s were reached, with room in the generators"]
    return []


def _rise_ms(run: _Run) -> tuple[float, float] | None:
    third = len(run.peak) // 3
    first, last = _median_ms(run.peak[:third]), _median_ms(run.peak[len(run.peak) - third :])
    if first is None or last is None or last < max(_NOTICED_MS, _RISE * first):
        return None
    return first, last


def _median_ms(seconds: Iterable[Second]) -> float | None:
    latencies = Latencies()
    for second in seconds:
        latencies.add(second.honest)
        latencies.add(second.hostile)
    return latencies.percentile_ms(50)
