"""A short Locust run in a process of its own, and what came of it."""

import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from loadtest.processes import ProcessError, ServerProcess

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
# Locust's exit code when calls failed or verdicts were wrong; the numbers say which.
_EXIT_FAILURES = 1
_SPARE_S = 30


@dataclass(frozen=True, slots=True)
class Burst:
    """What a run measured, as the people at the gates saw it."""

    scans: int
    failures: int  # wrong verdicts and calls without one
    scans_per_s: float
    p50_ms: float
    p99_ms: float
    report: Path  # HTML


def run_burst(*, address: str, corpus: Path, gates: int, seconds: int, output: Path) -> Burst:
    """Let `gates` gates scan as fast as they can for `seconds`; raises ProcessError."""
    report = output / "locust.html"
    statistics = output / "locust"
    command = [
        *(sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--headless", "--only-summary"),
        *("--host", address, "--corpus", str(corpus)),
        *("--users", str(gates), "--spawn-rate", str(gates), "--run-time", f"{seconds}s"),
        *("--html", str(report), "--csv", str(statistics)),
    ]
    environment = {"PYTHONPATH": str(LOCUSTFILE.parents[1])}
    with ServerProcess("locust", command, folder=output, environment=environment) as locust:
        exit_code = locust.wait(seconds + _SPARE_S)
        if exit_code not in (0, _EXIT_FAILURES):
            raise ProcessError(f"locust ended with {exit_code}:\n{locust.tail()}")
    with Path(f"{statistics}_stats.csv").open(newline="") as file:
        total = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
    return Burst(
        scans=int(total["Request Count"]),
        failures=int(total["Failure Count"]),
        scans_per_s=float(total["Requests/s"]),
        p50_ms=_milliseconds(total["50%"]),
        p99_ms=_milliseconds(total["99%"]),
        report=report,
    )


def _milliseconds(field: str) -> float:
    return math.nan if field == "N/A" else float(field)  # without a single scan there is no percentile
