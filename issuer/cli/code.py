"""Commands on codes. A QR text is in a picture, and printed only where it is what was asked for."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from issuer.cli.errors import Refused
from issuer.cli.moments import as_time, time_field
from issuer.cli.options import CREDENTIAL_INDEX, FILE
from issuer.cli.session import Session, asks_issuer
from issuer.v1 import issuer_pb2 as pb
from verifier.wire.code import CredentialKind

if TYPE_CHECKING:
    import segno


@click.group()
def code() -> None:
    """Codes: what is on the screen or on the card now."""


@code.command("show")
@click.argument("credential_index", type=CREDENTIAL_INDEX)
@asks_issuer
def show_code(session: Session, *, credential_index: int) -> None:
    """Draw the current code of a credential in the terminal.

    A credential may ask for codes 10 times at once and 60 times an hour, unless the issuer was started with
    other limits (--bundle-burst, --bundles-per-hour); beyond that the issuer says how long to wait.

    Example: gatelight-issuer code show 17
    """
    from issuer.drawing import draw, terminal_text  # noqa: PLC0415 - help starts faster without

    bundle = _bundle(session, credential_index)
    current = bundle.codes[0]
    if session.is_json:
        session.show(
            {
                "qr_text": current.qr_text,
                "not_before": current.not_before,
                "expires_at": current.expires_at,
            }
        )
        return
    # Light on dark whatever the terminal's colours are: many scanners read no inverted symbol.
    for line in terminal_text(draw(current.qr_text)).splitlines():
        click.echo(click.style(line, fg="bright_white", bg="black"))
    click.echo(
        f"{CredentialKind(bundle.kind).name} credential {credential_index}, generation {bundle.generation}, "
        f"valid {as_time(current.not_before)} to {as_time(current.expires_at)}"
    )


@code.command("save")
@click.argument("credential_index", type=CREDENTIAL_INDEX)
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@asks_issuer
def save_code(session: Session, *, credential_index: int, file: Path, force: bool) -> None:
    """Save the current code of a credential as a picture, PNG or SVG.

    Example: gatelight-issuer code save 17 card.svg
    """
    from issuer.drawing import SUFFIXES, draw, save  # noqa: PLC0415

    if file.suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"expected a file name ending in {' or '.join(SUFFIXES)}")
    if file.exists() and not force:
        raise click.UsageError(f"{file} exists: name another, or replace it with --force")
    current = _bundle(session, credential_index).codes[0]
    symbol = draw(current.qr_text)
    try:
        save(symbol, file, replace=force)
    except FileExistsError:
        raise click.UsageError(f"{file} exists: name another, or replace it with --force") from None
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}. Name another file.") from None
    session.show({"file": str(file), **_describe(symbol, current, is_json=session.is_json)})


def _bundle(session: Session, credential_index: int) -> pb.IssueBundleResponse:
    request = pb.IssueBundleRequest(credential_index=credential_index, window_count=1)
    answer: pb.IssueBundleResponse = session.ask(session.client.issuer.IssueBundle, request)
    return answer


def _describe(symbol: "segno.QRCode", issued: pb.SignedCode, *, is_json: bool) -> dict[str, object]:
    return {
        "symbol": symbol.designator,
        "not_before": time_field(issued.not_before, is_json=is_json),
        "expires_at": time_field(issued.expires_at, is_json=is_json),
    }
