"""What a process of ours was told by signals, as plain numbers and something to wait for.

A handler of Python's runs in the main thread between any two of its instructions, so also while that thread
holds a lock, such as a threading.Event's own: whatever takes a lock there may wait for itself for ever. These
handlers take none, and the waiting is for a descriptor that Python's inner handler writes to.
"""

import contextlib
import signal
import socket
from types import FrameType
from typing import Any, Self

_STOPPING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Signals as they come. To be entered in the main thread."""

    def __init__(self, *numbers: signal.Signals, is_second_final: bool = False) -> None:
        """Take these: SIGTERM and SIGINT are to stop, SIGHUP is to reload.

        Where a second one `is_second_final`, it ends the process at once, as it would without us.
        """
        self._numbers = numbers
        self._is_second_final = is_second_final
        self._before: dict[signal.Signals, Any] = {}
        self.stops = 0
        self.is_to_reload = False

    def __enter__(self) -> Self:
        self._told, self._telling = socket.socketpair()
        self._telling.setblocking(False)
        # Full, it wakes us as well; nothing is read from what is in it.
        self._wakeup_before = signal.set_wakeup_fd(self._telling.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup_before)
        self._told.close()
        self._telling.close()

    def wait(self, timeout_s: float) -> None:
        """Return when a signal comes or came since the last call, or after the time, which is more than 0."""
        self._told.settimeout(timeout_s)
        with contextlib.suppress(TimeoutError):
            self._told.recv(4_096)

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if number in _STOPPING:
            self.stops += 1
            if self._is_second_final and self.stops > 1:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
        else:
            self.is_to_reload = True
