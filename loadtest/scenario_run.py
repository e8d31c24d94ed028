"""One scenario in a town: its corpus, its generators, its acts, and what came of it."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from loadtest import measures
from loadtest.arrivals import Profile
from loadtest.ceiling import DURATION_S as CEILING_S
from loadtest.crowd.control import PROVES_NOTHING, exit_code
from loadtest.crowd.options import CHANGES_KEY
from loadtest.hand import Hand
from loadtest.locust_process import LOG_NAME, Job, run_locust
from loadtest.office import Wanted
from loadtest.percentiles import show
from loadtest.recording import Ceiling, Recording, ServerSample
from loadtest.report.writing import REPORT_NAME
from loadtest.report.writing import write as write_report
from loadtest.scenario import Scenario, Threshold
from loadtest.town import Town
from loadtest.watch import Watch
from verifier.limits import Limits

# Each site shows them in an order of its own, so that one of several comes again when another site shows it:
# the verifiers of a town remember no codes, and so do the work for each.
MOST_CODES = 200_000
_LEAST_CODES = 1_000
# A gate may have no more lanes open on one worker, and all may come to the same one.
MAX_LANES = Limits().max_streams_per_caller
# Until the first scan, and after the last one.
_SPARE_S = 120
_SERVE_S = 0.1
# Until generators have read their modules and opened their connections, for the progress bar.
_STARTUP_S = 3


class NotPossible(Exception):
    """A scenario cannot be run as asked; the message is for people."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How scenarios are run; None is what the scenario, or the verifier, says itself."""

    people_a_minute: float | None = None
    duration_s: float | None = None
    flavour: str = "unary"
    arrivals: str = "poisson"
    profile_csv: Path | None = None
    sites: int | None = None
    processes: int = 1  # that generate
    engine: str = "auto"
    workers: int | None = None
    has_issuer: bool = False
    thresholds: Sequence[str] = field(default=())  # NAME=NUMBER
    ceiling_s: float = CEILING_S  # how long the ceiling is measured; 0: it is not


def adapt(scenario: Scenario, setting: Setting) -> Scenario:
    """Return the scenario as the setting asks for it; raises NotPossible."""
    if setting.has_issuer and any(act.name == CHANGES_KEY for act in scenario.acts):
        raise NotPossible(
            f"{scenario.name} needs keys of its own, and not an issuer's, which change when their time has "
            "come: leave out --issuer, or see python -m loadtest rotations"
        )
    sites = setting.sites or scenario.sites
    if setting.flavour == "stream" and sites > MAX_LANES:
        if setting.sites:
            raise NotPossible(f"a gate may have {MAX_LANES} lanes: --sites {sites} is too many")
        sites = MAX_LANES
    profile = Profile.from_csv(setting.profile_csv).points if setting.profile_csv else scenario.profile
    return replace(
        scenario,
        people_a_minute=setting.people_a_minute or scenario.people_a_minute,
        duration_s=setting.duration_s or scenario.duration_s,
        profile=profile,
        sites=sites,
    )


@dataclass(frozen=True, slots=True)
class Generated:
    """A run of the generators, whose results are in `folder`."""

    folder: Path
    exit_code: int
    samples: Sequence[ServerSample]
    never_asked: Sequence[str] = ()  # verifiers that joined, and that no scan of the crowd came to


def generate(
    here: Town, scenario: Scenario, setting: Setting, *, folder: Path, console: Console
) -> Generated:
    """Run an adapted scenario in a town; raises ProcessError. Where it has acts, in the main thread."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gatelight-corpus-") as name:
        corpus = Path(name) / "corpus"
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            here.office.write_corpus(corpus, _wanted(scenario), progress)
        with (
            Hand(here.do) as hand,
            Watch(lambda: here.servers) as watch,
            _progress(scenario, console) as advance,
        ):

            def meanwhile() -> None:
                hand.serve_one(_SERVE_S)
                advance()

            job = _job(scenario, setting, here, corpus=corpus, folder=folder, hand=hand)
            ended_with = run_locust(job, meanwhile=meanwhile)
    return Generated(folder, ended_with, watch.samples, here.never_asked())


def conclude(generated: Generated, *, ceiling: Ceiling | None, console: Console) -> int:
    """Add what the generators could not know, judge again, write the report, and return the exit code."""
    folder = generated.folder
    recording = Recording.read(folder)
    ended_with = complete(recording, generated, ceiling)
    recording.write(folder)
    with console.status("writing the report"):
        write_report(folder)
    show(recording, console)
    console.print(f"report: {folder / REPORT_NAME}", soft_wrap=True)
    return ended_with


def complete(recording: Recording, generated: Generated, ceiling: Ceiling | None) -> int:
    """Add to a recording what the generators could not know, judge again, and return the exit code."""
    limits = [Threshold(one.measure, one.limit, one.is_floor) for one in recording.thresholds]
    known = recording.problems
    if generated.exit_code == PROVES_NOTHING and not known:
        known = [f"the generators ended with {PROVES_NOTHING}: see {LOG_NAME}"]
    unseen_by_generators = measures.unseen(recording, limits)
    recording.servers = list(generated.samples)
    recording.ceiling = ceiling
    recording.problems = [
        *(one for one in known if one not in unseen_by_generators),
        *measures.unseen(recording, limits),
        *measures.unpushed(recording),
        *(f"{name} was never asked" for name in generated.never_asked),
    ]
    recording.thresholds = measures.judge(recording, limits)
    recording.limited_by = measures.limited_by(recording)
    return exit_code(recording)


def _wanted(scenario: Scenario) -> Wanted:
    people = scenario.people_a_minute / 60 * scenario.duration_s * Profile(scenario.profile).area()
    return Wanted(
        codes=max(_LEAST_CODES, min(MOST_CODES, round(people))),
        mix=scenario.mix,
        good_for_s=scenario.duration_s + _SPARE_S,
        keys=1 + any(act.name == CHANGES_KEY for act in scenario.acts),
    )


def _job(scenario: Scenario, setting: Setting, here: Town, *, corpus: Path, folder: Path, hand: Hand) -> Job:
    return Job(
        scenario=scenario.name,
        corpus=corpus,
        addresses=here.addresses,
        duration_s=scenario.duration_s,
        people_a_minute=scenario.people_a_minute,
        flavour=setting.flavour,
        arrivals=setting.arrivals,
        results=folder,
        sites=scenario.sites,
        processes=setting.processes,
        profile_csv=setting.profile_csv,
        thresholds=setting.thresholds,
        hand=hand.command if scenario.acts else "",
        gate_id=here.office.gate_id,
        gate_key=here.office.gate_key,
    )


@contextmanager
def _progress(scenario: Scenario, console: Console) -> Iterator[Callable[[], object]]:
    """Show how far the run has come; gives what is to be called again and again."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(scenario.name, total=_STARTUP_S + scenario.duration_s)
        yield lambda: progress.update(task, completed=time.monotonic() - began)
