"""What a load run was, as it is kept in results.json: everything that thresholds, tables and pictures need.

Generators write a Second for each second of the clock; seconds of several generators, and several parts of
one, add up. Everything here is plain data that becomes JSON and comes back the same.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeVar, get_type_hints

from loadtest.latency import Latencies

FORMAT = 1
RESULTS_NAME = "results.json"

# Seconds that keep their histograms open, 260 kB each, since generators still have news of them.
_MOST_OPEN = 8


class NotARecording(Exception):
    """A file is not a results.json of this format."""


@dataclass(slots=True)
class Second:
    """One second, of one generator or of all.

    What was due, late or missed counts in the second in which it was due, and so do latencies; what was
    sent or came back counts in the second in which that happened.
    """

    due: int = 0  # scans whose moment came
    sent: int = 0  # scans that were sent, for the first time
    right: int = 0  # scans that got the verdict that they had to: goodput
    wrong: int = 0  # scans that got another one
    failed: int = 0  # scans that were sent and given up without a verdict
    retries: int = 0  # further attempts
    late: int = 0  # sent long after they were due, though fewer than the bound were under way: our fault
    missed: int = 0  # never sent though fewer than the bound were under way: the generator's fault
    missed_by_server: int = 0  # never sent, since as many as allowed were waiting for an answer
    held: int = 0  # had to wait to be sent, since as many as allowed were waiting for an answer
    in_flight: int = 0  # most scans under way at once
    generator_cpu_s: float = 0.0  # CPU time of the generators
    verdicts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)  # gRPC status names of failed attempts
    honest: Latencies = field(default_factory=Latencies)  # what people with codes of ours waited
    hostile: Latencies = field(default_factory=Latencies)  # forged, garbage, other QR codes

    def add(self, other: "Second") -> None:
        """Add what another generator did in the same second, or this one later."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.verdicts.update(other.verdicts)
        self.errors.update(other.errors)
        self.honest.add(other.honest)
        self.hostile.add(other.hostile)

    def pack(self) -> None:
        """Take less memory until something is added again."""
        self.honest.pack()
        self.hostile.pack()

    def to_json(self) -> dict[str, Any]:
        """Return what is not zero or empty."""
        content: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS if getattr(self, name)}
        content |= {name: dict(getattr(self, name)) for name in _COUNTERS if getattr(self, name)}
        return content | {name: getattr(self, name).encode() for name in _LATENCIES if getattr(self, name)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return what to_json wrote; raises ValueError, TypeError, KeyError, AttributeError."""
        known: dict[str, Any] = {name: content[name] for name in _COUNTS if name in content}
        known |= {name: Counter(_counts(content[name])) for name in _COUNTERS if name in content}
        known |= {name: Latencies.decode(content[name]) for name in _LATENCIES if name in content}
        return _checked(cls(**known))


_COUNTERS = ("verdicts", "errors")
_LATENCIES = ("honest", "hostile")
_COUNTS = tuple(one.name for one in fields(Second) if one.name not in _COUNTERS + _LATENCIES)


@dataclass(frozen=True, slots=True)
class WrongVerdict:
    """A scan that got a verdict that it must not get."""

    scan_id: str
    kind: str
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class DoneAct:
    """Something that was done to the servers meanwhile."""

    name: str
    at: float  # Unix time at which it was done
    took_s: float
    problem: str = ""  # why it could not be done; then the run proves nothing


@dataclass(frozen=True, slots=True)
class ServerSample:
    """A server with all of its processes, at a moment."""

    name: str  # "verifier-1", "redis", "issuer"
    at: float  # Unix time
    cpu_s: float  # since its start; falls for a moment where a process of it is missed
    memory_mib: float
    descriptors: int
    pid: int = 0  # of its first process: another one when it was started anew
    processes: int = 1
    own_mib: float = 0.0  # of memory_mib, what its processes share with nobody


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the same generators reach against a server that does nothing."""

    per_s: float  # scans
    generators: int


@dataclass(frozen=True, slots=True)
class Generator:
    """One generating process."""

    name: str
    cores: float  # CPU time it used over the run / the run
    sites: int
    longest_pause_s: float = 0.0  # for which it did not come to look at the clock


@dataclass(frozen=True, slots=True)
class Plan:
    """What was to be done."""

    scenario: str
    about: str
    people_a_minute: float  # at the peak
    duration_s: float
    flavour: str  # unary, batch or stream
    arrivals: str  # even, poisson, closed
    sites: int  # connections
    max_in_flight: int  # scans under way at once, of one generator
    deadline_s: float
    attempts: int


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """A threshold and what came of it."""

    measure: str
    limit: float
    is_floor: bool  # the limit is the least, not the most
    value: float | None  # None: there was nothing to measure
    is_met: bool


@dataclass(slots=True)
class Recording:
    """A whole run."""

    plan: Plan
    began_at: float  # Unix time at which the first scan was due
    seconds: dict[int, Second] = field(default_factory=dict)  # by Unix time
    machine: dict[str, str] = field(default_factory=dict)  # what to show about it: cores, versions, commit
    generators: list[Generator] = field(default_factory=list)
    wrong: list[WrongVerdict] = field(default_factory=list)  # the first ones
    acts: list[DoneAct] = field(default_factory=list)
    servers: list[ServerSample] = field(default_factory=list)
    ceiling: Ceiling | None = None
    thresholds: list[ThresholdResult] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # why the run proves nothing
    limited_by: str = ""  # "generator", "server" or "" when neither was at its limit; one sentence after ": "
    _open: set[int] = field(default_factory=set, init=False, repr=False, compare=False)

    def add_second(self, at: int, second: Second) -> None:
        """Add what a generator did in the second `at`, Unix time, be it the newest or an old one.

        All but the newest few are packed, so that an hour stays below 100 MB.
        """
        self.seconds.setdefault(at, Second()).add(second)
        self._open.add(at)
        if len(self._open) > _MOST_OPEN:
            oldest = min(self._open)
            self._open.remove(oldest)
            self.seconds[oldest].pack()

    def total(self) -> Second:
        """Return all seconds added up; in_flight is the most of one second."""
        total = Second()
        for second in self.seconds.values():
            total.add(second)
        total.in_flight = max((second.in_flight for second in self.seconds.values()), default=0)
        return total

    def write(self, folder: Path) -> None:
        """Write results.json to `folder`."""
        content = {"format": FORMAT, **_to_json(self)}
        (folder / RESULTS_NAME).write_text(json.dumps(content, indent=1))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read results.json in `folder`; raises NotARecording, and OSError where it cannot be read at all."""
        path = folder / RESULTS_NAME
        try:
            content = json.loads(path.read_bytes())
            if content.pop("format") != FORMAT:
                raise NotARecording(f"{path} is of another format")
            known = content | {
                "plan": _checked(Plan(**content["plan"])),
                "seconds": {int(at): Second.from_json(one) for at, one in content["seconds"].items()},
                "problems": [str(problem) for problem in content["problems"]],
                "machine": {str(name): str(about) for name, about in content["machine"].items()},
                "generators": [_checked(Generator(**one)) for one in content["generators"]],
                "wrong": [_checked(WrongVerdict(**one)) for one in content["wrong"]],
                "acts": [_checked(DoneAct(**one)) for one in content["acts"]],
                "servers": [_checked(ServerSample(**one)) for one in content["servers"]],
                "ceiling": _checked(Ceiling(**content["ceiling"])) if content["ceiling"] else None,
                "thresholds": [_checked(ThresholdResult(**one)) for one in content["thresholds"]],
            }
            return _checked(cls(**known))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise NotARecording(f"{path} is no recording of a load run: {type(error).__name__}") from error


_Checked = TypeVar("_Checked")

_PLAIN_TYPES: dict[Any, tuple[type, ...]] = {
    int: (int,),
    float: (int, float),  # JSON writers are free to leave out ".0"
    str: (str,),
    bool: (bool,),
    float | None: (int, float, type(None)),
}


def _checked(one: _Checked) -> _Checked:
    """Return a dataclass whose numbers and texts are such; raises TypeError."""
    for name, expected in get_type_hints(type(one)).items():
        if expected in _PLAIN_TYPES and not isinstance(getattr(one, name), _PLAIN_TYPES[expected]):
            raise TypeError(f"{name} is no {expected}")
    return one


def _counts(content: dict[str, int]) -> dict[str, int]:
    if not all(isinstance(count, int) for count in content.values()):
        raise TypeError("a count is no number")
    return content


def _to_json(recording: Recording) -> dict[str, Any]:
    names = [one.name for one in fields(recording) if not one.name.startswith("_")]
    content = {name: getattr(recording, name) for name in names}
    content["plan"] = asdict(recording.plan)
    content["seconds"] = {at: second.to_json() for at, second in sorted(recording.seconds.items())}
    for name in ("generators", "wrong", "acts", "servers", "thresholds"):
        content[name] = [asdict(one) for one in content[name]]
    content["ceiling"] = asdict(recording.ceiling) if recording.ceiling else None
    return content
