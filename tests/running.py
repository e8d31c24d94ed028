"""Whether a process runs."""

import psutil


def is_running(pid: int) -> bool:
    """Tell whether it does; one that ended and that nobody has waited for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
