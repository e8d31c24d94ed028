"""The errors with which a command ends, and the exit code of each.

    click.ClickException
    +-- click.UsageError     2  wrong usage, or nothing was done
    +-- Refused              1  the issuer said no
    +-- NoAnswer             3  the issuer could not be reached, or could not carry the call out
    click.exceptions.Exit
    +-- WaitsForApproval     4  nothing is wrong: a second person has to approve first

Every message says what to do next, and none carries a name or a document number.
"""

import click

EXIT_REFUSED = 1
EXIT_NOTHING_DONE = 2
EXIT_NO_ANSWER = 3
EXIT_WAITS = 4
# What shells report for a command that Ctrl-C ended: 128 + SIGINT.
EXIT_INTERRUPTED = 130


class Refused(click.ClickException):
    """The issuer said no."""

    exit_code = EXIT_REFUSED


class NoAnswer(click.ClickException):
    """The issuer could not be reached, or could not carry the call out."""

    exit_code = EXIT_NO_ANSWER


class WaitsForApproval(click.exceptions.Exit):
    """What was asked for waits for a second person; it was said already whom to ask."""

    def __init__(self) -> None:
        super().__init__(EXIT_WAITS)
