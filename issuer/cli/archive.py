"""The command that archives."""

from typing import Any

import click

from issuer.cli.offline import in_folder, refusals


@click.command()
@in_folder
@click.option("--redis-url", help="Where verifiers ship their scans.  [default: redis://127.0.0.1:6379/0]")
@click.option("--retention-days", type=int, help="How long scans are kept.  [default: 28]")
@click.option(
    "--walk-s",
    type=int,
    help="Nobody walks from one gate to another in less: a card that does is suspected.  [default: 60]",
)
@click.option("--metrics-listen", help="HOST:PORT for Prometheus.  [default: none]")
def archive(**options: Any) -> None:
    """Move scans from Redis into the register, report suspected copies, remove what is old; until SIGTERM.

    Runs beside `serve`. Several may run: one works, and another takes over when it ends.

    Example: gatelight-issuer archive --folder gatelight-issuer --redis-url redis://10.0.0.5:6379/0
    """
    from issuer.archive.main import archive as run  # noqa: PLC0415 - help starts faster without these
    from issuer.config import ArchiveSettings, load  # noqa: PLC0415
    from verifier.logs import configure_logs  # noqa: PLC0415

    configure_logs("archive")
    with refusals():
        run(load(ArchiveSettings, options))
