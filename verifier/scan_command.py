"""`gatelight-verifier scan`: wire the terminal gate together.

Nothing heavy is imported before the terminal's echo is off, so that `--help` is quick and a code that
is scanned too early is not seen on the screen.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from verifier.gate.displays import Display

_Command = TypeVar("_Command", bound=Callable[..., Any])

_MAX_GATE_ID_CHARACTERS = 64  # verifier.proto, VerifyCodeRequest
_EXIT_DEVICE = 3


def _gate_id(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not 1 <= len(value) <= _MAX_GATE_ID_CHARACTERS:
        raise click.BadParameter(f"expected 1 to {_MAX_GATE_ID_CHARACTERS} characters, got {len(value)}")
    return value


def _file_option(name: str, help_text: str, variable: str) -> Callable[[_Command], _Command]:
    return click.option(
        name,
        type=click.Path(dir_okay=False, path_type=Path),
        envvar=f"GATELIGHT_GATE_{variable}",
        show_envvar=True,
        help=help_text,
    )


@click.command()
@click.option(
    "--server",
    envvar="GATELIGHT_VERIFIER_SERVER",
    show_envvar=True,
    default="127.0.0.1:50051",
    show_default=True,
    help="The verifier, as host:port.",
)
@click.option(
    "--gate",
    "gate_id",
    envvar="GATELIGHT_GATE_ID",
    show_envvar=True,
    required=True,
    callback=_gate_id,
    help="The name of this gate, as the issuer lists it; north-3/2 is lane 2 of the hub north-3.",
)
@_file_option("--key-file", "The gate's bearer key, as `gatelight-issuer` wrote it.", "KEY_FILE")
@_file_option("--tls-ca", "PEM: who vouches for the verifier.  [default: whom this machine trusts]", "TLS_CA")
@_file_option("--tls-certificate", "PEM: the gate's own certificate.", "TLS_CERTIFICATE")
@_file_option("--tls-key", "PEM: the key of that certificate.", "TLS_KEY")
@click.option(
    "--insecure",
    is_flag=True,
    envvar="GATELIGHT_GATE_INSECURE",
    show_envvar=True,
    help="Plain text to a verifier beyond this machine.",
)
@click.option(
    "--device",
    type=click.Path(path_type=Path),
    help="Read the scanner there (a serial device, FIFO or file) instead of standard input.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a scan, for a turnstile.")
@click.option("--no-beep", is_flag=True, help="Do not ring the terminal's bell.")
@click.option(
    "--hold",
    "hold_s",
    type=click.FloatRange(min=0.1),
    default=3.0,
    show_default=True,
    help="Seconds that a verdict stays on the screen.",
)
def scan(
    server: str,
    gate_id: str,
    device: Path | None,
    *,
    key_file: Path | None,
    tls_ca: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    insecure: bool,
    as_json: bool,
    no_beep: bool,
    hold_s: float,
) -> None:
    """Show the verdict on each code that a scanner types.

    A keyboard-wedge scanner needs no setting up: it types into this terminal. Ends on Ctrl-C, on
    SIGTERM and at the end of a file or pipe, and counts its scans on standard error.

    TLS is spoken with a verifier beyond this machine. The gate shows who it is with its bearer key or
    with its certificate, whichever the verifier asks for.

    Exit codes: 0 ended, 2 wrong usage, 3 the device cannot be opened or is gone.

    Example: gatelight-verifier scan --server 10.0.0.7:50051 --gate north-3
    """
    from verifier.gate.lines import SILENCE_S, LineReader, open_device, quiet_terminal  # noqa: PLC0415
    from verifier.gate.signals import CaughtSignals  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(CaughtSignals())
        try:
            descriptor = sys.stdin.fileno() if device is None else stack.enter_context(open_device(device))
        except OSError as error:
            click.echo(f"cannot open {device}: {error.strerror or error}", err=True)
            sys.exit(_EXIT_DEVICE)
        stack.enter_context(quiet_terminal(descriptor))
        # Whoever has a FIFO for a device writes a scanner's texts into it as they are scanned.
        is_live = os.isatty(descriptor) or (device is not None and device.is_fifo())
        lines = LineReader(descriptor, wake=signals.wake, silence_s=SILENCE_S if is_live else None)

        # gRPC would write of lost connections across the screen; the gate shows them as NO ANSWER.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from verifier.bearer import BearerFileError, read_key_file  # noqa: PLC0415
        from verifier.client import VerifierClient  # noqa: PLC0415
        from verifier.client_tls import ClientTls  # noqa: PLC0415
        from verifier.errors import SettingsError  # noqa: PLC0415
        from verifier.gate.terminal_gate import run_gate  # noqa: PLC0415

        files = (tls_ca, tls_certificate, tls_key)
        try:
            client = VerifierClient(
                server,
                gate_id=gate_id,
                bearer_key=None if key_file is None else read_key_file(key_file, whose="gate"),
                tls=ClientTls(*files) if any(files) else None,
                insecure=insecure,
            )
        except (BearerFileError, SettingsError) as error:
            raise click.UsageError(str(error)) from None
        stack.enter_context(client)
        display = stack.enter_context(_display(gate_id, server, as_json=as_json, has_beep=not no_beep))
        tally = run_gate(ask=client.verify, lines=lines, display=display, signals=signals, hold_s=hold_s)

    click.echo(str(tally), err=True)
    if device is not None and is_live and not signals.stopped:
        click.echo(f"{device} is gone", err=True)
        sys.exit(_EXIT_DEVICE)


@contextlib.contextmanager
def _display(gate_id: str, server: str, *, as_json: bool, has_beep: bool) -> "Iterator[Display]":
    from rich.console import Console  # noqa: PLC0415

    from verifier.gate.displays import JsonLines, PlainLines  # noqa: PLC0415
    from verifier.gate.screen import Screen  # noqa: PLC0415

    console = Console(highlight=False)
    if not as_json and sys.stdout.isatty() and not console.is_dumb_terminal:
        with Screen(console, gate_id=gate_id, has_beep=has_beep) as screen:
            yield screen
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that cannot be written is no reason to stop
    click.echo(f"gate {gate_id} reads codes; the first is asked of its verifier at {server}", err=True)
    yield JsonLines(sys.stdout, gate_id=gate_id) if as_json else PlainLines(sys.stdout)
