"""Commands on requests that a second person has to approve."""

from collections.abc import Sequence

import click

from issuer.cli.describe import planned_change_fields
from issuer.cli.errors import Refused
from issuer.cli.options import limited
from issuer.cli.second_person import approval_fields, show_outcome, state_name
from issuer.cli.session import Session, asks_issuer, changes
from issuer.v1 import access_pb2 as pb

_COLUMNS = ("approval_id", "state", "summary", "requested_by", "requested_at", "settled_by")
_CHANGE_COLUMNS = (
    "holder_id",
    "colour",
    "reason",
    "valid_until",
    "negative_test_at",
    "authority",
    "evidence",
)
_STATES = ("PENDING", "APPROVED", "REJECTED", "EXPIRED", "FAILED")
_APPROVAL_ID = click.IntRange(1, 2**63 - 1)


@click.group()
def approval() -> None:
    """Requests of one person that another one has to approve."""


@approval.command("list")
@click.option("--state", type=click.Choice(_STATES, case_sensitive=False), default=None, help="Only those.")
@limited
@asks_issuer
def list_approvals(session: Session, *, state: str | None, limit: int | None) -> None:
    """List requests, the newest first.

    Example: gatelight-issuer approval list --state PENDING
    """

    def go_on(request: pb.ListApprovalsRequest, last: pb.Approval) -> None:
        request.before_id = last.approval_id

    wanted = f"APPROVAL_STATE_{state}" if state else None
    pages = session.pages(
        session.client.access.ListApprovals,
        pb.ListApprovalsRequest(state=wanted),
        items="approvals",
        limit=limit,
        go_on=go_on,
    )
    shown = ([approval_fields(one, is_json=session.is_json) for one in page] for page in pages)
    session.show_list(_COLUMNS, shown)


@approval.command("show")
@click.argument("approval_id", type=_APPROVAL_ID)
@asks_issuer
def show_approval(session: Session, *, approval_id: int) -> None:
    """Show a request, all that it would change, and what came of it.

    Example: gatelight-issuer approval show 12
    """
    found = _get(session, approval_id)
    shown = approval_fields(found.approval, is_json=session.is_json)
    planned = _planned(session, found)
    if session.is_json:
        session.show({**shown, "status_changes": planned})
        return
    session.show(shown)
    _show_planned(session, planned)


@approval.command("approve")
@click.argument("approval_id", type=_APPROVAL_ID)
@changes
@asks_issuer
def approve(session: Session, *, approval_id: int, apply: bool) -> None:
    """Approve the request of another person, which carries it out.

    It needs the key of an approver, which is not the one that `gatelight-issuer` takes by itself.

    Example: gatelight-issuer approval approve 12 --key-file approver.key --apply
    """
    found = _pending(session, approval_id)
    planned = _planned(session, found)
    if not apply and not session.is_json:
        _show_planned(session, planned)
    asked = found.approval
    if session.is_agreed(
        f"approve request {approval_id} of {asked.requested_by}: {asked.summary}",
        apply=apply,
        details={"status_changes": planned},
    ):
        answer = session.ask(session.client.access.Approve, pb.ApproveRequest(approval_id=approval_id))
        show_outcome(session, answer.approval)


@approval.command("reject")
@click.argument("approval_id", type=_APPROVAL_ID)
@changes
@asks_issuer
def reject(session: Session, *, approval_id: int, apply: bool) -> None:
    """Reject a request, or take back your own.

    Example: gatelight-issuer approval reject 12 --apply
    """
    found = _pending(session, approval_id).approval
    if session.is_agreed(
        f"reject request {approval_id} of {found.requested_by}: {found.summary}", apply=apply
    ):
        answer = session.ask(session.client.access.Reject, pb.RejectRequest(approval_id=approval_id))
        session.show_done(approval_fields(answer.approval, is_json=session.is_json))


def _get(session: Session, approval_id: int) -> pb.GetApprovalResponse:
    request = pb.GetApprovalRequest(approval_id=approval_id)
    found: pb.GetApprovalResponse = session.ask(session.client.access.GetApproval, request)
    return found


def _pending(session: Session, approval_id: int) -> pb.GetApprovalResponse:
    answer = _get(session, approval_id)
    found = answer.approval
    if found.state != pb.APPROVAL_STATE_PENDING:
        by = f" by {found.settled_by}" if found.settled_by else ""
        raise Refused(
            f"request {approval_id} is {state_name(found)}{by} already: see `gatelight-issuer approval show "
            f"{approval_id}`, and have it asked for anew if it is still wanted"
        )
    return answer


def _planned(session: Session, found: pb.GetApprovalResponse) -> Sequence[dict[str, object]]:
    return [planned_change_fields(change, is_json=session.is_json) for change in found.status_changes]


def _show_planned(session: Session, planned: Sequence[dict[str, object]]) -> None:
    if planned:
        session.show_list(_CHANGE_COLUMNS, [planned])
