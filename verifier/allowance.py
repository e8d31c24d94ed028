"""So many a second, and so many at once."""

import threading
import time
from collections.abc import Callable


class Allowance:
    """A token bucket. Threads share it."""

    def __init__(
        self, per_s: float, *, at_once: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`at_once` is what is saved up while nobody takes."""
        self._per_s = per_s
        self._at_once = at_once
        self._monotonic = monotonic
        self._left = at_once
        self._at_s = monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Tell whether there is one left, and take it."""
        with self._lock:
            now_s = self._monotonic()
            self._left = min(self._at_once, self._left + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s
            if self._left < 1:
                return False
            self._left -= 1
            return True
