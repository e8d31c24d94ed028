"""What came of a benchmark: figures and ratios, on the terminal, as JSON and as a picture."""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtest.bench.measured import Measured, Ratio
from loadtest.costs import Costs
from loadtest.crowd.machine import describe_machine

OUTPUT = Path("build/bench")
JSON_NAME, PICTURE_NAME = "bench.json", "bench.png"


class Result:
    """Collects figures and ratios by group, in the order in which they are shown."""

    def __init__(self) -> None:
        self._measured: dict[str, list[Measured]] = {}
        self._ratios: dict[str, list[Ratio]] = {}
        self._costs: dict[str, float] = {}
        self._took_s: dict[str, float] = {}

    def add(self, group: str, *measured: Measured) -> None:
        """Add figures."""
        self._measured.setdefault(group, []).extend(measured)

    def ratio(self, ratio: Ratio) -> None:
        """Add a ratio."""
        self._ratios.setdefault(ratio.group, []).append(ratio)

    def cost(self, name: str, value: float) -> None:
        """Note a cost for loadtest/plan.py, a field of Costs."""
        self._costs[name] = value

    def took(self, what: str, seconds: float) -> None:
        """Note how long a part of the benchmark took."""
        self._took_s[what] = seconds

    def show(self, console: Console) -> None:
        """Print two tables."""
        table = Table(title=f"Measured ({machine()})", title_justify="left")
        for column in ("", "what", "median", "least", "most", "unit"):
            table.add_column(column, justify="right" if column in ("median", "least", "most") else "left")
        for group, measured in self._measured.items():
            table.add_section()
            for one in measured:
                shown = group if one is measured[0] else ""
                table.add_row(shown, one.what, *map(three_digits, _spread(one).values()), one.unit)
        console.print(table)
        self._show_ratios(console)

    def write(self, folder: Path) -> None:
        """Write bench.json."""
        measured_on = machine()
        content = {
            "machine": measured_on,
            "took_s": self._took_s,
            "costs": asdict(Costs(machine=measured_on, **self._costs)),
            "measured": [
                _measured_as_json(group, one)
                for group, measured in self._measured.items()
                for one in measured
            ],
            "ratios": [asdict(one) | _spread(one) | {"is_met": one.is_met} for one in self._all_ratios()],
        }
        (folder / JSON_NAME).write_text(json.dumps(content, indent=1, ensure_ascii=False))

    def draw(self, folder: Path) -> None:
        """Draw the ratios to bench.png."""
        from loadtest.report.bench_chart import Bar, draw_bench  # noqa: PLC0415 - loads matplotlib

        bars = [
            Bar(one.group, one.what, one.median, min(one.samples), max(one.samples), one.aim, one.is_floor)
            for one in self._all_ratios()
        ]
        draw_bench(bars, folder / PICTURE_NAME, title="Ratios to limits and to each other", caption=machine())

    def _all_ratios(self) -> list[Ratio]:
        return [one for ratios in self._ratios.values() for one in ratios]

    def _show_ratios(self, console: Console) -> None:
        table = Table(title="Ratios, of each round", title_justify="left")
        for column in ("", "what", "median", "least", "most", "aim", " "):
            table.add_column(column, justify="left" if column in ("", "what", " ") else "right")
        for group, ratios in self._ratios.items():
            table.add_section()
            for one in ratios:
                figures = (f"{figure:.2f}" for figure in (one.median, min(one.samples), max(one.samples)))
                aim = "" if one.aim is None else f"{'≥' if one.is_floor else '≤'} {one.aim:g}"
                mark = {None: "", True: "[green]met[/]", False: "[yellow]missed[/]"}[one.is_met]
                table.add_row(group if one is ratios[0] else "", one.what, *figures, aim, mark)
        console.print(table)


def machine() -> str:
    """Return what was measured on, with the versions that matter."""
    found = describe_machine()
    what = f"{found['processor']}, {found['cores']} cores, {found['system']}, Python {found['python']}"
    commit = f", commit {found['commit']}" if "commit" in found else ""
    return f"{what}, grpcio {found['grpcio']}, PyNaCl {version('pynacl')}{commit}"


def three_digits(figure: float | None) -> str:
    """Return a figure as people read it, or "-" where there is none."""
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def _measured_as_json(group: str, measured: Measured) -> dict[str, Any]:
    return {"group": group} | asdict(measured) | _spread(measured)


def _spread(figure: Measured | Ratio) -> dict[str, float | None]:
    if not figure.samples:
        return dict.fromkeys(("median", "least", "most"))
    return {"median": figure.median, "least": min(figure.samples), "most": max(figure.samples)}
