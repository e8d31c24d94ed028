"""`gatelight-verifier status`: the state of a running verifier, from its metrics.

It looks twice, a second apart: whether gates are answered shows in what happens in a second.

Exit codes: 0 all is well, 1 something is wrong, 2 wrong usage, 3 there is no verifier that answers.
"""

import json
import sys
import time
from datetime import datetime

import click

_EXIT_WRONG = 1
_EXIT_NO_ANSWER = 3
_EVERY_S = 1.0
# Whoever wants to watch all day has Prometheus.
_MAX_WATCH_S = 3_600
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - where it listens, not we
_VARIABLE = "GATELIGHT_VERIFIER_METRICS_LISTEN"


def _address(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str:
    from verifier.errors import SettingsError  # noqa: PLC0415 - `scan` must start fast
    from verifier.listen import require_address  # noqa: PLC0415

    if not value:
        raise click.UsageError(
            f"give --metrics HOST:PORT, or {_VARIABLE}: what `serve` was given as --metrics-listen"
        )
    try:
        require_address(value, "metrics")
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    host, _, port = value.rpartition(":")
    return f"{_ANYWHERE.get(host, host)}:{port}"


@click.command()
@click.option(
    "--metrics",
    "address",
    envvar=_VARIABLE,
    show_envvar=True,
    callback=_address,
    help="Where the verifier answers Prometheus, HOST:PORT.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a second.")
@click.option(
    "--watch",
    "watch_s",
    type=click.IntRange(1, _MAX_WATCH_S),
    default=1,
    help="Go on for so many seconds, and print the state in each.",
)
def status(address: str, as_json: bool, watch_s: int) -> None:
    """Print the state of a running verifier: what is wrong, what it means for the gates, and what to do.

    It looks twice, a second apart, and tells what happens in that second.

    Exit codes: 0 all is well, 1 something is wrong, 2 wrong usage, 3 it does not answer.

    Example: gatelight-verifier status --metrics 127.0.0.1:9465
    """
    from rich.console import Console  # noqa: PLC0415 - it takes a while

    from verifier.seen_metrics import NotSeen, SeenMetrics  # noqa: PLC0415
    from verifier.status_page import Page  # noqa: PLC0415

    console = Console(highlight=False, markup=False, emoji=False)
    page = before = None
    for look in range(1 + watch_s):
        if look:
            time.sleep(_EVERY_S)
        try:
            seen = SeenMetrics.ask(address)
        except NotSeen as error:
            _tell_no_answer(f"no answer from a verifier at {address}: {error}", as_json=as_json)
            sys.exit(_EXIT_NO_ANSWER)
        if before is not None:
            if watch_s > 1 and not as_json:
                if page is not None:
                    console.rule(characters="-")
                console.print(f"{datetime.now().astimezone():%H:%M:%S}")
            page = Page.of(seen, before)
            if as_json:
                click.echo(json.dumps(page.to_json()))
            else:
                page.print(console)
        before = seen
    if page is None or page.state != "ok":
        sys.exit(_EXIT_WRONG)


def _tell_no_answer(text: str, *, as_json: bool) -> None:
    if as_json:
        problem = {"part": "verifier", "kind": "no_answer", "since_s": None, "text": text}
        click.echo(json.dumps({"state": "no_answer", "problems": [problem]}))
    else:
        click.echo(text, err=True)
