"""What needs a second person: say so, or wait for the answer."""

import time
from collections.abc import Callable

import click

from issuer.cli.errors import Refused, WaitsForApproval
from issuer.cli.session import Session
from issuer.v1 import access_pb2 as pb

_POLL_S = 0.5


def waits(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --wait."""
    return click.option(
        "--wait",
        "wait_s",
        type=click.FloatRange(0, 86_400),
        default=0.0,
        metavar="SECONDS",
        help="Wait so long for a second person, where one is needed.",
    )(command)


def approval_fields(approval: pb.Approval, *, is_json: bool) -> dict[str, object]:
    """Return an approval as it is shown."""
    from issuer.cli.moments import time_field  # noqa: PLC0415

    return {
        "approval_id": approval.approval_id,
        "state": state_name(approval),
        "summary": approval.summary,
        "requested_by": approval.requested_by,
        "requested_at": time_field(approval.requested_at, is_json=is_json),
        "settled_by": approval.settled_by,
        "settled_at": time_field(approval.settled_at, is_json=is_json),
        "outcome": list(approval.outcome) if is_json else "\n".join(approval.outcome),
    }


def state_name(approval: pb.Approval) -> str:
    """Return where an approval stands, in one word."""
    return pb.ApprovalState.Name(approval.state).removeprefix("APPROVAL_STATE_")


def settle(session: Session, approval_id: int, *, wait_s: float) -> None:
    """End the command that made a request: exit code 4 while it waits, 1 if the answer is no.

    With `wait_s` the answer is waited for; the outcome is printed.
    """
    approval = wait_for_approval(session, approval_id, wait_s=wait_s)
    show_outcome(session, approval)


def wait_for_approval(session: Session, approval_id: int, *, wait_s: float, then: str = "") -> pb.Approval:
    """Return the approval once it is settled; ends the command while it waits.

    `then` says what is to be done once somebody approved.
    """
    if wait_s and not session.is_json:
        click.echo(_whom_to_ask(approval_id), err=True)
    ends_at = time.monotonic() + wait_s
    while wait_s:
        request = pb.GetApprovalRequest(approval_id=approval_id)
        approval: pb.Approval = session.ask(session.client.access.GetApproval, request).approval
        if approval.state != pb.APPROVAL_STATE_PENDING:
            return approval
        if time.monotonic() >= ends_at:
            break
        time.sleep(min(_POLL_S, max(0.0, ends_at - time.monotonic())))
    if session.is_json:
        session.show({"applied": False, "approval_id": approval_id, "waits_for": "approval"})
    else:
        told = f"request {approval_id} still waits" if wait_s else _whom_to_ask(approval_id)
        click.echo(f"{told}{then and f'. {then}'}")
    raise WaitsForApproval


def show_outcome(session: Session, approval: pb.Approval) -> None:
    """Print what came of an approval; ends the command with Refused where it was not carried out."""
    is_done = approval.state == pb.APPROVAL_STATE_APPROVED
    if session.is_json:
        session.show({"applied": is_done, **approval_fields(approval, is_json=True)})
    else:
        by = f" by {approval.settled_by}" if approval.settled_by else ""
        click.echo(f"request {approval.approval_id} is {state_name(approval)}{by}")
        for line in approval.outcome:
            click.echo(f"  {line}")
    if not is_done:
        raise Refused(
            f"request {approval.approval_id} was not carried out: mend what the outcome says, and ask anew"
        )


def _whom_to_ask(approval_id: int) -> str:
    return (
        "waits for a second person: ask an approver to run "
        f"`gatelight-issuer approval approve {approval_id} --apply --key-file THEIR.key`"
    )
