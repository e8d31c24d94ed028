"""The command that makes an issuer."""

import time
from typing import Any

import click

from issuer.cli.moments import as_time
from issuer.cli.offline import in_folder, passphrase, refusals, with_passphrase
from issuer.cli.tables import print_json


@click.command()
@in_folder
@with_passphrase
@click.option("--json", "is_json", is_flag=True, help="Print JSON for programs.")
def init(*, is_json: bool, **options: Any) -> None:
    """Make an issuer: root key, signing key, register, first key set, and keys for two persons.

    Overwrites nothing. The passphrase comes from --passphrase-file, GATELIGHT_PASSPHRASE_FILE,
    GATELIGHT_PASSPHRASE, or is asked for.

    Example: gatelight-issuer init --folder gatelight-issuer
    """
    from issuer.config import FolderSettings, load  # noqa: PLC0415 - help starts faster without
    from issuer.folder import Folder  # noqa: PLC0415
    from issuer.initialise import initialise, require_new  # noqa: PLC0415

    with refusals():
        settings = load(FolderSettings, options)
        folder = Folder(settings.folder)
        require_new(folder)
        made = initialise(
            folder,
            passphrase=passphrase(settings.read_passphrase(), is_new=True),
            now=int(time.time()),
            register_url=settings.register_url or None,
        )
    if is_json:
        print_json(
            {
                "folder": str(folder.path),
                "root_public_key": str(folder.root_public_key),
                "local_key": str(folder.local_client_key),
                "approver_key": str(folder.approver_client_key),
                "root_key_id": made.root_key_id.hex(),
                "signing_key_id": made.signing_key_id.hex(),
                "key_set_expires_at": made.key_set.expires_at,
            }
        )
        return
    days = (made.key_set.expires_at - made.key_set.issued_at) // 86_400
    register = f"  {folder.register}  the register\n" if folder.register.exists() else ""
    click.echo(
        f"""Made an issuer in {folder.path}:
  {folder.root_key}  the root key {made.root_key_id.hex()}; without it here, key sets are signed by hand
  {folder.root_public_key}  its public key, for verifiers to pin
  {folder.signing_key(made.signing_key_id)}  the key that signs codes
  {folder.document_hash_key}  the key that marks document numbers; without it nobody is found again
  {folder.reasons}  the reasons for yellow and red: make them yours before you serve
  {folder.local_client_key}  your key: it lets you do the daily work on this machine
  {folder.approver_client_key}  the key of a second person: hand it over, and remove it here
{register}The key set is valid for {days} days, until {as_time(made.key_set.expires_at)}, and is
renewed by itself while the root key is here.
Next: gatelight-issuer serve --folder {folder.path}"""
    )
