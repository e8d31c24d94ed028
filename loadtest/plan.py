"""`python -m loadtest plan`: what a city needs, from what `make bench` measured on this machine."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from loadtest.costs import Costs, NoCosts

DEFAULT_COSTS = Path("build/bench/bench.json")


class Figure(click.ParamType[float]):
    """A number as people write it: 25000000, 25e6, 25_000_000 or 25,000,000."""

    name = "number"

    def __init__(self, least: float, most: float = math.inf) -> None:
        """From `least` to `most`, the ends included; infinity never."""
        self._least = least
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; raises click.BadParameter."""
        try:
            number = float(str(value).replace(",", ""))
        except ValueError:
            self.fail(f"expected a number such as 25e6, got {value!r}", param, ctx)
        if not (self._least <= number <= self._most and math.isfinite(number)):
            most = "" if math.isinf(self._most) else f" and at most {self._most:g}"
            self.fail(f"expected at least {self._least:g}{most}, got {value}", param, ctx)
        return number


_DAY_MINUTES = 1_440


@click.command()
# A credential_index has 32 bits.
@click.option("--people", type=Figure(1, 2**32 - 1), required=True, help="Everybody with a credential: 25e6.")
@click.option("--scans-per-person-day", type=Figure(0.001), default=2, show_default=True)
@click.option(
    "--displays-per-scan", type=Figure(0), default=10, show_default=True, help="Codes looked at, not scanned."
)
@click.option(
    "--peak-factor",
    type=Figure(1, _DAY_MINUTES),
    default=10,
    show_default=True,
    help="The busiest minute against the mean of the day.",
)
@click.option("--peak-per-minute", type=Figure(0), default=0, help="A peak to hold, if it is larger: 1.4e6.")
@click.option(
    "--headroom",
    type=Figure(0, 0.95),
    default=0.5,
    show_default=True,
    help="Share of the cores that is free at the peak.",
)
@click.option("--batch", "is_batched", is_flag=True, help="Gate hubs send a hundred scans a call.")
@click.option(
    "--bundle-hours",
    type=Figure(1 / 120, 24),
    default=12,
    show_default=True,
    help="Codes that a phone fetches at once.",
)
@click.option(
    "--fetching-share",
    type=Figure(0, 1),
    default=1,
    show_default=True,
    help="Of the people whose phones keep codes ahead at the same time.",
)
@click.option(
    "--retention-days", type=Figure(0.001), default=28, show_default=True, help="Of scans in the register."
)
@click.option("--cores-a-host", type=click.IntRange(1, 1_024), default=32, show_default=True)
@click.option(
    "--costs",
    "costs_file",
    type=click.Path(path_type=Path),
    default=DEFAULT_COSTS,
    show_default=True,
    help="What make bench wrote.",
)
@click.option("--json", "is_json", is_flag=True, help="Print an object for programs.")
def plan(costs_file: Path, is_json: bool, **city: Any) -> None:
    """Tell the cores, memory, Redis, bandwidth and issuers that a city needs, and what that assumes."""
    from loadtest.needs import ASSUMPTIONS, City, needs  # noqa: PLC0415 - --help does without
    from loadtest.sizes import weigh  # noqa: PLC0415

    try:
        costs = Costs.read(costs_file)
    except NoCosts as error:
        raise click.UsageError(str(error)) from None
    sizes = weigh()
    found = needs(City(**city), costs, sizes)
    if is_json:
        content = {"city": city, "costs": asdict(costs), "sizes": asdict(sizes)}
        lines = {"needs": [asdict(need) for need in found], "assumptions": ASSUMPTIONS}
        click.echo(json.dumps(content | lines, indent=1, ensure_ascii=False))
        return
    table = Table(title=f"{city['people']:,.0f} people ({costs.machine})", title_justify="left")
    for column in ("", "what", "needed", "unit", "how"):
        table.add_column(column, justify="right" if column == "needed" else "left")
    group = ""
    for need in found:
        if need.group != group:
            table.add_section()
        shown = (
            f"{need.value:,.0f}"
            if need.value >= 100 or need.value == round(need.value)
            else f"{need.value:.3g}"
        )
        table.add_row(need.group if need.group != group else "", need.what, shown, need.unit, need.how)
        group = need.group
    console = Console(highlight=False)
    console.print(table)
    console.print("It assumes:")
    for assumption in ASSUMPTIONS:
        console.print(f"  - {assumption}", soft_wrap=False)


if __name__ == "__main__":
    plan(prog_name="python -m loadtest plan")
