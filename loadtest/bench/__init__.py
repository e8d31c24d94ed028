"""`make bench`: what a verdict costs, as ratios to limits and aims measured in the same run.

Both sides of a ratio take turns over several rounds; median, least and most of each, and of the ratios of the
rounds, are shown, because the machine may be shared. Nothing is asserted on time. What is asserted is that
every scan was answered, and answered right.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from rich.console import Console

from loadtest.bench import calls, latencies, limits, scale, signing, stored
from loadtest.bench.h2 import require_h2load
from loadtest.bench.result import JSON_NAME, OUTPUT, PICTURE_NAME, Result
from loadtest.bench.setting import LARGE, SMALL, Setting
from verifier.envoy.process import is_available

_Measure = Callable[[Setting, Result], None]


def run() -> int:
    """Measure, print, write build/bench/; raises click.UsageError without h2load, and ProcessError."""
    require_h2load()
    console = Console(highlight=False)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    missing = is_available()
    if missing is not None:
        console.print(f"without the Envoy engine: {missing}")
    engines = ("grpcio",) if missing is not None else ("grpcio", "envoy")
    result = Result()
    with (
        tempfile.TemporaryDirectory(prefix="gatelight-bench-") as name,
        Setting(Path(name), engines) as setting,
    ):
        for number, (what, measure) in enumerate(_PARTS.items(), 1):
            with _timed(result, what), console.status(f"{number} of {len(_PARTS)}: {what}"):
                measure(setting, result)
    result.show(console)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    result.write(OUTPUT)
    result.draw(OUTPUT)
    console.print(f"written to {OUTPUT / JSON_NAME} and {OUTPUT / PICTURE_NAME}")
    return 0


def _at_full_and_at_half(setting: Setting, result: Result) -> None:
    latencies.measure(setting, result, unary_per_s=scale.throughput(setting, result))


# In the order of the tables.
_PARTS: dict[str, _Measure] = {
    "bare signatures and reads": limits.measure,
    "unary calls, and gRPC's empty calls": calls.unary,
    "batches, and libraries' verify calls": calls.batches,
    "lanes, and empty ones": calls.lanes,
    "all that the machine gives, and what people wait at half of it": _at_full_and_at_half,
    f"{SMALL:,} credentials, and {LARGE:,}": scale.size,
    "status changes under load": scale.status_change,
    "memory": scale.memory,
    "bundles, and a library's sign call": signing.measure,
    "scans in the register": stored.measure,
}


@contextmanager
def _timed(result: Result, what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    result.took(what, round(time.monotonic() - began, 1))
