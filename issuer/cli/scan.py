"""Commands on archived scans: who passed where, by credential alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from issuer.cli.moments import Moment, as_time, time_field
from issuer.cli.options import CREDENTIAL_INDEX, confirm, confirmed, limited
from issuer.cli.session import Session, asks_issuer, changes
from issuer.v1 import scans_pb2 as pb
from verifier.v1 import scan_log_pb2, verifier_pb2

_SCANS = ("verified_at", "gate_id", "credential_index", "kind", "verdict", "colour", "scan_id")
_STATS = ("gate_id", "quarter_at", "people", "scans", "verdicts", "colours")
_SUSPECTS = ("seq", "credential_index", "kind", "first_gate_id", "first_at", "second_gate_id", "second_at")
_PURGES = ("seq", "purged_at", "before", "scans", "suspects")
_MAX_PAGE = 1_000
_SINCE = Moment(is_past=True)
_FORMS = "2026-11-21T07:00 (local), Unix seconds, or -90m, -2h, -7d before now."
_VERDICTS = click.Choice(
    [name.removeprefix("VERDICT_") for name, number in verifier_pb2.Verdict.items() if number],
    case_sensitive=False,
)


@click.group()
def scan() -> None:
    """Archived scans: what verifiers told, and where. `gatelight-issuer archive` keeps them."""


def _gate(command: Any) -> Any:
    return click.option("--gate", default="", help="Only at this gate, its lanes included.")(command)


def _times(command: Any) -> Any:
    for option in (
        click.option("--to", "until", type=_SINCE, help="Only before this time; as for --from."),
        click.option("--from", "since", type=_SINCE, help=f"Only from this time on: {_FORMS}"),
    ):
        command = option(command)
    return command


@scan.command("search")
@_gate
@_times
@click.option("--credential", type=CREDENTIAL_INDEX, help="Only of this credential.")
@click.option("--verdict", type=_VERDICTS, help="Only those with this verdict.")
@limited
@asks_issuer
def search_scans(
    session: Session,
    *,
    gate: str,
    since: int | None,
    until: int | None,
    credential: int | None,
    verdict: str | None,
    limit: int | None,
) -> None:
    """Find scans, the newest first. For auditors; it is recorded who searched for what.

    One lane of a hub (--gate north-3/2) is searched a day at a time: with --from, or with --credential.

    Example: gatelight-issuer scan search --gate north-3 --from 2026-11-21T07:00 --to 2026-11-21T09:00
    """
    request = pb.SearchScansRequest(
        gate_id=gate,
        from_ms=_ms(since),
        to_ms=_ms(until),
        credential_index=credential or 0,
        verdict=None if verdict is None else f"VERDICT_{verdict}",
    )
    pages = _pages(session, session.client.scans.SearchScans, request, items="scans", limit=limit)
    is_json = session.is_json
    session.show_list(_SCANS, ([_scan_fields(one, is_json=is_json) for one in page] for page in pages))


@scan.command("stats")
@_gate
@_times
@limited
@asks_issuer
def show_stats(
    session: Session, *, gate: str, since: int | None, until: int | None, limit: int | None
) -> None:
    """Count people, verdicts and colours by gate and quarter of an hour; by default of the 24 hours before
    --to, which is now.

    Example: gatelight-issuer scan stats --gate north-3 --from 2026-11-21T07:00
    """
    request = pb.GetScanStatsRequest(gate_id=gate, from_ms=_ms(since), to_ms=_ms(until))
    pages = _pages(session, session.client.scans.GetScanStats, request, items="stats", limit=limit)
    is_json = session.is_json
    session.show_list(_STATS, ([_stats_fields(one, is_json=is_json) for one in page] for page in pages))


@scan.command("suspects")
@click.option("--from", "since", type=_SINCE, help=f"Only from this time on: {_FORMS}")
@click.option("--credential", type=CREDENTIAL_INDEX, help="Only of this credential.")
@limited
@asks_issuer
def list_suspects(session: Session, *, since: int | None, credential: int | None, limit: int | None) -> None:
    """List suspected copies, the newest first: one code, shown at two gates too soon.

    Example: gatelight-issuer scan suspects --from 2026-11-21T07:00
    """

    def go_on(request: pb.ListSuspectsRequest, last: pb.Suspect) -> None:
        request.before_seq = last.seq

    pages = session.pages(
        session.client.scans.ListSuspects,
        pb.ListSuspectsRequest(from_ms=_ms(since), credential_index=credential or 0),
        items="suspects",
        limit=limit,
        go_on=go_on,
    )
    is_json = session.is_json
    session.show_list(_SUSPECTS, ([_suspect_fields(one, is_json=is_json) for one in page] for page in pages))


@scan.command("purge")
@click.option("--retention-days", type=click.IntRange(1), help="How long to keep.  [default: the archive's]")
@confirmed
@changes
@asks_issuer
def purge_scans(session: Session, *, retention_days: int | None, yes: bool, apply: bool) -> None:
    """Remove scans that are older than the retention, and suspects with them; the archive does so daily.

    Example: gatelight-issuer scan purge --retention-days 14 --apply
    """
    request = pb.PurgeScansRequest(retention_days=retention_days or 0, is_dry_run=True)
    planned = session.ask(session.client.scans.PurgeScans, request).purge
    plan = (
        f"remove {planned.scans} scans and {planned.suspects} suspects from before "
        f"{as_time(planned.before_ms // 1000)}"
    )
    details = _purge_fields(planned, is_json=True)
    if not session.is_agreed(plan, apply=apply, details=details):
        return
    confirm("Remove them for good?", is_sure=yes)
    request.is_dry_run = False
    session.show_done(
        _purge_fields(session.ask(session.client.scans.PurgeScans, request).purge, is_json=session.is_json)
    )


@scan.command("purges")
@limited
@asks_issuer
def list_purges(session: Session, *, limit: int | None) -> None:
    """List what was removed when, the newest first.

    Example: gatelight-issuer scan purges --limit 30
    """

    def go_on(request: pb.ListPurgesRequest, last: pb.Purge) -> None:
        request.before_seq = last.seq

    pages = session.pages(
        session.client.scans.ListPurges, pb.ListPurgesRequest(), items="purges", limit=limit, go_on=go_on
    )
    is_json = session.is_json
    session.show_list(_PURGES, ([_purge_fields(one, is_json=is_json) for one in page] for page in pages))


def _pages(
    session: Session, method: Any, request: Any, *, items: str, limit: int | None
) -> Iterator[Sequence[Any]]:
    """Yield the pages of a list that goes on by tokens, `limit` entries at most."""
    left = limit
    while left is None or left > 0:
        request.page_size = _MAX_PAGE if left is None else min(left, _MAX_PAGE)
        answer = session.ask(method, request)
        page = getattr(answer, items)
        if page:
            yield page
        if not answer.next_page_token:
            return
        left = None if left is None else left - len(page)
        request.page_token = answer.next_page_token


def _scan_fields(one: scan_log_pb2.ScanLogEntry, *, is_json: bool) -> dict[str, object]:
    fields: dict[str, object] = {
        "verified_at": one.verified_at_ms if is_json else _shown_ms(one.verified_at_ms),
        "gate_id": _text(one.gate_id, is_json=is_json),
        "credential_index": one.credential_index or None,
        "kind": _name(verifier_pb2.CredentialKind, one.kind),
        "verdict": _name(verifier_pb2.Verdict, one.verdict),
        "colour": _name(verifier_pb2.Colour, one.colour),
        "scan_id": _text(one.scan_id, is_json=is_json),
    }
    if not is_json:
        return fields
    fields["verified_at_ms"] = fields.pop("verified_at")
    return fields | {
        "not_before": one.not_before,
        "expires_at": one.expires_at,
        "status_age_ms": one.status_age_ms,
        "code_hash": one.code_hash.hex(),
    }


def _stats_fields(one: pb.ScanStats, *, is_json: bool) -> dict[str, object]:
    verdicts = {_name(verifier_pb2.Verdict, count.verdict): count.scans for count in one.verdicts}
    colours = {_name(verifier_pb2.Colour, count.colour) or "NONE": count.scans for count in one.colours}
    return {
        "gate_id": _text(one.gate_id, is_json=is_json),
        "quarter_at": time_field(one.quarter_at, is_json=is_json),
        "people": one.people,
        "scans": sum(verdicts.values()),
        "verdicts": verdicts if is_json else _counts(verdicts),
        "colours": colours if is_json else _counts(colours),
    }


def _suspect_fields(one: pb.Suspect, *, is_json: bool) -> dict[str, object]:
    moments = (
        {"first_at_ms": one.first_at_ms, "second_at_ms": one.second_at_ms}
        if is_json
        else {"first_at": _shown_ms(one.first_at_ms), "second_at": _shown_ms(one.second_at_ms)}
    )
    return {
        "seq": one.seq,
        "credential_index": one.credential_index,
        "kind": _name(verifier_pb2.CredentialKind, one.kind),
        "first_gate_id": _text(one.first_gate_id, is_json=is_json),
        "second_gate_id": _text(one.second_gate_id, is_json=is_json),
        **moments,
    }


def _purge_fields(one: pb.Purge, *, is_json: bool) -> dict[str, object]:
    return {
        "seq": one.seq or None,
        "purged_at": time_field(one.purged_at, is_json=is_json),
        "before": time_field(one.before_ms // 1000, is_json=is_json),
        "scans": one.scans,
        "suspects": one.suspects,
    }


def _ms(moment: int | None) -> int:
    return 0 if moment is None else moment * 1000


def _shown_ms(moment_ms: int) -> str:
    return as_time(moment_ms // 1000)


def _name(enum: Any, number: int) -> str:
    """Return the last part of an enum's name; empty for unspecified, the number for one we don't know."""
    name: str = enum.Name(number) if number in enum.values() else str(number)
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    return "" if number == 0 else name.removeprefix(prefix)


def _counts(counts: dict[str, int]) -> str:
    return " ".join(f"{name} {count}" for name, count in counts.items())


def _text(text: str, *, is_json: bool) -> str:
    """Return what a gate said in a form that does nothing to a terminal; JSON escapes by itself."""
    if is_json or text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
