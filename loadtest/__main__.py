"""python -m loadtest: the demo, the benchmark and the load scenarios; `make` has a target for each."""

import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from loadtest.processes import ProcessError
from verifier.terminal import tolerate_any_encoding


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
def bench() -> None:
    """Measure what a verdict costs; the exit code is 0 unless an answer was wrong."""
    from loadtest.bench import run  # noqa: PLC0415

    sys.exit(run())


@main.command()
@click.option("--gates", default=32, show_default=True, help="Gates that scan at once.")
@click.option(
    "--seconds", type=click.IntRange(1, 40), default=20, show_default=True, help="How long: codes age."
)
def load(gates: int, seconds: int) -> None:
    """Let Locust scan against a system of its own; the exit code is 1 if a verdict was wrong or missing."""
    from loadtest.load import run  # noqa: PLC0415

    sys.exit(run(gates=gates, seconds=seconds))


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


if __name__ == "__main__":
    try:
        main(prog_name="python -m loadtest")
    except ProcessError as error:
        sys.exit(f"Error: {error}")
