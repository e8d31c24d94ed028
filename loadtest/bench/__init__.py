"""`make bench`: what a verdict costs, as ratios against limits measured in the same run.

Server CPU is read from the kernel for the server's process, over a number of calls, with the server on
one core and the generator on the last. Limit and subject take turns over several rounds, and median,
least and most of each are shown: the machine may be shared. Nothing is asserted on time; what is
asserted is that every answer was right.
"""

import json
import logging
import os
import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from loadtest.bench.cases import MIRRORED, Bench
from loadtest.bench.measured import Measured, Ratio
from loadtest.stage import stage

OUTPUT = Path("build/bench")


def run() -> int:
    """Measure, print, write build/bench/bench.json, and return the exit code: 1 if an answer was wrong."""
    console = Console(highlight=False)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="gatelight-bench-") as folder,
        stage(Path(folder), issuer_options=("--second-person-above", "1000000")) as running,
    ):
        bench = Bench(running, Path(folder))
        with console.status("unary calls, and gRPC's empty call"):
            empty, unary = bench.unary()
        with console.status("batches, and the library's own verify call"):
            library, openssl, batch = bench.batch()
        with console.status("bundles, and the library's own sign call"):
            signing = bench.signing()
        with console.status("from status change to verdict"):
            latency = bench.status_change()
        with console.status(f"a mirror of {MIRRORED:,} credentials"):
            mirror_load, mirror_bytes = bench.mirror_load()
    measured = [empty, unary, library, openssl, batch, latency, mirror_load, mirror_bytes]
    measured += [signing.libsodium, signing.openssl, signing.core, signing.issuer]
    ratios = [
        Ratio("server CPU: unary verdict / empty grpcio call", unary.median / empty.median, 1.6),
        Ratio("server CPU: a verdict in a batch of 100 / PyNaCl verify", batch.median / library.median, 1.25),
        Ratio("p99 from status change to verdict / 200 ms", latency.p99 / 200, 1),
        Ratio("mirror load of a million credentials / 1 s", mirror_load.median, 1),
        Ratio("memory of a mirrored credential / 8 bytes", mirror_bytes.median / 8, 1.1),
        Ratio("PyNaCl verify / OpenSSL verify", library.median / openssl.median, 1),
        Ratio("a code in the core / PyNaCl sign", signing.core.median / signing.libsodium.median, 2),
        Ratio("a code of IssueBundles / PyNaCl sign", signing.issuer.median / signing.libsodium.median, 2),
        Ratio("a code of IssueBundles / OpenSSL sign", signing.issuer.median / signing.openssl.median, 2),
    ]
    _print(console, measured, ratios)
    (OUTPUT / "bench.json").write_text(_as_json(measured, ratios))
    console.print(f"written to {OUTPUT / 'bench.json'}")
    return 0


def _print(console: Console, measured: Sequence[Measured], ratios: Sequence[Ratio]) -> None:
    table = Table(title=f"Measured ({_machine()})", title_justify="left")
    for column in ("what", "median", "least", "most", "unit"):
        table.add_column(column, justify="left" if column in ("what", "unit") else "right")
    for one in measured:
        samples = (one.median, min(one.samples), max(one.samples))
        table.add_row(one.what, *(f"{sample:.3g}" for sample in samples), one.unit)
    console.print(table)
    table = Table(title="Ratios", title_justify="left")
    for column in ("what", "ratio", "aim", ""):
        table.add_column(column, justify="left" if column == "what" else "right")
    for ratio in ratios:
        mark = "[green]met[/]" if ratio.is_met else "[yellow]missed[/]"
        table.add_row(ratio.what, f"{ratio.value:.3f}", f"<= {ratio.aim:g}", mark)
    console.print(table)


def _as_json(measured: Sequence[Measured], ratios: Sequence[Ratio]) -> str:
    return json.dumps(
        {
            "machine": _machine(),
            "measured": [
                {
                    "what": one.what,
                    "unit": one.unit,
                    "median": one.median,
                    "p99": one.p99,
                    "samples": one.samples,
                }
                for one in measured
            ],
            "ratios": [{"what": one.what, "value": one.value, "aim": one.aim} for one in ratios],
        },
        indent=1,
    )


def _machine() -> str:
    versions = f"Python {platform.python_version()}, grpcio {version('grpcio')}, PyNaCl {version('pynacl')}"
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {versions}"
