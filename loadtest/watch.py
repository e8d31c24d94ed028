"""Watches servers during a run: what each costs and holds, with all of its processes, once a second.

A sample of a verifier with two workers takes 2 ms of CPU, nearly all of it to find its processes. Memory is
what each process has for itself, and what they share once, from the kernel's counters: the exact figure (PSS)
would cost as much again for each process, and lock its memory map meanwhile.
"""

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import psutil

from loadtest.process_tree import Running, tree
from loadtest.recording import ServerSample

INTERVAL_S = 1.0


class Watch:
    """Samples until the block ends."""

    def __init__(
        self, servers: Callable[[], Mapping[str, Running]], *, interval_s: float = INTERVAL_S
    ) -> None:
        """`servers` returns those that run now, by name; a server that is gone has no sample."""
        self.samples: list[ServerSample] = []
        self._servers = servers
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        is_over = False
        while not is_over:
            for name, server in self._servers().items():
                if found := sample(name, server):
                    self.samples.append(found)
            is_over = self._ended.wait(self._interval_s)


def sample(name: str, server: Running) -> ServerSample | None:
    """Return what a server with all of its processes costs and holds now; None where it does not run."""
    try:
        found = tree(server)
    except psutil.Error:
        return None
    processes = [one for one in map(_look, found) if one]
    if not processes:
        return None
    own, shared, cpu_s, descriptors = zip(*processes, strict=True)
    return ServerSample(
        name=name,
        at=time.time(),
        cpu_s=round(sum(cpu_s), 3),
        memory_mib=round((sum(own) + max(shared)) / 2**20, 2),
        descriptors=sum(descriptors),
        pid=found[0].pid,
        processes=len(processes),
        own_mib=round(sum(own) / 2**20, 2),
    )


def _look(process: psutil.Process) -> tuple[int, int, float, int] | None:
    """Return own and shared bytes, CPU seconds and descriptors; None for a process that has ended."""
    try:
        with process.oneshot():
            memory, times = process.memory_info(), process.cpu_times()
            shared = getattr(memory, "shared", 0)  # Linux alone counts it
            # The time of a child that was waited for, as a worker that was replaced, is its parent's now.
            cpu_s = times.user + times.system + times.children_user + times.children_system
            return memory.rss - shared, shared, cpu_s, process.num_fds()
    except psutil.Error:
        return None
