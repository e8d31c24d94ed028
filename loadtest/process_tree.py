"""What a server with all of its processes costs and holds."""

from typing import Protocol

import psutil


class Running(Protocol):
    """A server."""

    @property
    def pid(self) -> int:
        """The id of its first process."""


def tree(server: Running) -> list[psutil.Process]:
    """Return a server's process and those it started; raises psutil.Error where it does not run."""
    root = psutil.Process(server.pid)
    return [root, *root.children(recursive=True)]


def cpu_s(server: Running) -> float:
    """Return the CPU time of a server and those it started, seconds."""
    times = [one.cpu_times() for one in tree(server)]
    return sum(one.user + one.system for one in times)


def pss_mib(server: Running) -> float:
    """Return the memory of a server and those it started, what they share counted once, MiB (Linux)."""
    return sum(one.memory_full_info().pss for one in tree(server)) / 2**20
