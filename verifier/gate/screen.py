"""The gate on a terminal: one screen full of colour a scan, to be read from two metres away."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.align import Align
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from verifier.client import Answer
from verifier.gate.advice import Mood, Unanswered, advise
from verifier.gate.displays import Display
from verifier.gate.tally import Tally

# A refused code is neither of the three colours, so that nobody takes its holder for a red one.
_STYLES = {
    Mood.GREEN: "bold black on green",
    Mood.YELLOW: "bold black on yellow",
    Mood.RED: "bold white on red",
    Mood.REFUSED: "bold white on magenta",
    Mood.NO_ANSWER: "bold black on white",
}
_IDLE_STYLE = "default on default"
# Two bells at once sound as one.
_BEEP_GAP_S = 0.15


class Screen(Display):
    """Draws on the alternate screen of a terminal while entered, so that no name stays behind."""

    def __init__(
        self, console: Console, *, gate_id: str, has_beep: bool, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`has_beep` rings the terminal's bell: once for green, twice for everything else."""
        self._console = console
        self._gate_id = gate_id
        self._has_beep = has_beep
        self._sleep = sleep
        self._alternate_screen = console.screen(hide_cursor=True)
        self._shown: tuple[RenderableType, str, str] = ("", _IDLE_STYLE, "")

    def __enter__(self) -> Self:
        self._alternate_screen.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._alternate_screen.__exit__(kind, error, trace)

    def ready(self, tally: Tally) -> None:
        """Show that the next code may be scanned, and nothing of the last one."""
        words = Group(_headline("READY"), _line("hold a code under the scanner"), _line("Ctrl-C ends"))
        self._draw(words, _IDLE_STYLE, str(tally))

    def asking(self) -> None:
        """Show that a code was read."""
        self._draw(Group(_headline("...")), _IDLE_STYLE, "")

    def show(self, outcome: Answer | Unanswered, tally: Tally) -> None:
        """Show one scan, and ring for it."""
        advice = advise(outcome)
        words = Group(
            _headline(advice.headline),
            _line(advice.instruction),
            _line(""),
            *(_line(detail) for detail in advice.details),
        )
        self._draw(words, _STYLES[advice.mood], str(tally))
        if self._has_beep:
            self._beep(1 if advice.mood is Mood.GREEN else 2)

    def redraw(self) -> None:
        """Draw the same again, in the size that the terminal now has."""
        self._draw(*self._shown)

    def _draw(self, words: RenderableType, style: str, footer: str) -> None:
        self._shown = (words, style, footer)
        panel = Panel(
            Align.center(words, vertical="middle"),
            title=Text(f" gate {self._gate_id} "),
            subtitle=Text(f" {footer} ") if footer else None,
            style=style,
            height=self._console.height,
        )
        self._console.update_screen(panel)

    def _beep(self, times: int) -> None:
        self._console.bell()
        for _ in range(times - 1):
            self._sleep(_BEEP_GAP_S)
            self._console.bell()


def _headline(words: str) -> Text:
    # Terminals have one size of letters; wide ones are the next best.
    return Text(" ".join(words) + "\n", justify="center")


def _line(words: str) -> Text:
    return Text(words, justify="center")
