"""Tell Prometheus of each call: how it ended and how long it took, whoever answered or refused it.

It stands before everything else that looks at a call (issuer/admission.py), so that the time counts in which
the call waited for a thread. Health, which is asked again and again, is left out.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from issuer.metrics import CALL_SECONDS, CALLS
from verifier.own_pool import watched

# Of a call that nobody gave another code.
_OK = grpc.StatusCode.OK


class CallWatch(grpc.ServerInterceptor):
    """Watches the calls of some services."""

    def __init__(
        self, services: Iterable[ServiceDescriptor], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Each method of `services` becomes a value of a label."""
        # And nothing else does: whoever calls what does not exist must not write into our metrics.
        self._names = {
            f"/{service.full_name}/{method.name}": f"{service.name}/{method.name}"
            for service in services
            for method in service.methods
        }
        self._monotonic = monotonic

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Return gRPC's handler of a call, watched."""
        begun_s = self._monotonic()
        handler = continuation(handler_call_details)
        name = self._names.get(handler_call_details.method)
        if handler is None or name is None:
            return handler
        return watched(handler, _Call(name, begun_s, self._monotonic))


class _Call:
    """One call."""

    def __init__(self, method: str, begun_s: float, monotonic: Callable[[], float]) -> None:
        self._method = method
        self._begun_s = begun_s
        self._monotonic = monotonic

    def answers(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                response = behaviour(request, context)
            except BaseException:
                self._end(context, grpc.StatusCode.UNKNOWN)
                raise
            self._end(context, _OK)
            return response

        return answer

    def streams(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                yield from behaviour(request, context)
            except BaseException:
                self._end(context, grpc.StatusCode.UNKNOWN)
                raise
            self._end(context, _OK)

        return answer

    def _end(self, context: Any, otherwise: grpc.StatusCode) -> None:
        code = context.code() or (otherwise if context.is_active() else grpc.StatusCode.CANCELLED)
        CALLS.labels(self._method, code.name).inc()
        CALL_SECONDS.labels(self._method).observe(self._monotonic() - self._begun_s)
