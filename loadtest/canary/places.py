"""The places that are searched, each with what may be there, and why."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from loadtest.canary.needles import Kind, Needles

_MOST_BYTES = 256 << 20


@dataclass
class Place:
    """Some bytes that were left behind, or shown."""

    name: str
    allowed: Mapping[Kind, str] = field(default_factory=dict)  # with the reason
    looked_at: int = 0  # bytes
    found: Counter[Kind] = field(default_factory=Counter)
    where: dict[Kind, set[str]] = field(default_factory=dict)

    @property
    def hits(self) -> Counter[Kind]:
        """What must not be there."""
        return Counter({kind: count for kind, count in self.found.items() if kind not in self.allowed})


class Places:
    """Everything that was searched."""

    def __init__(self) -> None:
        self._contents: list[tuple[str, str, bytes]] = []
        self._allowed: dict[str, Mapping[Kind, str]] = {}

    def allow(self, name: str, reason: str, *kinds: Kind) -> None:
        """Say what a place is there for."""
        self._allowed[name] = {**self._allowed.get(name, {}), **dict.fromkeys(kinds, reason)}

    def add(self, name: str, content: bytes | str, part: str = "") -> None:
        """Have bytes searched, later, when all needles are known; `part` tells them from others there."""
        self._contents.append((name, part, content.encode() if isinstance(content, str) else content))

    def add_files(self, name: str, paths: Iterable[Path], *, but: Sequence[Path] = ()) -> None:
        """Have files searched, and all files in folders, their names included."""
        for path in paths:
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file in but or any(folder in file.parents for folder in but):
                    continue
                self.add(name, os.fsencode(file.name), str(file))
                if file.is_file() and not file.is_symlink():
                    self.add(name, _read(file), str(file))

    def add_processes(self, name: str, roots: Iterable[int]) -> None:
        """Have titles, arguments and environments searched of processes and all that they started."""
        for pid in roots:
            try:
                every = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
            for one in every:
                for what in ("cmdline", "environ", "comm"):
                    file = Path(f"/proc/{one.pid}/{what}")
                    if file.exists():
                        self.add(name, _read(file), str(file))

    def search(self, needles: Needles) -> Sequence[Place]:
        """Return what was found in each place."""
        places: dict[str, Place] = {}
        for name, part, content in self._contents:
            place = places.setdefault(name, Place(name, self._allowed.get(name, {})))
            place.looked_at += len(content)
            found = needles.find(content)
            place.found += found
            for kind in found:
                place.where.setdefault(kind, set()).add(part)
        return list(places.values())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError:  # it is gone, or nobody's to read
        return b""
