"""Commands on codes, bundles and the key set. A QR text is printed only where it is what was asked for."""

import json
from pathlib import Path

import click
import segno

import verifier.errors
from issuer.cli_session import RefusedByIssuer, Session, as_time, asks_issuer
from issuer.drawing import SUFFIXES, draw, save, terminal_text
from issuer.signing import MAX_WINDOWS
from issuer.v1 import issuer_pb2 as pb
from verifier.config import read_root_key
from verifier.wire.code import CredentialKind
from verifier.wire.errors import KeySetError
from verifier.wire.key_set import read_key_set

_INDEX = click.IntRange(1, 2**32 - 1)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def code() -> None:
    """Codes: what is on the screen or on the card now."""


@code.command("show")
@click.argument("credential_index", type=_INDEX)
@asks_issuer
def show_code(session: Session, *, credential_index: int) -> None:
    """Draw the current code of a credential in the terminal.

    Example: gatelight-issuer code show 17
    """
    bundle = _bundle(session, credential_index)
    current = bundle.codes[0]
    if session.is_json:
        click.echo(_as_json(current))
        return
    # Light on dark whatever the terminal's colours are: many scanners read no inverted symbol.
    for line in terminal_text(draw(current.qr_text)).splitlines():
        click.echo(click.style(line, fg="bright_white", bg="black"))
    click.echo(
        f"{CredentialKind(bundle.kind).name} credential {credential_index}, generation {bundle.generation}, "
        f"valid {as_time(current.not_before)} to {as_time(current.expires_at)}"
    )


@code.command("save")
@click.argument("credential_index", type=_INDEX)
@click.argument("file", type=_FILE)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@asks_issuer
def save_code(session: Session, *, credential_index: int, file: Path, force: bool) -> None:
    """Save the current code of a credential as a picture, PNG or SVG.

    Example: gatelight-issuer code save 17 card.svg
    """
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
        raise RefusedByIssuer(f"{file} cannot be written: {error.strerror}") from None
    session.show({"file": str(file), **_describe(symbol, current, is_json=session.is_json)})


@click.group()
def bundle() -> None:
    """Bundles: what a phone fetches ahead."""


@bundle.command("issue")
@click.argument("credential_index", type=_INDEX)
@click.option(
    "--windows",
    type=click.IntRange(1, MAX_WINDOWS),
    default=1,
    show_default=True,
    help="One each half minute.",
)
@asks_issuer
def issue_bundle(session: Session, *, credential_index: int, windows: int) -> None:
    """Print the codes of consecutive windows, one JSON object a line.

    Example: gatelight-issuer bundle issue 17 --windows 120 > bundle.jsonl
    """
    for issued in _bundle(session, credential_index, windows).codes:
        click.echo(_as_json(issued))


@click.group("key-set")
def key_set() -> None:
    """The key set: what verifiers trust."""


@key_set.command("show")
@click.option(
    "--root-key",
    type=_FILE,
    default=Path("gatelight-issuer/root.pub"),
    show_default=True,
    help="The root's public key, to check the signature with.",
)
@asks_issuer
def show_key_set(session: Session, *, root_key: Path) -> None:
    """Show the published key set, its signature checked.

    Example: gatelight-issuer key-set show --root-key gatelight-issuer/root.pub
    """
    answer = session.ask(session.client.issuer.GetKeySet, pb.GetKeySetRequest())
    try:
        found = read_key_set(answer.signed_key_set, read_root_key(root_key))
    except verifier.errors.SettingsError as error:
        raise click.UsageError(f"{error}. Name it with --root-key.") from None
    except KeySetError as error:
        raise RefusedByIssuer(f"the key set is not sound: {error}. Is {root_key} of this issuer?") from None
    key_ids = [key_id.hex() for key_id in found.keys]
    session.show(
        {
            "version": found.version,
            "issued_at": found.issued_at if session.is_json else as_time(found.issued_at),
            "expires_at": found.expires_at if session.is_json else as_time(found.expires_at),
            "key_ids": key_ids if session.is_json else " ".join(key_ids),
        }
    )


def _bundle(session: Session, credential_index: int, window_count: int = 1) -> pb.IssueBundleResponse:
    request = pb.IssueBundleRequest(credential_index=credential_index, window_count=window_count)
    answer: pb.IssueBundleResponse = session.ask(session.client.issuer.IssueBundle, request)
    return answer


def _as_json(issued: pb.SignedCode) -> str:
    return json.dumps(
        {"qr_text": issued.qr_text, "not_before": issued.not_before, "expires_at": issued.expires_at}
    )


def _describe(symbol: segno.QRCode, issued: pb.SignedCode, *, is_json: bool) -> dict[str, object]:
    return {
        "symbol": symbol.designator,
        "not_before": issued.not_before if is_json else as_time(issued.not_before),
        "expires_at": issued.expires_at if is_json else as_time(issued.expires_at),
    }
