"""What the user asks of a run: options of Locust's command line, environment variables, and its web UI."""

import math
import shlex
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from loadtest import measures
from loadtest.arrivals import Profile, ProfileError
from loadtest.scenario import FLAVOURS, Scenario, Threshold
from loadtest.scenarios import SCENARIOS

if TYPE_CHECKING:  # whoever imports Locust is patched by gevent
    from locust.argument_parser import LocustArgumentParser

ARRIVALS: Final = ("even", "poisson", "closed")
CHANGES_KEY: Final = "crowd-changes-key"
_MOST_IN_A_BATCH: Final = 1_000  # verifier.proto, VerifyCodes
_MAX_GATE_ID: Final = 64  # verifier.proto
# Locust looks once a second how many sites are to be open: sites are begun ahead, and wait for their moment.
_AHEAD_S: Final = 1.5
# A site that begins so late replaces one of a generator that is gone: it does not make up for it.
_REPLACES_AFTER_S: Final = 5.0

_Number = TypeVar("_Number", int, float)


class OptionError(Exception):
    """The user asked for what cannot be; the message is for them."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """A run, checked."""

    scenario: Scenario  # with the user's numbers in the place of its own
    profile: Profile
    openings: Profile
    addresses: Sequence[str]  # of verifiers, as gRPC names them
    corpus: Path
    flavour: str
    arrivals: str
    max_in_flight: int  # scans under way at once, a process
    batch_size: int
    linger_s: float  # how long the first scan of a batch waits for others
    results: Path
    hand: str  # a command that carries out acts; "" for none
    gate_id: str
    gate_key_file: Path | None
    tls_ca: Path | None

    @property
    def patience_s(self) -> float:
        """How long a scan may take, all attempts included; and how long it waits to be sent."""
        return self.scenario.deadline_s * self.scenario.attempts

    @property
    def per_site_s(self) -> float:
        """The scans a second of one site, where the profile is 1."""
        return self.scenario.people_a_minute / 60 / self.scenario.sites

    @property
    def most_together(self) -> int:
        """How many scans of a site may be sent at once."""
        return self.batch_size if self.flavour == "batch" else 1

    @property
    def key_changes_at_s(self) -> float:
        """When people begin to show codes of the corpus's second key, seconds since the run began."""
        moments = [act.at for act in self.scenario.acts if act.name == CHANGES_KEY]
        return min(moments, default=math.inf) * self.scenario.duration_s

    def open_sites(self, at_s: float) -> int:
        """Return how many sites are open `at_s` seconds after the run began; never none."""
        share = self.openings.rate_at(at_s / self.scenario.duration_s)
        return max(1, round(share * self.scenario.sites))

    @property
    def most_sites(self) -> int:
        """How many sites are open where most are."""
        # Linear in between: the most is at a point.
        return max(self.open_sites(at * self.scenario.duration_s) for at, _ in self.openings.points)

    def begun_sites(self, at_s: float) -> int:
        """Return how many sites have to be begun by then: those that open soon, too."""
        soon_s = at_s + _AHEAD_S if at_s > 0 else 0.0
        return max(self.open_sites(at_s), self.open_sites(soon_s))

    def site_opens_s(self, at_s: float) -> float:
        """Return when a site that is begun at `at_s` opens, or had to; both are seconds since the begin."""
        opens_s = self._rose_at_s(at_s + _AHEAD_S) if at_s > 0 else 0.0
        return opens_s if at_s - opens_s < _REPLACES_AFTER_S else at_s

    def planned(self) -> float:
        """Return how many scans are due over the whole run, in the mean, where sites open in steps."""
        points = (*self.profile.points, *self.openings.points)
        fractions = sorted({fraction for fraction, _ in points})
        duration_s = self.scenario.duration_s
        found = 0.0
        for from_, to in pairwise(fractions):
            middle = (from_ + to) / 2
            sites = self.open_sites(middle * duration_s)
            found += (to - from_) * self.profile.rate_at(middle) * sites
        return found * self.per_site_s * duration_s

    def _rose_at_s(self, at_s: float) -> float:
        """Return when the number of open sites last rose to what it is at `at_s`."""
        open_sites = self.open_sites(at_s)
        # From this share on it is rounded to that number; one site is open from the begin.
        enough = (open_sites - 0.5) / self.scenario.sites if open_sites > 1 else 0.0
        fraction, since = at_s / self.scenario.duration_s, 0.0
        for (from_, share), (to, next_share) in pairwise(self.openings.points):
            if from_ <= fraction and share < enough <= next_share:
                since = from_ + (to - from_) * (enough - share) / (next_share - share)
        return min(fraction, since) * self.scenario.duration_s


def add_options(parser: "LocustArgumentParser") -> None:
    """Add ours to Locust's options. All are plain values, since the master sends them to its workers."""
    group = parser.add_argument_group(
        "Gatelight",
        "Each is also an environment variable, GATELIGHT_LOAD_...; -t sets --duration, -u --sites.",
    )

    def add(name: str, about: str, *, in_ui: bool = True, **further: Any) -> None:
        variable = f"GATELIGHT_LOAD_{name.upper().replace('-', '_')}"
        group.add_argument(f"--{name}", help=about, env_var=variable, **further).include_in_web_ui = in_ui

    add("scenario", "the morning to replay", choices=sorted(SCENARIOS), default="steady")
    add("corpus", "file of scans with expected verdicts (python -m loadtest corpus)", in_ui=False)
    add("people-a-minute", "scans a minute at the peak; without it, the scenario's")
    add("duration", "length of the run, seconds; without it, the scenario's")
    add(
        "flavour",
        "unary: a call a scan; batch: a gate hub collects; stream: lanes",
        choices=FLAVOURS,
        default="unary",
    )
    add(
        "arrivals",
        "how people come; closed: the next when the last is through, which only finds a ceiling",
        choices=ARRIVALS,
        default="poisson",
    )
    add("profile-csv", "a real day, in the place of the scenario's profile: columns time,scans", in_ui=False)
    add("sites", "connections; without it, the scenario's")
    add("max-in-flight", "scans under way at once, a process", default=2_000)
    add("deadline", "of an attempt, seconds; without it, the scenario's")
    add("attempts", "at most, each at once; without it, the scenario's")
    add("batch-size", "scans in a call of a hub at most", default=100)
    add("linger-ms", "how long a hub collects, milliseconds", default=50.0)
    add(
        "threshold",
        "NAME=NUMBER, in the place of the scenario's limit or beside them; may be repeated",
        in_ui=False,
        action="append",
        metavar="NAME=NUMBER",
    )
    add("results", "folder for what was measured", in_ui=False, default="build/load")
    add(
        "hand",
        "command that does an act to the servers; the act's name is put behind it",
        in_ui=False,
        default="",
    )
    add("gate-id", "the gate where scans are shown", default="load")
    add("gate-key-file", "file with the gate's bearer key", in_ui=False)
    add("tls-ca", "PEM file of who vouches for the verifiers; speaks TLS", in_ui=False)


def read_options(parsed: Namespace, host: str | None) -> LoadOptions:
    """Return what the user asks for; raises OptionError.

    Values from the web UI are strings, and empty ones are as if not given. Looks at no file but the profile:
    the corpus has to be where the generators are.
    """
    given = vars(parsed)
    name = str(given["scenario"])
    if name not in SCENARIOS:
        raise OptionError(f"there is no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    scenario = _with_numbers(SCENARIOS[name], given)
    if not given.get("corpus"):
        raise OptionError("say what people show: --corpus FILE, made by python -m loadtest corpus")
    options = LoadOptions(
        scenario=scenario,
        profile=_read_profile(scenario, given),
        openings=Profile(scenario.openings),
        addresses=_addresses(host or ""),
        corpus=Path(given["corpus"]),
        flavour=_one_of("flavour", FLAVOURS, given),
        arrivals=_one_of("arrivals", ARRIVALS, given),
        max_in_flight=_number("max-in-flight", int, given, least=1),
        batch_size=_number("batch-size", int, given, least=1, most=_MOST_IN_A_BATCH),
        linger_s=_number("linger-ms", float, given, least=0.0, most=10_000.0) / 1000,
        results=Path(given["results"]),
        hand=given["hand"] or "",
        gate_id=given["gate_id"] or "",
        gate_key_file=_path("gate-key-file", given),
        tls_ca=_path("tls-ca", given),
    )
    _require_hand(options)
    if len(options.gate_id) > _MAX_GATE_ID:
        raise OptionError(f"--gate-id has at most {_MAX_GATE_ID} characters")
    return options


def require_room(options: LoadOptions, generators: int) -> None:
    """Refuse closed arrivals of which some would only wait for others; raises OptionError."""
    most = math.ceil(options.scenario.sites / generators) * options.most_together
    if options.arrivals == "closed" and most > options.max_in_flight:
        raise OptionError(
            f"closed arrivals of a process are {most} scans at once (sites x scans in a call): more than "
            f"--max-in-flight, {options.max_in_flight}"
        )


def _with_numbers(scenario: Scenario, given: Mapping[str, Any]) -> Scenario:
    return replace(
        scenario,
        people_a_minute=_number("people-a-minute", float, given, least=1.0, default=scenario.people_a_minute),
        duration_s=_number("duration", float, given, least=1.0, default=scenario.duration_s),
        sites=_number("sites", int, given, least=1, default=scenario.sites),
        deadline_s=_number("deadline", float, given, least=0.001, default=scenario.deadline_s),
        attempts=_number("attempts", int, given, least=1, most=100, default=scenario.attempts),
        thresholds=_thresholds(scenario.thresholds, given.get("threshold") or ()),
    )


def _thresholds(ours: Sequence[Threshold], given: Sequence[str]) -> Sequence[Threshold]:
    found = {one.measure: one for one in ours}
    for text in given:
        name, _, number = text.partition("=")
        try:
            found[name] = measures.threshold(name.strip(), float(number))
        except ValueError:
            raise OptionError(f"--threshold is NAME=NUMBER, not {text!r}") from None
        except measures.UnknownMeasure as error:
            raise OptionError(f"--threshold: {error}") from None
    return tuple(found.values())


def _read_profile(scenario: Scenario, given: Mapping[str, Any]) -> Profile:
    path = _path("profile-csv", given)
    try:
        return Profile(scenario.profile) if path is None else Profile.from_csv(path)
    except ProfileError as error:
        raise OptionError(f"--profile-csv: {error}") from None


def _addresses(host: str) -> Sequence[str]:
    addresses = [address.strip() for address in host.split(",") if address.strip()]
    if not addresses or any("://" in address for address in addresses):
        raise OptionError(f"--host is HOST:PORT, or several with commas, not {host!r}")
    return addresses


def _require_hand(options: LoadOptions) -> None:
    acts = [act.name for act in options.scenario.acts if act.name != CHANGES_KEY]
    if acts and not options.hand:
        raise OptionError(
            f"{options.scenario.name} needs a hand on the servers ({', '.join(acts)}): give --hand COMMAND, "
            f"or let python -m loadtest load start everything"
        )
    try:
        words = shlex.split(options.hand)
    except ValueError as error:
        raise OptionError(f"--hand is a command: {error}") from None
    if acts and not words:
        raise OptionError("--hand is a command")


def _one_of(name: str, choices: Sequence[str], given: Mapping[str, Any]) -> str:
    value = str(given[name.replace("-", "_")])
    if value not in choices:
        raise OptionError(f"--{name} is one of {', '.join(choices)}, not {value!r}")
    return value


def _path(name: str, given: Mapping[str, Any]) -> Path | None:
    value = given.get(name.replace("-", "_"))
    return Path(value) if value else None


def _number(
    name: str,
    kind: Callable[[Any], _Number],
    given: Mapping[str, Any],
    *,
    least: _Number,
    most: float = math.inf,
    default: _Number | None = None,
) -> _Number:
    value = given.get(name.replace("-", "_"))
    if value in (None, "") and default is not None:
        return default
    try:
        number = kind(value)
    except (TypeError, ValueError):
        raise OptionError(f"--{name} is a number, not {value!r}") from None
    if not (math.isfinite(number) and least <= number <= most):
        upper = "" if most == math.inf else f" to {most:g}"
        raise OptionError(f"--{name} is {least:g}{upper}{' or more' if not upper else ''}, not {number:g}")
    return number
