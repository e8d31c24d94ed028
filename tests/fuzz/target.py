"""What a target is, and how it reads its input."""

import atexit
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads what others wrote."""

    name: str
    run: Callable[[bytes], object]  # raises where something does not hold
    seeds: Callable[[], Sequence[bytes]]  # inputs to begin with
    max_bytes: int
    words: Sequence[bytes] = ()  # pieces to mix in


class Input:
    """The bytes of a fuzzer, taken from the front; there are always more, all of them zeros."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """Tell whether nothing is left."""
        return self._at >= len(self._content)

    def take(self, length: int) -> bytes:
        """Return so many bytes, or what is left of them."""
        taken = self._content[self._at : self._at + length]
        self._at += length
        return taken

    def number(self, width: int = 1) -> int:
        """Return a number of so many bytes."""
        return int.from_bytes(self.take(width).ljust(width, b"\0"), "big")

    def pick(self, items: Sequence[_Item]) -> _Item:
        """Return one of the items."""
        return items[self.number() % len(items)]

    def piece(self) -> bytes:
        """Return bytes behind their length, at most 65 535."""
        return self.take(self.number(2))

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._content))


def piece(content: bytes) -> bytes:
    """Return what Input.piece takes."""
    return len(content).to_bytes(2, "big") + content


def new_folder(prefix: str) -> Path:
    """Return a folder of this process's own, in memory where there is such a place; removed at its end."""
    memory = Path("/dev/shm")  # noqa: S108 - a name of our own is made there
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextlib.contextmanager
def only(*errors: type[Exception]) -> Iterator[None]:
    """Let errors of these exact kinds pass, or of kinds derived from them; everything else goes on."""
    with contextlib.suppress(*errors):
        yield


def say_nothing() -> None:
    """Drop what is logged: millions of executions would say it millions of times."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )
