# ruff: noqa: INP001 - a folder for PYTHONPATH, and no package
"""Let a test set the clocks of a process: two numbers in a file say by how many seconds they are ahead.

    wall     time.time and time.time_ns, as when somebody sets the clock of a machine
    asleep   these and CLOCK_BOOTTIME, as when a machine was suspended for so long

Python imports a module of this name by itself when its folder is on PYTHONPATH, also the Python inside Envoy.
What C asks for by itself is not moved: datetime.now(), which verifiers use in their logs alone, and OpenSSL's
look at certificates. So grpcio sees the machine's own time as well: it hands what it reads to its part in C,
which compares it with that. CLOCK_MONOTONIC goes on as it does.
"""

import mmap
import os
import sys
import time

FILE_VARIABLE = "OUTAGE_CLOCK_FILE"


def _move(path: str) -> None:
    with open(path, "rb") as file:  # noqa: PTH123 - before everything else is imported
        numbers = memoryview(mmap.mmap(file.fileno(), 16, access=mmap.ACCESS_READ)).cast("d")
    real_time, real_time_ns, real_gettime = time.time, time.time_ns, time.clock_gettime
    boot_clock = getattr(time, "CLOCK_BOOTTIME", None)

    def moved_time() -> float:
        if sys._getframe(1).f_globals.get("__name__", "").startswith("grpc."):
            return real_time()
        return real_time() + numbers[0] + numbers[1]

    def moved_time_ns() -> int:
        return real_time_ns() + round((numbers[0] + numbers[1]) * 1e9)

    def moved_gettime(clock: int) -> float:
        return real_gettime(clock) + (numbers[1] if clock == boot_clock else 0.0)

    time.time, time.time_ns, time.clock_gettime = moved_time, moved_time_ns, moved_gettime


if FILE_VARIABLE in os.environ:
    _move(os.environ[FILE_VARIABLE])
