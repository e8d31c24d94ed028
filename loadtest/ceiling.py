"""What the generators reach against a server that does nothing: beyond that, a run says nothing of a server.

Measured with the very same generators, over as many connections and with as many scans in a call as the run
has, each site going on as soon as it is answered, for a few seconds. The empty server takes its part of this
machine, as a real one here would; with servers elsewhere generators reach more.
"""

import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from loadtest.corpus_file import Scan, Slot, write_corpus
from loadtest.locust_process import BATCH_SIZE, LINGER_S, MAX_IN_FLIGHT, Job, run_locust
from loadtest.measures import measure
from loadtest.processes import ProcessError, ServerProcess
from loadtest.recording import Ceiling, Recording
from loadtest.scenario import Scenario
from loadtest.watch import sample
from verifier.envoy.process import EnvoyEngine
from verifier.host.engine import EngineUnavailable
from verifier.verdict import Verdict
from verifier.wire import base45
from verifier.wire.code import PREFIX

DURATION_S = 3.0
# As many calls under way as a worker of a verifier answers at once: with fewer, sites wait and reach less.
SITES = 16
# What people wait while sites go on as soon as they can says nothing; all else has to be as on any morning.
_THRESHOLDS = ("honest_p99_ms=3600000",)
_CODES = 10_000
_CODE_BYTES = 116  # of a telephone's code, before Base45
_GOOD_S = 3_600


@dataclass(frozen=True, slots=True)
class Asking:
    """How generators ask, as far as their ceiling depends on it."""

    flavour: str
    processes: int
    sites: int = SITES  # connections
    batch_size: int = 1  # scans in a call, of a hub

    @property
    def is_possible(self) -> bool:
        """Whether as many scans may be under way."""
        return math.ceil(self.sites / self.processes) * self.batch_size <= MAX_IN_FLIGHT

    def __str__(self) -> str:
        calls = f" of {self.batch_size}" if self.flavour == "batch" else ""
        return f"{self.flavour}{calls}, {self.sites} connections"


def asking_of(scenario: Scenario, *, flavour: str, processes: int, arrivals: str) -> Asking:
    """Return how a run asks at its peak, with fewer sites where a site that never rests would be too many."""
    batch_size = 1
    if flavour == "batch":
        # The first of a call waits for those who come meanwhile.
        a_site_per_s = scenario.people_a_minute / 60 / scenario.sites
        batch_size = (
            BATCH_SIZE if arrivals == "closed" else min(BATCH_SIZE, 1 + round(a_site_per_s * LINGER_S))
        )
    most = MAX_IN_FLIGHT // batch_size * processes
    return Asking(flavour, processes, min(most, max(SITES, processes, scenario.sites)), batch_size)


@dataclass(frozen=True, slots=True)
class Reached:
    """What came of it."""

    asking: Asking
    per_s: float  # scans
    generator_cores: float  # CPU time / time, of all of them
    server: str  # engine of the empty server
    server_cores: float

    @property
    def ceiling(self) -> Ceiling:
        """The part of it that goes into a recording."""
        return Ceiling(per_s=self.per_s, generators=self.asking.processes)


def run(asking: Asking, *, duration_s: float = DURATION_S, is_json: bool = False) -> int:
    """Measure it, print it and return the exit code; raises ProcessError."""
    console = Console(highlight=False)
    with console.status("generators against an empty server"):
        reached = measure_ceiling(asking, duration_s=duration_s)
    if is_json:
        print(json.dumps(asdict(reached)))
        return 0
    noun = "process" if asking.processes == 1 else "processes"
    console.print(
        f"[bold]{reached.per_s:,.0f} scans a second[/] ({asking}) from {asking.processes} generator {noun}, "
        f"which used {reached.generator_cores:.2f} cores"
    )
    console.print(
        f"against an empty server ({reached.server}) on the same machine, which used "
        f"{reached.server_cores:.2f} cores"
    )
    return 0


def measure_ceiling(asking: Asking, *, duration_s: float = DURATION_S) -> Reached:
    """Return what generators reach; raises ProcessError, also where a scan got no answer."""
    engine = _fastest_engine()
    with tempfile.TemporaryDirectory(prefix="gatelight-ceiling-") as name:
        folder = Path(name)
        corpus = folder / "corpus"
        now = time.time()
        write_corpus(corpus, [Slot(_green_scans(), now - 1, now + _GOOD_S)])
        port_file = folder / "port"
        command = [sys.executable, "-m", "loadtest.null_server", engine, str(port_file)]
        with ServerProcess("null-server", command, folder=folder) as server:
            job = Job(
                scenario="steady",
                corpus=corpus,
                addresses=[f"127.0.0.1:{server.wait_for_file(port_file)}"],
                duration_s=duration_s,
                people_a_minute=1,  # nobody asks: each goes when the one before was answered
                flavour=asking.flavour,
                arrivals="closed",
                sites=asking.sites,
                processes=asking.processes,
                batch_size=asking.batch_size,
                thresholds=_THRESHOLDS,
                results=folder,
            )
            before = sample("null-server", server)
            exit_code = run_locust(job)
            after = sample("null-server", server)
        recording = Recording.read(folder)
    per_s = measure(recording, "per_s")
    if exit_code or not per_s or before is None or after is None:
        total = recording.total()
        reasons = [*recording.problems, f"{total.right:,} of {total.due:,} scans were answered"]
        raise ProcessError(f"an empty server shows no ceiling ({asking}): {'; '.join(reasons)}")
    return Reached(
        asking=asking,
        per_s=per_s,
        generator_cores=sum(one.cores for one in recording.generators),
        server=engine,
        server_cores=(after.cpu_s - before.cpu_s) / duration_s,
    )


def _fastest_engine() -> str:
    try:
        return EnvoyEngine().name
    except EngineUnavailable:
        return "grpcio"


def _green_scans() -> Iterator[Scan]:
    """Give scans that look like codes: nobody is going to look closer."""
    rng = random.Random(1)
    for _ in range(_CODES):
        yield Scan(PREFIX + base45.encode(rng.randbytes(_CODE_BYTES)), Verdict.GREEN, "green")
