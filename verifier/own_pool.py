"""Calls of one kind on threads of their own, so that long ones do not hold up short ones."""

import functools
from collections.abc import Callable
from concurrent import futures
from typing import Any


def on_own_pool(method: Callable[..., Any], pool: futures.ThreadPoolExecutor) -> Callable[..., Any]:
    """Return a servicer's method that grpcio runs on `pool` instead of the server's own."""
    behaviour = functools.partial(method)
    behaviour.experimental_thread_pool = pool  # type: ignore[attr-defined]
    return behaviour
