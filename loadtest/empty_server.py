"""A server that does nothing, with the verifier's settings: what gRPC itself costs.

    python -m loadtest.empty_server <port file>

One method, /loadtest.Empty/Call, answers any bytes with none. Runs until it is killed.
"""

import signal
import sys
from concurrent import futures
from pathlib import Path

import grpc

from verifier.server import Limits, build_server

METHOD = "/loadtest.Empty/Call"


def _answer(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    return b""


def main() -> None:
    """Serve."""
    limits = Limits()
    server = build_server(futures.ThreadPoolExecutor(limits.threads), limits)
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Call": grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("loadtest.Empty", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    Path(sys.argv[1]).write_text(f"{port}\n")
    signal.pause()


if __name__ == "__main__":
    main()
