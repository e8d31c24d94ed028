"""How many files and connections this process and its workers, which inherit that, may have open."""

import contextlib
import os
import resource
import sys

import structlog

# What a worker has open beside its connections: memory, scan log, Redis, event loops.
_OTHERS = 128

_log = structlog.get_logger("verifier")


def raise_descriptor_limit() -> None:
    """Raise the soft limit as far as one may. It is 1024 on most machines, for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says that there is no limit, and has one.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def say_if_descriptors_are_few(max_connections: int) -> None:
    """Log a warning where a worker may not have as many open as it may have connections."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max_connections + _OTHERS
    if limit != resource.RLIM_INFINITY and limit < needed:
        _log.warning("the limit of open files is too low for --max-connections", limit=limit, needed=needed)


def descriptors_of(pid: int) -> tuple[int, int] | None:
    """Return how many a process of ours has open and how many it may have; None where that is not known."""
    if sys.platform != "linux":
        return None
    try:
        limit, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        return len(os.listdir(f"/proc/{pid}/fd")), limit  # noqa: PTH208 - names are enough
    except OSError:  # it is gone by now
        return None
