"""`make load`: a short Locust run against a system of its own."""

import random
import tempfile
import time
from pathlib import Path

from rich.console import Console

from loadtest.burst import Burst, run_burst
from loadtest.corpus import GATE, Corpus
from loadtest.corpus_file import write_corpus
from loadtest.residents import Resident, enrol
from loadtest.stage import given_redis_url, stage
from verifier.wire.status_record import Colour

OUTPUT = Path("build/load")
_RESIDENTS = 5_000
_SPECIMENS = 10_000


def run(*, gates: int, seconds: int) -> int:
    """Run and print what came of it; return the exit code: 1 if a verdict was wrong or missing."""
    console = Console(highlight=False)
    output = OUTPUT.resolve()
    output.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="gatelight-load-") as folder,
        stage(Path(folder), redis_url=given_redis_url()) as running,
    ):
        address = running.start_verifier()
        residents = [
            Resident(f"张小{number}", "ID", f"load{number}", "north", Colour.GREEN)
            for number in range(_RESIDENTS)
        ]
        with running.staff() as staff, console.status("enrolling"):
            population = enrol(staff, residents, lambda _: None)
        corpus = Corpus(key=running.signing_key(), population=population, rng=random.Random())
        path = output / "corpus.jsonl"
        write_corpus(path, corpus.specimens(_SPECIMENS, now=int(time.time()), mix=GATE))
        with console.status(f"{gates} gates scan for {seconds} s"):
            burst = run_burst(address=address, corpus=path, gates=gates, seconds=seconds, output=output)
    console.print(describe(burst))
    console.print(f"wrong or missing verdicts: {burst.failures}")
    console.print(f"report: {burst.report}")
    return 1 if burst.failures or not burst.scans else 0


def describe(burst: Burst) -> str:
    """Return the figures of a run in one line."""
    return (
        f"{burst.scans} scans, {burst.scans_per_s:.0f} a second, "
        f"p50 {burst.p50_ms:.0f} ms, p99 {burst.p99_ms:.0f} ms"
    )
