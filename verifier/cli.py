"""gatelight-verifier: serve verdicts, see how a verifier is, or scan at a gate."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from verifier.observe.command import observe
from verifier.scan_command import scan
from verifier.status_command import status
from verifier.terminal import tolerate_any_encoding

_EXIT_FAILED = 1
_EXIT_SETTINGS = 2
_PATH = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gatelight", prog_name="gatelight-verifier")
def main() -> None:
    """Tell gates, in one scan, whether the person in front of them may pass.

    Every option of `serve` can be given as GATELIGHT_VERIFIER_<NAME>, the Redis URL also as
    GATELIGHT_REDIS_URL, and in the TOML file of --config.
    """
    tolerate_any_encoding()


@main.command()
@click.option("--config", type=_PATH, help="TOML file with settings, named as these options are.")
@click.option("--root-key", type=_PATH, help="PEM file with the root's public key.")
@click.option("--redis-url", help="Where status and key set are read.  [default: redis://127.0.0.1:6379/0]")
@click.option("--partitions", type=int, help="Partitions of the status, as the issuer has.  [default: 1]")
@click.option("--mirror-capacity", type=int, help="Credentials the mirror has room for.  [default: 67108864]")
@click.option("--workers", type=int, help="Processes that answer.  [default: one a core]")
@click.option(
    "--engine",
    type=click.Choice(["auto", "grpcio", "envoy"]),
    help="What hosts a worker; auto is envoy where it runs.  [default: auto]",
)
@click.option("--listen", help="Address to serve on; port 0 takes a free one.  [default: 127.0.0.1:50051]")
@click.option("--insecure", is_flag=True, default=None, help="Serve plain text beyond loopback.")
@click.option("--port-file", type=_PATH, help="Write the port there once every worker answers.")
@click.option("--tls-certificate", type=_PATH, help="PEM file: certificate of this server, and its chain.")
@click.option("--tls-key", type=_PATH, help="PEM file: key of the certificate.")
@click.option("--tls-client-ca", type=_PATH, help="PEM file: gates need a certificate of one of these.")
@click.option(
    "--gate-auth",
    type=click.Choice(["none", "key", "certificate"]),
    help="How gates show who they are.  [default: certificate with --tls-client-ca, key with TLS, else none]",
)
@click.option("--cors-origins", help="Web pages that may call (engine envoy), separated by commas.")
@click.option("--max-test-age-s", type=int, help="Oldest negative test for a green.  [default: any]")
@click.option("--max-status-age-s", type=float, help="Oldest status for a green.  [default: any]")
@click.option("--journal", type=_PATH, help="Folder of the scan log.  [default: gatelight-journal]")
@click.option("--no-journal", is_flag=True, default=None, help="Keep no scan log.")
@click.option("--journal-limit-mib", type=int, help="Disk the scan log may take, in MiB.  [default: 1024]")
@click.option(
    "--state", type=_PATH, help="Folder of what a start without Redis needs.  [default: state, in --journal]"
)
@click.option("--no-state", is_flag=True, default=None, help="Keep nothing for a start without Redis.")
@click.option(
    "--state-max-age-s", type=float, help="Oldest status that a start may take from it.  [default: 86400]"
)
@click.option("--metrics-listen", help="Address for Prometheus, HOST:PORT.  [default: none]")
@click.option("--trace-endpoint", help="URL of a collector for traces, OTLP over HTTP.  [default: none]")
@click.option("--trace-ratio", type=float, help="Share of the calls that are traced.  [default: 0.001]")
@click.option(
    "--threads", type=int, help="Threads of a worker for unary calls (engine grpcio).  [default: 16]"
)
@click.option("--max-backlog", type=int, help="Calls that may wait at a worker.  [default: 4096]")
@click.option("--max-streams", type=int, help="Lanes that may be connected to a worker.  [default: 256]")
@click.option("--known-codes", type=int, help="Codes a worker remembers as verified.  [default: 16384]")
@click.option("--max-connections", type=int, help="Connections to a worker.  [default: 4096]")
@click.option(
    "--connection-age-s", type=float, help="When a connection has to be made anew.  [default: 1800]"
)
@click.option("--reflection", is_flag=True, default=None, help="Describe the API to whoever asks.")
@click.option("--grace-s", type=float, help="How long calls under way may take at the end.  [default: 5]")
def serve(**options: Any) -> None:
    """Answer scans over gRPC until SIGTERM. SIGHUP takes up new certificates and settings.

    Example: gatelight-verifier serve --root-key root.pub --redis-url redis://10.0.0.5:6379/0
    """
    from verifier.config import load_settings  # noqa: PLC0415 - `scan` must start fast
    from verifier.errors import SettingsError  # noqa: PLC0415
    from verifier.host.workers import WorkersFailed  # noqa: PLC0415
    from verifier.logs import configure_logs, tell_plainly  # noqa: PLC0415
    from verifier.main import serve as run  # noqa: PLC0415

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would log a taken port before we can explain it
    configure_logs("verifier")
    load = partial(load_settings, options)
    try:
        run(load(), load=load)
    except SettingsError as error:
        tell_plainly(str(error))
        sys.exit(_EXIT_SETTINGS)
    except WorkersFailed as error:
        tell_plainly(str(error))
        sys.exit(_EXIT_FAILED)


main.add_command(scan)
main.add_command(observe)
main.add_command(status)
