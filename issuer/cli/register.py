"""Commands on the register itself, without the issuer; all but the backup want it stopped."""

import contextlib
import time
from pathlib import Path
from typing import Any

import click

from issuer.cli.offline import in_folder, refusals
from issuer.cli.options import FILE, confirm, confirmed


@click.group()
def register() -> None:
    """The register: migrate it, back it up, restore it."""


@register.command("migrate")
@in_folder
@click.option("--apply", is_flag=True, help="Do it; without this, only say what would be done.")
def migrate_register(*, apply: bool, **options: Any) -> None:
    """Bring the register to the schema of this program. Stop the issuer, and back the register up before.

    What the folder of an earlier release lacks, such as clients and reasons, is made.

    Example: gatelight-issuer register migrate --apply
    """
    from issuer.config import FolderSettings, load  # noqa: PLC0415 - help starts faster without
    from issuer.folder import Folder, locked  # noqa: PLC0415
    from issuer.initialise import complete  # noqa: PLC0415
    from issuer.register.database import Database  # noqa: PLC0415
    from issuer.register.migrate import migrate  # noqa: PLC0415
    from issuer.register.migrations import HEAD  # noqa: PLC0415

    with refusals():
        settings = load(FolderSettings, options)
        folder = Folder(settings.folder)
        if not apply:
            click.echo(
                f"would bring the register to schema {HEAD}\nNothing was changed. To do it, add --apply."
            )
            return
        url = settings.register_url or folder.register
        with locked(folder):
            before, after = migrate(url)
            with contextlib.closing(Database.open(url)) as database:
                made = complete(folder, database, now=int(time.time()))
    click.echo(
        f"schema {before} -> {after}" if before != after else f"the register has schema {after} already"
    )
    for path in made:
        click.echo(f"made {path}")


@register.command("backup")
@click.argument("file", type=FILE)
@in_folder
def back_up_register(*, file: Path, **options: Any) -> None:
    """Copy the register to a new file, also while the issuer serves. It holds personal data.

    The private keys are not in it: keep copies of the folder's *.key files, too, and elsewhere.

    Example: gatelight-issuer register backup register-2026-11-21.db
    """
    from issuer.config import FolderSettings, load  # noqa: PLC0415
    from issuer.errors import NotInitialised  # noqa: PLC0415
    from issuer.folder import Folder  # noqa: PLC0415
    from issuer.register.backup import back_up  # noqa: PLC0415
    from issuer.register.database import Database  # noqa: PLC0415

    with refusals():
        settings = load(FolderSettings, options)
        # Not Database.open: a register is backed up before it is migrated.
        with contextlib.closing(
            Database(settings.register_url or Folder(settings.folder).register)
        ) as database:
            if database.path is not None and not database.path.exists():
                raise NotInitialised(f"there is no register at {database.name}: name its --folder")
            back_up(database, file)
    click.echo(f"copied the register to {file}; put it back with `gatelight-issuer register restore {file}`")


@register.command("restore")
@click.argument("file", type=FILE)
@in_folder
@confirmed
@click.option("--apply", is_flag=True, help="Do it; without this, only say what would be done.")
def restore_register(*, file: Path, yes: bool, apply: bool, **options: Any) -> None:
    """Put a backup in the place of the register. Stop the issuer before.

    What happened since the backup is lost, revocations of keys and clients among it; the register that was
    there is kept beside it. The issuer writes Redis anew when it is started again.

    Example: gatelight-issuer register restore register-2026-11-21.db --apply
    """
    from issuer.config import FolderSettings, load  # noqa: PLC0415
    from issuer.errors import NotInitialised  # noqa: PLC0415
    from issuer.folder import Folder, locked  # noqa: PLC0415
    from issuer.register.backup import restore  # noqa: PLC0415

    with refusals():
        settings = load(FolderSettings, options)
        folder = Folder(settings.folder)
        if not file.is_file():
            raise NotInitialised(f"there is no backup at {file}: name another file")
        with locked(folder):
            plan = f"put {file} in the place of the register, and keep that beside it"
            if not apply:
                click.echo(f"would {plan}\nNothing was changed. To do it, add --apply.")
                return
            click.echo(plan)
            confirm("What happened since the backup is lost. Go on?", is_sure=yes)
            done = restore(file, settings.register_url or folder.register, now=int(time.time()))
    if done.replaced is not None:
        click.echo(f"the register that was there is now {done.replaced}")
    click.echo(
        f"restored, schema {done.revision}. Next: gatelight-issuer register migrate --apply, if that is an "
        "older one; then gatelight-issuer serve\n"
        "Signing keys and clients that were revoked since the backup are in force again: revoke them anew."
    )
