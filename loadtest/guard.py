"""Become the command given, and die with the process that started us, even when that is killed with -9.

    python -S -E guard.py <pid of the starter> <command> [<argument> ...]

On Linux the kernel does it (prctl, PR_SET_PDEATHSIG); note that it counts the death of the thread
that started us as well, so servers are started from a main thread. Elsewhere a small watcher process
looks twice a second. Standard library only: this runs before every server that we start.
"""

import ctypes
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_WATCH_INTERVAL_S = 0.5


def main() -> None:
    """Arrange to die with the starter, then exec the command."""
    starter = int(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != starter:  # it died before the kernel knew
            sys.exit(1)
    else:
        watch(starter)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606


def watch(starter: int) -> None:
    """Fork a watcher that kills this process, whatever it becomes, once `starter` is gone."""
    command = os.getpid()
    if os.fork() != 0:
        return
    os.setsid()
    while os.getppid() == command:
        try:
            os.kill(starter, 0)
        except ProcessLookupError:
            os.kill(command, signal.SIGKILL)
            break
        time.sleep(_WATCH_INTERVAL_S)
    os._exit(0)


if __name__ == "__main__":
    main()
