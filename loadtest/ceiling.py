"""What the generators reach against a server that does nothing: beyond that, a run says nothing of a server.

Measured with the very same generators, each site going on as soon as it is answered, for a few seconds. The
empty server takes its part of this machine, as a real one here would; with servers elsewhere generators reach
more.
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from loadtest.corpus_file import Scan, Slot, write_corpus
from loadtest.locust_process import Job, run_locust
from loadtest.measures import measure
from loadtest.processes import ProcessError, ServerProcess
from loadtest.recording import Ceiling, Recording
from loadtest.watch import sample
from verifier.envoy.process import EnvoyEngine
from verifier.host.engine import EngineUnavailable
from verifier.verdict import Verdict
from verifier.wire import base45
from verifier.wire.code import PREFIX

DURATION_S = 3.0
# As many calls under way as a worker of a verifier answers at once.
SITES = 16
_CODES = 10_000
_CODE_BYTES = 116  # of a telephone's code, before Base45
_GOOD_S = 3_600


@dataclass(frozen=True, slots=True)
class Reached:
    """What came of it."""

    per_s: float  # scans
    generators: int
    generator_cores: float  # CPU time / time, of all of them
    server: str  # engine of the empty server
    server_cores: float

    @property
    def ceiling(self) -> Ceiling:
        """The part of it that goes into a recording."""
        return Ceiling(per_s=self.per_s, generators=self.generators)


def run(*, flavour: str, processes: int, duration_s: float = DURATION_S, is_json: bool = False) -> int:
    """Measure it, print it and return the exit code; raises ProcessError."""
    console = Console(highlight=False)
    with console.status("generators against an empty server"):
        reached = measure_ceiling(flavour=flavour, processes=processes, duration_s=duration_s)
    if is_json:
        print(json.dumps(asdict(reached)))
        return 0
    noun = "process" if processes == 1 else "processes"
    console.print(
        f"[bold]{reached.per_s:,.0f} scans a second[/] ({flavour}) from {processes} generator {noun}, which "
        f"used {reached.generator_cores:.2f} cores"
    )
    console.print(
        f"against an empty server ({reached.server}) on the same machine, which used "
        f"{reached.server_cores:.2f} cores"
    )
    return 0


def measure_ceiling(*, flavour: str, processes: int, duration_s: float = DURATION_S) -> Reached:
    """Return what `processes` generators reach; raises ProcessError."""
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
                flavour=flavour,
                arrivals="closed",
                sites=max(SITES, processes),
                processes=processes,
                results=folder,
            )
            before = sample("null-server", server)
            run_locust(job)
            after = sample("null-server", server)
        recording = Recording.read(folder)
    per_s = measure(recording, "per_s")
    if not per_s or before is None or after is None:
        raise ProcessError("the generators got no answer from an empty server")
    return Reached(
        per_s=per_s,
        generators=processes,
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
