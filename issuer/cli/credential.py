"""Commands on credentials: what holders show, a phone or a card."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from issuer.cli.describe import credential_fields, state_name, status_fields
from issuer.cli.errors import Refused
from issuer.cli.import_options import ImportOptions, import_options, run_import
from issuer.cli.moments import Moment, as_time
from issuer.cli.options import CREDENTIAL_INDEX, CREDENTIAL_STATE, FILE, HOLDER_ID, KIND, limited
from issuer.cli.rows import CREDENTIALS
from issuer.cli.session import Session, asks_issuer, changes
from issuer.proto_enum import as_enum
from issuer.v1 import admin_pb2 as pb
from verifier.wire.code import CredentialKind

_COLUMNS = (
    "credential_index",
    "holder_id",
    "kind",
    "generation",
    "state",
    "app",
    "valid_until",
    "external_id",
)


@click.group()
def credential() -> None:
    """Credentials: what holders show, a phone or a card."""


@credential.command("issue")
@click.argument("holder_id", type=HOLDER_ID, required=False)
@click.argument("kind", type=KIND, required=False)
@click.option("--app", default="", help="The app client that may fetch its bundles.  [default: clerks alone]")
@click.option(
    "--valid-until",
    type=Moment(is_ahead=True),
    default=0,
    help="When it ends by itself, such as +180d.  [default: never]",
)
@click.option("--external-id", default="", help="The id of the order that it fulfils.")
@click.option("--from", "source", type=FILE, metavar="FILE", help="Issue many, from a file.")
@click.option("--output", type=FILE, help="With --from: where the indices go.  [default: FILE.issued.csv]")
@import_options
@changes
@asks_issuer
def issue_credential(
    session: Session,
    *,
    holder_id: int | None,
    kind: str | None,
    app: str,
    valid_until: int,
    external_id: str,
    source: Path | None,
    output: Path | None,
    apply: bool,
    **options: Any,
) -> None:
    """Issue a PHONE or PAPER credential to a holder, or many from a file.

    Columns of the file: external_id (of the order), kind; holder_id or holder_external_id; app, valid_until.
    Times are local (2026-11-21T08:30) or Unix seconds.

    \b
    Example: gatelight-issuer credential issue 17 PAPER --valid-until +180d --apply
    Example: gatelight-issuer credential issue --from orders.csv --output issued.csv --apply
    """
    if source is not None:
        if holder_id is not None or kind is not None or app or valid_until or external_id:
            raise click.UsageError("--from has all of that in the columns of its file: leave the rest out")
        output = output or source.with_name(f"{source.name}.issued.csv")
        run_import(session, CREDENTIALS, source, ImportOptions(**options, output=output), apply=apply)
        return
    if holder_id is None or kind is None:
        raise click.UsageError("give HOLDER_ID and KIND, such as 17 PHONE, or many with --from FILE")
    found = session.ask(session.client.admin.GetHolder, pb.GetHolderRequest(holder_id=holder_id))
    if found.holder.erased_at:
        raise Refused(f"holder {holder_id} was erased: enter the person anew with `holder add`")
    until = f", valid until {as_time(valid_until)}" if valid_until else ""
    fetched = f", fetched by {app}" if app else ""
    plan = f"issue a {kind} credential to holder {holder_id} ({found.holder.name}){until}{fetched}"
    if not session.is_agreed(plan, apply=apply):
        return
    new = pb.NewCredential(
        holder_id=holder_id,
        kind=as_enum(CredentialKind[kind]),
        app=app,
        valid_until=valid_until,
        external_id=external_id,
    )
    request = pb.IssueCredentialsRequest(credentials=[new])
    answer = session.ask(session.client.admin.IssueCredentials, request)
    session.show_done({"credential_index": answer.credential_indices[0]}, answer.publication)


@credential.command("show")
@click.argument("credential_index", type=CREDENTIAL_INDEX)
@asks_issuer
def show_credential(session: Session, *, credential_index: int) -> None:
    """Show a credential with its holder's masked name and status.

    Example: gatelight-issuer credential show 17
    """
    found = _get(session, credential_index)
    is_json = session.is_json
    status = status_fields(found.status, is_json=is_json)
    fields = credential_fields(found.credential, is_json=is_json)
    if is_json:
        session.show({**fields, "masked_name": found.masked_holder_name, "status": status})
        return
    named = {f"status_{name}" if name == "valid_until" else name: value for name, value in status.items()}
    session.show({**fields, "masked_name": found.masked_holder_name, **named})


@credential.command("replace")
@click.argument("credential_index", type=CREDENTIAL_INDEX)
@changes
@asks_issuer
def replace_credential(session: Session, *, credential_index: int, apply: bool) -> None:
    """Give a credential its next generation: the lost card answers REPLACED at every gate.

    Example: gatelight-issuer credential replace 17 --apply
    """
    found = _get(session, credential_index)
    _refuse_ended(found)
    generation = found.credential.generation
    plan = f"replace generation {generation} of {_name(found)} by {generation + 1}"
    if session.is_agreed(plan, apply=apply):
        request = pb.ReplaceCredentialRequest(credential_index=credential_index)
        answer = session.ask(session.client.admin.ReplaceCredential, request)
        session.show_done({"generation": answer.generation}, answer.publication)


@credential.command("suspend")
@click.argument("credential_index", type=CREDENTIAL_INDEX)
@changes
@asks_issuer
def suspend_credential(session: Session, *, credential_index: int, apply: bool) -> None:
    """Suspend a credential until it is resumed.

    Example: gatelight-issuer credential suspend 17 --apply
    """
    request = pb.SuspendCredentialRequest(credential_index=credential_index)
    _change(session, "suspend", session.client.admin.SuspendCredential, request, apply=apply)


@credential.command("resume")
@click.argument("credential_index", type=CREDENTIAL_INDEX)
@changes
@asks_issuer
def resume_credential(session: Session, *, credential_index: int, apply: bool) -> None:
    """Make a suspended credential active again.

    Example: gatelight-issuer credential resume 17 --apply
    """
    request = pb.ResumeCredentialRequest(credential_index=credential_index)
    _change(session, "resume", session.client.admin.ResumeCredential, request, apply=apply)


@credential.command("revoke")
@click.argument("credential_index", type=CREDENTIAL_INDEX)
@changes
@asks_issuer
def revoke_credential(session: Session, *, credential_index: int, apply: bool) -> None:
    """Revoke a credential for good.

    Example: gatelight-issuer credential revoke 17 --apply
    """
    request = pb.RevokeCredentialRequest(credential_index=credential_index)
    _change(session, "revoke", session.client.admin.RevokeCredential, request, apply=apply)


@credential.command("list")
@click.option("--holder", type=HOLDER_ID, default=None, help="Only those of this holder.")
@click.option("--kind", type=KIND, default=None, help="Only those of this kind.")
@click.option("--state", type=CREDENTIAL_STATE, default=None, help="Only those in this state.")
@limited
@asks_issuer
def list_credentials(
    session: Session, *, holder: int | None, kind: str | None, state: str | None, limit: int | None
) -> None:
    """List credentials by index: those to which everything given applies.

    Example: gatelight-issuer credential list --kind PAPER --state SUSPENDED
    """
    request = pb.ListCredentialsRequest(
        holder_id=holder or 0,
        kind=as_enum(CredentialKind[kind]) if kind else None,
        state=f"CREDENTIAL_STATE_{state}" if state else None,
    )

    def go_on(request: pb.ListCredentialsRequest, last: pb.Credential) -> None:
        request.after_index = last.credential_index

    pages = session.pages(
        session.client.admin.ListCredentials, request, items="credentials", limit=limit, go_on=go_on
    )
    shown = ([credential_fields(one, is_json=session.is_json) for one in page] for page in pages)
    session.show_list(_COLUMNS, shown)


def _get(session: Session, credential_index: int) -> pb.GetCredentialResponse:
    request = pb.GetCredentialRequest(credential_index=credential_index)
    found: pb.GetCredentialResponse = session.ask(session.client.admin.GetCredential, request)
    return found


def _change(session: Session, verb: str, method: Callable[[Any], Any], request: Any, *, apply: bool) -> None:
    found = _get(session, request.credential_index)
    _refuse_ended(found)
    if session.is_agreed(f"{verb} {_name(found)}, now {state_name(found.credential)}", apply=apply):
        answer = session.ask(method, request)
        session.show_done({"credential_index": request.credential_index}, answer.publication)


def _refuse_ended(found: pb.GetCredentialResponse) -> None:
    credential = found.credential
    if credential.state in (pb.CREDENTIAL_STATE_REVOKED, pb.CREDENTIAL_STATE_EXPIRED):
        raise Refused(
            f"credential {credential.credential_index} is {state_name(credential)} for good: issue another "
            f"with `gatelight-issuer credential issue {credential.holder_id} "
            f"{CredentialKind(credential.kind).name}`"
        )


def _name(found: pb.GetCredentialResponse) -> str:
    kind = CredentialKind(found.credential.kind).name
    return f"{kind} credential {found.credential.credential_index} of {found.masked_holder_name}"
