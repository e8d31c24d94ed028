"""What all commands share that ask a running issuer: how to reach it, its answers, and what to say then."""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from issuer.cli.errors import NoAnswer, Refused
from issuer.cli.tables import print_fields, print_json, print_table

if TYPE_CHECKING:
    import grpc

    from issuer.client import IssuerClient

_PATH = click.Path(path_type=Path)
# Commands send lists of one; people never see the list.
_PLACE_IN_LIST = re.compile(r"^(holders|credentials|changes)\[0\]\.")
_PAGE_SIZE = 1_000

# What to do about a no, by the gRPC status code; {noun} is the noun of the command.
_ADVICE = {
    "INVALID_ARGUMENT": "Mend that, and try again.",
    "NOT_FOUND": "Look it up with `gatelight-issuer {noun} list`.",
    "FAILED_PRECONDITION": "Nothing was changed. Look how it stands with `gatelight-issuer {noun} {look}`.",
    "UNAUTHENTICATED": (
        "Name the file with your key with --key-file; an operator gives a new one with "
        "`gatelight-issuer client add`."
    ),
    "PERMISSION_DENIED": (
        "Ask somebody who has it, or name the file with the key of such a client with --key-file."
    ),
    "RESOURCE_EXHAUSTED": "Wait a little, and try again.",
}
_MISSING = re.compile(r"\bno (holder|credential|key|client|request|consent|gate|group)\b")
_LISTED = frozenset({"holder", "credential", "key", "client", "approval", "gate", "group"})
_NOUNS = {"request": "approval", "consent": "approval"}  # where commands have another word
_WRONG_TIME = re.compile(r"expected (Unix seconds|a time)\b")
_TIMES = "Times are taken as 2026-11-21T08:30 (local) or Unix seconds, and in options as +14d from now, too."
_OWN_REQUEST = "it is your own request"

# What gRPC says of a connection that was not made, and what is to be done then.
_NOT_CONNECTED = (
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not trusted: give the CA that signed it with --tls-ca",
    ),
    (
        "Hostname Verification",
        "its certificate names another server: reach it with --server by a name that is in the certificate",
    ),
    (
        "WRONG_VERSION_NUMBER",
        "it does not speak TLS: leave out --tls-ca and the other files of TLS; to another machine say "
        "--insecure",
    ),
    (
        "handshake failed",
        "TLS with it failed: look at the CA that you give with --tls-ca, and whether it speaks TLS at all",
    ),
    (
        "Socket closed",
        "it closed the connection at once. If it speaks TLS, give its CA with --tls-ca, and your own "
        "certificate with --tls-certificate if it wants one; else try again",
    ),
)


class Session:
    """One command's talk with the issuer and with the person, or program, that gave it."""

    def __init__(
        self, client: "IssuerClient", *, server: str, folder: Path, timeout_s: float, is_json: bool
    ) -> None:
        self.client = client
        self.server = server
        self.folder = folder  # the issuer's, if it is on this machine
        self.timeout_s = timeout_s
        self.is_json = is_json

    def ask(self, method: Callable[[Any], Any], request: Any) -> Any:
        """Call the issuer and return its answer; ends the command when it has none, or says no."""
        with explained(self.server):
            return method(request)

    def ask_for_stream(self, method: Callable[[Any], Any], request: Any) -> Iterator[Any]:
        """Call the issuer and yield its answers; ends the command as `ask` does."""
        with explained(self.server):
            yield from method(request)

    def pages(
        self,
        method: Callable[[Any], Any],
        request: Any,
        *,
        items: str,
        limit: int | None,
        go_on: Callable[[Any, Any], None],
    ) -> Iterator[Sequence[Any]]:
        """Yield the pages of a list, `limit` entries at most; `go_on` puts the last one into the request."""
        left = limit
        while left is None or left > 0:
            request.page_size = _PAGE_SIZE if left is None else min(left, _PAGE_SIZE)
            answer = self.ask(method, request)
            page = getattr(answer, items)
            if not page:
                return
            yield page
            if not answer.has_more:
                return
            left = None if left is None else left - len(page)
            go_on(request, page[-1])

    def show(self, fields: Mapping[str, object]) -> None:
        """Print one thing: lines for people, an object for programs."""
        if self.is_json:
            print_json(fields)
        else:
            print_fields(fields)

    def show_list(self, columns: Sequence[str], pages: Iterable[Sequence[Mapping[str, object]]]) -> None:
        """Print many things: a table of `columns` for people, an object a line for programs."""
        if self.is_json:
            for page in pages:
                for fields in page:
                    print_json(fields)
            return
        rows = ([[fields[column] for column in columns] for fields in page] for page in pages)
        print_table(columns, rows, nothing="There is none.")

    def is_agreed(self, plan: str, *, apply: bool, details: Mapping[str, object] | None = None) -> bool:
        """Print what a changing command would do, or does; tell whether it is to be done.

        `details` are for programs, where nothing is to be done yet.
        """
        if self.is_json:
            if not apply:
                print_json({"applied": False, "plan": plan, **(details or {})})
        elif apply:
            click.echo(plan)
        else:
            click.echo(f"would {plan}\nNothing was changed. To do it, add --apply.")
        return apply

    def show_done(self, fields: Mapping[str, object], publication: int | None = None) -> None:
        """Print what came of a changing command."""
        from issuer.v1 import admin_pb2 as pb  # noqa: PLC0415 - as above

        shown = dict(fields)
        if publication:
            shown["publication"] = pb.Publication.Name(publication).removeprefix("PUBLICATION_")
        self.show({"applied": True, **shown} if self.is_json else shown)
        if publication == pb.PUBLICATION_PENDING and not self.is_json:
            click.echo("Safe in the register; verifiers learn of it when Redis answers again.")


def asks_issuer(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that reach an issuer and --json, and a Session as its first argument."""

    @click.option(
        "--server",
        metavar="ADDRESS",
        help="The issuer: HOST:PORT or unix:PATH.  [default: the socket in --folder]",
    )
    @click.option(
        "--folder", type=_PATH, help="Where its socket and local.key are.  [default: gatelight-issuer]"
    )
    @click.option("--key-file", type=_PATH, help="Your client's key.  [default: local.key in --folder]")
    @click.option("--tls-ca", type=_PATH, help="Talk TLS, and trust this authority (PEM).")
    @click.option("--tls-certificate", type=_PATH, help="Your client's certificate (PEM), in place of a key.")
    @click.option("--tls-key", type=_PATH, help="Its private key (PEM).")
    @click.option("--insecure", is_flag=True, default=None, help="Plain text to another machine.")
    @click.option("--timeout-s", type=float, help="How long to wait for an answer.  [default: 10]")
    @click.option(
        "--json", "is_json", is_flag=True, help="Print JSON for programs; lists as an object a line."
    )
    @functools.wraps(command)
    def run(is_json: bool, **options: Any) -> None:
        # Before gRPC is imported: its log lines would go between ours, which say what to do.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")

        # Commands that only print their help start faster without these.
        from issuer.client import IssuerClient  # noqa: PLC0415
        from issuer.config import ClientSettings, load  # noqa: PLC0415

        given = {name: options.pop(name) for name in ClientSettings.model_fields}
        with usage_errors():
            settings = load(ClientSettings, given)
            client = IssuerClient.from_settings(settings)
        with client:
            session = Session(
                client,
                server=settings.server,
                folder=settings.folder,
                timeout_s=settings.timeout_s,
                is_json=is_json,
            )
            command(session, **options)

    return run


def changes(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --apply."""
    return click.option("--apply", is_flag=True, help="Do it; without this, only say what would be done.")(
        command
    )


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turn what makes a setting or a key file unusable into a usage error."""
    from issuer.errors import SetupError  # noqa: PLC0415

    try:
        yield
    except SetupError as error:
        raise click.UsageError(str(error)) from None


@contextlib.contextmanager
def explained(server: str) -> Iterator[None]:
    """Turn a call that failed into the end of the command, with advice."""
    import grpc  # noqa: PLC0415

    try:
        yield
    except grpc.RpcError as error:
        raise explain(error, server) from None


def explain(error: "grpc.RpcError", server: str, *, then: str = "") -> click.ClickException:
    """Return the end of the command that a failed call means; `then` is added to the advice."""
    code, details = error.code().name, error.details() or ""
    if code in _ADVICE:
        wait_s = retry_delay_s(error)
        advice = _advice(code, details) if wait_s is None else f"Try again in {wait_s} s."
        return Refused(f"the issuer says no: {_PLACE_IN_LIST.sub('', details)}. {advice}{then}")
    if details.startswith("failed to connect"):
        for said, advice in _NOT_CONNECTED:
            if said in details:
                return NoAnswer(f"no answer from the issuer at {server}: {advice}.{then}")
        return NoAnswer(
            f"no answer from the issuer at {server}. Is it running? Start it with "
            "`gatelight-issuer serve`, or name another with --folder or --server." + then
        )
    if code == "DEADLINE_EXCEEDED":
        return NoAnswer(
            f"the issuer at {server} did not answer in time. Look whether the change was made before you "
            "try again, with a longer --timeout-s." + then
        )
    again = "" if details.endswith("try again") else " Try again."
    return NoAnswer(f"the issuer at {server} could not do it ({code}): {details}.{again}{then}")


def retry_delay_s(error: "grpc.RpcError") -> int | None:
    """Return in how many seconds it is worth asking again; None where the issuer does not say."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - for failures only
    from google.rpc import error_details_pb2, status_pb2  # noqa: PLC0415

    metadata: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    for name, value in metadata or ():
        if name == "grpc-status-details-bin":
            delay = error_details_pb2.RetryInfo()
            try:
                found = [one for one in status_pb2.Status.FromString(value).details if one.Unpack(delay)]
            except DecodeError:
                continue
            if found:
                seconds: int = delay.retry_delay.seconds + (delay.retry_delay.nanos > 0)
                return max(1, seconds)
    return None


def _advice(code: str, details: str) -> str:
    if code == "PERMISSION_DENIED" and _OWN_REQUEST in details:
        return (
            "Ask another approver, or take it back with `gatelight-issuer approval reject`: that you may do "
            "yourself."
        )
    if code == "INVALID_ARGUMENT" and _WRONG_TIME.search(details):
        return f"{_TIMES} {_ADVICE[code]}"
    context = click.get_current_context(silent=True)
    noun = context.parent.info_name if context is not None and context.parent is not None else None
    if code == "NOT_FOUND" and (missing := _MISSING.search(details)) is not None:
        noun = _NOUNS.get(missing[1], missing[1])
    if noun not in _LISTED:
        noun = "holder"
    look = "show" if noun in {"holder", "credential"} else "list"
    return _ADVICE[code].format(noun=noun, look=look)
