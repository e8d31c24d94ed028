"""Commands on the record of calls: who did what, when, and with what outcome."""

import click

from issuer.cli.moments import time_field
from issuer.cli.options import limited
from issuer.cli.session import Session, asks_issuer
from issuer.v1 import access_pb2 as pb

_COLUMNS = ("seq", "called_at", "client", "method", "target", "outcome")


@click.group()
def call() -> None:
    """The record of calls, without personal data."""


@call.command("list")
@click.option("--client", default="", help="Only those of this client.")
@limited
@asks_issuer
def list_calls(session: Session, *, client: str, limit: int | None) -> None:
    """List the calls of the staff, the newest first.

    Example: gatelight-issuer call list --client local --limit 50
    """

    def go_on(request: pb.ListCallsRequest, last: pb.Call) -> None:
        request.before_seq = last.seq

    pages = session.pages(
        session.client.access.ListCalls,
        pb.ListCallsRequest(client=client),
        items="calls",
        limit=limit,
        go_on=go_on,
    )
    is_json = session.is_json
    shown = (
        [
            {
                "seq": one.seq,
                "called_at": time_field(one.called_at, is_json=is_json),
                "client": one.client,
                "method": one.method,
                "target": one.target,
                "outcome": one.outcome,
            }
            for one in page
        ]
        for page in pages
    )
    session.show_list(_COLUMNS, shown)
