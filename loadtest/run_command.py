"""`python -m loadtest run` and `scenarios`: what the user asks for, checked before anything is started."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from loadtest.arrivals import ProfileError
from loadtest.ceiling import DURATION_S as CEILING_S
from loadtest.measures import UnknownMeasure, threshold
from loadtest.runner import run_all
from loadtest.scenario import Scenario
from loadtest.scenario_run import NotPossible, Setting
from loadtest.scenarios import SCENARIOS


def run(
    names: Sequence[str],
    *,
    output: Path,
    is_json: bool,
    thresholds: Sequence[str],
    no_ceiling: bool,
    **options: Any,
) -> int:
    """Run scenarios, and return the exit code of run_all(); raises click.UsageError and ProcessError."""
    for name in names:
        if name not in SCENARIOS:
            raise click.UsageError(f"there is no scenario {name}: there are {', '.join(SCENARIOS)}")
    for text in thresholds:
        _require_threshold(text)
    setting = Setting(**options, thresholds=thresholds, ceiling_s=0 if no_ceiling else CEILING_S)
    try:
        return run_all(names, setting, output=output, is_json=is_json)
    except (NotPossible, ProfileError) as error:
        raise click.UsageError(str(error)) from None


def show_scenarios(*, is_json: bool) -> int:
    """Print the scenarios and return the exit code."""
    if is_json:
        print(json.dumps([_described(one) for one in SCENARIOS.values()]))
        return 0
    table = Table(box=None, pad_edge=False)
    for column in ("scenario", "a minute", "seconds", "sites", "what it replays"):
        table.add_column(column, justify="right" if column in ("a minute", "seconds", "sites") else "left")
    for one in SCENARIOS.values():
        numbers = (f"{one.people_a_minute:,.0f}", f"{one.duration_s:,.0f}", str(one.sites))
        table.add_row(one.name, *numbers, one.about)
    Console(highlight=False).print(table)
    return 0


def _described(one: Scenario) -> dict[str, Any]:
    return {
        "name": one.name,
        "about": one.about,
        "people_a_minute": one.people_a_minute,
        "duration_s": one.duration_s,
        "sites": one.sites,
        "acts": [{"at": act.at, "name": act.name} for act in one.acts],
        "thresholds": [{"measure": limit.measure, "limit": limit.limit} for limit in one.thresholds],
    }


def _require_threshold(text: str) -> None:
    name, _, number = text.partition("=")
    try:
        threshold(name.strip(), float(number))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not NAME=NUMBER", param_hint="--threshold") from None
    except UnknownMeasure as error:
        raise click.BadParameter(str(error), param_hint="--threshold") from None
