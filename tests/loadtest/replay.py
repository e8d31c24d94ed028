"""Scenarios in a few seconds with few people: everything of them happens, and nothing depends on speed."""

import io
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from loadtest.percentiles import CSV_NAME
from loadtest.recording import Recording
from loadtest.report.writing import REPORT_NAME, SUMMARY_NAME
from loadtest.scenario import Scenario
from loadtest.scenario_run import Generated, Setting, adapt, conclude, generate
from loadtest.scenarios import SCENARIOS
from loadtest.town import Town

PEOPLE_A_MINUTE = 6_000
DURATION_S = 4.0
# Other tests have the machine as well.
_ANY_TIME = "honest_p99_ms=60000"


@dataclass(frozen=True, slots=True)
class Replay:
    """A scenario whose generators have ended."""

    scenario: Scenario
    generated: Generated

    def conclude(self) -> Recording:
        """Return what was recorded, once it is as it has to be on any morning."""
        told = io.StringIO()
        exit_code = conclude(self.generated, ceiling=None, console=Console(file=told))
        assert exit_code == 0, told.getvalue()
        folder = self.generated.folder
        recording = Recording.read(folder)
        assert recording.total().right > 0
        assert recording.total().wrong == 0
        assert [act.name for act in recording.acts] == [act.name for act in self.scenario.acts]
        assert {sample.name for sample in recording.servers} >= {"redis", "verifier-1"}
        assert all((folder / name).stat().st_size for name in (CSV_NAME, REPORT_NAME, SUMMARY_NAME))
        return recording


def replay(
    here: Town,
    name: str,
    folder: Path,
    *,
    duration_s: float = DURATION_S,
    thresholds: tuple[str, ...] = (),
) -> Replay:
    """Run the generators of a scenario in a town."""
    setting = Setting(
        people_a_minute=PEOPLE_A_MINUTE,
        duration_s=duration_s,
        sites=8,
        thresholds=(_ANY_TIME, *thresholds),
        ceiling_s=0,
    )
    scenario = adapt(SCENARIOS[name], setting)
    console = Console(file=io.StringIO())
    return Replay(scenario, generate(here, scenario, setting, folder=folder, console=console))
