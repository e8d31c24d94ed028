"""Commands on the key set: what verifiers trust. With the root key on the machine it needs none of them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from issuer.cli.errors import Refused
from issuer.cli.moments import as_time, time_field
from issuer.cli.offline import PATH, passphrase, refusals, with_passphrase
from issuer.cli.options import FILE
from issuer.cli.second_person import settle, waits
from issuer.cli.session import Session, asks_issuer, changes
from issuer.v1 import issuer_pb2, keys_pb2

if TYPE_CHECKING:
    from verifier.wire.key_set import KeySet

_MAX_FILE_BYTES = 1 << 16


@click.group("key-set")
def key_set() -> None:
    """The key set: what verifiers trust."""


@key_set.command("show")
@click.option("--root-key", type=PATH, help="The root's public key.  [default: root.pub in --folder]")
@asks_issuer
def show_key_set(session: Session, *, root_key: Path | None) -> None:
    """Show the published key set, its signature checked.

    Example: gatelight-issuer key-set show --root-key gatelight-issuer/root.pub
    """
    answer = session.ask(session.client.issuer.GetKeySet, issuer_pb2.GetKeySetRequest())
    found = _read_signed(answer.signed_key_set, root_key or session.folder / "root.pub")
    key_ids = [key_id.hex() for key_id in found.keys]
    is_json = session.is_json
    session.show(
        {
            "version": found.version,
            "issued_at": time_field(found.issued_at, is_json=is_json),
            "expires_at": time_field(found.expires_at, is_json=is_json),
            "key_ids": key_ids if is_json else " ".join(key_ids),
        }
    )


@key_set.command("export")
@click.argument("file", type=FILE)
@asks_issuer
def export_key_set(session: Session, *, file: Path) -> None:
    """Write the next key set, unsigned, to be carried to the root key. It holds nothing secret.

    Example: gatelight-issuer key-set export next.json
    """
    from issuer.keys.offline import export_text  # noqa: PLC0415 - help starts faster without

    answer = session.ask(session.client.keys.ExportKeySet, keys_pb2.ExportKeySetRequest())
    _write(file, export_text(answer.payload).encode())
    session.show({"file": str(file)})
    if not session.is_json:
        signed = file.with_suffix(".signed")
        click.echo(
            f"Next, where the root key is: gatelight-issuer key-set sign {file} {signed} --root-key FILE"
        )


@key_set.command("sign")
@click.argument("file", type=FILE)
@click.argument("signed", type=FILE)
@click.option("--root-key", type=PATH, required=True, help="The root's private key, such as root.key.")
@with_passphrase
@click.option("--apply", is_flag=True, help="Do it; without this, only say what would be done.")
def sign_key_set(
    *, file: Path, signed: Path, root_key: Path, passphrase_file: Path | None, apply: bool
) -> None:
    """Sign an exported key set with the root key. It needs no network and no issuer.

    Compare the keys with those of `gatelight-issuer key list` before you sign: what you sign, every
    verifier trusts.

    Example: gatelight-issuer key-set sign next.json next.signed --root-key root.key --apply
    """
    from issuer.config import FolderSettings, load  # noqa: PLC0415
    from issuer.keys.offline import MAX_EXPORT_BYTES, describe, read_export, sign_offline  # noqa: PLC0415

    if not root_key.exists():
        raise click.UsageError(f"there is no root key at {root_key}: name it with --root-key")
    with refusals():
        found = read_export(_read(file, MAX_EXPORT_BYTES + 1))
        click.echo("\n".join(["sign" if apply else "would sign", *(f"  {line}" for line in describe(found))]))
        if not apply:
            click.echo("Nothing was signed. To do it, add --apply.")
            return
        settings = load(FolderSettings, {"passphrase_file": passphrase_file})
        secret = passphrase(settings.read_passphrase(), is_new=False)
        _write(signed, sign_offline(found, root_key=root_key, passphrase=secret))
    click.echo(f"Next, where the issuer is: gatelight-issuer key-set import {signed} --apply")


@key_set.command("import")
@click.argument("file", type=FILE)
@click.option("--root-key", type=PATH, help="The root's public key.  [default: root.pub in --folder]")
@waits
@changes
@asks_issuer
def import_key_set(
    session: Session, *, file: Path, root_key: Path | None, wait_s: float, apply: bool
) -> None:
    """Ask to publish a key set that the root key signed. It needs a second person.

    Example: gatelight-issuer key-set import next.signed --apply
    """
    from issuer.keys.offline import is_export  # noqa: PLC0415

    signed = _read(file, _MAX_FILE_BYTES)
    if is_export(signed):
        to = file.with_suffix(".signed")
        raise Refused(
            f"{file} is the export, which nobody signed yet: sign it first, where the root key is, with "
            f"`gatelight-issuer key-set sign {file} {to} --root-key FILE --apply`, and import {to}"
        )
    found = _read_signed(signed, root_key or session.folder / "root.pub")
    until = as_time(found.expires_at)
    plan = f"ask to publish key set {found.version} with {len(found.keys)} keys, in force until {until}"
    if session.is_agreed(plan, apply=apply):
        request = keys_pb2.ImportKeySetRequest(signed_key_set=signed)
        answer = session.ask(session.client.keys.ImportKeySet, request)
        settle(session, answer.approval_id, wait_s=wait_s)


def _read_signed(signed: bytes, root_key: Path) -> "KeySet":
    """Return a key set whose signature was found right; ends the command otherwise."""
    import verifier.errors  # noqa: PLC0415
    from verifier.config import read_root_key  # noqa: PLC0415
    from verifier.wire.errors import KeySetError  # noqa: PLC0415
    from verifier.wire.key_set import read_key_set  # noqa: PLC0415

    try:
        return read_key_set(signed, read_root_key(root_key))
    except verifier.errors.SettingsError as error:
        raise click.UsageError(f"{error}. Name it with --root-key.") from None
    except KeySetError as error:
        raise Refused(f"the key set is not sound: {error}. Is {root_key} of this issuer?") from None


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None


def _write(path: Path, content: bytes) -> None:
    from verifier.atomic_file import write_atomically  # noqa: PLC0415

    try:
        write_atomically(path, content, replace=False)
    except FileExistsError:
        raise click.UsageError(f"{path} exists: name another file, or move it away") from None
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from None
