"""Commands on status: the colour of a holder, and the history of all changes."""

from pathlib import Path
from typing import Any

import click

from issuer.cli.describe import change_fields, colour_name, status_fields, status_in_words
from issuer.cli.errors import EXIT_REFUSED, Refused
from issuer.cli.import_options import ImportOptions, import_options, run_import
from issuer.cli.moments import Moment, as_time
from issuer.cli.options import COLOUR, FILE, HOLDER_ID, limited
from issuer.cli.progress import ProgressDisplay
from issuer.cli.rows import STATUSES
from issuer.cli.second_person import settle, waits
from issuer.cli.session import Session, asks_issuer, changes
from issuer.proto_enum import as_enum
from issuer.v1 import admin_pb2 as pb
from verifier.wire.status_record import Colour

_CHANGE_COLUMNS = (
    *("seq", "changed_at", "colour", "reason", "negative_test_at", "valid_until"),
    *("authority", "operator", "evidence", "source", "approval_id"),
)
_HASH_DIGITS = 64


@click.group()
def status() -> None:
    """Status: the colour of a holder, and how it came about."""


@status.command("set")
@click.argument("holder_id", type=HOLDER_ID)
@click.argument("colour", type=COLOUR)
@click.option(
    "--reason", type=click.IntRange(0, 0xFFFF), default=0, help="Code of `status reasons`; GREEN needs none."
)
@click.option("--authority", required=True, help="The authority that decided.")
@click.option("--evidence", default="", help="Where the decision is filed: no names, no document numbers.")
@click.option(
    "--valid-until",
    type=Moment(is_ahead=True),
    default=0,
    help="When YELLOW or RED ends by itself, such as +14d.",
)
@click.option("--negative-test", type=Moment(), default=0, help="When a negative test was taken.")
@waits
@changes
@asks_issuer
def set_status(
    session: Session,
    *,
    holder_id: int,
    colour: str,
    reason: int,
    authority: str,
    evidence: str,
    valid_until: int,
    negative_test: int,
    wait_s: float,
    apply: bool,
) -> None:
    """Set the status of a holder: it covers every credential, present and to come.

    RED needs a second person, and so do many changes within an hour.

    Example: gatelight-issuer status set 17 RED --reason 12 --authority "District office" --apply
    """
    if not reason and colour != Colour.GREEN.name:
        raise click.UsageError(
            f"{colour} needs a --reason: the code that gates and the holder are shown; "
            "see `gatelight-issuer status reasons`"
        )
    found = session.ask(session.client.admin.GetHolder, pb.GetHolderRequest(holder_id=holder_id))
    if found.holder.erased_at:
        raise Refused(f"holder {holder_id} was erased: the status can no longer be set")
    because = _reason_in_words(session, reason, colour)
    until = f", until {as_time(valid_until)}" if valid_until else ""
    tested = f", negative test at {as_time(negative_test)}" if negative_test else ""
    plan = (
        f"set holder {holder_id} ({found.holder.name}), now {status_in_words(found.status)}, "
        f"to {colour}{because}{until}{tested}"
    )
    if not session.is_agreed(plan, apply=apply):
        return
    change = pb.StatusChange(
        holder_id=holder_id,
        colour=as_enum(Colour[colour]),
        reason=reason,
        authority=authority,
        evidence=evidence,
        valid_until=valid_until,
        negative_test_at=negative_test,
    )
    answer = session.ask(session.client.admin.SetStatuses, pb.SetStatusesRequest(changes=[change]))
    if answer.approval_id:
        settle(session, answer.approval_id, wait_s=wait_s)
        return
    session.show_done({"holder_id": holder_id, "colour": colour}, answer.publication)


@status.command("import")
@click.argument("file", type=FILE)
@import_options
@waits
@changes
@asks_issuer
def import_statuses(session: Session, *, file: Path, apply: bool, **options: Any) -> None:
    """Change statuses from a file.

    Columns: external_id (of the decision), colour, authority; holder_id or holder_external_id; reason,
    evidence, valid_until, negative_test_at. Times are local (2026-11-21T08:30) or Unix seconds.

    Reds, and many changes at once, need a second person, who is asked about the file as a whole; then the
    same command imports it.

    Example: gatelight-issuer status import decisions.csv --wait 600 --apply
    """
    run_import(session, STATUSES, file, ImportOptions(**options), apply=apply)


@status.command("show")
@click.argument("holder_id", type=HOLDER_ID)
@asks_issuer
def show_status(session: Session, *, holder_id: int) -> None:
    """Show the status of a holder.

    Example: gatelight-issuer status show 17
    """
    answer = session.ask(session.client.admin.GetStatus, pb.GetStatusRequest(holder_id=holder_id))
    session.show({"holder_id": holder_id, **status_fields(answer.status, is_json=session.is_json)})


@status.command("history")
@click.argument("holder_id", type=HOLDER_ID)
@limited
@asks_issuer
def show_history(session: Session, *, holder_id: int, limit: int | None) -> None:
    """List the changes of a holder's status, the newest first.

    Example: gatelight-issuer status history 17
    """

    def go_on(request: pb.ListStatusChangesRequest, last: pb.StatusChangeEntry) -> None:
        request.before_seq = last.seq

    request = pb.ListStatusChangesRequest(holder_id=holder_id)
    pages = session.pages(
        session.client.admin.ListStatusChanges, request, items="changes", limit=limit, go_on=go_on
    )
    shown = ([change_fields(one, is_json=session.is_json) for one in page] for page in pages)
    session.show_list(_CHANGE_COLUMNS, shown)


@status.command("verify-history")
@click.option("--head", metavar="SEQ:HASH", help="A head that was noted earlier, which must still be there.")
@asks_issuer
def verify_history(session: Session, *, head: str | None) -> None:
    """Recompute the hashes over all changes; exit code 1 where one was edited or is missing.

    Note the head that it prints somewhere else, and give it the next time: then nobody can have cut off or
    rewritten the end.

    Example: gatelight-issuer status verify-history
    """
    expected_seq, expected_hash = _read_head(head) if head else (0, b"")
    request = pb.VerifyHistoryRequest(expected_seq=expected_seq, expected_hash=expected_hash)
    found = pb.VerifyHistoryResponse()
    with ProgressDisplay("verifying", 1, is_quiet=session.is_json) as progress:
        for found in session.ask_for_stream(session.client.admin.VerifyHistory, request):
            progress.show_of(found.verified, found.total, f"{found.verified} changes")
    is_sound = not found.problem
    session.show(
        {
            "sound": is_sound if session.is_json else ("yes" if is_sound else "NO"),
            "verified": found.verified,
            "head": f"{found.head_seq}:{found.head_hash.hex()}",
            **({} if is_sound else {"broken_seq": found.broken_seq, "problem": found.problem}),
        }
    )
    if not is_sound:
        if not session.is_json:
            click.echo(
                "Keep the register as it is, and compare it with a backup: somebody changed it past the "
                "issuer.",
                err=True,
            )
        raise click.exceptions.Exit(EXIT_REFUSED)


@status.command("reasons")
@asks_issuer
def list_reasons(session: Session) -> None:
    """List the reasons that a yellow or a red may have.

    They are in reasons.toml in the issuer's folder, which it reads when it starts.

    Example: gatelight-issuer status reasons
    """
    shown = [
        {
            "code": one.code,
            "text": one.text,
            "colours": names if session.is_json else " ".join(names),
        }
        for one in _reasons(session)
        for names in [[colour_name(colour) for colour in one.colours]]
    ]
    session.show_list(("code", "text", "colours"), [shown])


def _reasons(session: Session) -> list[pb.Reason]:
    answer = session.ask(session.client.admin.ListReasons, pb.ListReasonsRequest())
    return list(answer.reasons)


def _reason_in_words(session: Session, code: int, colour: str) -> str:
    """Return the reason within a sentence; ends the command for one that the colour may not have."""
    if not code:
        return ""
    allowed = [one for one in _reasons(session) if as_enum(Colour[colour]) in one.colours]
    for one in allowed:
        if one.code == code:
            return f", reason {code} ({one.text})"
    known = ", ".join(f"{one.code} ({one.text})" for one in allowed[:20]) or "none"
    raise Refused(f"{code} is no reason for {colour}. Its reasons are: {known}")


def _read_head(text: str) -> tuple[int, bytes]:
    seq, _, digits = text.partition(":")
    try:
        if seq.isdecimal() and len(digits) == _HASH_DIGITS:
            return int(seq), bytes.fromhex(digits)
    except ValueError:
        pass
    raise click.UsageError(
        "expected --head as verify-history prints it: SEQ:HASH, with 64 hexadecimal digits"
    )
