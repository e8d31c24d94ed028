"""Calls of one kind on threads of their own, so that long ones do not hold up short ones."""

import contextlib
import functools
from collections.abc import Callable
from concurrent import futures
from typing import Any, Protocol


class LanePool(futures.ThreadPoolExecutor):
    """Threads for calls that last. Where the system has no more of them, a call waits for one.

    The error would end the one thread of grpcio's that serves, and the worker would look well.
    """

    def _adjust_thread_count(self) -> None:
        with contextlib.suppress(RuntimeError):
            super()._adjust_thread_count()


def on_own_pool(method: Callable[..., Any], pool: futures.ThreadPoolExecutor) -> Callable[..., Any]:
    """Return a servicer's method that grpcio runs on `pool` instead of the server's own."""
    behaviour = functools.partial(method)
    behaviour.__dict__.update(vars(method) if isinstance(method, functools.partial) else {})
    behaviour.experimental_thread_pool = pool  # type: ignore[attr-defined]
    return behaviour


class CallWatcher(Protocol):
    """Wraps the method that answers one call."""

    def answers(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a method that returns one response."""

    def streams(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a method that yields responses."""


def watched(handler: Any, call: CallWatcher) -> Any:
    """Return gRPC's handler of a call with its method wrapped, which grpcio runs as it does the bare one."""
    is_stream = handler.response_streaming
    kind = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if is_stream else 'unary'}"
    behaviour = getattr(handler, kind)
    method = call.streams(behaviour) if is_stream else call.answers(behaviour)
    # What pools know a method by are its attributes.
    vars(method).update(getattr(behaviour, "__dict__", {}))
    return handler._replace(**{kind: method})
