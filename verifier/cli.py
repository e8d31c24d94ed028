"""gatelight-verifier: serve verdicts, or scan at a gate."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from verifier.scan_command import scan
from verifier.terminal import tolerate_any_encoding

_EXIT_SETTINGS = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gatelight", prog_name="gatelight-verifier")
def main() -> None:
    """Tell gates, in one scan, whether the person in front of them may pass.

    Every option of `serve` can be given as GATELIGHT_VERIFIER_<NAME>; the Redis URL also as
    GATELIGHT_REDIS_URL.
    """
    tolerate_any_encoding()


@main.command()
@click.option("--root-key", type=click.Path(path_type=Path), help="PEM file with the root's public key.")
@click.option("--redis-url", help="Where status and key set are read.  [default: redis://127.0.0.1:6379/0]")
@click.option("--partitions", type=int, help="Partitions of the status, as the issuer has.  [default: 1]")
@click.option("--listen", help="Address to serve on; port 0 takes a free one.  [default: 127.0.0.1:50051]")
@click.option("--insecure", is_flag=True, default=None, help="Serve plain text beyond loopback.")
@click.option("--port-file", type=click.Path(path_type=Path), help="Write the port there once it is served.")
@click.option("--threads", type=int, help="Threads for unary calls.  [default: 16]")
@click.option("--max-backlog", type=int, help="Calls that may wait; others are refused.  [default: 256]")
@click.option("--max-streams", type=int, help="Lanes that may be connected at once.  [default: 256]")
@click.option("--mirror-capacity", type=int, help="Credentials the mirror has room for.  [default: 67108864]")
@click.option("--max-test-age-s", type=int, help="Oldest negative test for a green.  [default: any]")
@click.option("--max-status-age-s", type=float, help="Oldest status for a green.  [default: any]")
@click.option("--grace-s", type=float, help="How long calls under way may take at the end.  [default: 5]")
def serve(**options: Any) -> None:
    """Answer scans over gRPC until SIGTERM.

    Example: gatelight-verifier serve --root-key root.pub --redis-url redis://10.0.0.5:6379/0
    """
    from verifier.config import load_settings  # noqa: PLC0415 - `scan` must start fast
    from verifier.errors import SettingsError  # noqa: PLC0415
    from verifier.logs import configure_logs  # noqa: PLC0415
    from verifier.main import serve as run  # noqa: PLC0415

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would log a taken port before we can explain it
    configure_logs()
    try:
        run(load_settings(options))
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(_EXIT_SETTINGS)


main.add_command(scan)
