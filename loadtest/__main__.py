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


if __name__ == "__main__":
    try:
        main(prog_name="python -m loadtest")
    except ProcessError as error:
        sys.exit(f"Error: {error}")
