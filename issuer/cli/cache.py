"""Commands on Redis, the cache of the register."""

import click

from issuer.cli.errors import EXIT_REFUSED
from issuer.cli.options import confirm, confirmed
from issuer.cli.progress import ProgressDisplay
from issuer.cli.session import Session, asks_issuer, changes
from issuer.v1 import cache_pb2 as pb


@click.group()
def cache() -> None:
    """The cache: what verifiers load from Redis."""


@cache.command("rebuild")
@confirmed
@changes
@asks_issuer
def rebuild_cache(session: Session, *, yes: bool, apply: bool) -> None:
    """Write every byte of Redis from the register. Verifiers go on, and load it when it is whole.

    Example: gatelight-issuer cache rebuild --apply
    """
    if not session.is_agreed("write every status record in Redis anew from the register", apply=apply):
        return
    confirm("Rebuild Redis?", is_sure=yes)
    found = pb.RebuildCacheResponse()
    with ProgressDisplay("rebuilding", 1, is_quiet=session.is_json) as progress:
        for found in session.ask_for_stream(session.client.cache.RebuildCache, pb.RebuildCacheRequest()):
            progress.show_of(found.shards_done, found.shards_total, f"{found.records} records")
    session.show_done({"shards": found.shards_done, "records": found.records})


@cache.command("check")
@changes
@asks_issuer
def check_cache(session: Session, *, apply: bool) -> None:
    """Compare every byte of Redis with the register; with --apply repair what differs.

    Exit code 1 where something differs and was not repaired.

    Example: gatelight-issuer cache check
    """
    found = pb.CheckCacheResponse()
    request = pb.CheckCacheRequest(repair=apply)
    with ProgressDisplay("comparing", 1, is_quiet=session.is_json) as progress:
        for found in session.ask_for_stream(session.client.cache.CheckCache, request):
            told = f"{found.differing_records} records differ"
            progress.show_of(found.shards_done, found.shards_total, told)
    is_json = session.is_json
    indices = list(found.differing_indices)
    session.show(
        {
            "shards": found.shards_done,
            "differing_records": found.differing_records,
            "differing_indices": indices if is_json else " ".join(map(str, indices)),
            "problems": list(found.problems) if is_json else "; ".join(found.problems),
            "repaired": found.is_repaired if is_json else ("yes" if found.is_repaired else ""),
        }
    )
    if (found.differing_records or found.problems) and not found.is_repaired:
        if not is_json:
            click.echo("Repair it with `gatelight-issuer cache check --apply`.", err=True)
        raise click.exceptions.Exit(EXIT_REFUSED)
