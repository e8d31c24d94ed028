"""A short run of the generators against a verifier that is there."""

import math
from dataclasses import dataclass
from pathlib import Path

from loadtest.crowd.control import PROVES_NOTHING
from loadtest.locust_process import Job, run_locust
from loadtest.measures import measure
from loadtest.processes import ProcessError
from loadtest.recording import Recording
from loadtest.report.writing import REPORT_NAME
from loadtest.report.writing import write as write_report

# What any machine holds that has other things open: waits then are those of people, and not of a full server.
PEOPLE_A_MINUTE = 30_000
_GATE_ID = "burst"


@dataclass(frozen=True, slots=True)
class Burst:
    """What a run measured, as the people at the gates saw it."""

    scans: int
    failures: int  # wrong verdicts, scans without one, and people who were not scanned at all
    scans_per_s: float
    p50_ms: float  # from when they came, of people with codes of ours; nan without any
    p99_ms: float
    report: Path  # HTML


def run_burst(*, address: str, corpus: Path, gates: int, seconds: int, output: Path) -> Burst:
    """Let PEOPLE_A_MINUTE come to `gates` gates for `seconds`; raises ProcessError."""
    job = Job(
        scenario="steady",
        corpus=corpus,
        addresses=[address],
        duration_s=seconds,
        people_a_minute=PEOPLE_A_MINUTE,
        flavour="unary",
        arrivals="poisson",
        results=output,
        sites=gates,
        gate_id=_GATE_ID,
    )
    exit_code = run_locust(job)
    recording = Recording.read(output)
    if exit_code == PROVES_NOTHING:
        raise ProcessError(f"the generators prove nothing: {'; '.join(recording.problems)}")
    write_report(output)
    total = recording.total()
    return Burst(
        scans=total.right + total.wrong,
        failures=total.wrong + total.failed + total.missed + total.missed_by_server,
        scans_per_s=measure(recording, "per_s") or 0.0,
        p50_ms=_or_nan(total.honest.percentile_ms(50)),
        p99_ms=_or_nan(total.honest.percentile_ms(99)),
        report=output / REPORT_NAME,
    )


def describe(burst: Burst) -> str:
    """Return the figures of a run in one line."""
    return (
        f"{burst.scans:,} scans, {burst.scans_per_s:,.0f} a second, "
        f"p50 {burst.p50_ms:.1f} ms, p99 {burst.p99_ms:.1f} ms"
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
