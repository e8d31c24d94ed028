"""Lines for a descriptor that may not take them, written by a thread of their own.

Who logs never waits: a pipe that nobody reads would hold up the thread that keeps the mirror, or the event
loop. Lines wait in memory, a bounded number of them. When that is full, new ones are dropped until all that
wait are written, and then their number is told. What cannot be written at all is lost: its readers may go,
and its disk may fill.
"""

import atexit
import contextlib
import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TextIO

# Half a MiB of lines; a service in trouble says a few in a second.
MAX_LINES = 1_024
# How long the end of a process may wait for the last lines to be taken.
_FLUSH_S = 0.5


class LogWriter:
    """A stream that never holds up who writes to it, and never fails. Threads share it."""

    def __init__(self, stream: TextIO, *, on_dropped: Callable[[int], None]) -> None:
        """`on_dropped` is told how many lines were dropped, in the writing thread, when it goes on."""
        self._stream = stream
        self._on_dropped = on_dropped
        self._has_ended = False
        self._begin()
        # A process that is forked has no thread of ours, and its parent writes what waits.
        os.register_at_fork(after_in_child=self._begin)

    def write(self, text: str) -> int:
        """Let whole lines be written soon."""
        if not self._has_descriptor():
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text)
                self._stream.flush()
        elif self._has_ended:
            self._write_at_once(text)
        elif self._dropped or self._lines.qsize() >= MAX_LINES:
            self._dropped += 1
            if self._lines.empty():  # it has become so meanwhile: the thread tells of it when it wakes
                self._lines.put("")
            self._start()
        else:
            self._lines.put(text)
            self._start()
        return len(text)

    def flush(self) -> None:
        """Nothing: whoever logs does not wait."""

    def finish(self) -> None:
        """Wait until all is written, for half a second at most: for the end of a process."""
        if not self._is_started:
            return
        written = threading.Event()
        self._lines.put(written)
        written.wait(_FLUSH_S)

    def _begin(self) -> None:
        # Its put() may be interrupted by another one in the same thread, of an error that is found while
        # Python collects garbage, say: it has no lock that such a one would wait for.
        self._lines: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._dropped = 0  # and while it is not 0, all are
        self._is_started = False
        self._starting = threading.Lock()

    def _start(self) -> None:
        """Start the thread, with the first line that there is."""
        if self._is_started or not self._starting.acquire(blocking=False):
            return
        try:
            if not self._is_started:
                threading.Thread(target=self._run, args=(self._lines,), name="log", daemon=True).start()
                self._is_started = True
                atexit.register(self._end)
        except RuntimeError:  # the system gives no thread now; the next line tries again
            pass
        finally:
            self._starting.release()

    def _end(self) -> None:
        self.finish()
        self._has_ended = True

    def _run(self, lines: "SimpleQueue[str | threading.Event]") -> None:
        while True:
            line = lines.get()
            if isinstance(line, str):
                self._write_out(line)
            if self._dropped and (lines.empty() or not isinstance(line, str)):
                dropped, self._dropped = self._dropped, 0
                self._on_dropped(dropped)
                if not isinstance(line, str):
                    lines.put(line)  # that line as well
            elif not isinstance(line, str):
                line.set()

    def _write_out(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            # Asked for each time: a stream that was closed has none any more. Past its buffer, whose lock
            # Python wants when it ends.
            descriptor = self._stream.fileno()
            left = text.encode(errors="backslashreplace")
            while left:
                try:
                    left = left[os.write(descriptor, left) :]
                except BlockingIOError:  # somebody made it so for all who have it
                    select.select([], [descriptor], [])

    def _write_at_once(self, text: str) -> None:
        """Write where Python is at its end and no thread runs any more, if there is room."""
        with contextlib.suppress(OSError, ValueError):
            descriptor = self._stream.fileno()
            if select.select([], [descriptor], [], 0)[1]:
                os.write(descriptor, text.encode(errors="backslashreplace"))

    def _has_descriptor(self) -> bool:
        try:
            self._stream.fileno()
        except (OSError, ValueError):
            return False
        return True
