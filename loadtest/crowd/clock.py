"""The clock of a run: Unix time as it was when the run began, and steady from there."""

import time
from collections.abc import Callable


def steady_clock() -> Callable[[], float]:
    """Return a clock, Unix time, that never jumps: one that is set meanwhile would keep people waiting."""
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset
