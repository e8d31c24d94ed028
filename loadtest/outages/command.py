"""`python -m loadtest outages`: every fault on both engines, and a table of what came of them."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.office import CREDENTIALS
from loadtest.outages.fault import ENGINES, Fault
from loadtest.outages.faults import FAULTS, groups_of
from loadtest.outages.gates import gates_of
from loadtest.outages.table import Row, as_table, put_into, readme_text
from loadtest.outages.trial import run_trial
from loadtest.processes import ProcessError

README = Path(__file__).parents[2] / "README.md"
_LOG_WIDTH = 140

_EXIT_MISSED, _EXIT_UNPROVEN = 1, 3


@dataclass(frozen=True, slots=True)
class Setting:
    """How faults are done."""

    rate: float  # calls a second
    lasts_s: float  # each of them, at least
    beside_s: float = 1.5  # so long before and after each
    credentials: int = CREDENTIALS


def run(
    *,
    engine: str | None,
    only: Sequence[str],
    is_list: bool,
    rate: float,
    lasts_s: float,
    json_file: Path | None,
    is_for_readme: bool,
) -> int:
    """Do the faults, print the table and return the exit code; raises click.UsageError."""
    # Where nobody watches, nothing needs to fit: a log has the table whole.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _LOG_WIDTH)
    faults = _chosen(only)
    if is_list:
        for fault in faults:
            console.print(f"{fault.name:<28} {fault.meaning}", soft_wrap=True)
        return 0
    if is_for_readme and (engine or only):
        raise click.UsageError("--readme is for all faults and both engines")
    rows = _run_all(faults, [engine] if engine else ENGINES, Setting(rate, lasts_s))
    names = [fault.name for fault in faults]
    # They were done scene by scene.
    rows = sorted(rows, key=lambda row: names.index(row.name))
    console.print(as_table(rows))
    for row in rows:
        for said in row.said:
            console.print(f"[bold red]{row.name}, {row.engine}:[/] {said}", soft_wrap=True)
    if json_file is not None:
        json_file.write_text(json.dumps([row.as_json() for row in rows], indent=1))
    if any(row.unproven for row in rows):
        return _EXIT_UNPROVEN
    if is_for_readme:
        put_into(README, readme_text(rows, rate=rate))
    return _EXIT_MISSED if any(row.complaints for row in rows) else 0


def _chosen(only: Sequence[str]) -> Sequence[Fault]:
    names = {fault.name for fault in FAULTS}
    for name in only:
        if name not in names:
            raise click.UsageError(f"there is no fault {name}: see --list")
    return [fault for fault in FAULTS if not only or fault.name in only]


def _run_all(faults: Sequence[Fault], engines: Sequence[str], setting: Setting) -> Sequence[Row]:
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True, highlight=False)
    is_watched = sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=not is_watched) as progress:
        task = progress.add_task("", total=len(faults) * len(engines))

        def show(fault: Fault) -> None:
            progress.update(task, description=fault.name)

        rows = []
        for group in groups_of(faults):
            for row in run_group(group, engines, setting, show=show):
                rows.append(row)
                progress.advance(task)
                if not is_watched:  # a log says how far it has come
                    state = "; ".join(row.said) or "well"
                    console.print(f"{row.name}, {row.engine}: {state}", soft_wrap=True)
        return rows


def run_group(
    faults: Sequence[Fault],
    engines: Sequence[str],
    setting: Setting,
    *,
    show: Callable[[Fault], None] = lambda _fault: None,
) -> Iterator[Row]:
    """Do faults that may be done to one scene, and yield what came of each; `show` is told which is next.

    A scene that a fault has left in disorder is torn down, and the rest have another one.
    """
    waiting = list(faults)
    while waiting:
        try:
            yield from _run_on_one_scene(waiting, engines, setting, show)
        except ProcessError as error:
            if not waiting:
                raise
            # Also where not even the scene came about: then the first of them has had its turn.
            fault = waiting.pop(0)
            yield from (Row.unproven_one(fault, engine, str(error)) for engine in engines)


def _run_on_one_scene(
    waiting: list[Fault], engines: Sequence[str], setting: Setting, show: Callable[[Fault], None]
) -> Iterator[Row]:
    """Do faults until one leaves a disorder; those that were done are taken from `waiting`."""
    show(waiting[0])
    with (
        tempfile.TemporaryDirectory(prefix="gatelight-outages-") as folder,
        waiting[0].needs(Path(folder), engines=engines, credentials=setting.credentials) as scene,
        gates_of(scene, rate=setting.rate) as gates,
    ):
        while waiting:
            show(waiting[0])
            outcomes = run_trial(scene, waiting[0], gates, beside_s=setting.beside_s, lasts_s=setting.lasts_s)
            waiting.pop(0)
            yield from map(Row.of, outcomes)
            if any(outcome.complaints for outcome in outcomes):
                return
