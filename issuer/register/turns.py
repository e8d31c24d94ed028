"""Turns: a lock that is given to those who wait in the order in which they came.

threading.Lock gives itself to whoever is quickest, which is the import that has just let go of it; a
clerk's single change would wait for a million rows.
"""

import threading
from collections import deque


class Turns:
    """A lock whose waiters are served first come, first served."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, *, timeout_s: float) -> bool:
        """Wait for our turn; return whether it came."""
        with self._guard:
            if not self._is_taken:
                self._is_taken = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=timeout_s):
            return True
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return False
        return True  # it came just when we stopped waiting

    def release(self) -> None:
        """Let the next one have it."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False
