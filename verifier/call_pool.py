"""Threads for unary calls that get a call when its message is there, not before.

grpcio gives a unary call a thread as soon as its headers have come, and the thread waits for the message: as
many callers as there are threads, who send no message, stop all others. Here a call without a message holds
no thread; it is cancelled after some seconds, and the oldest is when there are too many. It also saves
switches of threads: an empty call at 64 streams costs 92 microseconds and 2 switches, with grpcio's own pool
150 and 8.

Where calls have waited for a thread too long, a new one is refused when its headers come: without its
message and without a thread, whatever waits. So is one for which there is no place (verifier.places); the
second call of a caller waits behind the first ones of others. Calls of suspects (verifier.shedding) get a
thread when no others wait, those of forgers a few a second.

This needs grpcio's inner parts, whose shape may change with any release. `submit` looks at what it is given,
and does not touch what it does not know: such a call runs as on grpcio's own pool. The tests of silent peers
fail then.
"""

import functools
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent import futures
from contextlib import AbstractContextManager, ExitStack
from queue import SimpleQueue
from typing import Any

import grpc
import grpc._server as inner
import structlog
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from verifier.call_error import CallError
from verifier.retry_advice import retry_advice
from verifier.shedding import FORGERS_PATIENCE, FORGERS_PAUSE_S, Suspects

_LOOKS_PER_LIMIT = 4
_IS_KNOWN = all(
    hasattr(inner, name)
    for name in ("_receive_message", "_abort", "_Context", "_CLOSED", "_RECEIVE_MESSAGE_TOKEN")
)
_REFUSAL, _PLACE = "refusal", "place"
_CODES = {int(code): code for code in cygrpc.StatusCode}

_log = structlog.get_logger("verifier")


Place = Callable[[grpc.ServicerContext], AbstractContextManager[int]]


def refusable(
    method: Callable[..., Any], refusal: Callable[[], CallError], *, place: Place | None = None
) -> Callable[..., Any]:
    """Return a servicer's method that a CallPool refuses by `refusal` when calls have waited too long.

    With `place`, a call is within that from when its headers come to its end; it gives how many calls its
    caller has by then. Where it raises CallError, the call is refused at once.
    """
    behaviour = functools.partial(method)
    setattr(behaviour, _REFUSAL, refusal)
    setattr(behaviour, _PLACE, place)
    return behaviour


class CallPool(futures.ThreadPoolExecutor):
    """A pool for servicer methods that take one message."""

    def __init__(
        self,
        threads: int,
        *,
        name: str,
        max_silent: int,
        silent_s: float,
        max_backlog: float = math.inf,
        max_wait_s: float = math.inf,
        suspects: Suspects | None = None,
    ) -> None:
        """`max_silent` calls at most may be without their message, for `silent_s` seconds.

        A call that is refusable() is refused when more than `max_backlog` wait for a thread, or one waits for
        longer than `max_wait_s`. Connections in `suspects` are named as `grpc.ServicerContext.peer()` has it.
        """
        super().__init__(threads, thread_name_prefix=name)  # for what is not a call with one message
        self._max_backlog = max_backlog
        self._max_wait_s = max_wait_s
        self._suspects = Suspects() if suspects is None else suspects
        # A token for each call that waits, False for a thread that is to end.
        self._tokens: SimpleQueue[bool] = SimpleQueue()
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._waiting_behind: deque[tuple[float, Callable[[], None]]] = deque()
        self._forgers_waiting: deque[tuple[float, Callable[[], None]]] = deque()  # without tokens
        self._has_forgers = threading.Event()
        self._is_paced = False
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
        return len(self._waiting) + len(self._waiting_behind) + len(self._forgers_waiting)

    def silent(self) -> int:
        """Return how many calls have come without their message."""
        return len(self._silent)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a call when its message is there; return what tells when it is done."""
        if not _IS_KNOWN or len(args) != 7 or getattr(args[4], "__name__", "") != "unary_request":
            return super().submit(fn, *args, **kwargs)
        in_pool, event, state, behaviour, _, deserialize, serialize = args
        queue = self._queue(event.call.peer().decode()) if self._suspects else self._waiting
        try:
            if (refusal := getattr(behaviour, _REFUSAL, None)) is not None and self._is_long(queue):
                raise refusal()
            done, number = _begin(behaviour, event, state)
        except CallError as error:
            return _refuse(state, event.call, error)
        # One caller's many hold up nobody's first.
        queue = self._waiting_behind if number > 1 else queue
        receive = inner._receive_message(state, event.call, deserialize)

        def on_message(message_event: Any) -> Any:
            self._silent.pop(event.call, None)
            finished = receive(message_event)
            request, state.request = state.request, None
            if request is not None:
                arguments = (in_pool, event, state, behaviour, lambda: request, deserialize, serialize)
                queue.append((time.monotonic(), lambda: done.after(fn, arguments)))
                if queue is self._forgers_waiting:
                    self._has_forgers.set()
                else:
                    self._tokens.put(True)
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
        self._has_forgers.set()
        for _ in range(self._max_threads):
            self._tokens.put(False)
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

    def _queue(self, connection: str) -> deque[tuple[float, Callable[[], None]]]:
        """Return where the calls of a connection wait."""
        if connection not in self._suspects:
            return self._waiting
        if not self._suspects.is_forger(connection):
            return self._waiting_behind
        self._is_paced = self._is_paced or self._start(self._pace, "pace")
        return self._forgers_waiting if self._is_paced else self._waiting_behind

    def _pace(self) -> None:
        """Queue calls of forgers behind all others, as many as may go."""
        while self._has_forgers.wait() and not self._stopping.is_set():
            self._has_forgers.clear()
            while self._forgers_waiting and not self._stopping.is_set():
                if self._suspects.may_forger_go():
                    self._waiting_behind.append(self._forgers_waiting.popleft())
                    self._tokens.put(True)
                else:
                    self._stopping.wait(FORGERS_PAUSE_S)

    def _is_long(self, queue: "deque[tuple[float, Callable[[], None]]]") -> bool:
        if self.backlog() > self._max_backlog:
            return True
        max_wait_s = self._max_wait_s * (FORGERS_PATIENCE if queue is self._forgers_waiting else 1)
        try:
            return time.monotonic() - queue[0][0] > max_wait_s
        except IndexError:
            return False

    def _next(self) -> Callable[[], None]:
        """Return the call whose turn it is; to be called once for each token."""
        try:
            return self._waiting.popleft()[1]
        except IndexError:
            return self._waiting_behind.popleft()[1]

    def _run(self) -> None:
        while self._tokens.get():
            try:
                self._next()()
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


def _begin(behaviour: Callable[..., Any], event: Any, state: Any) -> "tuple[_Done, int]":
    """Return what tells when a call is done, and how many calls its caller has; raises CallError."""
    place: Place | None = getattr(behaviour, _PLACE, None)
    if place is None:
        return _Done(), 1
    entered = ExitStack()
    number = entered.enter_context(place(inner._Context(event, state, None)))
    return _Done(entered.close), number


def _refuse(state: Any, call: Any, error: CallError) -> "_Done":
    """End a call whose headers have come; grpcio holds the lock of its state."""
    state.trailing_metadata = retry_advice(error)
    inner._abort(state, call, _CODES[int(error.status)], error.message.encode())
    done = _Done()
    done.after(lambda: None, ())
    return done


class _Done:
    """What grpcio asks of a future: it has one callback, given before the call's message comes."""

    __slots__ = ("_callback", "_is_done", "_leave")

    def __init__(self, leave: Callable[[], None] | None = None) -> None:
        """`leave` is called when it is done, before the callback."""
        self._callback: Callable[[Any], object] | None = None
        self._is_done = False
        self._leave = leave

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        self._callback = callback
        if self._is_done:
            callback(self)

    def after(self, run: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """Run something and tell."""
        try:
            run(*arguments)
        finally:
            if self._leave is not None:
                self._leave()
            self._is_done = True
            if self._callback is not None:
                self._callback(self)
