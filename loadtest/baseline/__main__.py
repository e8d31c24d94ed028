"""Run the naive verifier until it is killed."""

from concurrent import futures
from pathlib import Path

import click
import grpc
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from loadtest.baseline.service import NaiveServicer
from verifier.v1.verifier_pb2_grpc import add_VerifierServiceServicer_to_server
from verifier.wire.cose import key_id
from verifier.wire.ed25519 import PUBLIC_KEY_BYTES


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("port_file", type=click.Path(path_type=Path))
@click.option("--redis-url", required=True, help="Where the status is.")
@click.option("--public-key", required=True, help="The verifying key, as 64 hex digits.")
@click.option("--threads", type=click.IntRange(min=1), default=16, show_default=True)
def main(port_file: Path, redis_url: str, public_key: str, threads: int) -> None:
    """Serve the verifier's API on a free loopback port, and write the port to PORT_FILE."""
    try:
        key = bytes.fromhex(public_key)
    except ValueError:
        key = b""
    if len(key) != PUBLIC_KEY_BYTES:
        raise click.BadParameter("expected 64 hex digits", param_hint="--public-key")
    # A connection a thread: nobody waits for one.
    pool = redis.ConnectionPool.from_url(redis_url, max_connections=threads)
    server = grpc.server(futures.ThreadPoolExecutor(threads))
    servicer = NaiveServicer(
        client=redis.Redis(connection_pool=pool), keys={key_id(key): Ed25519PublicKey.from_public_bytes(key)}
    )
    add_VerifierServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    port_file.write_text(f"{port}\n")
    server.wait_for_termination()


if __name__ == "__main__":
    main(prog_name="python -m loadtest.baseline")
