"""summary.md: the report in short, for a pull request."""

import html
import re
from collections.abc import Sequence

from loadtest.report.facts import Facts, Table

# What Markdown would take for something else; &, < and > are escaped as HTML.
_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")
_MARKS = {"l": ":--", "r": "--:"}


def summary(facts: Facts) -> str:
    """Return the summary in GitHub's Markdown; whatever text the run brought is escaped."""
    glance = ", ".join(f"{name} {figure}" for name, figure in facts.glance)
    parts = [
        f"## {_text(facts.scenario)} {_text(facts.headline)}",
        _text(facts.about),
        _text(facts.limit),
        _text(glance),
        *(_table(table) for table in (facts.thresholds, facts.latency) if table.rows),
        _list(facts.scans),
        *(_table(table) for table in (facts.errors, facts.wrong, facts.acts) if table.rows),
        _text(facts.generators.note),
        *(_list(table) for table in (facts.plan, facts.machine) if table.rows),
    ]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    columns = [column or " " for column in table.columns]
    lines = [columns, [_MARKS[letter] for letter in table.align]]
    lines += [[_text(cell) for cell in row.cells] for row in table.rows]
    return "\n".join([f"**{table.title}**", "", *map(_row, lines)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _list(table: Table) -> str:
    facts = "; ".join(
        f"{_text(name)}: {_text(value)}" for name, value in (row.cells[:2] for row in table.rows)
    )
    return f"**{table.title}**: {facts}"


def _text(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.split(" ")), quote=False)).replace("\n", " ")
