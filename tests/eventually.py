"""Waiting for real processes: until something holds, and not a moment longer."""

import time
from collections.abc import Callable
from typing import TypeVar

_Value = TypeVar("_Value")


def eventually(look: Callable[[], _Value], *, timeout_s: float = 10, interval_s: float = 0.005) -> _Value:
    """Return what `look` returns once that is true, looking again and again; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(interval_s)
