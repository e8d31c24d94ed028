"""`python -m loadtest overload`: what it measures, prints, and calls missed."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from loadtest.overload.trial import Flood, Row, trial
from verifier.envoy.process import is_available

ENGINES = ("grpcio", "envoy")
FLOOD_FACTOR = 2.0
_TABLE_WIDTH = 140  # also into a file
_LEAST_SHARE = 0.9
# Seven capacities in a row on a shared machine, with no overload between them, were 84 to 100 % of the best.
_LEAST_LEFT = 0.7
_MOST_REFUSAL_MS = 10.0
_MOST_RECOVERY_S = 5.0
_MOST_GROWTH_MIB = 512.0  # what ten thousand calls at once take
_MOST_HONEST_RATIO = 2.0


def run(*, engine: str | None, factors: Sequence[float], seconds: float, json_file: Path | None) -> int:
    """Overload each engine, and return the exit code: 1 where something was missed; raises ProcessError."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    console = Console(highlight=False)
    console.width = max(console.width, _TABLE_WIDTH)
    rows: list[Row] = []
    floods: list[Flood] = []
    for name in (engine,) if engine else ENGINES:
        if name == "envoy" and (missing := is_available()) is not None:
            console.print(f"without the Envoy engine: {missing}")
            continue
        with trial(name) as running:
            for factor in factors:
                with console.status(f"{name}: {factor:g} times the capacity"):
                    rows.append(running.overload(factor, seconds))
            with console.status(f"{name}: forged codes"):
                floods.append(running.flood(FLOOD_FACTOR, seconds))
    _show(console, rows, floods)
    missed = [line for row in rows for line in missed_by(row)]
    missed += [line for flood in floods for line in missed_by_flood(flood)]
    for line in missed:
        console.print(f"[red]missed[/]: {line}")
    if json_file is not None:
        found = {"overloads": [asdict(row) for row in rows], "floods": [asdict(one) for one in floods]}
        json_file.write_text(json.dumps(found | {"missed": missed}, indent=2) + "\n")
    return 1 if missed else 0


def missed_by(row: Row) -> list[str]:
    """Return what is not as it has to be."""
    recovered = row.recovered_s is not None and row.recovered_s <= _MOST_RECOVERY_S
    bars = {
        f"goodput {row.share:.0%} of the peak, at least {_LEAST_SHARE:.0%}": row.share >= _LEAST_SHARE,
        f"{row.left:.0%} of the capacity left, at least {_LEAST_LEFT:.0%}": row.left >= _LEAST_LEFT,
        f"refusals p99 {_ms(row.refusal_p99_ms)} ms, at most {_MOST_REFUSAL_MS:g}": (
            row.refusal_p99_ms is None or row.refusal_p99_ms <= _MOST_REFUSAL_MS
        ),
        f"{row.refusals_without_delay} refusals without a delay": not row.refusals_without_delay,
        f"{row.failed} calls ended without a verdict or a refusal": not row.failed,
        f"{row.wrong} wrong verdicts": not row.wrong,
        f"recovered after {_seconds(row.recovered_s)}, at most {_MOST_RECOVERY_S:g}": recovered,
        f"{row.rss_peak - row.rss_before:.0f} MiB more, at most {_MOST_GROWTH_MIB:g}": (
            row.rss_peak - row.rss_before <= _MOST_GROWTH_MIB
        ),
    }
    return [f"{row.engine}, {row.factor:g} times: {what}" for what, is_met in bars.items() if not is_met]


def missed_by_flood(flood: Flood) -> list[str]:
    """Return what is not as it has to be."""
    before, during = flood.honest_before_p99_ms, flood.honest_p99_ms
    bars = {
        f"honest p99 {_ms(during)} ms, before {_ms(before)}": (
            before is not None and during is not None and during <= _MOST_HONEST_RATIO * before
        ),
        f"{flood.honest_not_right} honest scans without a verdict": not flood.honest_not_right,
        f"{flood.failed} calls ended without a verdict or a refusal": not flood.failed,
        f"{flood.wrong} wrong verdicts": not flood.wrong,
    }
    return [f"{flood.engine}, forged codes: {what}" for what, is_met in bars.items() if not is_met]


def _show(console: Console, rows: Sequence[Row], floods: Sequence[Flood]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in (
        *(
            "engine",
            "times",
            "offered/s",
            "calls/s",
            "goodput/s",
            "of peak",
            "left",
            "refused/s",
            "p50 ms",
            "p99 ms",
        ),
        *("verdict p99 ms", "honest p99 ms", "MiB before", "peak", "recovered"),
    ):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for row in rows:
        table.add_row(
            *(row.engine, f"{row.factor:g}", f"{row.offered:,.0f}", f"{row.calls:,.0f}"),
            *(f"{row.goodput:,.0f}", f"{row.share:.0%}", f"{row.left:.0%}", f"{row.refused:,.0f}"),
            *map(_ms, (row.refusal_p50_ms, row.refusal_p99_ms, row.verdict_p99_ms, row.honest_p99_ms)),
            *(f"{row.rss_before:.0f}", f"{row.rss_peak:.0f}"),
            _seconds(row.recovered_s),
        )
    console.print(table)
    for flood in floods:
        before, during = _ms(flood.honest_before_p99_ms), _ms(flood.honest_p99_ms)
        console.print(
            f"{flood.engine}: {flood.forged:,.0f} forged codes a second, {FLOOD_FACTOR:g} times what can be "
            f"verified, {flood.answered:,.0f} of them answered: honest p99 {during} ms, at half load without "
            f"them {before} ms"
        )


def _seconds(found: float | None) -> str:
    return "not" if found is None else f"{found:.1f} s"


def _ms(found: float | None) -> str:
    return "" if found is None else f"{found:.1f}"
