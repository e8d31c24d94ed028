"""End streams whose client does nothing for minutes, and so give their thread back.

gRPC waits for ever for a client that neither sends the next request nor reads the next response, and pings
only tell that its machine is alive. A few such clients would hold all threads of the imports or bundles.
Time in which the issuer itself works does not count.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from issuer.errors import FailedPrecondition

_LOOKS_PER_LIMIT = 10

_Behaviour = Callable[[Any, grpc.ServicerContext], Iterator[Any]]


class IdleStreams:
    """Watches streams from one thread of its own."""

    def __init__(self, *, limit_s: float) -> None:
        """A client may keep a stream waiting for `limit_s` seconds."""
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._streams: set[_Stream] = set()  # at most one for each thread that serves streams
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="idle-streams", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()

    def watched(self, method: _Behaviour, *, has_request_stream: bool) -> _Behaviour:
        """Return a servicer's method that answers with a stream, watched."""

        def behaviour(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            stream = _Stream(context)
            with self._lock:
                self._streams.add(stream)
            try:
                yield from stream.responses(
                    method(stream.requests(request) if has_request_stream else request, context)
                )
            finally:
                with self._lock:
                    self._streams.discard(stream)

        return behaviour

    def _watch(self) -> None:
        while not self._stopping.wait(self._limit_s / _LOOKS_PER_LIMIT):
            long_ago = time.monotonic() - self._limit_s
            with self._lock:
                idle = [stream for stream in self._streams if stream.waits_since < long_ago]
            for stream in idle:
                stream.end()


class _Stream:
    """One call, and since when it waits for its client."""

    __slots__ = ("_context", "_is_ended", "waits_since")

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self._is_ended = False
        self.waits_since = float("inf")  # by the monotonic clock; never, while the issuer works

    def end(self) -> None:
        self._is_ended = True
        self._context.cancel()

    def requests(self, requests: Iterator[Any]) -> Iterator[Any]:
        while True:
            self.waits_since = time.monotonic()
            try:
                request = next(requests)
            except (StopIteration, grpc.RpcError) as error:
                if self._is_ended:
                    # Sometimes a cancelled call looks to gRPC like one that the client brought to its end.
                    raise FailedPrecondition("nothing came from the client for too long") from None
                if isinstance(error, StopIteration):
                    return
                raise
            finally:
                self.waits_since = float("inf")
            yield request

    def responses(self, responses: Iterator[Any]) -> Iterator[Any]:
        for response in responses:
            self.waits_since = time.monotonic()
            yield response
            self.waits_since = float("inf")
