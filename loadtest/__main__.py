"""python -m loadtest: the demo, the benchmark and the load scenarios; `make` has a target for each."""

import signal
import sys
from types import FrameType
from typing import NoReturn

import click


def _on_terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Show, measure and load Gatelight on real processes."""
    # So that servers and temporary files are cleaned up on the way out, as they are on Ctrl-C.
    signal.signal(signal.SIGTERM, _on_terminate)


@main.command()
def demo() -> None:
    """Issue, draw, scan and break things; the exit code is 0 only if all went as expected."""
    from loadtest.demo import run  # noqa: PLC0415 - each command imports its own

    sys.exit(run())


if __name__ == "__main__":
    main(prog_name="python -m loadtest")
