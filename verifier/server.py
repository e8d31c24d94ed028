"""The grpcio engine: a thread-pool server for the verifier's service, health included.

Threads and not asyncio: an empty call costs 105 microseconds on this server and 191 on grpcio's
asyncio one. How much may wait is bounded twice. A call that comes while others have waited too long, or too
many wait, is refused with a retry delay (verifier.call_pool), until the queue is short again; past
`_HARD_LIMIT` times as many, the transport refuses, without a delay.
"""

from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from verifier.call_pool import CallPool
from verifier.calls import Calls
from verifier.errors import SettingsError
from verifier.health import HealthServicer
from verifier.host.worker_config import GateAuth, TlsFiles
from verifier.limits import MAX_BATCH_BYTES, MAX_METADATA_BYTES, Limits
from verifier.own_pool import LanePool
from verifier.peer_credentials import credentials_reader
from verifier.server_tls import server_credentials
from verifier.servicer import SERVICE_NAME, VerifierServicer
from verifier.shedding import Suspects
from verifier.tracing import Attributes, Tracing
from verifier.v1 import verifier_pb2 as pb

_HARD_LIMIT = 2
# Calls that grpcio's one thread has not come to yet. Past this, gRPC ends more and more of them as CANCELLED
# and without a delay, upon which no client asks again; by itself it does from 1 000 on.
_MAX_PENDING = 8_192
# Calls whose message has not come, of each kind. A message comes with its headers, so that honest ones are
# among these for a moment.
_MAX_SILENT = 256
_LOOKAHEAD_BYTES = 64 << 10
# While draining: how often lanes that are idle by now are ended.
_END_IDLE_S = 0.05


class GrpcServer:
    """Serves Calls on one address."""

    def __init__(
        self,
        calls: Calls,
        *,
        listen: str,
        limits: Limits,
        tls: TlsFiles | None = None,
        gate_auth: GateAuth = GateAuth.NONE,
        has_reflection: bool = False,
        tracing: Tracing | None = None,
    ) -> None:
        """Bind `listen` (host:port, port 0 for any); raises SettingsError when it cannot be bound.

        Other processes may bind the same port and take a share of the connections.
        """
        suspects = Suspects()
        self._unary_pool = unary_pool(limits, suspects)
        self._batch_pool = _call_pool(
            limits.batch_threads, "batch", limits, max_backlog=limits.max_batch_backlog
        )
        # One thread more than there may be lanes: it refuses the others.
        self._stream_pool = LanePool(limits.max_streams + 1, thread_name_prefix="stream")
        self._health = HealthServicer([SERVICE_NAME], slow_peer_s=limits.slow_peer_s)
        self._server = build_server(self._unary_pool, limits, _interceptors(tracing))
        self._servicer = VerifierServicer(
            calls,
            credentials=credentials_reader(gate_auth),
            is_overloaded=lambda: self._unary_pool.backlog() > limits.max_backlog,
            limits=limits,
            suspects=suspects,
            # A stream holds its thread all day, and a batch is the work of a thousand calls: bounded, on
            # pools of their own, neither starves a handheld.
            stream_pool=self._stream_pool,
            batch_pool=self._batch_pool,
        )
        self._server.add_registered_method_handlers(SERVICE_NAME, self._servicer.handlers())
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if has_reflection:
            _reflect(self._server)
        self.port = _bind(self._server, listen, tls)

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def set_serving(self, is_serving: bool) -> None:
        """Tell the health service, for this service and for the server as a whole."""
        self._health.set_serving(is_serving)

    def drain(self, grace_s: float) -> None:
        """Say NOT_SERVING, take no new calls, give those under way `grace_s` seconds, and stop.

        Lanes on which nothing is under way are ended at once.
        """
        self._health.set_serving(False)
        stopped = self._server.stop(grace_s)
        while not stopped.is_set():
            self._servicer.end_idle_lanes()
            stopped.wait(_END_IDLE_S)
        for pool in (self._unary_pool, self._stream_pool, self._batch_pool):
            pool.shutdown(wait=False, cancel_futures=True)


def unary_pool(limits: Limits, suspects: Suspects | None = None) -> CallPool:
    """Return the pool for calls with one scan, and for all others that are short."""
    return _call_pool(
        limits.threads,
        "unary",
        limits,
        max_backlog=limits.max_backlog,
        max_wait_s=limits.max_wait_s,
        suspects=suspects,
    )


def build_server(
    pool: futures.ThreadPoolExecutor, limits: Limits, interceptors: Sequence[grpc.ServerInterceptor] = ()
) -> grpc.Server:
    """Return a grpcio server with our settings and no services; the benchmark measures it empty."""
    working = limits.threads + _HARD_LIMIT * limits.max_backlog + limits.max_streams
    slow_peer_ms = int(limits.slow_peer_s * 1_000)
    return grpc.server(
        pool,
        interceptors=list(interceptors),
        options=(
            # The other worker processes bind the same port.
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", MAX_BATCH_BYTES),
            ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.max_concurrent_streams", limits.max_streams_per_connection),
            ("grpc.max_allowed_incoming_connections", limits.max_connections),
            ("grpc.server.max_pending_requests", _MAX_PENDING),
            ("grpc.server.max_pending_requests_hard_limit", 2 * _MAX_PENDING),
            ("grpc.max_connection_age_ms", int(limits.connection_age_s * 1_000)),  # gRPC varies it by a tenth
            ("grpc.max_connection_age_grace_ms", int(limits.connection_age_grace_s * 1_000)),
            ("grpc.max_connection_idle_ms", int(limits.connection_idle_s * 1_000)),
            ("grpc.server_handshake_timeout_ms", slow_peer_ms),
            ("grpc.http2.settings_timeout", slow_peer_ms),
            # What a connection may send ahead of what is read, 4 MiB by default; the room for a long message
            # is made when its head has come.
            ("grpc.http2.lookahead_bytes", _LOOKAHEAD_BYTES),
            ("grpc.http2.bdp_probe", 0),
            # Gates ping an idle connection so that they notice a dead one; gRPC's own limit is five minutes.
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            # The server pings as well, so that gates that lost power do not keep connections for ever.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
        ),
        maximum_concurrent_rpcs=working + 2 * _MAX_SILENT,
    )


def _interceptors(tracing: Tracing | None) -> Sequence[grpc.ServerInterceptor]:
    if tracing is None:
        return ()
    # Imported where it is asked for, as reflection is.
    from verifier.span_attributes import of_batch, of_scan  # noqa: PLC0415
    from verifier.traced_calls import TracedCalls  # noqa: PLC0415

    describe: dict[str, Callable[[Any], Attributes]] = {
        f"{SERVICE_NAME}/VerifyCode": of_scan,
        f"{SERVICE_NAME}/VerifyCodes": of_batch,
    }
    return (TracedCalls(tracing, pb.DESCRIPTOR.services_by_name.values(), describe=describe),)


def _call_pool(threads: int, name: str, limits: Limits, **bounds: Any) -> CallPool:
    return CallPool(threads, name=name, max_silent=_MAX_SILENT, silent_s=limits.slow_peer_s, **bounds)


def _bind(server: grpc.Server, listen: str, tls: TlsFiles | None) -> int:
    try:
        if tls is None:
            return server.add_insecure_port(listen)
        credentials = server_credentials(tls.certificate, tls.key, tls.client_ca)
        return server.add_secure_port(listen, credentials)
    except RuntimeError:
        raise SettingsError(f"cannot listen on {listen}: is another server running there?") from None


def _reflect(server: grpc.Server) -> None:
    """Tell whoever asks which services and messages there are."""
    # Imported where it is asked for: workers start faster without.
    from grpc_reflection.v1alpha import reflection  # noqa: PLC0415

    names = (SERVICE_NAME, "grpc.health.v1.Health", reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
