"""Spans of the calls of a grpcio server (verifier.tracing), by an interceptor.

It stands before whatever refuses calls, and looks at a call when it comes: so the wait for a thread is known,
and refusals are told of as well.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from verifier.own_pool import watched
from verifier.span_attributes import call_attributes, is_fault
from verifier.tracing import Attributes, Parent, Tracing

_TRACEPARENT = "traceparent"
Describe = Callable[[Any], Attributes]


class TracedCalls(grpc.ServerInterceptor):
    """Tells of the calls that are chosen."""

    def __init__(
        self,
        tracing: Tracing,
        services: Iterable[ServiceDescriptor],
        *,
        describe: Mapping[str, Describe] | None = None,
    ) -> None:
        """`describe` returns attributes from the response of a unary method, by the method's full name."""
        self._tracing = tracing
        self._describe = dict(describe or {})
        self._names = {
            f"/{service.full_name}/{method.name}": f"{service.full_name}/{method.name}"
            for service in services
            for method in service.methods
        }

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Return gRPC's handler of a call, as it is or watched."""
        begun_ns = time.monotonic_ns()
        handler = continuation(handler_call_details)
        name = self._names.get(handler_call_details.method)
        if handler is None or name is None:
            return handler
        parent = self._tracing.choose(_traceparent(handler_call_details))
        if parent is None:
            return handler
        call = _Call(self._tracing, name, parent, begun_ns, self._describe.get(name))
        return watched(handler, call)


class _Call:
    """One call."""

    def __init__(
        self, tracing: Tracing, name: str, parent: Parent, begun_ns: int, describe: Describe | None
    ) -> None:
        self._tracing = tracing
        self._name = name
        self._parent = parent
        self._begun_ns = begun_ns
        self._taken_up_ns = begun_ns
        self._describe = describe

    def answers(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self._taken_up_ns = time.monotonic_ns()
            try:
                response = behaviour(request, context)
            except BaseException:
                self._end(context, grpc.StatusCode.UNKNOWN, {})
                raise
            described = {} if self._describe is None or response is None else self._describe(response)
            self._end(context, grpc.StatusCode.OK, described)
            return response

        return answer

    def streams(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self._taken_up_ns = time.monotonic_ns()
            messages = 0
            try:
                for response in behaviour(request, context):
                    messages += 1
                    yield response
            except BaseException:
                self._end(context, grpc.StatusCode.UNKNOWN, {"gatelight.messages": messages})
                raise
            self._end(context, grpc.StatusCode.OK, {"gatelight.messages": messages})

        return answer

    def _end(self, context: Any, otherwise: grpc.StatusCode, described: Attributes) -> None:
        status = context.code() or (otherwise if context.is_active() else grpc.StatusCode.CANCELLED)
        code = int(status.value[0])
        attributes = call_attributes(code, begun_ns=self._begun_ns, taken_up_ns=self._taken_up_ns)
        self._tracing.tell(
            self._name,
            self._parent,
            begun_ns=self._begun_ns,
            attributes={**attributes, **described},
            has_failed=is_fault(code),
        )


def _traceparent(handler_call_details: Any) -> str | None:
    for key, value in handler_call_details.invocation_metadata or ():
        if key == _TRACEPARENT:
            return value if isinstance(value, str) else None
    return None
