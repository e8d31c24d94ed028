"""The picture of `make bench`: measured ratios, to limits and to each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loadtest import aim
from loadtest.report import numbers
from loadtest.report.drawing import COLOURS

# Points.
_PLOT, _RIGHT, _ROW, _LINE, _EDGE = 330.0, 160.0, 21.0, 13.0, 10.0
_ABOVE, _BELOW = 40.0, 58.0
_FONT, _LETTER = 10.0, 5.9
_POINTS_AN_INCH, _DOTS_AN_INCH = 72, 144
# A bar that is longer than this would leave no room to see the others.
_MOST_SHOWN = 4.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A ratio of two figures of the same run, over the rounds; at 1.0 they are the same."""

    group: str  # bars of a group stand together, in the order given
    what: str
    median: float
    least: float
    most: float
    aim: float | None  # what the ratio ought to reach; None: it only informs
    is_floor: bool  # the aim is the least, not the most

    @property
    def is_met(self) -> bool:
        """Tell whether the median reaches the aim, if there is one."""
        return aim.is_met(self.median, self.aim, is_floor=self.is_floor) is not False


def draw_bench(bars: Sequence[Bar], path: Path, *, title: str, caption: str) -> None:
    """Draw `bars` to the PNG file `path`: median, least to most, and aim of each, and a line at 1.

    `caption` stands below, and may have several lines.
    """
    rows = _rows(bars)
    left = max((len(bar.what) for bar in bars), default=0) * _LETTER + 2 * _EDGE
    width = left + _PLOT + _RIGHT
    text_below = _LINE * len(caption.splitlines()) + _EDGE
    plot_height, below = _ROW * max(1, len(rows)), _BELOW + text_below
    height = _ABOVE + plot_height + below
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": _FONT, "text.color": COLOURS["ink"]}):
        figure = Figure(figsize=(width / _POINTS_AN_INCH, height / _POINTS_AN_INCH), facecolor="white")
        FigureCanvasAgg(figure)
        plot = (left / width, below / height, _PLOT / width, plot_height / height)
        axes = figure.add_axes(plot)
        _prepare(axes, bars, len(rows))
        for place, row in enumerate(rows):
            if isinstance(row, Bar):
                _draw_bar(axes, place, row)
            else:
                _beside(axes, place, row, x=0, by=_EDGE - left, weight="bold")
        by_name = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        anchor = (0, -22 / plot_height)
        axes.legend(
            by_name.values(), by_name, loc="upper left", bbox_to_anchor=anchor, ncols=4, frameon=False
        )
        figure.text(_EDGE / width, 1 - _EDGE / height, title, va="top", size=13, weight="bold")
        figure.text(_EDGE / width, _EDGE / height, caption, va="bottom", size=9, color=COLOURS["faint"])
        figure.savefig(path, dpi=_DOTS_AN_INCH)


def _rows(bars: Sequence[Bar]) -> Sequence[Bar | str]:
    """Put the name of each group above its bars."""
    rows: list[Bar | str] = []
    for group, inside in groupby(bars, attrgetter("group")):
        rows += [group, *inside]
    return rows


def _prepare(axes: Axes, bars: Sequence[Bar], rows: int) -> None:
    longest = max((max(bar.most, bar.aim or 0) for bar in bars), default=1.0)
    axes.set_xlim(0, min(_MOST_SHOWN, max(1.05, 1.05 * longest)))
    axes.set_ylim(max(1, rows) - 0.5, -0.5)
    axes.set_yticks([])
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(visible=True, axis="x", color=COLOURS["grid"])
    axes.set_axisbelow(True)
    axes.axvline(1.0, color=COLOURS["ink"], lw=1.5, label="as much as the other")


def _draw_bar(axes: Axes, place: int, bar: Bar) -> None:
    colour = "slate" if bar.aim is None else "teal" if bar.is_met else "vermilion"
    axes.barh(place, bar.median, height=0.6, color=COLOURS[colour])
    axes.errorbar(
        bar.median,
        place,
        xerr=[[bar.median - bar.least], [bar.most - bar.median]],
        color=COLOURS["ink"],
        lw=1.2,
        capsize=3,
        label="least to most",
    )
    _beside(axes, place, bar.what, x=0, by=-6, ha="right")
    text = f"{numbers.plain(bar.median)} ×"
    if bar.aim is not None:
        axes.plot(
            [bar.aim],
            [place - 0.4],
            "v",
            color=COLOURS["yellow"],
            mec=COLOURS["ink"],
            ms=6,
            label="aim",
            zorder=4,
        )
        sign = "≥" if bar.is_floor else "≤"
        text += f"   {sign} {numbers.plain(bar.aim)} {'met' if bar.is_met else 'missed'}"
    _beside(axes, place, text, x=1, by=8, color=COLOURS["vermilion" if not bar.is_met else "ink"])


def _beside(axes: Axes, place: int, text: str, *, x: int, by: float, **style: str) -> None:
    """Write at the left (0) or right (1) end of the plot, `by` points further."""
    axes.annotate(
        text,
        (x, place),
        xycoords=("axes fraction", "data"),
        xytext=(by, 0),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
        **style,  # type: ignore[arg-type]
    )
