"""What came of a benchmark: figures and ratios, on the terminal and as JSON."""

import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtest.bench.measured import Measured, Ratio

OUTPUT = Path("build/bench")


class Result:
    """Collects figures and ratios, in the order in which they are shown."""

    def __init__(self) -> None:
        self._measured: list[Measured] = []
        self._ratios: list[Ratio] = []

    def add(self, *measured: Measured) -> None:
        """Add figures."""
        self._measured += measured

    def ratio(self, ratio: Ratio) -> None:
        """Add a ratio."""
        self._ratios.append(ratio)

    def show(self, console: Console) -> None:
        """Print two tables."""
        table = Table(title=f"Measured ({_machine()})", title_justify="left")
        for column in ("what", "median", "least", "most", "unit"):
            table.add_column(column, justify="left" if column in ("what", "unit") else "right")
        for one in self._measured:
            samples = (one.median, min(one.samples), max(one.samples))
            table.add_row(one.what, *(_three_digits(sample) for sample in samples), one.unit)
        console.print(table)
        table = Table(title="Ratios", title_justify="left")
        for column in ("what", "ratio", "aim", ""):
            table.add_column(column, justify="left" if column == "what" else "right")
        for ratio in self._ratios:
            mark = "[green]met[/]" if ratio.is_met else "[yellow]missed[/]"
            aim = f"{'>=' if ratio.is_floor else '<='} {ratio.aim:g}"
            table.add_row(ratio.what, f"{ratio.value:.3f}", aim, mark)
        console.print(table)

    def write(self) -> None:
        """Write build/bench/bench.json."""
        content = {
            "machine": _machine(),
            "measured": [asdict(one) | {"median": one.median, "p99": one.p99} for one in self._measured],
            "ratios": [asdict(one) | {"is_met": one.is_met} for one in self._ratios],
        }
        (OUTPUT / "bench.json").write_text(json.dumps(content, indent=1))


def _three_digits(sample: float) -> str:
    return f"{sample:,.0f}" if sample >= 100 else f"{sample:.3g}"


def _machine() -> str:
    versions = f"Python {platform.python_version()}, grpcio {version('grpcio')}, PyNaCl {version('pynacl')}"
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {versions}"
