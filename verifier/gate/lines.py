"""Lines from a scanner: a keyboard wedge on the terminal, a serial device, a FIFO, a pipe or a file.

Scanners end a text with CR, LF, both or nothing; all of these are lines here. Everything is read in
chunks as it comes and kept to a bounded length, so that neither a fast scanner nor an endless line
costs more than its bytes. What is read goes to the verifier and nowhere else: the terminal's echo is
off while a gate runs, because a QR text is as good as the pass for as long as it lives.
"""

import contextlib
import math
import os
import re
import select
import stat
import termios
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from verifier.wire.code import MAX_QR_TEXT_CHARACTERS

# Longer than the longest code by one, so that a cut line is MALFORMED; what goes beyond is read and
# forgotten.
MAX_LINE_BYTES = MAX_QR_TEXT_CHARACTERS + 1
# Scanners pause for 10 ms at most between characters, over Bluetooth for 100. So after this long on a
# live input the text is whole, and its scanner is not set to send Enter.
SILENCE_S = 1.0

_CHUNK_BYTES = 65_536
_LINE_END = re.compile(rb"[\r\n]")
# Places of termios.tcgetattr's list.
_IFLAG, _LFLAG, _CC = 0, 3, 6


class EndOfInput(Exception):
    """Nothing more will come: the end of a pipe or file, or a terminal or scanner that is gone."""


class LineReader:
    """Reads the lines of one input."""

    def __init__(self, descriptor: int, *, wake: int, silence_s: float | None = None) -> None:
        """`wake` is a descriptor that ends a wait when it becomes readable.

        An unfinished line counts as whole after `silence_s`; None waits for its end.
        """
        self.is_live = silence_s is not None  # there is a person at the other end
        self._silence_s = silence_s
        self._descriptor = descriptor
        self._wake = wake
        self._lines: deque[bytes] = deque()
        self._unfinished = bytearray()
        self._whole_at = math.inf
        self._is_at_end = False

    def read(self, timeout_s: float | None) -> bytes | None:
        """Return the next line that is not empty, without its end and cut to MAX_LINE_BYTES.

        Returns None after `timeout_s` (None waits without end) or when woken. Raises EndOfInput after
        the last line; a last line needs no end.
        """
        ends_at = math.inf if timeout_s is None else monotonic() + timeout_s
        while not self._lines:
            if self._is_at_end:
                raise EndOfInput
            ready = select.select([self._descriptor, self._wake], [], [], self._wait_s(ends_at))[0]
            if self._wake in ready:
                return None
            if ready:
                self._take_chunk()
            elif self._unfinished and monotonic() >= self._whole_at:
                self._end_line()
            elif monotonic() >= ends_at:
                return None
        return self._lines.popleft()

    def waiting(self) -> list[bytes]:
        """Return the whole lines that are there already, without waiting for more."""
        while not self._is_at_end and select.select([self._descriptor], [], [], 0)[0]:
            self._take_chunk()
        lines = list(self._lines)
        self._lines.clear()
        return lines

    def _wait_s(self, ends_at: float) -> float | None:
        next_at = min(ends_at, self._whole_at if self._unfinished else math.inf)
        return None if next_at == math.inf else max(0.0, next_at - monotonic())

    def _take_chunk(self) -> None:
        try:
            chunk = os.read(self._descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO or ENODEV: the terminal was closed, the scanner unplugged
            chunk = b""
        if not chunk:
            self._is_at_end = True
            self._end_line()
            return
        *ended, rest = _LINE_END.split(chunk)
        for piece in ended:
            self._append(piece)
            self._end_line()
        self._append(rest)
        if self._silence_s is not None:
            self._whole_at = monotonic() + self._silence_s

    def _append(self, piece: bytes) -> None:
        self._unfinished += piece[: MAX_LINE_BYTES - len(self._unfinished)]

    def _end_line(self) -> None:
        if self._unfinished:  # an empty line is the second half of CR LF, or a key pressed by chance
            self._lines.append(bytes(self._unfinished))
            self._unfinished.clear()


@contextlib.contextmanager
def open_device(path: Path) -> Iterator[int]:
    """Open a scanner's device, FIFO or file for reading; raises OSError."""
    # Not blocking, because a serial line may wait for its carrier for ever; never our terminal of
    # control, which could send us signals. A FIFO is opened for writing too, so that it does not end
    # when one writer does.
    is_fifo = stat.S_ISFIFO(path.stat().st_mode)
    access = os.O_RDWR if is_fifo else os.O_RDONLY
    descriptor = os.open(path, access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise IsADirectoryError(f"{path} is a directory")
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def quiet_terminal(descriptor: int) -> Iterator[None]:
    """Turn off the echo and the editing of a terminal, and restore them at the end; others are left alone.

    What was typed before or is still unread at the end is thrown away: at the end a shell would run it.
    Ctrl-C goes on to interrupt. The other keys with a meaning lose it, so that no QR code can stop a
    gate's output or send it to the background; one that makes the scanner type Ctrl-C ends the gate, so
    an unattended one should read its scanner as a --device.
    """
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    quiet = termios.tcgetattr(descriptor)
    quiet[_IFLAG] &= ~(termios.BRKINT | termios.INPCK | termios.ISTRIP | termios.INLCR | termios.IXON)
    quiet[_LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
    for key in (termios.VQUIT, termios.VSUSP):
        quiet[_CC][key] = b"\0"
    quiet[_CC][termios.VMIN], quiet[_CC][termios.VTIME] = 1, 0
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, quiet)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
