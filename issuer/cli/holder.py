"""Commands on holders. Names are shown masked unless asked for, and document numbers never."""

from pathlib import Path
from typing import Any

import click

from issuer.cli.describe import credential_fields, holder_fields, status_fields, status_in_words
from issuer.cli.errors import Refused
from issuer.cli.import_options import ImportOptions, import_options, run_import
from issuer.cli.options import FILE, HOLDER_ID, Asked, confirm, confirmed, limited, reveals
from issuer.cli.rows import HOLDERS
from issuer.cli.session import Session, asks_issuer, changes
from issuer.cli.tables import print_fields, print_json
from issuer.masking import mask_name
from issuer.v1 import admin_pb2 as pb

_COLUMNS = (
    "holder_id",
    "name",
    "document_type",
    "document_last_four",
    "region",
    "guardian_id",
    "external_id",
)
_ASK = "-"


@click.group()
def holder() -> None:
    """Holders: the persons on the register."""


@holder.command("add")
@click.option("--name", cls=Asked, prompt=True, help="The holder's name, stored as given.")
@click.option("--document-type", cls=Asked, prompt=True, help="Such as ID or PASSPORT.")
@click.option(
    "--document-number", cls=Asked, prompt=True, help="Kept as a keyed hash and the last four characters."
)
@click.option("--region", default="", help="Where the holder is registered.")
@click.option("--guardian", type=HOLDER_ID, default=None, help="Who carries this one's credentials, by id.")
@click.option("--external-id", default="", help="The holder's id in the system that the entry comes from.")
@changes
@asks_issuer
def add_holder(
    session: Session,
    *,
    name: str,
    document_type: str,
    document_number: str,
    region: str,
    guardian: int | None,
    external_id: str,
    apply: bool,
) -> None:
    """Enter a holder into the register.

    What is not given as an option is asked for, which keeps it out of the shell's history.

    Example: gatelight-issuer holder add --name 王小秀 --document-type ID --apply
    """
    known = pb.ListHoldersRequest(document_type=document_type, document_number=document_number, page_size=1)
    found = session.ask(session.client.admin.ListHolders, known).holders
    if found:
        raise Refused(
            f"this document belongs to holder {found[0].holder_id} already, and one person has one entry: "
            f"see `gatelight-issuer holder show {found[0].holder_id}`"
        )
    carried = ""
    if guardian is not None:
        carrier = _get(session, holder_id=guardian).holder
        carried = f", carried by holder {guardian} ({carrier.name})"
    if not session.is_agreed(f"enter {mask_name(name)} into the register{carried}", apply=apply):
        return
    new = pb.NewHolder(
        name=name,
        document_type=document_type,
        document_number=document_number,
        region=region,
        guardian_id=guardian or 0,
        external_id=external_id,
    )
    answer = session.ask(session.client.admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[new]))
    session.show_done({"holder_id": answer.holder_ids[0]})


@holder.command("import")
@click.argument("file", type=FILE)
@import_options
@changes
@asks_issuer
def import_holders(session: Session, *, file: Path, apply: bool, **options: Any) -> None:
    """Enter the holders of a file into the register.

    Columns: external_id, name, document_type, document_number; region, guardian_id, guardian_external_id.
    A guardian stands before those that it carries. A holder whose external_id is known is left as it is.

    Example: gatelight-issuer holder import residents.csv --apply
    """
    run_import(session, HOLDERS, file, ImportOptions(**options), apply=apply)


@holder.command("show")
@click.argument("holder_id", type=HOLDER_ID, required=False)
@click.option("--external-id", default="", help="In place of HOLDER_ID: the id in the other system.")
@reveals
@asks_issuer
def show_holder(session: Session, *, holder_id: int | None, external_id: str, reveal: bool) -> None:
    """Show a holder, with credentials, status and dependants.

    Example: gatelight-issuer holder show 17
    """
    if (holder_id is None) == (not external_id):
        raise click.UsageError("give HOLDER_ID or --external-id, one of the two")
    found = _get(session, holder_id=holder_id or 0, external_id=external_id, reveal=reveal)
    is_json = session.is_json
    fields = holder_fields(found.holder, is_json=is_json)
    if is_json:
        credentials = [credential_fields(one, is_json=True) for one in found.credentials]
        more = {"credentials": credentials, "dependant_ids": list(found.dependant_ids)}
        print_json({**fields, "status": status_fields(found.status, is_json=True), **more})
        return
    shown = " ".join(
        f"{one['credential_index']} ({one['kind']}, {one['state']})"
        for one in (credential_fields(credential, is_json=False) for credential in found.credentials)
    )
    dependants = " ".join(map(str, found.dependant_ids))
    status = status_in_words(found.status)
    print_fields({**fields, "status": status, "credentials": shown, "dependants": dependants})


@holder.command("list")
@click.option("--region", default="", help="Only those of this region.")
@click.option("--guardian", type=HOLDER_ID, default=None, help="Only those whom this holder carries.")
@click.option("--document-type", default="", help="Only the one with this document; its number is asked for.")
@click.option("--document-number", default="", help="The number of that document; - asks for it.")
@limited
@reveals
@asks_issuer
def list_holders(
    session: Session,
    *,
    region: str,
    guardian: int | None,
    document_type: str,
    document_number: str,
    limit: int | None,
    reveal: bool,
) -> None:
    """List holders by id: those to whom everything given applies.

    To find one by document give --document-type alone: the number is asked for, which keeps it out of the
    shell's history.

    Example: gatelight-issuer holder list --document-type ID
    """
    if document_number and not document_type:
        document_type = click.prompt("Document type", err=True)
    if document_type and document_number in {"", _ASK}:
        document_number = click.prompt("Document number", err=True)
    request = pb.ListHoldersRequest(
        region=region,
        guardian_id=guardian or 0,
        document_type=document_type,
        document_number=document_number,
        reveal=reveal,
    )

    def go_on(request: pb.ListHoldersRequest, last: pb.Holder) -> None:
        request.after_id = last.holder_id

    pages = session.pages(
        session.client.admin.ListHolders, request, items="holders", limit=limit, go_on=go_on
    )
    shown = ([holder_fields(one, is_json=session.is_json) for one in page] for page in pages)
    session.show_list(_COLUMNS, shown)


@holder.command("erase")
@click.argument("holder_id", type=HOLDER_ID)
@confirmed
@changes
@asks_issuer
def erase_holder(session: Session, *, holder_id: int, yes: bool, apply: bool) -> None:
    """Remove a holder's name and document for good, and revoke the credentials.

    The history of the status stays, under the holder's id.

    Example: gatelight-issuer holder erase 17 --apply
    """
    found = _get(session, holder_id=holder_id)
    if found.holder.erased_at:
        raise Refused(f"holder {holder_id} is erased already: there is nothing left to do")
    credentials = _count(len(found.credentials), "credential")
    dependants = _count(len(found.dependant_ids), "dependant")
    carried = f"; carries {dependants}, who will have no guardian then" if found.dependant_ids else ""
    plan = f"erase holder {holder_id} ({found.holder.name}) for good, with {credentials}{carried}"
    if session.is_agreed(plan, apply=apply):
        confirm("It cannot be undone. Go on?", is_sure=yes)
        answer = session.ask(session.client.admin.EraseHolder, pb.EraseHolderRequest(holder_id=holder_id))
        session.show_done({"revoked_credentials": answer.revoked_credentials}, answer.publication)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _get(
    session: Session, *, holder_id: int = 0, external_id: str = "", reveal: bool = False
) -> pb.GetHolderResponse:
    request = pb.GetHolderRequest(holder_id=holder_id, external_id=external_id, reveal=reveal)
    found: pb.GetHolderResponse = session.ask(session.client.admin.GetHolder, request)
    return found
