"""The clock of ages: it goes on while the machine is suspended, and all processes of the machine share it.

On a machine that slept for an hour, status is an hour older. On Linux CLOCK_MONOTONIC, which time.monotonic()
is, stands still meanwhile, and CLOCK_BOOTTIME goes on; where that is not, as on macOS, CLOCK_MONOTONIC does.
"""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_time_s() -> float:
    """Return seconds since some moment before this process began; never set back."""
    return time.clock_gettime(_CLOCK)
