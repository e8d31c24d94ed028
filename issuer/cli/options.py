"""Kinds of arguments, and options that several commands have."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from issuer.cli.errors import EXIT_REFUSED

CREDENTIAL_INDEX = click.IntRange(1, 2**32 - 1)
HOLDER_ID = click.IntRange(1, 2**63 - 1)
FILE = click.Path(dir_okay=False, path_type=Path)
KIND = click.Choice(["PHONE", "PAPER"], case_sensitive=False)
COLOUR = click.Choice(["GREEN", "YELLOW", "RED"], case_sensitive=False)
CREDENTIAL_STATE = click.Choice(["ACTIVE", "SUSPENDED", "REVOKED", "EXPIRED"], case_sensitive=False)

YES_HELP = "Do not ask once more; without a terminal nothing is asked in any case."


class Asked(click.Option):
    """An option with a prompt; where there is no terminal to ask at, it says that it has to be given."""

    def prompt_for_value(self, ctx: click.Context) -> Any:
        """Ask for it; raises UsageError at the end of an input that is no terminal."""
        try:
            return super().prompt_for_value(ctx)
        except click.Abort:
            if sys.stdin.isatty():
                raise
            click.echo(err=True)
            raise click.UsageError(f"give {self.opts[0]}: there is no terminal to ask for it") from None


def limited(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that lists the option --limit."""
    return click.option("--limit", type=click.IntRange(1), help="How many at most.  [default: all]")(command)


def confirmed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that asks once more the option --yes."""
    return click.option("--yes", is_flag=True, help=YES_HELP)(command)


def reveals(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that shows names the option --reveal."""
    return click.option("--reveal", is_flag=True, help="Show names in full; it is recorded who asked.")(
        command
    )


def confirm(question: str, *, is_sure: bool, exit_code: int = EXIT_REFUSED) -> None:
    """Ask once more where somebody is at the terminal; ends the command unless the answer is yes.

    `exit_code` is that of a no.
    """
    if is_sure or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    if not click.confirm(question, err=True):
        click.echo("nothing was changed", err=True)
        raise click.exceptions.Exit(exit_code)
