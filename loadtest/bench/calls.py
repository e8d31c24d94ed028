"""What a verdict costs a server: unary, in batches and on lanes, on each engine, against what limits it.

Limit and subjects take turns, so that a ratio is between neighbours. The naive verifier stands beside ours;
what its Redis costs is not counted.
"""

from collections.abc import Callable, Mapping
from functools import partial

from loadtest.bench.limits import verify_calls
from loadtest.bench.loads import FEW, MANY, Shape
from loadtest.bench.measured import Measured, Ratio, cpu_us, in_turns
from loadtest.bench.messages import BATCH_SCANS
from loadtest.bench.result import Result
from loadtest.bench.running import Server
from loadtest.bench.setting import Setting

_PYNACL, _NAIVE = "PyNaCl verify", "naive"
_UNARY_AIMS = {"grpcio": 1.7, "envoy": 1.1}


def unary(setting: Setting, result: Result) -> None:
    """Add unary verdicts against grpcio's empty call, over few connections and many."""
    loads, empty, engines = setting.loads(), setting.empty("grpcio"), setting.verifiers()
    calls: dict[tuple[str, Shape], Callable[[], float]] = {}
    for shape in (FEW, MANY):
        calls[empty.name, shape] = partial(loads.empty_us, empty, shape)
        calls |= {(name, shape): partial(loads.unary_us, one, shape) for name, one in engines.items()}
    calls[_NAIVE, FEW] = partial(loads.unary_us, setting.naive(), FEW)
    found = {
        (name, shape): Measured(f"{name}: unary, {shape.name}, server CPU", "µs", samples)
        for (name, shape), samples in in_turns(calls).items()
    }
    result.add("unary", *found.values())
    for shape in (FEW, MANY):
        for name in engines:
            what, limit = f"{name} / grpcio's empty call, {shape.name}", found[empty.name, shape]
            result.ratio(Ratio.of("unary", what, found[name, shape], limit, aim=_UNARY_AIMS[name]))
    for name in (empty.name, *engines):
        what = f"{name}: 500 connections of one stream / 8 of eight"
        result.ratio(Ratio.of("unary", what, found[name, MANY], found[name, FEW]))
    verdicts = {name: one for (name, shape), one in found.items() if shape is FEW and name != empty.name}
    _add_verdicts(result, "unary", verdicts)


def batches(setting: Setting, result: Result) -> None:
    """Add verdicts in batches against the library's own verify call."""
    loads, verify = setting.loads(), verify_calls(setting.city())["PyNaCl"]
    engines = setting.verifiers()
    calls: dict[str, Callable[[], float]] = {_PYNACL: partial(cpu_us, verify)}
    servers: Mapping[str, Server] = {**engines, _NAIVE: setting.naive()}
    calls |= {name: partial(loads.batch_us, one) for name, one in servers.items()}
    found = {
        name: Measured(f"{name}: a verdict in a batch of {BATCH_SCANS}, server CPU", "µs", samples)
        for name, samples in in_turns(calls).items()
    }
    limit = found.pop(_PYNACL)
    result.add("batch", *found.values())
    for name in engines:
        result.ratio(Ratio.of("batch", f"{name} / PyNaCl verify", found[name], limit, aim=1.2))
    _add_verdicts(result, "batch", found)
    result.cost("batch_us", found[setting.best].median)


def lanes(setting: Setting, result: Result) -> None:
    """Add verdicts on lanes against the engine's empty message with the library's verify call."""
    loads, verify = setting.loads(), verify_calls(setting.city())["PyNaCl"]
    engines = setting.verifiers()
    calls: dict[str, Callable[[], float]] = {_PYNACL: partial(cpu_us, verify)}
    for name, verifier in engines.items():
        empty = setting.empty(name)
        calls[empty.name] = partial(loads.empty_lane_us, empty)
        calls[name] = partial(loads.lane_us, verifier)
    found = {
        name: Measured(f"{name}: a message on a lane, server CPU", "µs", samples)
        for name, samples in in_turns(calls).items()
    }
    verify_us = found.pop(_PYNACL)
    result.add("stream", *found.values())
    for name in engines:
        limit, what = found[f"empty {name}"] + verify_us, f"{name} / its empty message and PyNaCl verify"
        result.ratio(Ratio.of("stream", what, found[name], limit, aim=1.3))
    _add_verdicts(result, "stream", {name: found[name] for name in engines})
    result.cost("stream_us", found[setting.best].median)


def _add_verdicts(result: Result, flavour: str, found: Mapping[str, Measured]) -> None:
    """Add how many verdicts a core-second gives, and what the naive verifier costs more."""
    for name, cost in found.items():
        result.add(flavour, cost.a_core_second(f"{name}: {flavour} verdicts"))
        if name != _NAIVE and _NAIVE in found:
            what = f"CPU of a {flavour} verdict: naive / {name}"
            result.ratio(Ratio.of("naive", what, found[_NAIVE], cost))
