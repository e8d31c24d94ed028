"""How pictures are drawn: SVG with text as text, whose colours are variables of the page's style sheet.

The plots of all pictures over time begin and end at the same places, so that moments line up.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from loadtest.report import numbers
from loadtest.report.labels import place

# What pictures are drawn in; each is replaced by the variable of its name, which a dark page sets anew.
# People who see no red or no green tell curves and verdicts apart, too: colours by M. Okabe and K. Ito, and
# shades of blue that differ in lightness.
COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "ink": "#1c1d21",
        "faint": "#6b6f78",
        "grid": "#dfe1e6",
        "act": "#6a4fb0",
        "bad": "#c2360c",
        "blue": "#0072b2",
        "sky": "#56b4e9",
        "teal": "#009e73",
        "orange": "#e69f00",
        "yellow": "#f0e442",
        "vermilion": "#d55e00",
        "pink": "#cc79a7",
        "navy": "#27408b",
        "mist": "#b8c4dd",
        "slate": "#7f8796",
    }
)

_VARIABLES = {value: f"var(--{name})" for name, value in COLOURS.items()}

# Points, which are units of the SVG. Narrow, so that its text can be read on a phone.
_WIDTH, _PLOT_HEIGHT = 480.0, 190.0
_LEFT, _RIGHT, _TOP, _BELOW = 58.0, 10.0, 12.0, 42.0
_PLOT_WIDTH = _WIDTH - _LEFT - _RIGHT
_FONT, _LINE = 11.0, 15.0
# No font of a browser has wider letters on average.
_LETTER = 0.6 * _FONT
_LEGEND_HANDLE = 32.0
_POINTS_AN_INCH = 72.0

_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_MOST_TICKS = 9

_NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'

_STYLE = mpl.RcParams(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "gatelight",
        "text.parse_math": False,  # names are names, whatever is in them
        "font.family": "DejaVu Sans",
        "font.size": _FONT,
        "axes.labelsize": _FONT,
        "xtick.labelsize": _FONT,
        "ytick.labelsize": _FONT,
        "legend.fontsize": _FONT,
        "text.color": COLOURS["ink"],
        "axes.labelcolor": COLOURS["faint"],
        "axes.edgecolor": COLOURS["faint"],
        "xtick.color": COLOURS["faint"],
        "ytick.color": COLOURS["faint"],
        "xtick.labelcolor": COLOURS["ink"],
        "ytick.labelcolor": COLOURS["ink"],
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": COLOURS["grid"],
        "lines.linewidth": 1.3,
        "lines.markersize": 3,
        "legend.frameon": False,
        "legend.borderpad": 0,
        "legend.borderaxespad": 0,
        "legend.handlelength": 1.6,
        "legend.columnspacing": 1.2,
    }
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment with a name."""

    at_s: float  # since the beginning of the run
    name: str
    is_bad: bool


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """The seconds that pictures show, and what happened meanwhile."""

    begins_s: float
    ends_s: float
    marks: Sequence[Mark]

    @property
    def _unit(self) -> tuple[float, str]:
        span_s = self.ends_s - self.begins_s
        if span_s <= 300:
            return 1.0, "seconds"
        return (60.0, "minutes") if span_s <= 3 * 3600 else (3600.0, "hours")

    def apply(self, axes: Axes) -> None:
        """Set limits, ticks and the label of the x axis."""
        unit_s, name = self._unit
        span_s = max(self.ends_s - self.begins_s, 1.0)
        axes.set_xlim(self.begins_s, self.begins_s + span_s)
        step_s = next((step for step in _STEPS_S if span_s / step <= _MOST_TICKS), span_s / _MOST_TICKS)
        first = int(self.begins_s // step_s)
        ticks = [number * step_s for number in range(first, first + _MOST_TICKS + 2)]
        axes.xaxis.set_major_locator(FixedLocator([at for at in ticks if _is_within(at, axes.get_xlim())]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at_s, _: numbers.plain(at_s / unit_s)))
        axes.set_xlabel(f"{name} since the beginning")


def draw(
    paint: Callable[[Axes], None], *, name: str, alt: str, y_label: str, time: TimeAxis | None = None
) -> Markup:
    """Return a picture as an SVG element; `paint` draws into the plot, and labels what the legend has.

    `name` tells the picture from others on the page, `alt` says what it shows to who cannot see it.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure()
        axes = figure.add_axes((0, 0, 1, 1))
        paint(axes)
        axes.set_ylabel(y_label)
        axes.yaxis.set_label_coords(-(_LEFT - 11) / _PLOT_WIDTH, 0.5)
        lanes = 0
        if time is not None:
            time.apply(axes)
            lanes = _draw_marks(axes, time)
        legend = _draw_legend(figure, axes)
        _set_size(figure, axes, above=_TOP + lanes * _LINE, below=_BELOW + legend)
        return _svg(figure, name, alt)


def from_zero(axes: Axes) -> None:
    """Let the y axis begin at 0 and have few round ticks."""
    axes.set_ylim(0, max(1.05 * axes.get_ylim()[1], 1e-9))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: numbers.plain(value)))


def logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """Make the y axis logarithmic, with room for `values` and with ticks that say a number each."""
    least, most = (min(values), max(values)) if values else (1.0, 100.0)
    factors = (1, 2, 5) if most / least < 100 else (1,)
    steps = [factor * 10.0**power for power in range(-3, 7) for factor in factors]
    axes.set_yscale("log")
    axes.set_ylim(max((step for step in steps if step <= least), default=least), most * 1.3)
    axes.yaxis.set_major_locator(FixedLocator(steps))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: numbers.plain(value)))


def _is_within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] - 1e-9 <= value <= limits[1] + 1e-9


def _draw_marks(axes: Axes, time: TimeAxis) -> int:
    """Return how many lanes of names there are above the plot."""
    begins_s, ends_s = axes.get_xlim()
    marks = sorted(time.marks, key=lambda mark: mark.at_s)
    xs = [(mark.at_s - begins_s) / (ends_s - begins_s) * _PLOT_WIDTH for mark in marks]
    places = place(xs, [len(mark.name) * _LETTER + 8 for mark in marks], _PLOT_WIDTH)
    for mark, at in zip(marks, places, strict=True):
        colour = COLOURS["bad" if mark.is_bad else "act"]
        top = 1 + (3 + at.lane * _LINE) / _PLOT_HEIGHT
        across = axes.get_xaxis_transform()
        line = Line2D(
            [mark.at_s] * 2,
            [0, top + 9 / _PLOT_HEIGHT],
            color=colour,
            lw=0.9,
            ls="--" if mark.is_bad else "-",
        )
        line.set(transform=across, clip_on=False, zorder=1.5)
        axes.add_artist(line)
        axes.annotate(
            mark.name,
            (mark.at_s, top),
            xycoords=across,
            xytext=(-3 if at.is_left else 3, 0),
            textcoords="offset points",
            ha="right" if at.is_left else "left",
            color=colour,
            annotation_clip=False,
        )
    return 1 + max((at.lane for at in places), default=-1)


def _draw_legend(figure: Figure, axes: Axes) -> float:
    """Draw it below the plot and return its height, points."""
    handles, names = axes.get_legend_handles_labels()
    if not names:
        return 0.0
    column = max(map(len, names)) * _LETTER + _LEGEND_HANDLE
    columns = max(1, int((_WIDTH - _LEFT) / column))
    figure.legend(handles, names, loc="lower left", bbox_to_anchor=(_LEFT / _WIDTH, 0.01), ncols=columns)
    return _LINE * -(-len(names) // columns) + 4


def _set_size(figure: Figure, axes: Axes, *, above: float, below: float) -> None:
    height = above + _PLOT_HEIGHT + below
    figure.set_size_inches(_WIDTH / _POINTS_AN_INCH, height / _POINTS_AN_INCH)
    axes.set_position((_LEFT / _WIDTH, below / height, _PLOT_WIDTH / _WIDTH, _PLOT_HEIGHT / height))


def _svg(figure: Figure, name: str, alt: str) -> Markup:
    written = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(written, format="svg", metadata=nothing)
    body = written.getvalue().split("<svg", 1)[1].split(">", 1)[1]
    body = re.sub(r"<[^>]*>", lambda tag: _of_page(tag[0], name), body)
    width, height = (inches * _POINTS_AN_INCH for inches in figure.get_size_inches())
    head = f'<svg {_NAMESPACES} role="img" viewBox="0 0 {width:g} {height:g}" aria-label="{escape(alt)}">'
    return Markup(head + body)  # noqa: S704 - matplotlib escapes what is in it


def _of_page(tag: str, name: str) -> str:
    """Make a tag of a picture one of the page, which has other pictures and its own colours."""
    tag = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", tag)
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)  # a hundredth of a point is more than one sees
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: _VARIABLES.get(colour[0], colour[0]), tag)
