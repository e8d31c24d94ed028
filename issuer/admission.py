"""Threads for kinds of calls, and how many calls of each kind may wait for one.

Long calls have pools of their own, so that none of them holds up a status change; and each pool's queue is
bounded, so that a flood of one kind leaves room for the others. What finds its queue full is refused at
once, with a delay after which to ask again.

A call without a bearer key, where a key is the only way to be known, takes no thread of these pools either:
grpcio would wait on it for the call's message, and strangers that send none would hold them all.
"""

from collections.abc import Iterator, Mapping
from concurrent import futures
from typing import Any, NoReturn

import grpc

from issuer.access.gatekeeper import METADATA_KEY
from issuer.access.roles import Caller
from issuer.answers import Gatekeeper, answers_with_stream, retry_advice
from issuer.errors import TooMany
from verifier.own_pool import on_own_pool

# What may wait for a thread: some seconds of work, after which most callers have given up.
_MAX_WAITING_PER_THREAD = 16
_RETRY_AFTER_S = 2
_OVERLOADED = TooMany("too many calls of this kind are waiting", retry_after_s=_RETRY_AFTER_S)


class Pool(futures.ThreadPoolExecutor):
    """A thread pool that knows when it has enough to do."""

    def __init__(self, threads: int, *, name: str) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._max_waiting = threads * _MAX_WAITING_PER_THREAD
        self.max_calls = threads + self._max_waiting

    def is_full(self) -> bool:
        """Return whether as many calls wait as may."""
        return self._work_queue.qsize() >= self._max_waiting


class Admission(grpc.ServerInterceptor):
    """Refuses calls whose pool is full. gRPC asks it one call after the other, before any takes a thread."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        *,
        otherwise: Pool,
        unbounded: frozenset[str],
        gatekeeper: Gatekeeper,
        needs_key: bool,
    ) -> None:
        """`pools` are by the full name of the method, `/package.Service/Method`; the rest is `otherwise`'s.

        Those whose service is in `unbounded` are let through. With `needs_key` calls without a bearer key
        are refused as `gatekeeper` does it; otherwise a certificate may tell who calls.
        """
        self._pools = pools
        self._otherwise = otherwise
        self._unbounded = unbounded
        self._needs_key = needs_key
        # A stream's handler, also for unary calls: it refuses without waiting for the request.
        refusals = futures.ThreadPoolExecutor(1, thread_name_prefix="refusal")
        self._refusal: Any = grpc.stream_stream_rpc_method_handler(on_own_pool(_refuse, refusals))
        self._keyless: Any = grpc.stream_stream_rpc_method_handler(
            on_own_pool(_Strangers(gatekeeper).refuse, refusals)
        )

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Return gRPC's handler of a call, or one that refuses."""
        method: str = handler_call_details.method
        if method.split("/")[1] in self._unbounded:
            return continuation(handler_call_details)
        if self._needs_key and not any(key == METADATA_KEY for key, _ in _metadata(handler_call_details)):
            return self._keyless
        if self._pools.get(method, self._otherwise).is_full():
            return self._refusal
        return continuation(handler_call_details)


class _Strangers:
    """Answers whoever cannot be known."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self.gatekeeper = gatekeeper

    # With no role, nobody gets past the gatekeeper, who counts the attempt and says what he always says.
    @answers_with_stream(is_recorded=False)
    def refuse(self, _requests: Iterator[Any], _caller: Caller) -> Iterator[Any]:
        yield from ()


def _metadata(handler_call_details: Any) -> Iterator[tuple[str, str | bytes]]:
    return iter(handler_call_details.invocation_metadata or ())


def _refuse(_requests: Iterator[Any], context: grpc.ServicerContext) -> NoReturn:
    context.set_trailing_metadata(retry_advice(_OVERLOADED))
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(_OVERLOADED))
