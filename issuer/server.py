"""The grpcio server of an issuer: both services and health, on a thread pool."""

from concurrent import futures

import grpc
from grpc_health.v1 import health_pb2_grpc

from issuer.errors import SettingsError
from issuer.servicer import AdminServicer, IssuerServicer
from issuer.v1 import issuer_pb2, issuer_pb2_grpc
from verifier.health import HealthServicer
from verifier.own_pool import on_own_pool

# 1 000 holders with the longest of everything are 1.5 MB, 2 880 codes half a megabyte.
MAX_MESSAGE_BYTES = 4 << 20
SERVICE_NAMES = tuple(service.full_name for service in issuer_pb2.DESCRIPTOR.services_by_name.values())
# What may wait for a thread before callers are told to come back.
_MAX_WAITING_PER_THREAD = 16
_BUNDLE_THREADS = 2
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A second server on the port is a mistake here, and must fail instead of taking half the calls.
    ("grpc.so_reuseport", 0),
)


class GrpcServer:
    """Serves an issuer on one address."""

    def __init__(self, *, issuer: IssuerServicer, admin: AdminServicer, listen: str, threads: int) -> None:
        """Bind `listen` (host:port, port 0 for any); raises SettingsError when it cannot be bound."""
        self._health = HealthServicer(SERVICE_NAMES)
        self._server = grpc.server(
            futures.ThreadPoolExecutor(threads, thread_name_prefix="issuer"),
            options=_OPTIONS,
            maximum_concurrent_rpcs=threads * (1 + _MAX_WAITING_PER_THREAD),
        )
        # Signing a day of codes takes half a second: on few threads of its own, it holds up no status change.
        bundle_pool = futures.ThreadPoolExecutor(_BUNDLE_THREADS, thread_name_prefix="bundle")
        issuer.IssueBundle = on_own_pool(issuer.IssueBundle, bundle_pool)  # type: ignore[method-assign]
        issuer_pb2_grpc.add_IssuerServiceServicer_to_server(issuer, self._server)
        issuer_pb2_grpc.add_AdminServiceServicer_to_server(admin, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            self.port = self._server.add_insecure_port(listen)
        except RuntimeError:
            raise SettingsError(f"cannot listen on {listen}: is another server running there?") from None

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()
        self._health.set_serving(True)

    def drain(self, grace_s: float) -> None:
        """Say NOT_SERVING, take no new calls, give those under way `grace_s` seconds, and stop."""
        self._health.set_serving(False)
        self._server.stop(grace_s).wait()
