"""Commands on bundles: what a phone fetches ahead."""

import click

from issuer.cli.errors import EXIT_REFUSED
from issuer.cli.options import CREDENTIAL_INDEX
from issuer.cli.session import Session, asks_issuer
from issuer.cli.tables import print_json
from issuer.v1 import issuer_pb2 as pb

_MAX_WINDOWS = 2_880  # issuer.proto


@click.group()
def bundle() -> None:
    """Bundles: what a phone fetches ahead."""


@bundle.command("issue")
@click.argument("credential_indices", type=CREDENTIAL_INDEX, nargs=-1, required=True)
@click.option(
    "--windows",
    type=click.IntRange(1, _MAX_WINDOWS),
    default=1,
    show_default=True,
    help="One each half minute.",
)
@click.option("--with-dependants", is_flag=True, help="Also for the phones that these holders carry.")
@asks_issuer
def issue_bundle(
    session: Session, *, credential_indices: tuple[int, ...], windows: int, with_dependants: bool
) -> None:
    """Print the codes of consecutive windows, a JSON object a line.

    Credentials that get none are named on standard error, and the exit code is 1.

    Example: gatelight-issuer bundle issue 17 --windows 120 > bundle.jsonl
    """
    if len(credential_indices) == 1 and not with_dependants:
        index = credential_indices[0]
        request = pb.IssueBundleRequest(credential_index=index, window_count=windows)
        _print(index, session.ask(session.client.issuer.IssueBundle, request))
        return
    many = pb.IssueBundlesRequest(
        credential_indices=credential_indices, window_count=windows, with_dependants=with_dependants
    )
    is_refused = False
    for answer in session.ask_for_stream(session.client.issuer.IssueBundles, many):
        if answer.WhichOneof("outcome") == "bundle":
            _print(answer.credential_index, answer.bundle)
            continue
        is_refused = True
        reason = pb.BundleRefusalReason.Name(answer.refusal.reason).removeprefix("BUNDLE_REFUSAL_REASON_")
        later = f": ask again in {answer.refusal.retry_after_s} s" if answer.refusal.retry_after_s else ""
        click.echo(f"credential {answer.credential_index}: {reason}{later}", err=True)
    if is_refused:
        raise click.exceptions.Exit(EXIT_REFUSED)


def _print(credential_index: int, issued: pb.IssueBundleResponse) -> None:
    for code in issued.codes:
        print_json(
            {
                "credential_index": credential_index,
                "qr_text": code.qr_text,
                "not_before": code.not_before,
                "expires_at": code.expires_at,
            }
        )
