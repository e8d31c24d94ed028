"""Signals as something to wait for, so that a gate ends between two scans and never within one."""

import os
import signal
from types import FrameType, TracebackType
from typing import Self

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# SIGWINCH comes when the terminal changes its size.
_CAUGHT = (*_STOPPING, signal.SIGWINCH)


class CaughtSignals:
    """While entered: SIGINT, SIGTERM and SIGHUP ask to stop; they and SIGWINCH make `wake` readable.

    For the main thread only, as Python has it.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.wake = -1

    def __enter__(self) -> Self:
        self.wake, self._write_end = os.pipe()
        for end in (self.wake, self._write_end):
            os.set_blocking(end, False)
        self._wakeup_before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        # A SIGHUP that is ignored already is nohup's: the gate is to outlive its terminal.
        is_under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        caught = [number for number in _CAUGHT if not (number is signal.SIGHUP and is_under_nohup)]
        self._before = {number: signal.signal(number, self._note) for number in caught}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self.wake)
        os.close(self._write_end)

    def clear(self) -> None:
        """Take note of the signals that came, so that `wake` waits for the next."""
        try:
            os.read(self.wake, 4_096)
        except BlockingIOError:
            return

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number in _STOPPING:
            self.stopped = True
