"""Starts the generators (Locust, loadtest/locustfile.py) as processes of their own and waits for them."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.crowd.control import MISSED, PROVES_NOTHING, RIGHT
from loadtest.processes import ProcessError, ServerProcess
from loadtest.recording import RESULTS_NAME

LOG_NAME = "locust.log"
LOCUSTFILE = Path(__file__).with_name("locustfile.py")
# Others are Locust's own errors.
EXIT_CODES = (RIGHT, MISSED, PROVES_NOTHING)
# Scans under way at once, a process; and in a call of a hub at most, which collects for so long.
MAX_IN_FLIGHT = 2_000
BATCH_SIZE = 100
LINGER_S = 0.05
# Imports, connections, and the last answers, on a machine that is busy with something else as well.
_SPARE_S = 60
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Job:
    """What generators are to do; see `locust -f loadtest/locustfile.py --help` for each."""

    scenario: str
    corpus: Path
    addresses: Sequence[str]
    duration_s: float
    people_a_minute: float
    flavour: str
    arrivals: str
    results: Path  # a folder
    sites: int
    processes: int = 1
    batch_size: int = BATCH_SIZE
    profile_csv: Path | None = None
    thresholds: Sequence[str] = ()  # NAME=NUMBER
    hand: str = ""
    gate_id: str = ""
    gate_key: str = field(default="", repr=False)

    def arguments(self, gate_key_file: Path | None) -> list[str]:
        """Return Locust's command line."""
        return [
            *("--locustfile", str(LOCUSTFILE), "--headless", "--only-summary"),
            *("--host", ",".join(self.addresses), "--scenario", self.scenario, "--corpus", str(self.corpus)),
            *("--duration", f"{self.duration_s:g}", "--people-a-minute", f"{self.people_a_minute:g}"),
            *("--flavour", self.flavour, "--arrivals", self.arrivals, "--sites", str(self.sites)),
            *("--max-in-flight", str(MAX_IN_FLIGHT)),
            *("--batch-size", str(self.batch_size), "--linger-ms", f"{LINGER_S * 1000:g}"),
            *("--results", str(self.results), "--html", str(self.results / "locust.html")),
            *("--csv", str(self.results / "locust")),
            *(("--processes", str(self.processes)) if self.processes > 1 else ()),
            *(("--profile-csv", str(self.profile_csv)) if self.profile_csv else ()),
            *(argument for one in self.thresholds for argument in ("--threshold", one)),
            *(("--hand", self.hand) if self.hand else ()),
            *(("--gate-id", self.gate_id) if self.gate_id else ()),
            *(("--gate-key-file", str(gate_key_file)) if gate_key_file else ()),
        ]


def run_locust(job: Job, *, meanwhile: Callable[[], object] = lambda: time.sleep(_LOOK_S)) -> int:
    """Run the generators to their end and return their exit code, one of EXIT_CODES.

    `meanwhile` is called again and again, and returns within a moment. Their log goes to locust.log in the
    folder of the results. Raises ProcessError when they fail.
    """
    (job.results / RESULTS_NAME).unlink(missing_ok=True)
    (job.results / LOG_NAME).unlink(missing_ok=True)
    deadline = time.monotonic() + job.duration_s + _SPARE_S
    with _secret_file(job.gate_key) as gate_key_file:
        command = [sys.executable, "-m", "locust", *job.arguments(gate_key_file)]
        environment = {"PYTHONPATH": str(LOCUSTFILE.parents[1])}
        with ServerProcess("locust", command, folder=job.results, environment=environment) as locust:
            while locust.is_running():
                if time.monotonic() > deadline:
                    raise ProcessError(f"the generators do not end:\n{locust.tail()}")
                meanwhile()
            exit_code = locust.wait(0)
            if exit_code not in EXIT_CODES or not (job.results / RESULTS_NAME).exists():
                raise ProcessError(f"the generators ended with {exit_code}:\n{locust.tail()}")
    return exit_code


@contextmanager
def _secret_file(content: str) -> Iterator[Path | None]:
    """Give a file with a secret that nobody else may read; None for an empty one."""
    if not content:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="gatelight-gate-") as folder:
        path = Path(folder) / "gate.key"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(content)
        yield path
