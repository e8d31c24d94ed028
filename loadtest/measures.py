"""Measures of a recording by name, thresholds on them, and who was the limit.

A measure is None where there was nothing to measure, and then its threshold is not met: what was not seen is
not proven. One case is not judged, and counts as met: hostile latencies, where the crowd was sent and held
nobody hostile.
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
    """Return the threshold on a measure: a floor where more is better.

    Raises UnknownMeasure, and ValueError for what no measure can be.
    """
    if not (math.isfinite(limit) and limit >= 0):
        raise ValueError(f"expected a number from 0 on, got {limit}")
    return Threshold(name, limit, is_floor=_measure_of(name).is_floor)


def measure(recording: Recording, name: str) -> float | None:
    """Return a measure; None where there was nothing to measure; raises UnknownMeasure."""
    return _measure_of(name).take(_Run(recording))


def judge(recording: Recording, thresholds: Iterable[Threshold]) -> list[ThresholdResult]:
    """Return what came of each threshold; raises UnknownMeasure."""
    run = _Run(recording)
    return [_judge(run, one) for one in thresholds]


def unseen(recording: Recording, thresholds: Iterable[Threshold | ThresholdResult]) -> list[str]:
    """Return why the run proves nothing of thresholds on servers: nobody watched any. Empty where it does."""
    names = [one.measure for one in thresholds if one.measure.startswith("server_")]
    if not names or recording.servers:
        return []
    return [f"nobody watched the servers, so nobody knows {', '.join(names)}"]


def unpushed(recording: Recording) -> list[str]:
    """Return why the run proves nothing of servers: its generators cannot send as much as was asked for.

    That is, they reach less against a server that does nothing, and more than a hundredth was late or missed.
    A lower ceiling alone says nothing: what was sent when it was due was sent. Empty where they can.
    """
    run, ceiling = _Run(recording), recording.ceiling
    if ceiling is None or recording.plan.arrivals == "closed" or ceiling.per_s >= run.asked_per_s:
        return []
    behind = run.total.late + run.total.missed
    if behind <= _FEW_LATE * run.total.due:
        return []
    return [
        f"the generators reach {ceiling.per_s:,.0f}/s with an empty server, where {run.asked_per_s:,.0f}/s "
        f"were asked for: {behind:,} of {run.total.due:,} scans were late or missed"
    ]


def limited_by(recording: Recording) -> str:
    """Return who kept the run from more, with figures; "" if nobody did. The first of these that holds:

    - "machine: ...": generators and servers shared one, and used nearly all of its cores at the peak. Neither
      can be blamed for what came of that.
    - "generator: ...": many arrivals were late or missed, one stood still for a time, used nearly a whole
      core, or reaches little more against a server that does nothing. Waits may be longer for that, never
      shorter, since they count from when a scan was due; but fewer may have come at once than were to.
    - "server: ...": scans had to wait for others to be answered or got no verdict, or waits grew while the
      rate did not.
    """
    run = _Run(recording)
    if reason := _limit_of_machine(run):
        return f"machine: {reason}"
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
        return self._between(due[0] + 1, due[-1] - 1) if due else []

    @cached_property
    def asked_per_s(self) -> float:
        return self.recording.plan.people_a_minute / 60

    @cached_property
    def peak_seconds(self) -> Sequence[tuple[int, Second]]:
        """The seconds from the first to the last in which nearly the rate of the peak was due.

        Those between them belong to it even if fewer came, as by chance they do: else a mean would be one of
        the fuller seconds. With closed arrivals, which know no rate, all whole seconds.
        """
        if self.recording.plan.arrivals == "closed":
            return self.whole
        full = [at for at, second in self.seconds if second.due >= _NEARLY * self.asked_per_s]
        return self._between(full[0], full[-1]) if full else []

    @cached_property
    def peak(self) -> Sequence[Second]:
        return [second for _, second in self.peak_seconds]

    def _between(self, first: int, last: int) -> Sequence[tuple[int, Second]]:
        """Return all seconds; one of which nothing is known is one in which nothing came back."""
        known, nothing = self.recording.seconds, Second()
        return [(at, known.get(at, nothing)) for at in range(first, last + 1)]


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
    return name.startswith("hostile_") and run.total.sent > 0


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
    # Of a few, one that comes back in the next second is no outage. A generator records every second.
    return second is not None and second.right + 1 >= _NEARLY * second.due


# Servers.


def _growth(of: str, run: _Run) -> float | None:
    found = [_growth_of_one(samples, of) for samples in _by_server(run.recording.servers).values()]
    return max((growth for growth in found if growth is not None), default=None)


def _by_server(samples: Iterable[ServerSample]) -> Mapping[str, Sequence[ServerSample]]:
    by_name: dict[str, list[ServerSample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    return by_name


def _growth_of_one(samples: Sequence[ServerSample], of: str) -> float | None:
    """Return the growth by the line of least squares, without the first third, in which caches fill.

    In an hour, of a run that took longer; a shorter one counts what was seen and no more, since a line
    through ten seconds says nothing of an hour. What a server was before it was started anew is left out.
    """
    warm = _warm(samples)
    slope = _slope(warm, of)
    return None if slope is None else slope * min(_HOUR_S, warm[-1].at - warm[0].at)


def _worker_growth(run: _Run) -> float | None:
    """Return MiB an hour by the same line, for each worker of the verifier that grows most.

    Of memory that nobody shares: pages of the mirror are met one by one, for hours, up to all of them. And of
    the last third: a verifier was warm after a quarter of an hour, and what it took until then is no leak.
    """
    growths: list[float] = []
    for name, samples in _by_server(run.recording.servers).items():
        warm = _warm(samples)
        warm = warm[len(warm) // 2 :]
        slope = _slope(warm, "own_mib")
        if name.startswith("verifier") and slope is not None:
            workers = max(1, warm[-1].processes - 1)  # beside the supervisor
            growths.append(slope * _HOUR_S / workers)
    return max(growths, default=None)


def _warm(samples: Sequence[ServerSample]) -> Sequence[ServerSample]:
    ordered = sorted(samples, key=lambda sample: sample.at)
    starts = [at for at, (before, after) in enumerate(pairwise(ordered), 1) if after.pid != before.pid]
    lived = ordered[max(starts, default=0) :]
    return lived[len(lived) // 3 :]


def _slope(warm: Sequence[ServerSample], of: str) -> float | None:
    """Return the growth in a second."""
    if len(warm) < 3 or warm[0].at == warm[-1].at:
        return None
    times, values = [sample.at for sample in warm], [float(getattr(sample, of)) for sample in warm]
    return statistics.linear_regression(times, values).slope


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
        "server_memory_growth_mib": _Measure(
            "growth of the memory of the server that grows most, after the first third: in an hour, or in "
            "what a shorter run saw",
            partial(_growth, "memory_mib"),
        ),
        "server_memory_mib_an_hour_a_worker": _Measure(
            "growth of a verifier's own memory in an hour, by a line through the last third, for each worker",
            _worker_growth,
        ),
        "server_descriptors_growth": _Measure(
            "growth of the open descriptors of the server that grows most, in the same time",
            partial(_growth, "descriptors"),
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

# A process that uses more of a core has no time to look at the clock; nor has a machine, of its cores.
_BUSY_CORES: Final = 0.9
# What is reached against a server that does nothing must be this much more than what was asked for.
_ROOM: Final = 1.2
_FEW_LATE: Final = 0.01
# Whoever was under way meanwhile seems to have waited as long.
_LONG_PAUSE_S: Final = 0.5
_FEW_UNANSWERED: Final = 0.001
_RISE: Final = 3.0
_NOTICED_MS: Final = 50.0


def _limits_of_generator(run: _Run) -> list[str]:
    reasons = []
    for name, what in (("late", "were sent late"), ("missed", "could not be sent")):
        if (share := _share(name, run)) and share > _FEW_LATE:
            reasons.append(f"{share:.1%} of the arrivals {what}")
    if (
        pause_s := max((one.longest_pause_s for one in run.recording.generators), default=0.0)
    ) > _LONG_PAUSE_S:
        reasons.append(f"a generator stood still for {pause_s:.2f} s")
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
    """Return the cores of the busiest generator over the run, or at the peak.

    Seconds have the CPU time of all generators: at the peak, each has the part of it that it has of the run.
    """
    cores = [one.cores for one in run.recording.generators]
    if not any(cores):
        return 0.0
    return max(cores) * max(1.0, _generator_cores(run) / sum(cores))


def _generator_cores(run: _Run) -> float:
    """Return the cores that all generators used at the peak."""
    return statistics.fmean(second.generator_cpu_s for second in run.peak) if run.peak else 0.0


def _limit_of_machine(run: _Run) -> str:
    # Only servers of the same machine are watched.
    servers = _server_cores(run)
    cores = run.recording.machine.get("cores", "")
    if servers is None or not cores.isdigit():
        return ""
    used = servers + _generator_cores(run)
    if used < _BUSY_CORES * int(cores):
        return ""
    return f"generators and servers used {used:.2f} of its {cores} cores at the peak"


def _server_cores(run: _Run) -> float | None:
    """Return the cores that all watched servers used at the peak; None without samples of it."""
    if not run.peak:
        return None
    first, last = run.peak_seconds[0][0], run.peak_seconds[-1][0] + 1
    of_servers = [_cores(samples, first, last) for samples in _by_server(run.recording.servers).values()]
    known = [cores for cores in of_servers if cores is not None]
    return sum(known) if known else None


def _cores(samples: Sequence[ServerSample], first: float, last: float) -> float | None:
    """Return CPU time / time of one server between two moments; None for less than two samples."""
    seen = sorted((one for one in samples if first <= one.at <= last), key=lambda one: one.at)
    if len(seen) < 2 or seen[0].at == seen[-1].at:
        return None
    # It counts anew where the server was started anew.
    lives = [[one.cpu_s for one in seen if one.pid == pid] for pid in {one.pid for one in seen}]
    return sum(max(0.0, cpu_s[-1] - cpu_s[0]) for cpu_s in lives) / (seen[-1].at - seen[0].at)


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
