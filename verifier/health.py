"""The standard health service (grpc.health.v1), for services that are healthy together or not at all.

Not grpcio's own: that one holds its lock while it sends to those who watch, so a single peer that opens no
flow-control window stops every probe, the thread that tells the health, and the drain at the end. It also
takes any number of watchers.
"""

import threading
from collections.abc import Collection, Iterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from verifier.call_pool import CallPool
from verifier.limits import Limits
from verifier.own_pool import on_own_pool

_MAX_WATCHERS = 16
_Response = health_pb2.HealthCheckResponse


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells one status for the server and all its services; NOT_SERVING at first."""

    def __init__(self, services: Collection[str], *, slow_peer_s: float = Limits().slow_peer_s) -> None:
        """A call whose message has not come after `slow_peer_s` seconds is ended."""
        self._services = frozenset(services) | {""}
        self._changed = threading.Condition()
        self._is_serving = False
        self._watchers = threading.BoundedSemaphore(_MAX_WATCHERS)
        # One thread more than may watch: it refuses the others.
        pool = CallPool(_MAX_WATCHERS + 1, name="health", max_silent=_MAX_WATCHERS, silent_s=slow_peer_s)
        self.Watch = on_own_pool(self._watch, pool)  # type: ignore[method-assign]

    def set_serving(self, is_serving: bool) -> None:
        """Change the status."""
        with self._changed:
            self._is_serving = is_serving
            self._changed.notify_all()

    def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Return the status now."""
        if request.service not in self._services:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        return self._now()

    def _watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        if not self._watchers.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watch already: use Check")
        try:
            is_here = request.service in self._services
            if not is_here:
                yield _Response(status=_Response.SERVICE_UNKNOWN)
            context.add_callback(self._wake)
            told: bool | None = None
            while context.is_active():
                with self._changed:
                    while context.is_active() and (not is_here or self._is_serving is told):
                        self._changed.wait()
                    told = self._is_serving
                if context.is_active():
                    yield self._now()
        finally:
            self._watchers.release()

    def _now(self) -> health_pb2.HealthCheckResponse:
        return _Response(status=_Response.SERVING if self._is_serving else _Response.NOT_SERVING)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
