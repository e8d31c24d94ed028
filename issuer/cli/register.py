"""Commands on the register itself, without the issuer; all but the backup want it stopped."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from issuer.cli.offline import in_folder, refusals
from issuer.cli.options import FILE, confirm, confirmed

if TYPE_CHECKING:
    from issuer.folder import Folder
    from issuer.register.database import Database


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
    from issuer.folder import Folder, still  # noqa: PLC0415
    from issuer.initialise import complete  # noqa: PLC0415
    from issuer.register.database import Database  # noqa: PLC0415
    from issuer.register.migrate import migrate  # noqa: PLC0415
    from issuer.register.migrations import HEAD  # noqa: PLC0415

    with refusals():
        settings = load(FolderSettings, options)
        folder = Folder(settings.folder)
        url = settings.register_url or folder.register
        if not apply:
            if (before := _schema(url)) != HEAD:
                plan = f"would bring the register from schema {before} to {HEAD}"
            elif _is_complete(folder, url):
                click.echo(f"the register has schema {HEAD} already: there is nothing to do")
                return
            else:
                plan = f"the register has schema {HEAD} already; would make what its folder lacks"
            click.echo(f"{plan}\nNothing was changed. To do it, add --apply.")
            return
        with still(folder):
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
    from issuer.folder import Folder  # noqa: PLC0415
    from issuer.register.backup import back_up  # noqa: PLC0415

    with refusals():
        settings = load(FolderSettings, options)
        with _of_any_schema(settings.register_url or Folder(settings.folder).register) as database:
            back_up(database, file)
    click.echo(f"copied the register to {file}; put it back with `gatelight-issuer register restore {file}`")


@register.command("restore")
@click.argument("file", type=FILE)
@in_folder
@confirmed
@click.option("--apply", is_flag=True, help="Do it; without this, only say what would be done.")
def restore_register(*, file: Path, yes: bool, apply: bool, **options: Any) -> None:
    """Put a backup in the place of the register. Stop the issuer before.

    What happened since the backup is lost. Numbers that were given since, and revocations of keys, clients
    and gates' credentials, are taken from the register that was there, if it can be read; it is kept beside
    the restored one. The issuer writes Redis anew when it is started again.

    Example: gatelight-issuer register restore register-2026-11-21.db --apply
    """
    from issuer.config import FolderSettings, load  # noqa: PLC0415
    from issuer.errors import NotInitialised  # noqa: PLC0415
    from issuer.folder import Folder, still  # noqa: PLC0415
    from issuer.register.backup import restore  # noqa: PLC0415

    with refusals():
        settings = load(FolderSettings, options)
        folder = Folder(settings.folder)
        if not file.is_file():
            raise NotInitialised(f"there is no backup at {file}: name another file")
        with still(folder):
            plan = f"put {file} in the place of the register, and keep that beside it"
            if not apply:
                click.echo(f"would {plan}\nNothing was changed. To do it, add --apply.")
                return
            click.echo(plan)
            confirm("What happened since the backup is lost. Go on?", is_sure=yes)
            done = restore(file, settings.register_url or folder.register, now=int(time.time()))
    if done.replaced is not None:
        click.echo(f"the register that was there is now {done.replaced}")
    if done.skipped_numbers:
        click.echo(
            "which numbers were given since the backup cannot be known from the register that was there: "
            f"{done.skipped_numbers:,} are skipped, so that no card becomes another person's"
        )
    click.echo(
        f"restored, schema {done.revision}. Next: gatelight-issuer register migrate --apply, if that is an "
        "older one; then gatelight-issuer serve"
    )
    if done.keeps_endings:
        click.echo(
            "Signing keys (shown as RETIRED), clients and gates' credentials that were revoked since the "
            "backup stay so."
        )
    else:
        click.echo(
            "Signing keys, clients and gates' credentials that were revoked since the backup are in force "
            "again: revoke them anew."
        )


@contextlib.contextmanager
def _of_any_schema(url: str | Path) -> "Iterator[Database]":
    """Give a register, which may have to be migrated yet; raises NotInitialised."""
    from issuer.errors import NotInitialised  # noqa: PLC0415
    from issuer.register.database import Database  # noqa: PLC0415

    with contextlib.closing(Database(url)) as database:
        if database.path is not None and not database.path.exists():
            raise NotInitialised(f"there is no register at {database.name}: name its --folder")
        yield database


def _schema(url: str | Path) -> str:
    from issuer.register.migrate import known_revision  # noqa: PLC0415

    with _of_any_schema(url) as database, database.read() as connection:
        return known_revision(connection, name=database.name)


def _is_complete(folder: "Folder", url: str | Path) -> bool:
    from issuer.initialise import is_complete  # noqa: PLC0415

    with _of_any_schema(url) as database:
        return is_complete(folder, database)
