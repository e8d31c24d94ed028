"""How far long work is, on standard error: a bar on a terminal, otherwise a line now and then."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.progress import Progress

# Often enough to see that it lives, seldom enough for a log.
_LINE_EVERY_S = 10.0


class ProgressDisplay:
    """Shows progress towards a total that is known."""

    def __init__(
        self, what: str, total: int, *, is_quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Show `what` on the way to `total`; nothing at all where the display is quiet."""
        self._what = what
        self._total = max(total, 1)
        self._clock = clock
        self._is_quiet = is_quiet
        self._next_line_at = clock() + _LINE_EVERY_S
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not is_quiet:
            self._bar = _bar()
            self._task = self._bar.add_task(what, total=self._total, told="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, told: str = "") -> None:
        """Show that `done` of the total is done, and what else there is to tell."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, told=told)
        elif not self._is_quiet and self._clock() >= self._next_line_at:
            self._next_line_at = self._clock() + _LINE_EVERY_S
            click.echo(f"{self._what}: {100 * done // self._total} %{', ' if told else ''}{told}", err=True)

    def show_of(self, done: int, total: int, told: str = "") -> None:
        """Show progress towards a total that is known only now."""
        self._total = max(total, 1)
        if self._bar is not None:
            self._bar.update(self._task, total=self._total)
        self.show(done, told)

    def say(self, text: str) -> None:
        """Say something in between."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False)
        else:
            click.echo(text, err=True)


def _bar() -> "Progress":
    from rich.console import Console  # noqa: PLC0415 - it takes a while, and only bars need it
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )
