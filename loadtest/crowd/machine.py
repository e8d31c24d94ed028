"""What the machine is, as far as a figure needs it to mean something."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from loadtest.crowd import command

_PACKAGES = ("grpcio", "locust", "gevent")
_GIT_TIMEOUT_S = 5


def describe_machine() -> dict[str, str]:
    """Return what to show about this machine: cores, processor, system, versions, commit."""
    found = {
        "cores": str(os.cpu_count() or 1),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }
    if commit := _commit():
        found["commit"] = commit
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _commit() -> str:
    """Return the commit, with a plus where files differ from it; "" where there is no repository."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return commit[-1] + ("+" if changes else "") if commit else ""


def _git(*about: str) -> Sequence[str]:
    try:
        ended = command.run(["git", "-C", str(Path(__file__).parent), *about], _GIT_TIMEOUT_S)
    except OSError:
        return ()
    return ended.said if ended is not None and ended.exit_code == 0 else ()
