"""`make bench`: what a verdict costs, as ratios against limits measured in the same run.

Limit and subject take turns over several rounds; median, least and most of each are shown, because the
machine may be shared. Nothing is asserted on time. What is asserted is that every scan was answered, and
answered right.
"""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import structlog
from rich.console import Console

from loadtest.bench.calls import FEW, MANY, Calls
from loadtest.bench.h2 import require_h2load
from loadtest.bench.measured import Measured, Ratio
from loadtest.bench.result import OUTPUT, Result
from loadtest.bench.running import RunningVerifier
from loadtest.bench.scale import Throughput, cost_of_size, memory, status_change, throughput
from loadtest.bench.signing import SigningCost, measure_signing
from loadtest.city import City
from loadtest.embedded_redis import EmbeddedRedis
from loadtest.residents import Resident, enrol
from loadtest.stage import stage
from verifier.config import read_root_key
from verifier.envoy.process import is_available
from verifier.wire.status_record import Colour

_SMALL, _LARGE = 10_000, 25_000_000
_RESIDENTS = 1_000


def run() -> int:
    """Measure, print, write build/bench/bench.json; raises ProcessError or WrongAnswer."""
    console = Console(highlight=False)
    require_h2load()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    missing = is_available()
    if missing is not None:
        console.print(f"without the Envoy engine: {missing}")
    engines = ("grpcio",) if missing is not None else ("grpcio", "envoy")
    result = Result()
    with tempfile.TemporaryDirectory(prefix="gatelight-bench-") as name:
        folder = Path(name)
        _verdicts(console, result, engines, folder)
        _signing(console, result, folder)
    result.show(console)
    result.write()
    console.print(f"written to {OUTPUT / 'bench.json'}")
    return 0


def _verdicts(console: Console, result: Result, engines: Sequence[str], folder: Path) -> None:
    with ExitStack() as stack:
        server = EmbeddedRedis(folder)
        stack.callback(server.stop)
        with console.status(f"a city of {_SMALL:,}, and one of {_LARGE:,}"):
            small = City(server.url, folder=_subfolder(folder, "small"), credentials=_SMALL)
            large = City(
                server.url.replace("/0", "/1"), folder=_subfolder(folder, "large"), credentials=_LARGE
            )
        stack.enter_context(small.heartbeats())
        stack.enter_context(large.heartbeats())

        def start(city: City, engine: str, workers: int) -> RunningVerifier:
            verifier = RunningVerifier(city, engine=engine, workers=workers, folder=folder)
            stack.callback(verifier.process.stop)
            return verifier

        single = [start(small, engine, 1) for engine in engines]
        calls = Calls(small, single, folder=folder)
        with console.status("unary calls, and gRPC's empty call"):
            unary = calls.unary()
        with console.status("batches, and the library's own verify call"):
            library, openssl = calls.libraries()
            batches = calls.batches()
        with console.status("streams, and empty ones"):
            lanes = calls.lanes()
        _add_calls(
            result, engines, unary=unary, batches=batches, lanes=lanes, library=library, openssl=openssl
        )
        best = engines[-1]
        with console.status("one worker, and two"):
            double = start(small, best, 2)
            one, two = (throughput(small, verifier, folder=folder) for verifier in (single[-1], double))
        _add_throughput(result, best, one, two)
        with console.status("status changes under load"):
            changes = status_change(small, double, folder=folder)
        result.add(changes)
        result.ratio(
            Ratio("p99 from status change to verdict at every worker / 200 ms", changes.p99 / 200, 1)
        )
        with console.status(f"{_LARGE:,} credentials"):
            city = start(large, best, 1)
            result.add(city.loaded_in)
            result.ratio(Ratio(f"mirror of {_LARGE:,} loaded and served / 5 s", city.loaded_in.median / 5, 1))
            few, many = cost_of_size(small, large, [single[-1], city], folder=folder)
            result.add(few, many)
            result.ratio(Ratio("a scan among 25 million / among 10 thousand", many.median / few.median, 1.1))
        for engine, allowed in (("grpcio", 80), ("envoy", 140)):
            if engine in engines:
                with console.status(f"memory of four workers, {engine} engine"):
                    held = memory(start(large, engine, 4))
                result.add(held)
                most = 8 * _LARGE / 2**20 + 4 * allowed
                result.ratio(Ratio(f"memory, {engine} / {most:.0f} MiB", held.median / most, 1))


def _add_calls(
    result: Result,
    engines: Sequence[str],
    *,
    unary: Mapping[tuple[str, str], Measured],
    batches: Mapping[str, Measured],
    lanes: Mapping[str, Measured],
    library: Measured,
    openssl: Measured,
) -> None:
    result.add(*unary.values(), library, openssl, *batches.values(), *lanes.values())
    for shape in (FEW.name, MANY.name):
        empty = unary["empty", shape].median
        for engine in engines:
            aim = {"grpcio": 1.7, "envoy": 1.1}[engine]
            what = f"server CPU, {shape}: unary verdict, {engine} / empty grpcio call"
            result.ratio(Ratio(what, unary[engine, shape].median / empty, aim))
    for engine in engines:
        what = f"server CPU: a verdict in a batch of 100, {engine} / PyNaCl verify"
        result.ratio(Ratio(what, batches[engine].median / library.median, 1.2))
        limit = lanes[f"empty {engine}"].median + library.median
        what = f"server CPU: a verdict on a stream, {engine} / its empty message and PyNaCl verify"
        result.ratio(Ratio(what, lanes[engine].median / limit, 1.3))


def _add_throughput(result: Result, engine: str, one: Throughput, two: Throughput) -> None:
    result.add(one.per_s, two.per_s, one.cpu_us, two.cpu_us)
    what = f"whole machine, {engine}: verdicts a second / 12 000"
    result.ratio(Ratio(what, two.per_s.median / 12_000, 1, is_floor=True))
    # With a core each, two workers give what the CPU of a verdict leaves; here the generator has its share.
    what = "verdicts of a core-second, two workers together / one"
    result.ratio(Ratio(what, 2 * one.cpu_us.median / two.cpu_us.median, 1.9, is_floor=True))


def _signing(console: Console, result: Result, folder: Path) -> None:
    with (
        console.status("bundles, and the library's own sign call"),
        stage(_subfolder(folder, "stage"), issuer_options=("--second-person-above", "1000000")) as running,
    ):
        with running.staff() as staff:
            residents = [
                Resident(f"王小{number}", "ID", f"bench{number}", "north", Colour.GREEN)
                for number in range(_RESIDENTS)
            ]
            population = enrol(staff, residents, lambda _: None)
        issuer = running.issuer
        assert issuer is not None  # noqa: S101 - a stage that is set up has one
        root = read_root_key(running.issuer_folder.root_public_key)
        with running.client() as client:
            cost: SigningCost = measure_signing(
                client, issuer_pid=issuer.pid, root=root, population=population
            )
    result.add(cost.libsodium, cost.openssl, cost.core, cost.issuer)
    result.ratio(Ratio("a code in the core / PyNaCl sign", cost.core.median / cost.libsodium.median, 2))
    result.ratio(Ratio("a code of IssueBundles / PyNaCl sign", cost.issuer.median / cost.libsodium.median, 2))
    result.ratio(Ratio("a code of IssueBundles / OpenSSL sign", cost.issuer.median / cost.openssl.median, 2))


def _subfolder(folder: Path, name: str) -> Path:
    subfolder = folder / name
    subfolder.mkdir()
    return subfolder
