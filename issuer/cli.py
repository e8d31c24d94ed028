"""gatelight-issuer: make an issuer, serve it, and ask it for things.

Exit codes: 0 done, 1 refused, 2 wrong usage or setting, 3 no answer from the issuer.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from issuer.cli_code import bundle, code, key_set
from issuer.cli_register import credential, holder, status
from issuer.cli_session import as_time, usage_errors
from issuer.config import FolderSettings, ServeSettings, load
from issuer.errors import IssuerError, SettingsError
from verifier.terminal import tolerate_any_encoding

_PATH = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gatelight", prog_name="gatelight-issuer")
def main() -> None:
    """Sign short-lived codes, and keep the register of who may pass.

    Commands that change something print what they would do, and do it with --apply. Options of `init`
    and `serve`, and --server and --timeout-s, can be given as GATELIGHT_ISSUER_<NAME>; the passphrase as
    GATELIGHT_PASSPHRASE or GATELIGHT_PASSPHRASE_FILE, the Redis URL as GATELIGHT_REDIS_URL.

    Exit codes: 0 done, 1 refused, 2 wrong usage or setting, 3 no answer from the issuer.
    """
    tolerate_any_encoding()


for group in (holder, credential, status, code, bundle, key_set):
    main.add_command(group)


@main.command()
@click.option("--folder", type=_PATH, help="Where to make it.  [default: gatelight-issuer]")
@click.option("--passphrase-file", type=_PATH, help="A file with the passphrase for the private keys.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON for programs.")
def init(*, is_json: bool, **options: Any) -> None:
    """Make an issuer: root key, signing key, register and first key set.

    Overwrites nothing. The passphrase comes from --passphrase-file, GATELIGHT_PASSPHRASE_FILE,
    GATELIGHT_PASSPHRASE, or is asked for.

    Example: gatelight-issuer init --folder gatelight-issuer
    """
    from issuer.folder import Folder  # noqa: PLC0415 - commands that only ask an issuer start faster without
    from issuer.initialise import KEY_SET_VALIDITY_S, initialise, require_new  # noqa: PLC0415

    with usage_errors():
        settings = load(FolderSettings, options)
    folder = Folder(settings.folder)
    try:
        require_new(folder)
        with usage_errors():
            passphrase = _passphrase(settings, is_new=True)
        made = initialise(folder, passphrase=passphrase, now=int(time.time()))
    except IssuerError as error:
        raise click.ClickException(str(error)) from None
    if is_json:
        paths = {"folder": str(folder.path), "root_public_key": str(folder.root_public_key)}
        key_ids = {"root_key_id": made.root_key_id.hex(), "signing_key_id": made.signing_key_id.hex()}
        click.echo(json.dumps({**paths, **key_ids, "key_set_expires_at": made.key_set.expires_at}))
        return
    click.echo(
        f"""Made an issuer in {folder.path}:
  {folder.root_key}  the root key {made.root_key_id.hex()}; move it to a safe, serving does not need it
  {folder.root_public_key}  its public key, for verifiers to pin
  {folder.signing_key(made.signing_key_id)}  the key that signs codes
  {folder.document_hash_key}  the key that marks document numbers; without it nobody is found again
  {folder.register}  the register
The key set is valid for {KEY_SET_VALIDITY_S // 86_400} days, until {as_time(made.key_set.expires_at)}.
Next: gatelight-issuer serve --folder {folder.path}"""
    )


@main.command()
@click.option("--folder", type=_PATH, help="The folder that init made.  [default: gatelight-issuer]")
@click.option("--passphrase-file", type=_PATH, help="A file with the passphrase for the private keys.")
@click.option("--redis-url", help="Where status is published.  [default: redis://127.0.0.1:6379/0]")
@click.option("--partitions", type=int, help="Partitions of the status, as verifiers have.  [default: 1]")
@click.option("--listen", help="Address to serve on; port 0 takes a free one.  [default: 127.0.0.1:50061]")
@click.option("--insecure", is_flag=True, default=None, help="Serve plain text beyond loopback, to anybody.")
@click.option("--port-file", type=_PATH, help="Write the port there once it is served.")
@click.option("--threads", type=int, help="Calls that are answered at once.  [default: 16]")
@click.option("--grace-s", type=float, help="How long calls under way may take at the end.  [default: 5]")
def serve(**options: Any) -> None:
    """Serve apps and staff over gRPC, and publish status to Redis, until SIGTERM.

    There is no authentication yet: whoever reaches the port may do everything, so it is on loopback only.

    Example: gatelight-issuer serve --folder gatelight-issuer --redis-url redis://10.0.0.5:6379/0
    """
    import verifier.errors  # noqa: PLC0415 - commands that only ask an issuer start faster without these
    from issuer.main import serve as run  # noqa: PLC0415
    from verifier.listen import require_loopback  # noqa: PLC0415
    from verifier.logs import configure_logs  # noqa: PLC0415

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would log a taken port before we can explain it
    configure_logs()
    with usage_errors():
        settings = load(ServeSettings, options)
        try:
            require_loopback(settings.listen, is_insecure=settings.insecure)
        except verifier.errors.SettingsError as error:
            raise SettingsError(str(error)) from None
        passphrase = _passphrase(settings, is_new=False)
        try:
            run(settings, passphrase=passphrase)
        except SettingsError:
            raise
        except IssuerError as error:
            raise click.ClickException(str(error)) from None


def _can_ask() -> bool:
    """Tell whether there is a person at the terminal; asking from the background would stop this process."""
    return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


def _passphrase(settings: FolderSettings, *, is_new: bool) -> bytes:
    """Return the passphrase, asked for on a terminal where no setting has it; raises SettingsError."""
    found = settings.read_passphrase()
    if found is not None:
        return found
    if not _can_ask():
        raise SettingsError(
            "a passphrase is needed: --passphrase-file, GATELIGHT_PASSPHRASE_FILE or GATELIGHT_PASSPHRASE"
        )
    asked: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=is_new)
    return asked.encode()
