"""A grpcio server that does nothing: what gRPC itself costs.

    python -m loadtest.empty_server <port file> stock|verifier

With `stock`, calls run on Python's own thread pool and are found by generic handlers, as grpcio's manual has
it; with `verifier`, on the verifier's pools and by registered handlers. The options of the connections and
the number of threads are the verifier's in both. /loadtest.Empty/Call answers any bytes with none, and so
does each message of /loadtest.Empty/Stream. Runs until it is killed.
"""

import signal
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc

from verifier.limits import Limits
from verifier.own_pool import LanePool, on_own_pool
from verifier.server import build_server, unary_pool

METHOD = "/loadtest.Empty/Call"
LANE_METHOD = "/loadtest.Empty/Stream"
_SERVICE = "loadtest.Empty"


def _answer(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    return b""


def _answer_each(requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
    return (b"" for _ in requests)


def _stock(limits: Limits) -> grpc.Server:
    server = build_server(futures.ThreadPoolExecutor(limits.threads), limits)
    handlers = _handlers(futures.ThreadPoolExecutor(limits.max_streams))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    return server


def _as_verifier(limits: Limits) -> grpc.Server:
    server = build_server(unary_pool(limits), limits)
    server.add_registered_method_handlers(_SERVICE, _handlers(LanePool(limits.max_streams + 1)))
    return server


def _handlers(lanes: futures.ThreadPoolExecutor) -> "dict[str, grpc.RpcMethodHandler[bytes, bytes]]":
    return {
        "Call": grpc.unary_unary_rpc_method_handler(_answer),
        "Stream": grpc.stream_stream_rpc_method_handler(on_own_pool(_answer_each, lanes)),
    }


def main() -> None:
    """Serve."""
    port_file, settings = sys.argv[1:]
    server = {"stock": _stock, "verifier": _as_verifier}[settings](Limits())
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    Path(port_file).write_text(f"{port}\n")
    signal.pause()


if __name__ == "__main__":
    main()
