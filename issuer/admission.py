"""Threads for kinds of calls, and how many calls of each kind may wait for one.

Long calls have pools of their own, so that none of them holds up a status change; and each pool's queue is
bounded, so that a flood of one kind leaves room for the others. What finds its queue full is refused at
once, with a delay after which to ask again.
"""

from collections.abc import Iterator, Mapping
from concurrent import futures
from typing import Any, NoReturn

import grpc

from issuer.answers import retry_advice
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

    def __init__(self, pools: Mapping[str, Pool], *, otherwise: Pool, unbounded: frozenset[str]) -> None:
        """`pools` are by the full name of the method, `/package.Service/Method`; the rest is `otherwise`'s.

        Those whose service is in `unbounded` are let through.
        """
        self._pools = pools
        self._otherwise = otherwise
        self._unbounded = unbounded
        # A stream's handler, also for unary calls: it refuses without waiting for the request.
        refusals = futures.ThreadPoolExecutor(1, thread_name_prefix="refusal")
        self._refusal: Any = grpc.stream_stream_rpc_method_handler(on_own_pool(_refuse, refusals))

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Return gRPC's handler of a call, or one that refuses."""
        method: str = handler_call_details.method
        pool = self._pools.get(method, self._otherwise)
        if pool.is_full() and method.split("/")[1] not in self._unbounded:
            return self._refusal
        return continuation(handler_call_details)


def _refuse(_requests: Iterator[Any], context: grpc.ServicerContext) -> NoReturn:
    context.set_trailing_metadata(retry_advice(_OVERLOADED))
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(_OVERLOADED))
