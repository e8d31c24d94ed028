"""One import call: batches go out, answers come back in order, and a wait never lasts for ever."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

# A call whose batches are all answered ends at once; one that does not is no longer worth waiting for.
_END_TIMEOUT_S = 5.0


class NoBatchAnswer(Exception):
    """The issuer did not answer a batch in time."""


class BatchStream:
    """A bidi call with a batch for each answer. The caller bounds how many batches are unanswered."""

    def __init__(self, method: Callable[[Iterator[Any]], Any], *, timeout_s: float) -> None:
        """Begin the call; each answer is waited for `timeout_s` at most."""
        self._timeout_s = timeout_s
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()  # an exception is the last; None: the end
        self._call = method(iter(self._requests.get, None))
        # gRPC's own iterator can wait for ever, and then not even Ctrl-C gets through.
        self._reader = threading.Thread(target=self._read, name="batch-answers", daemon=True)
        self._reader.start()

    def send(self, request: Any) -> None:
        """Send a batch; returns at once."""
        self._requests.put(request)

    def receive(self) -> Any:
        """Return the answer to the batch that waits longest; raises grpc.RpcError or NoBatchAnswer."""
        try:
            answer = self._answers.get(timeout=self._timeout_s)
        except queue.Empty:
            raise NoBatchAnswer from None
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise NoBatchAnswer
        return answer

    def close(self, *, is_broken: bool) -> None:
        """End the call: in good order, or at once where it is broken."""
        self._requests.put(None)
        if not is_broken:
            self._reader.join(_END_TIMEOUT_S)
        self._call.cancel()

    def _read(self) -> None:
        try:
            for answer in self._call:
                self._answers.put(answer)
            self._answers.put(None)
        except grpc.RpcError as error:
            self._answers.put(error)
        except ValueError as error:  # the channel was closed under the call
            with contextlib.suppress(Exception):
                self._answers.put(error)
