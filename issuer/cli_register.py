"""Commands on holders, credentials and status. Names are shown masked."""

import getpass
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from issuer.cli_session import Session, as_time, asks_issuer, changes
from issuer.masking import mask_name
from issuer.v1 import issuer_pb2 as pb
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour, CredentialState

_INDEX = click.IntRange(1, 2**32 - 1)
_HOLDER_ID = click.IntRange(1, 2**63 - 1)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        raise click.UsageError("say with --operator who enters this") from None


class _Moment(click.ParamType[int]):
    """A time: Unix seconds, or ISO 8601, local where it names no zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if value.isdecimal():
            return int(value)
        try:
            return int(datetime.fromisoformat(value).timestamp())
        except ValueError:
            self.fail("expected Unix seconds, or a time such as 2026-11-21T08:30", param, ctx)


@click.group()
def holder() -> None:
    """Holders: the persons on the register."""


@holder.command("add")
@click.option("--name", prompt=True, help="The holder's name, stored as given.")
@click.option("--document-type", prompt=True, help="Such as ID or PASSPORT.")
@click.option("--document-number", prompt=True, help="Kept as a keyed hash and the last four characters.")
@click.option("--region", default="", help="Where the holder is registered.")
@changes
@asks_issuer
def add_holder(
    session: Session, *, name: str, document_type: str, document_number: str, region: str, apply: bool
) -> None:
    """Enter a holder into the register.

    What is not given as an option is asked for, which keeps it out of the shell's history.

    Example: gatelight-issuer holder add --name 王小秀 --document-type ID --apply
    """
    if not session.is_agreed(f"enter {mask_name(name)} into the register", apply=apply):
        return
    new = pb.NewHolder(name=name, document_type=document_type, document_number=document_number, region=region)
    answer = session.ask(session.client.admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[new]))
    session.show_done({"holder_id": answer.holder_ids[0]})


@click.group()
def credential() -> None:
    """Credentials: what holders show, a phone or a card."""


@credential.command("issue")
@click.argument("holder_id", type=_HOLDER_ID)
@click.argument("kind", type=click.Choice([kind.name for kind in CredentialKind], case_sensitive=False))
@changes
@asks_issuer
def issue_credential(session: Session, *, holder_id: int, kind: str, apply: bool) -> None:
    """Issue a PHONE or PAPER credential to a holder.

    Example: gatelight-issuer credential issue 17 PAPER --apply
    """
    if not session.is_agreed(f"issue a {kind} credential to holder {holder_id}", apply=apply):
        return
    new = pb.NewCredential(holder_id=holder_id, kind=_number(CredentialKind[kind]))
    request = pb.IssueCredentialsRequest(credentials=[new])
    answer = session.ask(session.client.admin.IssueCredentials, request)
    session.show_done({"credential_index": answer.credential_indices[0]}, answer.publication)


@credential.command("show")
@click.argument("credential_index", type=_INDEX)
@asks_issuer
def show_credential(session: Session, *, credential_index: int) -> None:
    """Show a credential with its holder's masked name and status.

    Example: gatelight-issuer credential show 17
    """
    session.show(_describe(_get(session, credential_index), is_json=session.is_json))


@credential.command("replace")
@click.argument("credential_index", type=_INDEX)
@changes
@asks_issuer
def replace_credential(session: Session, *, credential_index: int, apply: bool) -> None:
    """Give a credential its next generation: the lost card answers REPLACED at every gate.

    Example: gatelight-issuer credential replace 17 --apply
    """
    found = _get(session, credential_index)
    plan = f"replace generation {found.generation} of {_name(found)} by {found.generation + 1}"
    if session.is_agreed(plan, apply=apply):
        request = pb.ReplaceCredentialRequest(credential_index=credential_index)
        answer = session.ask(session.client.admin.ReplaceCredential, request)
        session.show_done({"generation": answer.generation}, answer.publication)


@credential.command("suspend")
@click.argument("credential_index", type=_INDEX)
@changes
@asks_issuer
def suspend_credential(session: Session, *, credential_index: int, apply: bool) -> None:
    """Suspend a credential until it is resumed.

    Example: gatelight-issuer credential suspend 17 --apply
    """
    request = pb.SuspendCredentialRequest(credential_index=credential_index)
    _change(session, "suspend", session.client.admin.SuspendCredential, request, apply=apply)


@credential.command("resume")
@click.argument("credential_index", type=_INDEX)
@changes
@asks_issuer
def resume_credential(session: Session, *, credential_index: int, apply: bool) -> None:
    """Make a suspended credential active again.

    Example: gatelight-issuer credential resume 17 --apply
    """
    request = pb.ResumeCredentialRequest(credential_index=credential_index)
    _change(session, "resume", session.client.admin.ResumeCredential, request, apply=apply)


@credential.command("revoke")
@click.argument("credential_index", type=_INDEX)
@changes
@asks_issuer
def revoke_credential(session: Session, *, credential_index: int, apply: bool) -> None:
    """Revoke a credential for good.

    Example: gatelight-issuer credential revoke 17 --apply
    """
    request = pb.RevokeCredentialRequest(credential_index=credential_index)
    _change(session, "revoke", session.client.admin.RevokeCredential, request, apply=apply)


@click.group()
def status() -> None:
    """Status: the colour of a holder."""


@status.command("set")
@click.argument("holder_id", type=_HOLDER_ID)
@click.argument("colour", type=click.Choice(["GREEN", "YELLOW", "RED"], case_sensitive=False))
@click.option("--reason", type=click.IntRange(0, 0xFFFF), default=0, help="Reason code; GREEN needs none.")
@click.option("--authority", required=True, help="The authority that decided.")
@click.option("--operator", default=_login_name, help="Who enters it.  [default: your login name]")
@click.option("--negative-test", type=_Moment(), default=0, help="When a negative test was taken.")
@changes
@asks_issuer
def set_status(
    session: Session,
    *,
    holder_id: int,
    colour: str,
    reason: int,
    authority: str,
    operator: str,
    negative_test: int,
    apply: bool,
) -> None:
    """Set the status of a holder: it covers every credential, present and to come.

    Example: gatelight-issuer status set 17 RED --reason 3 --authority "District office" --apply
    """
    if not reason and colour != Colour.GREEN.name:
        raise click.UsageError(f"{colour} needs a --reason: the code that gates and the holder are shown")
    because = f", reason {reason}" if reason else ""
    tested = f", negative test at {as_time(negative_test)}" if negative_test else ""
    if not session.is_agreed(f"set holder {holder_id} to {colour}{because}{tested}", apply=apply):
        return
    change = pb.StatusChange(
        holder_id=holder_id,
        colour=_number(Colour[colour]),
        reason=reason,
        authority=authority,
        operator=operator,
        negative_test_at=negative_test,
    )
    answer = session.ask(session.client.admin.SetStatuses, pb.SetStatusesRequest(changes=[change]))
    session.show_done({"holder_id": holder_id, "colour": colour}, answer.publication)


def _get(session: Session, credential_index: int) -> pb.GetCredentialResponse:
    request = pb.GetCredentialRequest(credential_index=credential_index)
    found: pb.GetCredentialResponse = session.ask(session.client.admin.GetCredential, request)
    return found


def _change(session: Session, verb: str, method: Callable[[Any], Any], request: Any, *, apply: bool) -> None:
    found = _get(session, request.credential_index)
    if session.is_agreed(f"{verb} {_name(found)}, now {CredentialState(found.state).name}", apply=apply):
        answer = session.ask(method, request)
        session.show_done({"credential_index": request.credential_index}, answer.publication)


def _name(found: pb.GetCredentialResponse) -> str:
    kind = CredentialKind(found.kind).name
    return f"{kind} credential {found.credential_index} of {found.masked_name}"


def _describe(found: pb.GetCredentialResponse, *, is_json: bool) -> dict[str, object]:
    test = found.last_negative_test
    return {
        "credential_index": found.credential_index,
        "holder_id": found.holder_id,
        "masked_name": found.masked_name,
        "kind": CredentialKind(found.kind).name,
        "generation": found.generation,
        "state": CredentialState(found.state).name,
        "colour": Colour(found.colour).name,
        "reason": found.reason,
        "last_negative_test": test if is_json else as_time(test),
    }


def _number(value: int) -> Any:
    """Return the protobuf value; the numbers of the wire formats are those of the protos."""
    return int(value)
