"""What came of all faults, for a terminal, for a program, and for the README."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from rich import box
from rich.table import Table

from loadtest.outages.fault import ENGINES, Fault
from loadtest.outages.trial import Outcome
from loadtest.processes import ProcessError

BEGIN = "<!-- what follows is written by: make outages -->"
END = "<!-- that was written by: make outages -->"

_COLUMNS = ("failed", "wrong", "p99 before", "during", "after", "noticed after", "recovered after")
# The engine of production first.
_ORDER = tuple(sorted(ENGINES))


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one fault on one engine."""

    name: str
    meaning: str
    engine: str
    scans: int = 0
    failed: int = 0
    wrong: int = 0
    p99s_ms: Sequence[float | None] = (None, None, None)  # before, during, after
    is_closed: bool = False  # there were to be no verdicts meanwhile
    is_to_be_noticed: bool = True
    noticed_after_s: float | None = None
    recovered_after_s: float | None = None
    complaints: Sequence[str] = ()
    unproven: str = ""  # why nothing is known

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        """Return the row of a fault that was done."""
        fault = outcome.fault
        return cls(
            fault.name,
            fault.meaning,
            outcome.engine,
            outcome.scans,
            outcome.failed,
            outcome.wrong,
            outcome.p99s_ms,
            fault.is_closed,
            fault.is_to_be_noticed,
            outcome.noticed_after_s,
            outcome.recovered_after_s,
            outcome.complaints,
        )

    @classmethod
    def unproven_one(cls, fault: Fault, engine: str, why: str) -> Self:
        """Return the row of a fault that could not be done."""
        return cls(fault.name, fault.meaning, engine, unproven=why)

    @property
    def said(self) -> Sequence[str]:
        """What people must hear of it."""
        return [f"proves nothing: {self.unproven}"] if self.unproven else self.complaints

    def as_json(self) -> Mapping[str, Any]:
        """Return it for json.dumps."""
        return asdict(self)

    def cells(self) -> Sequence[str]:
        """Return what stands in _COLUMNS."""
        if self.unproven:
            return ("?",) * len(_COLUMNS)
        before, during, after = map(_ms, self.p99s_ms)
        return (
            str(self.failed),
            str(self.wrong),
            before,
            "closed" if self.is_closed else during,
            after,
            _seconds(self.noticed_after_s) if self.is_to_be_noticed else "unnoticed",
            _seconds(self.recovered_after_s),
        )


def as_table(rows: Sequence[Row]) -> Table:
    """Return a table for a terminal; times are in milliseconds, and in seconds."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("fault", no_wrap=True)
    table.add_column("engine", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=column not in _COLUMNS[-2:])
    for row in rows:
        table.add_row(row.name, row.engine, *row.cells(), style="bold red" if row.said else "")
    return table


def readme_text(rows: Sequence[Row], *, rate: float) -> str:
    """Return the table and what was done for it, in Markdown; Envoy's figure stands before grpcio's."""
    scans = sum(row.scans for row in rows)
    of_fault: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: _ORDER.index(row.engine)):
        of_fault.setdefault(row.name, []).append(row)
    lines = [
        f"{len(of_fault)} faults, {scans:,} scans at {rate:g} calls a second on each engine; "
        f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}, all on one "
        "machine.",
        "",
        "| fault | failed | wrong | p99 before, during, after, ms | noticed after | recovered after |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_readme_line(of_fault[name]) for name in dict.fromkeys(row.name for row in rows)]
    return "\n".join(lines)


def put_into(path: Path, text: str) -> None:
    """Replace what stands between the two marker lines of a file; raises ProcessError without them."""
    content = path.read_text(encoding="utf-8")
    head, begin, rest = content.partition(f"{BEGIN}\n")
    _, end, tail = rest.partition(f"{END}\n")
    if not begin or not end:
        raise ProcessError(f"{path.name} has no place for the table: expected the lines {BEGIN} and {END}")
    path.write_text(f"{head}{begin}{text}\n{end}{tail}", encoding="utf-8")


def _readme_line(rows: Sequence[Row]) -> str:
    cells = [row.cells() for row in rows]
    failed, wrong, noticed, recovered = ([cell[at] for cell in cells] for at in (0, 1, 5, 6))
    p99s = [", ".join(cell[2:5]) for cell in cells]
    missed = ", **missed**" if any(row.complaints for row in rows) else ""
    columns = [
        f"`{rows[0].name}`: {rows[0].meaning}{missed}",
        *(_both(figures) for figures in (failed, wrong)),
        " · ".join(p99s),
        *(_both(figures) for figures in (noticed, recovered)),
    ]
    return f"| {' | '.join(columns)} |"


def _both(figures: Sequence[str]) -> str:
    """Return what both engines have, once where it is the same."""
    return " · ".join(dict.fromkeys(figures)) if len(set(figures)) == 1 else " · ".join(figures)


def _ms(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.0f}" if figure >= 10 else f"{figure:.1f}"


def _seconds(figure: float | None) -> str:
    return "**never**" if figure is None else f"{figure:.1f} s"
