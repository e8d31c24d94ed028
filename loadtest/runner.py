"""`python -m loadtest run`: scenarios against a whole Gatelight on this machine, from the first server to the
report.

The main thread has the servers, and carries out the acts while Locust runs in processes of its own.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtest.ceiling import Asking, asking_of, measure_ceiling
from loadtest.recording import Ceiling, Recording
from loadtest.scenario import Scenario
from loadtest.scenario_run import Setting, adapt, conclude, generate
from loadtest.scenarios import SCENARIOS
from loadtest.town import Town, town

OUTPUT = Path("build/load")
_TOLD = ("due", "sent", "right", "wrong", "failed", "retries", "held", "late", "missed", "missed_by_server")


def run_all(names: Sequence[str], setting: Setting, *, output: Path = OUTPUT, is_json: bool = False) -> int:
    """Run scenarios one after the other, each into `output`/<name>; return the worst exit code.

    0: all thresholds were met. 1: one was not, or a verdict was wrong. 3: the run proves nothing. Raises
    ProcessError, and NotPossible before anything is started.
    """
    chosen = [adapt(SCENARIOS[name], setting) for name in names]
    # Results alone go to standard output where programs read them.
    console = Console(highlight=False, stderr=is_json)
    ceilings = _measure_ceilings(chosen, setting, console)
    worst = 0
    for group in _groups(chosen):
        with _new_town(group, setting, console) as here:
            for scenario in group:
                console.print(f"[bold]{scenario.name}[/]: {scenario.about}", soft_wrap=True)
                folder = (output / scenario.name).resolve()
                generated = generate(here, scenario, setting, folder=folder, console=console)
                ceiling = ceilings.get(_asking(scenario, setting))
                code = conclude(generated, ceiling=ceiling, console=console)
                worst = max(worst, code)
                if is_json:
                    print(json.dumps(_outcome(Recording.read(folder), folder, code)))
    return worst


def _measure_ceilings(
    scenarios: Sequence[Scenario], setting: Setting, console: Console
) -> Mapping[Asking, Ceiling]:
    """Measure one for each way in which scenarios ask; none where the setting has no time for it."""
    if not setting.ceiling_s:
        return {}
    found: dict[Asking, Ceiling] = {}
    for asking in dict.fromkeys(_asking(one, setting) for one in scenarios):
        with console.status(f"measuring what the generators reach against an empty server ({asking})"):
            found[asking] = measure_ceiling(asking, duration_s=setting.ceiling_s).ceiling
        console.print(
            f"against a server that does nothing ({asking}): {found[asking].per_s:,.0f} scans a second"
        )
    return found


def _asking(scenario: Scenario, setting: Setting) -> Asking:
    return asking_of(
        scenario, flavour=setting.flavour, processes=setting.processes, arrivals=setting.arrivals
    )


def _groups(scenarios: Sequence[Scenario]) -> Iterator[Sequence[Scenario]]:
    """Give those that may follow upon each other in one town: what breaks nothing leaves it as it was."""
    quiet: list[Scenario] = []
    for scenario in scenarios:
        if not scenario.acts:
            quiet.append(scenario)
            continue
        if quiet:
            yield quiet
        yield [scenario]
        quiet = []
    if quiet:
        yield quiet


@contextmanager
def _new_town(group: Sequence[Scenario], setting: Setting, console: Console) -> Iterator[Town]:
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="gatelight-town-"))
        new = town(
            Path(name),
            engine=setting.engine,
            workers=setting.workers,
            has_issuer=setting.has_issuer,
            acts=group[0].acts,
        )
        with console.status("starting the servers"):
            here = stack.enter_context(new)
        yield here


def _outcome(recording: Recording, folder: Path, exit_code: int) -> dict[str, Any]:
    """Return what a program wants to know at once; the rest is in results.json."""
    total = recording.total()
    return {
        "scenario": recording.plan.scenario,
        "exit_code": exit_code,
        "results": str(folder),
        "problems": recording.problems,  # why it proves nothing
        "thresholds": [asdict(one) for one in recording.thresholds],
        "honest_ms": dict(total.honest.percentiles_ms()),
        "hostile_ms": dict(total.hostile.percentiles_ms()),
        "limited_by": recording.limited_by,
        **{name: getattr(total, name) for name in _TOLD},
    }
