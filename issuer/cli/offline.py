"""What commands share that work on the issuer's folder itself, without a running issuer."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from issuer.cli.errors import Refused

PATH = click.Path(path_type=Path)


def in_folder(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options --folder and --register-url."""
    for option in (
        click.option(
            "--register-url",
            help="The register, such as postgresql+psycopg://host/name.  [default: register.db in --folder]",
        ),
        click.option("--folder", type=PATH, help="The issuer's folder.  [default: gatelight-issuer]"),
    ):
        command = option(command)
    return command


def with_passphrase(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --passphrase-file."""
    return click.option(
        "--passphrase-file", type=PATH, help="A file with the passphrase for the private keys."
    )(command)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn an error of the issuer into the end of the command."""
    from issuer.errors import IssuerError, SettingsError  # noqa: PLC0415

    try:
        yield
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    except IssuerError as error:
        raise Refused(str(error)) from None


def passphrase(found: bytes | None, *, is_new: bool) -> bytes:
    """Return the passphrase, asked for on a terminal where no setting has it; raises SettingsError."""
    from issuer.errors import SettingsError  # noqa: PLC0415

    if found is not None:
        return found
    if not _can_ask():
        raise SettingsError(
            "a passphrase is needed: --passphrase-file, GATELIGHT_PASSPHRASE_FILE or GATELIGHT_PASSPHRASE"
        )
    asked: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=is_new, err=True)
    return asked.encode()


def _can_ask() -> bool:
    """Tell whether there is a person at the terminal; asking from the background would stop this process."""
    return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
