"""Somebody who steps up to a gate, and when they do."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from loadtest.corpus_file import Scan


class Sender(Protocol):
    """Where scans of a site go."""

    def send(self, arrivals: "Sequence[Arrival]") -> None:
        """Send scans, which have a place under the bound each; returns at once."""

    def leave(self, count: int) -> None:
        """Wait for `count` scans no longer: they are not sent any more."""


@dataclass(slots=True)
class Arrival:
    """One scan, from the moment at which it is due to its end."""

    due: float  # Unix time
    scan_id: str  # the same for all attempts
    scan: Scan
    sender: Sender


def groups(
    due_times: Iterable[float], *, linger_s: float, most: int
) -> Iterator[tuple[float, Sequence[float]]]:
    """Yield due times that are sent together, each group with the moment at which it is sent.

    The first of a group waits for others at most `linger_s`; `most` of them wait no longer. Known ahead, as
    due times are, a group costs its site one wake and not one a scan.
    """
    waiting: list[float] = []
    for due in due_times:
        if waiting and due > waiting[0] + linger_s:
            yield waiting[0] + linger_s, waiting
            waiting = []
        waiting.append(due)
        if len(waiting) == most:
            yield due, waiting
            waiting = []
    if waiting:
        yield waiting[0] + linger_s, waiting
