"""report.html: one page with everything in it, which asks no network and runs no script."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtest.report.charts import Picture
from loadtest.report.drawing import COLOURS
from loadtest.report.facts import Facts

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(facts: Facts, pictures: Sequence[Picture]) -> str:
    """Return the page; whatever text the run brought is escaped."""
    return _PAGES.get_template("page.html").render(facts=facts, pictures=pictures, colours=COLOURS)
