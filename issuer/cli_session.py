"""What all commands share that ask a running issuer: its address, its answers, and what to say then.

Exit codes: 0 done, 1 refused, 2 wrong usage or setting, 3 no answer from the issuer.
"""

import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click
import grpc

from issuer.client import IssuerClient
from issuer.config import ClientSettings, load
from issuer.errors import SettingsError
from issuer.v1 import issuer_pb2 as pb

# Commands send lists of one; people never see the list.
_PLACE_IN_LIST = re.compile(r"^(holders|credentials|changes)\[0\]\.")
_NO = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)


class RefusedByIssuer(click.ClickException):
    """The issuer said no."""

    exit_code = 1


class NoAnswer(click.ClickException):
    """The issuer could not be reached, or could not carry the call out."""

    exit_code = 3


class Session:
    """One command's talk with the issuer and with the person, or program, that gave it."""

    def __init__(self, client: IssuerClient, *, server: str, is_json: bool) -> None:
        self.client = client
        self.is_json = is_json
        self._server = server

    def ask(self, method: Callable[[Any], Any], request: Any) -> Any:
        """Call the issuer and return its answer; ends the command when it has none, or says no."""
        try:
            return method(request)
        except grpc.RpcError as error:
            raise _explain(error, self._server) from None

    def show(self, fields: Mapping[str, object]) -> None:
        """Print one thing: lines for people, an object for programs."""
        if self.is_json:
            click.echo(json.dumps(fields, ensure_ascii=False))
            return
        width = max(map(len, fields))
        for name, value in fields.items():
            click.echo(f"{click.style(name.replace('_', ' ').ljust(width), bold=True)}  {value}")

    def is_agreed(self, plan: str, *, apply: bool) -> bool:
        """Print what a changing command would do, or does; tell whether it is to be done."""
        if self.is_json:
            if not apply:
                click.echo(json.dumps({"applied": False, "plan": plan}, ensure_ascii=False))
        elif apply:
            click.echo(plan)
        else:
            click.echo(f"would {plan}\nNothing was changed. To do it, add --apply.")
        return apply

    def show_done(self, fields: Mapping[str, object], publication: int | None = None) -> None:
        """Print what came of a changing command."""
        shown = dict(fields)
        if publication is not None:
            shown["publication"] = pb.Publication.Name(publication).removeprefix("PUBLICATION_")
        self.show({"applied": True, **shown} if self.is_json else shown)
        if publication == pb.PUBLICATION_PENDING and not self.is_json:
            click.echo("Safe in the register; verifiers learn of it when Redis answers again.")


def asks_issuer(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options --server, --timeout-s and --json, and a Session as its first argument."""

    @click.option("--server", metavar="HOST:PORT", help="The issuer.  [default: 127.0.0.1:50061]")
    @click.option("--timeout-s", type=float, help="How long to wait for an answer.  [default: 10]")
    @click.option("--json", "is_json", is_flag=True, help="Print JSON for programs.")
    @functools.wraps(command)
    def run(server: str | None, timeout_s: float | None, is_json: bool, **options: Any) -> None:
        with usage_errors():
            settings = load(ClientSettings, {"server": server, "timeout_s": timeout_s})
        with IssuerClient(settings.server, timeout_s=settings.timeout_s) as client:
            command(Session(client, server=settings.server, is_json=is_json), **options)

    return run


def changes(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --apply."""
    return click.option("--apply", is_flag=True, help="Do it; without this, only say what would be done.")(
        command
    )


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turn an unusable setting into a usage error."""
    try:
        yield
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def as_time(unix_seconds: int) -> str:
    """Return a time as people read it, in UTC; a dash for 0."""
    if not unix_seconds:
        return "-"
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(sep=" ").replace("+00:00", "Z")


def _explain(error: grpc.RpcError, server: str) -> click.ClickException:
    code, details = error.code(), error.details() or ""
    if code in _NO:
        return RefusedByIssuer(f"the issuer says no: {_PLACE_IN_LIST.sub('', details)}")
    if details.startswith("failed to connect"):
        return NoAnswer(
            f"no answer from the issuer at {server}. Is it running? Start it with "
            "`gatelight-issuer serve`, or name another with --server."
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return NoAnswer(
            f"the issuer at {server} did not answer in time. Look whether the change was made before you "
            "try again, with a longer --timeout-s."
        )
    return NoAnswer(f"the issuer at {server} could not do it ({code.name}): {details}. Try again.")
