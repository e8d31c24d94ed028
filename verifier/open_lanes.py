"""The lanes that are open on a grpcio server, so that the idle ones can be ended when the worker drains.

A lane without a scan under way sits in grpcio's iterator of requests until its peer sends or goes; by itself
it would stay until the grace is over. Here the iterator is handed an error in place of a request, so that the
peer hears UNAVAILABLE, upon which clients call again; a cancelled call is none to call again. This needs
grpcio's inner parts, as verifier.call_pool does; what is not of the shape we know is cancelled after all.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc

from verifier.call_error import CallError, Status
from verifier.v1 import verifier_pb2 as pb

# A request, or what is wrong with it, and when it came, in nanoseconds of the monotonic clock.
_Request = tuple[pb.StreamVerifyRequest | CallError, int]


class OpenLanes:
    """The StreamVerify calls under way. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contexts: set[grpc.ServicerContext] = set()
        self._are_ending = False

    def requests(self, requests: Iterator[_Request], context: grpc.ServicerContext) -> Iterator[_Request]:
        """Give the requests of a lane; once lanes end, a CallError comes after what is under way."""
        with self._lock:
            self._contexts.add(context)
        try:
            while not self._are_ending:
                try:
                    request = next(requests)
                except StopIteration:
                    return
                yield request
            yield _going_away()
        finally:
            with self._lock:
                self._contexts.discard(context)

    def end_idle(self) -> None:
        """End the lanes that wait for a scan, and each other one after its scan.

        To be called again and again: a lane that was about to wait does not hear the first time.
        """
        self._are_ending = True
        with self._lock:
            contexts = tuple(self._contexts)
        for context in contexts:
            _interrupt(context)


def _interrupt(context: Any) -> None:
    state: Any = getattr(context, "_state", None)
    if not (hasattr(state, "condition") and hasattr(state, "request")):
        context.cancel()
        return
    with state.condition:
        if state.request is None:  # otherwise a scan has come, and is answered first
            state.request = _going_away()
        # Also who began to wait since the last time.
        state.condition.notify_all()


def _going_away() -> _Request:
    return CallError(Status.UNAVAILABLE, "the verifier is going away: call again"), time.monotonic_ns()
