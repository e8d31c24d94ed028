"""The grpcio engine: a thread-pool server for the verifier's service, health included.

Threads and not asyncio: an empty call costs 105 microseconds on this server and 191 on grpcio's
asyncio one. How much may wait is bounded twice. A call that comes to its thread while more than
`max_backlog` wait behind it is refused with a retry delay by the servicer, until the queue is short again;
past `_HARD_LIMIT` times as many, the transport refuses at once.
"""

from concurrent import futures
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2_grpc

from verifier.errors import SettingsError
from verifier.health import HealthServicer
from verifier.own_pool import on_own_pool
from verifier.service import Verifier
from verifier.servicer import VerifierServicer
from verifier.v1 import verifier_pb2, verifier_pb2_grpc

# 1 000 scans with the longest ids and PAPER codes are about 500 KiB.
MAX_MESSAGE_BYTES = 1 << 20
SERVICE_NAME = verifier_pb2.DESCRIPTOR.services_by_name["VerifierService"].full_name
_HARD_LIMIT = 4
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A second server on the port is a mistake here, and must fail instead of taking half the calls.
    ("grpc.so_reuseport", 0),
    # Gates ping an idle connection so that they notice a dead one; gRPC's own limit is five minutes.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # The server pings as well, so that gates that lost power do not keep connections for ever.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one server takes on at once."""

    threads: int = 16
    max_backlog: int = 256  # unary calls that may wait for a thread
    max_streams: int = 256  # open StreamVerify calls; each holds a thread
    batch_threads: int = 2
    max_batch_backlog: int = 32  # VerifyCodes calls that may wait; a full one takes a tenth of a second


class _Pool(futures.ThreadPoolExecutor):
    """A thread pool that knows how much waits."""

    def backlog(self) -> int:
        return self._work_queue.qsize()


class GrpcServer:
    """Serves a Verifier on one address."""

    def __init__(self, verifier: Verifier, *, listen: str, limits: Limits) -> None:
        """Bind `listen` (host:port, port 0 for any); raises SettingsError when it cannot be bound."""
        self._unary_pool = _Pool(limits.threads, thread_name_prefix="unary")
        # One thread more than there may be lanes: it refuses the others.
        self._stream_pool = _Pool(limits.max_streams + 1, thread_name_prefix="stream")
        self._batch_pool = _Pool(limits.batch_threads, thread_name_prefix="batch")
        self._health = HealthServicer([SERVICE_NAME])
        self._server = build_server(self._unary_pool, limits)
        self._servicer = servicer = VerifierServicer(
            verifier,
            is_overloaded=lambda: self._unary_pool.backlog() > limits.max_backlog,
            has_too_many_batches=lambda: self._batch_pool.backlog() > limits.max_batch_backlog,
            max_streams=limits.max_streams,
        )
        # A stream holds its thread all day, and a batch is the work of a thousand calls: bounded, on pools
        # of their own, neither starves a handheld.
        servicer.StreamVerify = on_own_pool(servicer.StreamVerify, self._stream_pool)  # type: ignore[method-assign]
        servicer.VerifyCodes = on_own_pool(servicer.VerifyCodes, self._batch_pool)  # type: ignore[method-assign]
        verifier_pb2_grpc.add_VerifierServiceServicer_to_server(servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            self.port = self._server.add_insecure_port(listen)
        except RuntimeError:
            raise SettingsError(f"cannot listen on {listen}: is another server running there?") from None

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def set_serving(self, is_serving: bool) -> None:
        """Tell the health service, for this service and for the server as a whole."""
        self._health.set_serving(is_serving)

    def drain(self, grace_s: float) -> None:
        """Say NOT_SERVING, take no new calls, give those under way `grace_s` seconds, and stop."""
        self._health.set_serving(False)
        self._server.stop(grace_s).wait()
        for pool in (self._unary_pool, self._stream_pool, self._batch_pool):
            pool.shutdown(wait=False, cancel_futures=True)


def build_server(unary_pool: futures.ThreadPoolExecutor, limits: Limits) -> grpc.Server:
    """Return a grpcio server with our settings and no services; the benchmark measures it empty."""
    return grpc.server(
        unary_pool,
        options=_OPTIONS,
        maximum_concurrent_rpcs=limits.threads + _HARD_LIMIT * limits.max_backlog + limits.max_streams,
    )
