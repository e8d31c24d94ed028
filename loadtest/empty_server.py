"""A server that does nothing, with the verifier's settings: what gRPC itself costs.

    python -m loadtest.empty_server <port file>

/loadtest.Empty/Call answers any bytes with none, and so does each message of /loadtest.Empty/Stream. Runs
until it is killed.
"""

import signal
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc

from verifier.limits import Limits
from verifier.own_pool import on_own_pool
from verifier.server import build_server

METHOD = "/loadtest.Empty/Call"
LANE_METHOD = "/loadtest.Empty/Stream"


def _answer(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    return b""


def _answer_each(requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
    return (b"" for _ in requests)


def main() -> None:
    """Serve."""
    limits = Limits()
    server = build_server(futures.ThreadPoolExecutor(limits.threads), limits)
    lanes = futures.ThreadPoolExecutor(limits.max_streams)
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Call": grpc.unary_unary_rpc_method_handler(_answer),
        "Stream": grpc.stream_stream_rpc_method_handler(on_own_pool(_answer_each, lanes)),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("loadtest.Empty", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    Path(sys.argv[1]).write_text(f"{port}\n")
    signal.pause()


if __name__ == "__main__":
    main()
