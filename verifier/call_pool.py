"""Threads for unary calls that get a call when its message is there, not before.

grpcio gives a unary call a thread as soon as its headers have come, and the thread waits for the message: as
many callers as there are threads, who send no message, stop all others. Here a call without a message holds
no thread; it is cancelled after some seconds, and the oldest is when there are too many. It also saves
switches of threads: an empty call at 64 streams costs 92 microseconds and 2 switches, with grpcio's own pool
150 and 8.

This needs grpcio's inner parts, whose shape may change with any release. `submit` looks at what it is given,
and does not touch what it does not know: such a call runs as on grpcio's own pool. The tests of silent peers
fail then.
"""

import threading
import time
from collections.abc import Callable
from concurrent import futures
from queue import SimpleQueue
from typing import Any

import grpc._server as inner
import structlog
from grpc._cython import cygrpc  # type: ignore[attr-defined]

_LOOKS_PER_LIMIT = 4
_IS_KNOWN = all(
    hasattr(inner, name) for name in ("_receive_message", "_abort", "_CLOSED", "_RECEIVE_MESSAGE_TOKEN")
)

_log = structlog.get_logger("verifier")


class CallPool(futures.ThreadPoolExecutor):
    """A pool for servicer methods that take one message."""

    def __init__(self, threads: int, *, name: str, max_silent: int, silent_s: float) -> None:
        """`max_silent` calls at most may be without their message, for `silent_s` seconds."""
        super().__init__(threads, thread_name_prefix=name)  # for what is not a call with one message
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._max_threads = threads
        self._name = name
        self._threads_started = 0
        self._is_watched = False
        self._max_silent = max_silent
        self._silent_s = silent_s
        self._silent: dict[Any, float] = {}  # calls without their message, oldest first, and since when
        self._stopping = threading.Event()

    def backlog(self) -> int:
        """Return how many calls have come with their message and wait for a thread."""
        return self._work.qsize()

    def silent(self) -> int:
        """Return how many calls have come without their message."""
        return len(self._silent)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a call when its message is there; return what tells when it is done."""
        if not _IS_KNOWN or len(args) != 7 or getattr(args[4], "__name__", "") != "unary_request":
            return super().submit(fn, *args, **kwargs)
        in_pool, event, state, behaviour, _, deserialize, serialize = args
        done = _Done()
        receive = inner._receive_message(state, event.call, deserialize)

        def on_message(message_event: Any) -> Any:
            self._silent.pop(event.call, None)
            finished = receive(message_event)
            request, state.request = state.request, None
            if request is not None:
                arguments = (in_pool, event, state, behaviour, lambda: request, deserialize, serialize)
                self._work.put(lambda: done.after(fn, arguments))
                self._start_thread()
                return finished
            with state.condition:
                if state.client is inner._CLOSED:
                    code = cygrpc.StatusCode.unimplemented
                    inner._abort(state, event.call, code, b"expected a message")
            done.after(lambda: None, ())
            return finished

        # grpcio holds the lock of the call's state here, as where it waits for the message itself.
        event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), on_message)
        state.due.add(inner._RECEIVE_MESSAGE_TOKEN)
        if not self._is_watched:
            self._is_watched = self._start(self._watch, "watch")
        self._silent[event.call] = time.monotonic()
        if len(self._silent) > self._max_silent:
            self._cancel_oldest(1)
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls."""
        self._stopping.set()
        for _ in range(self._max_threads):
            self._work.put(None)
        super().shutdown(wait=wait, cancel_futures=cancel_futures)

    def _start_thread(self) -> None:
        """Start one more thread, up to all; grpcio's one thread that brings messages calls this."""
        if self._threads_started < self._max_threads:
            self._threads_started += self._start(self._run, str(self._threads_started))

    def _start(self, target: Callable[[], None], name: str) -> bool:
        """Start a thread; tell whether the system had one.

        Otherwise those that there are go on, and the next call tries again: an error would end the one thread
        of grpcio's that serves.
        """
        try:
            threading.Thread(target=target, name=f"{self._name}_{name}", daemon=True).start()
        except RuntimeError:
            return False
        return True

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the thread is for the calls after this one as well
                _log.error("call failed", error=type(error).__name__)

    def _watch(self) -> None:
        while not self._stopping.wait(self._silent_s / _LOOKS_PER_LIMIT):
            long_ago = time.monotonic() - self._silent_s
            # A copy: calls come and go meanwhile.
            self._cancel_oldest(sum(since < long_ago for since in list(self._silent.values())))

    def _cancel_oldest(self, count: int) -> None:
        for call in list(self._silent)[:count]:
            self._silent.pop(call, None)
            call.cancel()


class _Done:
    """What grpcio asks of a future: it has one callback, given before the call's message comes."""

    __slots__ = ("_callback",)

    def __init__(self) -> None:
        self._callback: Callable[[Any], object] | None = None

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        self._callback = callback

    def after(self, run: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """Run something and tell."""
        try:
            run(*arguments)
        finally:
            if self._callback is not None:
                self._callback(self)
