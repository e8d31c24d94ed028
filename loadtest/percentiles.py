"""A recording as tables on the console, and as percentiles.csv and seconds.csv."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.latency import PERCENTILES, Latencies
from loadtest.recording import Recording, Second, ThresholdResult

CSV_NAME: Final = "percentiles.csv"
SECONDS_CSV_NAME: Final = "seconds.csv"

_MOST_WRONG: Final = 10
_SCANS: Final = (
    ("sent", "sent"),
    ("right", "right verdict"),
    ("wrong", "wrong verdict"),
    ("failed", "no verdict"),
    ("missed_by_server", "never sent: too many waited for the server"),
    ("held", "sent after waiting for that"),
    ("missed", "never sent: the generator was too slow"),
    ("late", "sent late by the generator"),
    ("retries", "further attempts"),
)
_SECOND_COUNTS: Final = (
    *("due", "sent", "right", "wrong", "failed", "late", "missed", "missed_by_server", "held", "in_flight"),
    "generator_cpu_s",
)
_SECOND_LATENCIES: Final = ("p50", "p99", "p99.9", "max")


def show(recording: Recording, console: Console) -> None:
    """Print what came of a run; reads well at 80 columns, and without colours."""
    total = recording.total()
    _say(console, _plan(recording))
    tables = [_scans(total), _latencies(total)]
    if recording.thresholds:
        tables.append(_thresholds(recording.thresholds))
    if recording.wrong:
        tables.append(_wrong(recording, total.wrong))
    for table in tables:
        console.print("", table, sep="\n")
    console.print()
    for act in recording.acts:
        how = f"could not be done: {act.problem}" if act.problem else f"took {act.took_s:.2f} s"
        _say(console, f"{act.name} at {act.at - recording.began_at:.1f} s {how}", is_bad=bool(act.problem))
    if total.errors:
        _say(console, f"attempts that failed: {_counted(total.errors.most_common())}")
    if recording.generators:
        cores = _counted((one.name, f"{one.cores:.2f}") for one in recording.generators)
        _say(console, f"cores that the generators used: {cores}")
    if ceiling := recording.ceiling:
        who = f"{ceiling.generators} generator{'s' if ceiling.generators > 1 else ''}"
        _say(console, f"ceiling of {who}, against a server that does nothing: {ceiling.per_s:,.0f}/s")
    if recording.limited_by:
        _say(console, f"limited by the {recording.limited_by}")
    for problem in recording.problems:
        _say(console, f"the run proves nothing: {problem}", is_bad=True)


def write_csv(recording: Recording, folder: Path) -> None:
    """Write percentiles.csv and seconds.csv to `folder`.

    percentiles.csv has a row for each class (honest, hostile) and percentile, 100 being the longest: latency
    in milliseconds, empty without any, and how many scans the class has. seconds.csv has a row for each
    second of the run, by Unix time, with what recording.Second has of it.
    """
    total = recording.total()
    with (folder / CSV_NAME).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("class", "percentile", "latency_ms", "count"))
        for name, latencies in (("honest", total.honest), ("hostile", total.hostile)):
            count, found = latencies.count, latencies.percentiles_ms().values()
            for percentile, latency_ms in zip((*PERCENTILES, 100.0), found, strict=True):
                rows.writerow((name, f"{percentile:g}", _two_digits(latency_ms), count))
    with (folder / SECONDS_CSV_NAME).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("time", *_SECOND_COUNTS, *(f"honest_{name}_ms" for name in _SECOND_LATENCIES)))
        for at, second in sorted(recording.seconds.items(), key=lambda item: item[0]):
            counts = (f"{getattr(second, name):.10g}" for name in _SECOND_COUNTS)
            found_ms = second.honest.percentiles_ms()
            rows.writerow((at, *counts, *(_two_digits(found_ms[name]) for name in _SECOND_LATENCIES)))


def _plan(recording: Recording) -> str:
    plan = recording.plan
    rate = f"{plan.people_a_minute:,.0f} people a minute ({plan.people_a_minute / 60:,.0f}/s)"
    if plan.arrivals == "closed":
        rate = "as many as were answered"
    return (
        f"{plan.scenario}: {rate}, {plan.flavour}, {plan.arrivals} arrivals, {plan.sites} connections, "
        f"{plan.duration_s:g} s"
    )


def _scans(total: Second) -> Table:
    table = _table("scans", "count", "of those due")
    table.add_row("due", f"{total.due:,}", "")
    for name, what in _SCANS:
        count: int = getattr(total, name)
        is_bad = name in ("wrong", "failed", "missed_by_server", "missed") and count > 0
        table.add_row(what, f"{count:,}", _share(count, total.due), style="red" if is_bad else "")
    return table


def _latencies(total: Second) -> Table:
    names = list(total.honest.percentiles_ms())
    table = _table("waited, ms", *names, "scans")
    for what, latencies in (("honest", total.honest), ("hostile", total.hostile)):
        table.add_row(what, *_cells(latencies), f"{latencies.count:,}")
    return table


def _cells(latencies: Latencies) -> list[str]:
    return [_latency(latency_ms) for latency_ms in latencies.percentiles_ms().values()]


def _thresholds(results: Sequence[ThresholdResult]) -> Table:
    table = _table("threshold", "limit", "measured", "")
    table.columns[-1].justify = "left"
    for one in results:
        limit = f"{'>=' if one.is_floor else '<='} {_number(one.limit)}"
        measured = "-" if one.value is None else _number(one.value)
        style = "green" if one.is_met else "red"
        table.add_row(Text(one.measure), limit, measured, Text(_judgement(one), style=style))
    return table


def _judgement(one: ThresholdResult) -> str:
    if one.value is None:
        return "not looked at" if one.is_met else "missed: nothing measured"
    return "met" if one.is_met else "missed"


def _wrong(recording: Recording, count: int) -> Table:
    shown = recording.wrong[:_MOST_WRONG]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(f"scan_id ({len(shown)} of {count:,} wrong)", overflow="fold")
    for name in ("kind", "expected", "got"):
        table.add_column(name, overflow="fold")
    for one in shown:
        table.add_row(Text(one.scan_id), Text(one.kind), Text(one.expected), Text(one.got), style="red")
    return table


def _table(what: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(what)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _say(console: Console, line: str, *, is_bad: bool = False) -> None:
    console.print(Text(line, style="red" if is_bad else ""))


def _counted(named: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{name} {number}" for name, number in named)


def _two_digits(latency_ms: float | None) -> str:
    return "" if latency_ms is None else f"{latency_ms:.2f}"


def _latency(latency_ms: float | None) -> str:
    if latency_ms is None:
        return "-"
    return f"{latency_ms:,.0f}" if latency_ms >= 1000 else f"{latency_ms:.2f}"


def _number(number: float) -> str:
    if 0 < abs(number) < 0.01:
        return f"{number:.2g}"
    return f"{number:,.3f}".rstrip("0").rstrip(".")


def _share(part: float, whole: float) -> str:
    if not whole or not part:
        return ""
    percent = 100 * part / whole
    if percent < 0.01:
        return "< 0.01 %"
    if 99.99 < percent < 100:
        return "> 99.99 %"
    return f"{percent:.2f} %"
