"""What a verdict costs a server: unary, in batches and on lanes, on each engine, against what limits it.

What is compared takes turns, so that a ratio is between neighbours. The aims of the project are against
grpcio's empty call as grpcio comes, and PyNaCl's verify call. The verifier has threads and scheduling of its
own, another engine or a faster library, and may do better than these: the limits are its engine's empty call
with its own settings, and dalek's verify call. Ratios to those have no aim. The naive verifier stands beside
ours; what its Redis costs is not counted.
"""

from collections.abc import Callable, Mapping
from functools import partial

from loadtest.bench.limits import DALEK, PYNACL, verify_calls
from loadtest.bench.loads import FEW, MANY, Shape
from loadtest.bench.measured import Measured, Ratio, cpu_us, in_turns
from loadtest.bench.messages import BATCH_SCANS
from loadtest.bench.result import Result
from loadtest.bench.running import STOCK
from loadtest.bench.setting import Setting

_NAIVE = "naive"
_UNARY_ROUNDS = 3  # bursts over 500 connections take seconds each
_NAIVE_BATCHES = 30  # it takes several times as long
_UNARY_AIMS = {"grpcio": 1.7, "envoy": 1.1}
_BATCH_AIM, _LANE_AIM = 1.2, 1.3
_VERIFY = {PYNACL: "PyNaCl verify", DALEK: "dalek verify (the fastest)"}
_STOCK_CALL = "grpcio's empty call, as it comes"


def unary(setting: Setting, result: Result) -> None:
    """Add unary verdicts against empty calls, over few connections and many."""
    loads, engines = setting.loads(), setting.verifiers()
    calls: dict[tuple[str, Shape], Callable[[], float]] = {}
    for shape in (FEW, MANY):
        calls[_STOCK_CALL, shape] = partial(loads.empty_us, setting.empty(STOCK), shape)
        for name in engines:
            calls[_empty_call(name), shape] = partial(loads.empty_us, setting.empty(name), shape)
        calls |= {(name, shape): partial(loads.unary_us, one, shape) for name, one in engines.items()}
    calls[_NAIVE, FEW] = partial(loads.unary_us, setting.naive(), FEW)
    found = {
        (name, shape): Measured(f"{name}: {shape.name}, server CPU", "µs", samples)
        for (name, shape), samples in in_turns(calls, _UNARY_ROUNDS).items()
    }
    result.add("unary", *found.values())
    for shape in (FEW, MANY):
        for name, aim in ((name, _UNARY_AIMS[name]) for name in engines):
            what, call = f"{name} / {_STOCK_CALL}, {shape.name}", found[_STOCK_CALL, shape]
            result.ratio(Ratio.of("unary", what, found[name, shape], call, aim=aim))
        for name in engines:
            what, call = f"{name} / {_empty_call(name)}, {shape.name}", found[_empty_call(name), shape]
            result.ratio(Ratio.of("unary", what, found[name, shape], call))
    for name in (_STOCK_CALL, *map(_empty_call, engines), *engines):
        what = f"{name}: 500 connections of one stream / 8 of eight"
        result.ratio(Ratio.of("unary", what, found[name, MANY], found[name, FEW]))
    _add_verdicts(result, "unary", {name: found[name, FEW] for name in (*engines, _NAIVE)})
    result.cost("unary_us", found[setting.best, MANY].median)


def batches(setting: Setting, result: Result) -> None:
    """Add verdicts in batches against the libraries' own verify calls."""
    loads, engines = setting.loads(), setting.verifiers()
    calls: dict[str, Callable[[], float]] = _verify_us(setting)
    calls |= {name: partial(loads.batch_us, one) for name, one in engines.items()}
    calls[_NAIVE] = partial(loads.batch_us, setting.naive(), calls=_NAIVE_BATCHES)
    found = {
        name: Measured(f"{name}: a verdict in a batch of {BATCH_SCANS}, server CPU", "µs", samples)
        for name, samples in in_turns(calls).items()
    }
    verifies = {library: found.pop(library) for library in _VERIFY}
    result.add("batch", *found.values())
    for library, words in _VERIFY.items():
        for name in engines:
            aim = _BATCH_AIM if library == PYNACL else None
            result.ratio(Ratio.of("batch", f"{name} / {words}", found[name], verifies[library], aim=aim))
    _add_verdicts(result, "batch", found)
    result.cost("batch_us", found[setting.best].median)


def lanes(setting: Setting, result: Result) -> None:
    """Add verdicts on lanes against an empty message and a verify call together.

    The empty message is of the same engine, with the verifier's settings.
    """
    loads, engines = setting.loads(), setting.verifiers()
    calls: dict[str, Callable[[], float]] = _verify_us(setting)
    for name, verifier in engines.items():
        empty = setting.empty(name)
        calls[empty.name] = partial(loads.empty_lane_us, empty)
        calls[name] = partial(loads.lane_us, verifier)
    found = {
        name: Measured(f"{name}: a message on a lane, server CPU", "µs", samples)
        for name, samples in in_turns(calls).items()
    }
    verifies = {library: found.pop(library) for library in _VERIFY}
    result.add("stream", *found.values())
    for library, words in _VERIFY.items():
        for name in engines:
            both, what = found[f"empty {name}"] + verifies[library], f"{name} / its empty message and {words}"
            aim = _LANE_AIM if library == PYNACL else None
            result.ratio(Ratio.of("stream", what, found[name], both, aim=aim))
    _add_verdicts(result, "stream", {name: found[name] for name in engines})
    result.cost("stream_us", found[setting.best].median)


def _empty_call(engine: str) -> str:
    return f"{engine}'s empty call, as in the verifier"


def _verify_us(setting: Setting) -> dict[str, Callable[[], float]]:
    """Return what measures a verify call of PyNaCl and of dalek."""
    verify = verify_calls(setting.city())
    return {library: partial(cpu_us, verify[library]) for library in _VERIFY}


def _add_verdicts(result: Result, flavour: str, found: Mapping[str, Measured]) -> None:
    """Add how many verdicts a core-second gives, and what the naive verifier costs more."""
    for name, cost in found.items():
        result.add(flavour, cost.a_core_second(f"{name}: {flavour} verdicts"))
        if name != _NAIVE and _NAIVE in found:
            what = f"CPU of a {flavour} verdict: naive / {name}"
            result.ratio(Ratio.of("naive", what, found[_NAIVE], cost))
