"""Where Prometheus asks: a small HTTP server that nobody can make use up the process that it is in.

Prometheus's own server gives every connection a thread and a descriptor for as long as its peer likes. Here
at most `MAX_CONNECTIONS` are open, each for at most `MAX_CONNECTION_S` seconds; any other is closed at once.
"""

import contextlib
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, MetricsHandler

# Where browsers and people begin, and where Prometheus asks.
_PATHS = ("/", "/metrics")
# A few that ask at the same time, and one by hand.
MAX_CONNECTIONS = 8
# To ask and to take the answer, however slowly either goes.
MAX_CONNECTION_S = 5.0
_PAUSE_S = 0.1

_log = structlog.get_logger("gatelight")


@contextlib.contextmanager
def metrics_served(listen: str, registry: CollectorRegistry) -> Iterator[None]:
    """Answer Prometheus on an address (HOST:PORT) until the end of the block; raises OSError."""
    host, _, port = listen.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    with _Server(family, address, registry) as server:
        thread = threading.Thread(target=server.serve_forever, args=(_PAUSE_S,), name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class _Handler(MetricsHandler):
    def do_GET(self) -> None:  # noqa: N802
        """Answer where there are metrics, and nowhere else."""
        if self.path.partition("?")[0] in _PATHS:
            super().do_GET()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 2 * MAX_CONNECTIONS  # of those that wait for a moment, in the kernel

    def __init__(self, family: int, address: Any, registry: CollectorRegistry) -> None:
        self.address_family = family
        self._lock = threading.Lock()
        self._ends_at_s: dict[socket.socket, float] = {}
        super().__init__(address, _Handler.factory(registry))

    def get_request(self) -> Any:
        """Return the next connection; raises OSError, not at once, or a lack of descriptors would spin."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_PAUSE_S)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Tell whether there is room for one more connection."""
        with self._lock:
            if len(self._ends_at_s) >= MAX_CONNECTIONS:
                return False
            self._ends_at_s[request] = time.monotonic() + MAX_CONNECTION_S
            return True

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, answered or refused."""
        with self._lock:
            self._ends_at_s.pop(request, None)
            super().shutdown_request(request)

    def service_actions(self) -> None:
        """End the connections whose time is over; this is called ten times a second."""
        now_s = time.monotonic()
        with self._lock:  # so that none is closed meanwhile, and its descriptor another's
            for request, ends_at_s in self._ends_at_s.items():
                if now_s >= ends_at_s:
                    with contextlib.suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Say that a request failed. Of a peer that went there is nothing to say."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            _log.error("metrics cannot be told", error=type(error).__name__)
