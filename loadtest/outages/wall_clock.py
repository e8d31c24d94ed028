"""The clocks of processes that we start, to be set while they run (clock_site/sitecustomize.py)."""

import mmap
import os
from collections.abc import Mapping
from pathlib import Path

_SITE = Path(__file__).with_name("clock_site")
_FILE_VARIABLE = "OUTAGE_CLOCK_FILE"
_BYTES = 16
_PATH_VARIABLE = "PYTHONPATH"


class WallClock:
    """By how much the wall clock of some processes is ahead of the machine's."""

    def __init__(self, path: Path) -> None:
        """Keep what is set in the file at `path`, which is made."""
        self._path = path
        path.write_bytes(bytes(_BYTES))
        with path.open("r+b") as file:
            self._numbers = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("d")

    @property
    def environment(self) -> Mapping[str, str]:
        """What the processes need in their environment."""
        folders = [str(_SITE), *filter(None, [os.environ.get(_PATH_VARIABLE)])]
        return {_PATH_VARIABLE: os.pathsep.join(folders), _FILE_VARIABLE: str(self._path)}

    def set_ahead(self, seconds: float) -> None:
        """Set it so far ahead of the machine's clock; below 0 it is behind."""
        self._numbers[0] = seconds

    def sleep(self, seconds: float) -> None:
        """Let so much time pass, also by the clock of ages, as if the machine had been suspended."""
        self._numbers[1] += seconds

    @property
    def slept_s(self) -> float:
        """How much time has passed that way."""
        return self._numbers[1]
