"""No worker outlives its supervisor: it would open gates by a mirror that nobody keeps current."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def life() -> Iterator[int]:
    """Give the supervisor the reading end of a pipe, for its workers: it is at its end when we are gone."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def die_with_supervisor(life_fd: int) -> None:
    """See to it that this process is killed when the supervisor is gone, however that went.

    To be called in a worker, first of all; `life_fd` is what life() gave.
    """
    if sys.platform == "linux":
        # At once, also while Python is held up. It counts the thread that started us, which is the main one.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_wait_for_the_end, args=(life_fd,), name="supervisor", daemon=True).start()


def _wait_for_the_end(life_fd: int) -> None:
    with contextlib.suppress(OSError):
        os.read(life_fd, 1)  # nothing is ever written: it returns at the end
    os.kill(os.getpid(), signal.SIGKILL)
