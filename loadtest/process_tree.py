"""What a server with all of its processes costs and holds."""

import psutil

from loadtest.processes import ServerProcess


def tree(process: ServerProcess) -> list[psutil.Process]:
    """Return a server's process and those it started."""
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


def cpu_s(process: ServerProcess) -> float:
    """Return the CPU time of a server and those it started, seconds."""
    times = [one.cpu_times() for one in tree(process)]
    return sum(one.user + one.system for one in times)


def pss_mib(process: ServerProcess) -> float:
    """Return the memory of a server and those it started, what they share counted once, MiB (Linux)."""
    return sum(one.memory_full_info().pss for one in tree(process)) / 2**20
