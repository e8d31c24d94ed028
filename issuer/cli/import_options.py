"""The options of the commands that import files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from issuer.cli.import_errors import UnusableFile
from issuer.cli.import_file import ENCODINGS
from issuer.cli.options import FILE, YES_HELP
from issuer.cli.rows import RowKind
from issuer.cli.session import Session


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How a file is read, and where what comes of it goes."""

    file_format: str | None
    encoding: str
    rejects: Path | None
    restart: bool
    yes: bool
    output: Path | None = None  # imports of credentials
    wait_s: float = 0.0  # imports of statuses


def import_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of an import."""
    for option in reversed(
        (
            click.option(
                "--format",
                "file_format",
                type=click.Choice(["csv", "jsonl"]),
                help="CSV, or an object a line.  [default: by the file's name]",
            ),
            click.option(
                "--encoding",
                type=click.Choice(ENCODINGS),
                default="utf-8",
                show_default=True,
                help="Of the file.",
            ),
            click.option(
                "--rejects",
                type=FILE,
                help="Where refused rows go, whole, so that you can mend and import that file. It holds "
                "personal data, and nobody else may read it.  [default: FILE.rejects.csv or .jsonl]",
            ),
            click.option("--restart", is_flag=True, help="Begin anew, also where an earlier run stopped."),
            click.option("--yes", is_flag=True, help=YES_HELP),
        )
    ):
        command = option(command)
    return command


def run_import(session: Session, kind: RowKind, path: Path, options: ImportOptions, *, apply: bool) -> None:
    """Carry out an import; ends the command with its exit code."""
    from issuer.cli.import_command import ImportCommand  # noqa: PLC0415 - help starts faster without

    try:
        ImportCommand(session, kind, path, options).run(apply=apply)
    except UnusableFile as error:
        raise click.UsageError(str(error)) from None
