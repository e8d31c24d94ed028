"""python -m loadtest: the demo, the benchmark and the load scenarios; `make` has a target for each."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from loadtest.plan import Figure, plan
from loadtest.processes import ProcessError
from verifier.terminal import tolerate_any_encoding

_EXIT_UNPROVEN = 3


@contextmanager
def _unproven_where_a_process_fails() -> Iterator[None]:
    """Exit with 3 where a generator or a server did not do its part: then a run proves nothing."""
    try:
        yield
    except ProcessError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(_EXIT_UNPROVEN)
    except KeyboardInterrupt:
        click.echo("Interrupted: this run proves nothing.", err=True)
        sys.exit(_EXIT_UNPROVEN)


def _on_terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Show, measure and load Gatelight on real processes."""
    tolerate_any_encoding()
    # So that servers and temporary files are cleaned up on the way out, as they are on Ctrl-C.
    signal.signal(signal.SIGTERM, _on_terminate)


@main.command()
def demo() -> None:
    """Issue, draw, scan and break things; the exit code is 0 only if all went as expected."""
    from loadtest.demo import run  # noqa: PLC0415 - each command imports its own

    sys.exit(run())


@main.command()
@click.option("--engine", type=click.Choice(["grpcio", "envoy", "both"]), default="both", show_default=True)
@click.option("--short", "is_short", is_flag=True, help="Leave out what costs most.")
def canary(*, engine: str, is_short: bool) -> None:
    """Do everything with marked people, and search all that was written for their names, codes and keys.

    The exit code is 1 if something was where it must not be, 2 if the search would not have found it, 3 if
    the run proves nothing.
    """
    from loadtest.canary import run  # noqa: PLC0415

    with _unproven_where_a_process_fails():
        sys.exit(run(engines=("grpcio", "envoy") if engine == "both" else (engine,), is_short=is_short))


@main.command()
def bench() -> None:
    """Measure what a verdict costs; the exit code is 0 unless an answer was wrong."""
    from loadtest.bench import run  # noqa: PLC0415

    sys.exit(run())


@main.command()
def load() -> None:
    """Replay two of the mornings, small, on a system of its own with an issuer (a minute).

    The exit code is 1 if a threshold was missed or a verdict was wrong, 3 if the run proves nothing.
    """
    from loadtest.load import run  # noqa: PLC0415

    with _unproven_where_a_process_fails():
        sys.exit(run())


@main.command()
@click.option(
    "--count", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="How many scans."
)
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same scans.")
def scans(count: int, seed: int) -> None:
    """Verify scans of every kind and compare each verdict; the exit code is 1 if one was wrong."""
    from loadtest.scans import run  # noqa: PLC0415

    sys.exit(run(count, seed))


@main.command()
@click.option("--holders", type=click.IntRange(min=1), default=1_000_000, show_default=True)
@click.option("--statuses", type=click.IntRange(min=1), default=1_000_000, show_default=True)
def imports(holders: int, statuses: int) -> None:
    """Import holders and statuses from files through the command line, until the last verdict is there."""
    from loadtest.imports import run  # noqa: PLC0415

    sys.exit(run(holders=holders, statuses=statuses))


@main.command()
@click.option("--entries", type=click.IntRange(min=1), default=1_000_000, show_default=True)
@click.option("--register-url", default="", help="An empty PostgreSQL database.  [default: a SQLite file]")
def archive(entries: int, register_url: str) -> None:
    """Archive scans while statuses are changed; the exit code is 1 if a scan is missing, or there twice."""
    from loadtest.archive import run  # noqa: PLC0415

    sys.exit(run(entries=entries, register_url=register_url))


@main.command()
@click.option("--records", type=click.IntRange(min=1), default=25_000_000, show_default=True)
def rebuild(records: int) -> None:
    """Rebuild Redis from a generated register; the exit code is 1 if a byte of it is wrong."""
    from loadtest.rebuild import run  # noqa: PLC0415

    sys.exit(run(records=records))


@main.command()
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True, help="How many kills.")
@click.option("--seed", default=1, show_default=True, help="The same seed kills after the same pauses.")
def kills(count: int, seed: int) -> None:
    """Kill the issuer under load again and again; the exit code is 1 if anything was lost or differs."""
    from loadtest.kills import run  # noqa: PLC0415

    sys.exit(run(count=count, seed=seed))


@main.command()
def rotations() -> None:
    """Rotate signing keys under load, then revoke one; the exit code is 1 if a valid code was refused."""
    from loadtest.rotations import run  # noqa: PLC0415

    sys.exit(run())


@main.command()
@click.option(
    "--redis-url",
    envvar="GATELIGHT_REDIS_URL",
    default="redis://127.0.0.1:6379/0",
    show_default=True,
    help="A Redis without a Gatelight in it.",
)
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default="city", show_default=True)
@click.option(
    "--credentials",
    type=click.IntRange(1, 100_000_000),
    help="How many.  [default: 1000000, or what the folder has]",
)
@click.option("--green", is_flag=True, help="All green, and none replaced.")
@click.option("--json", "is_json", is_flag=True, help="Say in JSON where everything is.")
def city(redis_url: str, folder: Path, credentials: int | None, green: bool, is_json: bool) -> None:
    """Put a city into Redis and keep it current until Ctrl-C: its keys go to a folder, for `corpus`.

    SIGUSR1 publishes its second key, SIGUSR2 makes every verifier load the status anew.
    """
    from loadtest.city_command import run  # noqa: PLC0415

    sys.exit(run(redis_url, folder=folder, credentials=credentials, is_green=green, is_json=is_json))


_KEY_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@main.command()
@click.option(
    "--city", type=click.Path(file_okay=False, path_type=Path), help="Sign with the keys of a city."
)
@click.option("--codes", type=click.IntRange(1, 20_000_000), help="Of a city: how many.  [default: 200000]")
@click.option(
    "--keys", type=click.IntRange(1, 2), help="Of a city: of how many keys, half each.  [default: 1]"
)
@click.option("--issuer", help="Or fetch bundles from a running issuer: unix:PATH or HOST:PORT.")
@click.option("--clerk-key", type=_KEY_FILE, help="Of an issuer: the key file of a clerk.")
@click.option("--approver-key", type=_KEY_FILE, help="Of an issuer: the key file of an approver.")
@click.option("--tls-ca", type=_KEY_FILE, help="Of an issuer: who may vouch for it.")
@click.option("--holders", type=click.IntRange(1, 100_000), help="Of an issuer: how many.  [default: 5000]")
@click.option(
    "--minutes",
    type=Figure(0.1, 1440),
    help="How long it has to be good.  [default: 60, of an issuer 5]",
)
@click.option(
    "--mix", default="gate", show_default=True, help="gate, flood, everything, or such as green=94,expired=6."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default="corpus.bin",
    show_default=True,
    help="The file to write.",
)
@click.option("--json", "is_json", is_flag=True, help="Say in JSON what is in it.")
def corpus(**options: Any) -> None:
    """Make a file of scans, each with the verdict that it must get, for generators to show.

    Of a city (`python -m loadtest city`), or of a running issuer, where people who do not exist are enrolled.
    """
    from loadtest.corpus_command import run  # noqa: PLC0415

    sys.exit(run(**options))


@main.command()
@click.option("--engine", type=click.Choice(["grpcio", "envoy"]), help="One alone.  [default: both]")
@click.option("--only", multiple=True, metavar="NAME", help="This fault alone; may be repeated.")
@click.option("--list", "is_list", is_flag=True, help="Print the faults, and do none.")
@click.option("--rate", type=Figure(1, 1_000), default=100, show_default=True, help="Calls a second.")
@click.option(
    "--seconds",
    "lasts_s",
    type=Figure(0.1, 3_600),
    default=2,
    show_default=True,
    help="How long each lasts, at least.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="A file for the results.",
)
@click.option("--readme", "is_for_readme", is_flag=True, help="Write the table into the README.")
def outages(**options: Any) -> None:
    """Do every fault to real processes, with gates scanning, and see what becomes of their verdicts.

    The exit code is 1 if a verdict was wrong or missing, or a fault was not noticed or not got over; 3 if the
    run proves nothing.
    """
    from loadtest.outages.command import run  # noqa: PLC0415

    with _unproven_where_a_process_fails():
        sys.exit(run(**options))


@main.command()
@click.argument("scenarios", nargs=-1, required=True)
@click.option("--people-a-minute", type=Figure(1, 1e9), help="At the peak.  [default: the scenario's]")
@click.option("--seconds", "duration_s", type=Figure(1, 7 * 86_400), help="[default: the scenario's]")
@click.option(
    "--flavour", type=click.Choice(["unary", "batch", "stream"]), default="unary", show_default=True
)
@click.option(
    "--arrivals",
    type=click.Choice(["poisson", "even", "closed"]),
    default="poisson",
    show_default=True,
    help="How people come; closed: the next when the last is through, which only finds a ceiling.",
)
@click.option(
    "--profile-csv",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A real day, in the place of the scenario's profile: columns time,scans.",
)
@click.option("--sites", type=click.IntRange(1, 10_000), help="Connections.  [default: the scenario's]")
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="That generate.")
@click.option("--engine", type=click.Choice(["auto", "grpcio", "envoy"]), default="auto", show_default=True)
@click.option("--workers", type=click.IntRange(1, 256), help="Of a verifier.  [default: one a core]")
@click.option("--issuer", "has_issuer", is_flag=True, help="With a real issuer, whose codes rotate.")
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="NAME=NUMBER",
    help="In the place of the scenario's limit, or beside them; may be repeated.",
)
@click.option("--no-ceiling", is_flag=True, help="Do not measure first what the generators reach.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default="build/load",
    show_default=True,
    help="Each scenario's results go to a folder of its name in there.",
)
@click.option("--json", "is_json", is_flag=True, help="Print a line of JSON for each scenario.")
def run(scenarios: tuple[str, ...], *, output: Path, is_json: bool, **setting: Any) -> None:
    """Replay mornings against a whole Gatelight on this machine: see `scenarios` for their names.

    The exit code is 1 if a threshold was missed or a verdict was wrong, 3 if the run proves nothing.
    """
    from loadtest.run_command import run  # noqa: PLC0415

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(f"{output}: {error.strerror}", param_hint="--output") from None
    with _unproven_where_a_process_fails():
        sys.exit(run(scenarios, output=output, is_json=is_json, **setting))


@main.command()
@click.option("--json", "is_json", is_flag=True, help="Print them in JSON.")
def scenarios(is_json: bool) -> None:
    """List the mornings that can be replayed."""
    from loadtest.run_command import show_scenarios  # noqa: PLC0415

    sys.exit(show_scenarios(is_json=is_json))


@main.command()
@click.option(
    "--flavour", type=click.Choice(["unary", "batch", "stream"]), default="unary", show_default=True
)
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="That generate.")
@click.option("--sites", type=click.IntRange(1, 10_000), default=16, show_default=True, help="Connections.")
@click.option(
    "--batch-size", type=click.IntRange(1, 1_000), help="Of --flavour batch: scans in a call.  [default: 100]"
)
@click.option("--seconds", "duration_s", type=Figure(3, 600), default=3, show_default=True)
@click.option("--json", "is_json", is_flag=True, help="Print it in JSON.")
def ceiling(
    *, flavour: str, processes: int, sites: int, batch_size: int | None, duration_s: float, is_json: bool
) -> None:
    """Measure what the generators reach against a server that does nothing."""
    from loadtest.ceiling import Asking, run  # noqa: PLC0415
    from loadtest.locust_process import BATCH_SIZE, MAX_IN_FLIGHT  # noqa: PLC0415

    if batch_size and flavour != "batch":
        raise click.UsageError("--batch-size is of --flavour batch")
    asking = Asking(flavour, processes, sites, (batch_size or BATCH_SIZE) if flavour == "batch" else 1)
    if sites < processes or not asking.is_possible:
        raise click.UsageError(
            f"{asking}: each process has a connection, and at most {MAX_IN_FLIGHT} scans under way"
        )
    with _unproven_where_a_process_fails():
        sys.exit(run(asking, duration_s=duration_s, is_json=is_json))


@main.command()
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER...",
)
def report(folders: tuple[Path, ...]) -> None:
    """Write report.html and summary.md anew from the results.json in each folder."""
    from loadtest.recording import NotARecording  # noqa: PLC0415
    from loadtest.report.writing import run  # noqa: PLC0415

    try:
        sys.exit(run(folders))
    except (NotARecording, OSError) as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option("--engine", type=click.Choice(["grpcio", "envoy"]), help="One alone.  [default: both]")
@click.option(
    "--factor",
    "factors",
    type=Figure(1, 20),
    multiple=True,
    default=(2, 10),
    show_default=True,
    help="Of the capacity; may be repeated.",
)
@click.option("--seconds", type=Figure(3, 600), default=60, show_default=True, help="Of each.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="A file for the results.",
)
def overload(**options: Any) -> None:
    """Ask a verifier for more than it can give, and show it forged codes by the thousand.

    The exit code is 1 if an aim was missed, 3 if the run proves nothing.
    """
    from loadtest.overload.command import run  # noqa: PLC0415

    with _unproven_where_a_process_fails():
        sys.exit(run(**options))


main.add_command(plan)


if __name__ == "__main__":
    try:
        main(prog_name="python -m loadtest")
    except ProcessError as error:
        sys.exit(f"Error: {error}")
