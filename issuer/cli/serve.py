"""The command that serves."""

import os
from typing import Any

import click

from issuer.cli.offline import PATH, in_folder, passphrase, refusals, with_passphrase


@click.command()
@in_folder
@with_passphrase
@click.option("--redis-url", help="Where status is published.  [default: redis://127.0.0.1:6379/0]")
@click.option("--partitions", type=int, help="Partitions of the status, as verifiers have.  [default: 1]")
@click.option(
    "--listen", help="HOST:PORT beside the socket in --folder; '' for none.  [default: 127.0.0.1:50061]"
)
@click.option("--tls-certificate", type=PATH, help="PEM file with the certificate of --listen.")
@click.option("--tls-key", type=PATH, help="PEM file with its private key.")
@click.option("--tls-client-ca", type=PATH, help="Let only clients in with a certificate of these (PEM).")
@click.option("--insecure", is_flag=True, default=None, help="Serve plain text beyond this machine.")
@click.option("--port-file", type=PATH, help="Write the port there once it is served.")
@click.option("--metrics-listen", help="HOST:PORT for Prometheus.  [default: none]")
@click.option("--trace-endpoint", help="URL of a collector for traces, OTLP over HTTP.  [default: none]")
@click.option("--trace-ratio", type=float, help="Share of the calls that are traced.  [default: 0.001]")
@click.option("--threads", type=int, help="Calls that are answered at once.  [default: 16]")
@click.option("--grace-s", type=float, help="How long calls under way may take at the end.  [default: 5]")
@click.option("--key-life-s", type=int, help="How long a signing key signs.  [default: 604800, 7 days]")
@click.option("--key-set-life-s", type=int, help="How long a key set is valid.  [default: 2592000, 30 days]")
@click.option(
    "--second-person-above",
    type=int,
    help="Changed holders an hour and client that need no second person.  [default: 100]",
)
@click.option(
    "--red-alarm-per-hour", type=int, help="Reds by hand an hour that raise an alarm.  [default: 20]"
)
@click.option("--bundle-burst", type=int, help="Bundles that a credential may fetch at once.  [default: 10]")
@click.option("--bundles-per-hour", type=int, help="And in the long run.  [default: 60]")
def serve(**options: Any) -> None:
    """Serve apps and staff over gRPC, and publish status to Redis, until SIGTERM.

    Clients are known by a bearer key or a TLS certificate: see `gatelight-issuer client add`.

    Example: gatelight-issuer serve --folder gatelight-issuer --redis-url redis://10.0.0.5:6379/0
    """
    # Before gRPC is imported, which would log a taken port before we can explain it.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    from issuer.config import ServeSettings, load  # noqa: PLC0415 - help starts faster without these
    from issuer.main import serve as run  # noqa: PLC0415
    from verifier.logs import configure_logs  # noqa: PLC0415

    configure_logs("issuer")
    with refusals():
        settings = load(ServeSettings, options)
        run(settings, passphrase=passphrase(settings.read_passphrase(), is_new=False))
