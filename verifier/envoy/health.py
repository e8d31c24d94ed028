"""The standard health service (grpc.health.v1) over ASGI: one status for the server and its service."""

import asyncio
from collections.abc import Collection

from grpc_health.v1 import health_pb2

from verifier.call_error import CallError, Status
from verifier.envoy.asgi_types import Scope
from verifier.envoy.exchange import Exchange
from verifier.envoy.framing import frame, only_message
from verifier.limits import MAX_SCAN_BYTES

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
_MAX_WATCHERS = 16
# Calls of Watch whose message has not come: one that comes with its headers takes a place for a moment.
_MAX_SILENT = 256
_LOOK_S = 0.1
# ASGI does not call who has sent its whole request: it has to be asked whether the peer is still there.
_LOOKS_FOR_EACH_QUESTION = 5
_Response = health_pb2.HealthCheckResponse


class Health:
    """Tells whether the verifier answers; NOT_SERVING at first."""

    def __init__(self, services: Collection[str], *, slow_peer_s: float) -> None:
        """A call of Watch whose message has not come after `slow_peer_s` seconds is ended."""
        self._slow_peer_s = slow_peer_s
        self._silent = 0
        self._services = frozenset(services) | {""}
        self._watchers = 0
        self._is_serving = False
        self.is_draining = False

    def set_serving(self, is_serving: bool) -> None:
        """Change the status; who watches is told within a tenth of a second."""
        self._is_serving = is_serving

    async def check(self, exchange: Exchange, scope: Scope) -> None:  # noqa: ARG002 - as every method
        """Return the status now."""
        body = await exchange.body(MAX_SCAN_BYTES)
        if not self._is_here(exchange, body):
            raise CallError(Status.NOT_FOUND, "there is no such service here")
        await exchange.answer(self._now())

    async def watch(self, exchange: Exchange, scope: Scope) -> None:  # noqa: ARG002 - as every method
        """Send the status now and whenever it changes."""
        if self._watchers >= _MAX_WATCHERS or self._silent >= _MAX_SILENT:
            raise _too_many()
        self._silent += 1
        try:
            body = await exchange.body_within(self._slow_peer_s, MAX_SCAN_BYTES)
        finally:
            self._silent -= 1
        is_here = self._is_here(exchange, body)
        if self._watchers >= _MAX_WATCHERS:
            raise _too_many()
        self._watchers += 1
        try:
            await self._watch(exchange, is_here=is_here)
        finally:
            self._watchers -= 1

    async def _watch(self, exchange: Exchange, *, is_here: bool) -> None:
        told = b""
        looks = 0
        while True:
            status = self._now() if is_here else _message(_Response.SERVICE_UNKNOWN)
            if status != told:
                told = status
                await exchange.send(frame(status))
            if self.is_draining:
                raise CallError(Status.UNAVAILABLE, "the verifier is going away: call again")
            await asyncio.sleep(_LOOK_S)
            looks += 1
            if looks % _LOOKS_FOR_EACH_QUESTION == 0 and await exchange.is_gone():
                return

    def _is_here(self, exchange: Exchange, body: bytes) -> bool:
        """Tell whether the service that a call asks about is here."""
        message = only_message(body, MAX_SCAN_BYTES, exchange.encoding)
        return health_pb2.HealthCheckRequest.FromString(message).service in self._services

    def _now(self) -> bytes:
        is_serving = self._is_serving and not self.is_draining
        return _message(_Response.SERVING if is_serving else _Response.NOT_SERVING)


def _too_many() -> CallError:
    return CallError(Status.RESOURCE_EXHAUSTED, "too many watch already: use Check")


def _message(status: int) -> bytes:
    return _Response(status=status).SerializeToString()
