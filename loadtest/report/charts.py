"""The pictures of a run, a function each."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from markupsafe import Markup
from matplotlib.axes import Axes

from loadtest.latency import Latencies
from loadtest.recording import Recording, Second
from loadtest.report import numbers
from loadtest.report.drawing import COLOURS, Mark, TimeAxis, draw, from_zero, logarithmic
from loadtest.report.timeline import ServerPoint, Slot, Timeline

_ORDER = ("blue", "orange", "teal", "pink", "sky", "navy", "slate")
# The order is that of the stack, from below.
_VERDICTS: Mapping[str, str] = MappingProxyType(
    {
        "GREEN": "teal",
        "YELLOW": "yellow",
        "RED": "vermilion",
        "EXPIRED": "mist",
        "NOT_YET_VALID": "blue",
        "REPLACED": "sky",
        "BAD_SIGNATURE": "navy",
        "UNKNOWN_KEY": "pink",
        "MALFORMED": "slate",
    }
)
_OTHER = "others"
_NINES = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_CURVE_POINTS = 100


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, and what people read above and below it."""

    title: str
    caption: str
    svg: Markup


def pictures(recording: Recording, timeline: Timeline) -> list[Picture]:
    """Return all pictures that there is something to show on, in the order of the page."""
    if not timeline.slots:
        return []
    time = _time_axis(recording, timeline)
    drawn = [
        arrivals(timeline, time),
        *troubles(timeline, time),
        latency_over_time(timeline, time),
        latency_distribution(recording, timeline),
        verdicts(timeline, time),
        under_way(timeline, time),
        cpu(timeline, time),
    ]
    if timeline.servers:
        drawn += [memory(timeline, time), descriptors(timeline, time)]
    return drawn


def arrivals(timeline: Timeline, time: TimeAxis) -> Picture:
    """What was asked for, and what came of it."""
    due = _rates(timeline, lambda second: second.due)
    right = _rates(timeline, lambda second: second.right)

    def paint(axes: Axes) -> None:
        _line(axes, _middles(timeline), due, label="due", colour="orange", width=2.6)
        _line(axes, _middles(timeline), right, label="right", colour="teal")
        from_zero(axes)

    alt = f"due: at most {_a_second(due)}; right: at most {_a_second(right)}"
    svg = draw(paint, name="arrivals", alt=alt, y_label="scans a second", time=time)
    caption = "Scans count as due when somebody stood there, and as right when the verdict came back."
    return Picture("Arrivals and goodput", caption, svg)


def troubles(timeline: Timeline, time: TimeAxis) -> Sequence[Picture]:
    """What went wrong, on a scale of its own; no picture when nothing did."""
    kinds: Sequence[tuple[str, str, Callable[[Second], float]]] = (
        ("wrong", "ink", lambda second: second.wrong),
        ("failed", "vermilion", lambda second: second.failed),
        ("missed by the server", "blue", lambda second: second.missed_by_server),
        ("missed by the generator", "sky", lambda second: second.missed),
        ("late", "orange", lambda second: second.late),
        ("retries", "pink", lambda second: second.retries),
    )
    lines = [
        (name, colour, _rates(timeline, count)) for name, colour, count in kinds if count(timeline.total)
    ]
    if not lines:
        return []

    def paint(axes: Axes) -> None:
        for name, colour, rates in lines:
            _line(axes, _middles(timeline), rates, label=name, colour=colour)
        from_zero(axes)

    alt = "; ".join(f"{name}: at most {_a_second(rates)}" for name, _, rates in lines)
    svg = draw(paint, name="troubles", alt=alt, y_label="scans a second", time=time)
    caption = "What was missed or late counts when it was due; what failed or was wrong, when that was known."
    return [Picture("What went wrong", caption, svg)]


def latency_over_time(timeline: Timeline, time: TimeAxis) -> Picture:
    """How long those waited who came at that moment."""
    lines = {
        "max": ("slate", [slot.total.honest.max_ms for slot in timeline.slots]),
        "p99.9": ("vermilion", _percentiles(timeline.slots, 99.9)),
        "p99": ("orange", _percentiles(timeline.slots, 99.0)),
        "p50": ("blue", _percentiles(timeline.slots, 50.0)),
    }
    if timeline.total.hostile:
        hostile = [slot.total.hostile.percentile_ms(99.0) for slot in timeline.slots]
        lines["hostile p99"] = ("pink", hostile)

    def paint(axes: Axes) -> None:
        for name, (colour, line) in lines.items():
            _line(axes, _middles(timeline), line, label=name, colour=colour)
        logarithmic(axes, [value for _, line in lines.values() for value in line if value])

    worst, p99 = timeline.total.honest.max_ms, timeline.total.honest.percentile_ms(99)
    alt = f"p99 of the whole run: {numbers.milliseconds(p99)}; at worst {numbers.milliseconds(worst)}"
    svg = draw(paint, name="latency", alt=alt, y_label="latency, ms", time=time)
    caption = (
        "From the moment at which a scan was due to its verdict, by that moment; retries included. "
        "Of honest scans, where it does not say hostile."
    )
    return Picture("Latency over time", caption, svg)


def latency_distribution(recording: Recording, timeline: Timeline) -> Picture:
    """Latency by percentile, whose axis gives each further nine the same room."""
    total = timeline.total
    curves = {"honest": ("blue", total.honest), "hostile": ("pink", total.hostile)}
    limits = _limits(recording)

    def paint(axes: Axes) -> None:
        values: list[float] = [limit_ms for _, limit_ms in limits]
        nines = [2.0]
        for name, (colour, latencies) in curves.items():
            curve = _curve(latencies)
            if curve:
                axes.plot(*zip(*curve, strict=True), color=COLOURS[colour], label=name)
                values += [value for _, value in curve]
                nines.append(curve[-1][0])
        if limits:
            xs, ys = zip(*limits, strict=True)
            axes.plot(xs, ys, "v", color=COLOURS["bad"], markersize=7, label="allowed")
            nines += xs
        logarithmic(axes, values)
        axes.set_xlim(0, max(nines) * 1.02)
        shown = [percentile for percentile in _NINES if _nines(percentile) <= max(nines)]
        axes.set_xticks([_nines(percentile) for percentile in shown], [f"{one:g}" for one in shown])
        axes.grid(visible=True, axis="x")
        axes.set_xlabel("percentile")

    found = total.honest.percentiles_ms()
    alt = ", ".join(f"{name} {numbers.milliseconds(value)}" for name, value in found.items())
    svg = draw(paint, name="distribution", alt=alt, y_label="latency, ms")
    caption = "Of 100 scans in the whole run, as many waited no longer. A step up is a queue."
    return Picture("Latency distribution", caption, svg)


def verdicts(timeline: Timeline, time: TimeAxis) -> Picture:
    """What gates were told."""
    by_slot = [_grouped(slot.total.verdicts) for slot in timeline.slots]
    total = _grouped(timeline.total.verdicts)
    names = [name for name in (*_VERDICTS, _OTHER) if total[name]]

    def paint(axes: Axes) -> None:
        layers = [
            [
                rate / slot.lasts_s
                for rate, slot in zip(([one[name] for one in by_slot]), timeline.slots, strict=True)
            ]
            for name in names
        ]
        colours = [COLOURS[_VERDICTS.get(name, "ink")] for name in names]
        labels = [name.lower().replace("_", " ") for name in names]
        if names:
            axes.stackplot(
                _edges(timeline),
                [[*layer, layer[-1]] for layer in layers],
                labels=labels,
                colors=colours,
                step="post",
                lw=0,
            )
        from_zero(axes)

    shares = (f"{name} {numbers.share(total[name], total.total())}" for name in names)
    svg = draw(paint, name="verdicts", alt=", ".join(shares), y_label="verdicts a second", time=time)
    return Picture("Verdicts", "By the moment at which they came back, one on top of the other.", svg)


def under_way(timeline: Timeline, time: TimeAxis) -> Picture:
    """How many waited for an answer, and how many for their turn to ask."""
    in_flight = [slot.total.in_flight for slot in timeline.slots]
    held = _rates(timeline, lambda second: second.held)

    def paint(axes: Axes) -> None:
        _line(axes, _middles(timeline), in_flight, label="under way, most at once", colour="blue")
        if any(held):
            _line(axes, _middles(timeline), held, label="held back, a second", colour="orange")
        from_zero(axes)

    alt = f"under way at once: at most {numbers.count(max(in_flight))}; held back: at most {_a_second(held)}"
    svg = draw(paint, name="underway", alt=alt, y_label="scans", time=time)
    caption = "Scans are held back while as many as allowed wait for an answer; the time counts."
    return Picture("Under way and held back", caption, svg)


def cpu(timeline: Timeline, time: TimeAxis) -> Picture:
    """What the machine was busy with."""
    generators = _rates(timeline, lambda second: second.generator_cpu_s)

    def paint(axes: Axes) -> None:
        _server_lines(axes, timeline, lambda point: point.cores)
        _line(axes, _middles(timeline), generators, label="generators", colour="ink", style="--")
        from_zero(axes)

    most = {
        name: max((point.cores or 0 for point in points), default=0.0)
        for name, points in timeline.servers.items()
    }
    most["generators"] = max(generators)
    alt = "; ".join(f"{name}: at most {cores:.2f} cores" for name, cores in most.items())
    svg = draw(paint, name="cpu", alt=alt, y_label="cores", time=time)
    return Picture(
        "CPU", "Cores that each server, with all of its processes, and the generators together used.", svg
    )


def memory(timeline: Timeline, time: TimeAxis) -> Picture:
    """Whether a server grows."""
    return _of_servers(
        timeline, time, lambda point: point.memory_mib, title="Memory", name="memory", unit="MiB"
    )


def descriptors(timeline: Timeline, time: TimeAxis) -> Picture:
    """Whether a server leaks files and connections."""
    return _of_servers(
        timeline,
        time,
        lambda point: point.descriptors,
        title="Open descriptors",
        name="descriptors",
        unit="descriptors",
    )


def _of_servers(
    timeline: Timeline,
    time: TimeAxis,
    value: Callable[[ServerPoint], float | None],
    *,
    title: str,
    name: str,
    unit: str,
) -> Picture:
    def paint(axes: Axes) -> None:
        _server_lines(axes, timeline, value)
        from_zero(axes)

    ends = []
    for server, points in timeline.servers.items():
        first, last = (numbers.plain(value(point) or 0) for point in (points[0], points[-1]))
        ends.append(f"{server}: from {first} to {last} {unit}")
    svg = draw(paint, name=name, alt="; ".join(ends), y_label=unit, time=time)
    return Picture(title, "Of each server with all of its processes.", svg)


def _server_lines(axes: Axes, timeline: Timeline, value: Callable[[ServerPoint], float | None]) -> None:
    for number, (name, points) in enumerate(timeline.servers.items()):
        xs = [point.at_s for point in points]
        ys = [value(point) for point in points]
        _line(axes, xs, ys, label=name, colour=_ORDER[number % len(_ORDER)])


def _time_axis(recording: Recording, timeline: Timeline) -> TimeAxis:
    first, last = timeline.slots[0], timeline.slots[-1]
    marks = [
        Mark(
            act.at - recording.began_at, f"{act.name} failed" if act.problem else act.name, bool(act.problem)
        )
        for act in recording.acts
    ]
    ends_s = max(last.begins_s + last.lasts_s, *(mark.at_s for mark in marks), 0)
    return TimeAxis(min(first.begins_s, 0, *(mark.at_s for mark in marks)), ends_s, marks)


def _line(
    axes: Axes,
    xs: Sequence[float],
    ys: Sequence[float | None],
    *,
    label: str,
    colour: str,
    width: float = 1.3,
    style: str = "-",
) -> None:
    """Draw a line with gaps where there is nothing; points that would be alone in a gap stay visible."""
    values = [math.nan if y is None else y for y in ys]
    around = [math.nan, *values, math.nan]
    alone = [i for i in range(len(values)) if math.isnan(around[i]) and math.isnan(around[i + 2])]
    axes.plot(xs, values, color=COLOURS[colour], label=label, lw=width, ls=style)
    axes.plot([xs[i] for i in alone], [values[i] for i in alone], "o", color=COLOURS[colour])


def _middles(timeline: Timeline) -> Sequence[float]:
    return [slot.middle_s for slot in timeline.slots]


def _edges(timeline: Timeline) -> Sequence[float]:
    last = timeline.slots[-1]
    return [*(slot.begins_s for slot in timeline.slots), last.begins_s + last.lasts_s]


def _rates(timeline: Timeline, count: Callable[[Second], float]) -> Sequence[float]:
    return [count(slot.total) / slot.lasts_s for slot in timeline.slots]


def _a_second(rates: Sequence[float]) -> str:
    return f"{numbers.plain(max(rates))} a second"


def _percentiles(slots: Sequence[Slot], percentile: float) -> Sequence[float | None]:
    return [slot.total.honest.percentile_ms(percentile) for slot in slots]


def _grouped(counts: Counter[str]) -> Counter[str]:
    grouped: Counter[str] = Counter()
    for name, count in counts.items():
        grouped[name if name in _VERDICTS else _OTHER] += count
    return grouped


def _nines(percentile: float) -> float:
    return -math.log10(1 - percentile / 100)


def _curve(latencies: Latencies) -> Sequence[tuple[float, float]]:
    """Return (nines, milliseconds), as far as there are enough scans to say."""
    if not latencies.count:
        return []
    last = max(math.log10(latencies.count), 0.3)
    nines = [last * step / _CURVE_POINTS for step in range(_CURVE_POINTS)]
    curve = [(one, latencies.percentile_ms(100 * (1 - 10**-one))) for one in nines]
    return [(one, value) for one, value in [*curve, (last, latencies.max_ms)] if value]


def _limits(recording: Recording) -> Sequence[tuple[float, float]]:
    """Return (nines, milliseconds) of the limits on latencies of honest scans."""
    named = (
        (re.fullmatch(r"honest_p(\d+(?:\.\d+)?)_ms", one.measure), one.limit) for one in recording.thresholds
    )
    return [(_nines(float(found[1])), limit) for found, limit in named if found and float(found[1]) < 100]
