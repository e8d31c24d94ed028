"""`make load`: two of the mornings, small, against a whole Gatelight with an issuer."""

from pathlib import Path

from loadtest.runner import OUTPUT, run_all
from loadtest.scenario_run import Setting

MORNINGS = ("monday-0830", "garbage-flood")
# Whoever tries this has other things open: a quarter of what two cores hold, and room in what may be waited.
PEOPLE_A_MINUTE = 30_000
THRESHOLDS = ("honest_p99_ms=500",)
DURATION_S = 12


def run(
    *, people_a_minute: float = PEOPLE_A_MINUTE, duration_s: float = DURATION_S, output: Path = OUTPUT
) -> int:
    """Run them, about a minute in all, and return the exit code as run_all() does; raises ProcessError."""
    setting = Setting(
        people_a_minute=people_a_minute, duration_s=duration_s, has_issuer=True, thresholds=THRESHOLDS
    )
    return run_all(MORNINGS, setting, output=output)
