"""Things and lists of them, for people; and JSON, for programs: an object, or an object a line."""

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence

import click

# Wide enough for every row in a pipe, where nobody reads line by line and a fold would break `grep`.
_PIPE_WIDTH = 4_096


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one thing: a line for each field."""
    width = max(map(len, fields))
    for name, value in fields.items():
        shown = "-" if value in ("", None) else value
        click.echo(f"{click.style(name.replace('_', ' ').ljust(width), bold=True)}  {shown}")


def print_json(fields: Mapping[str, object]) -> None:
    """Print one object on a line."""
    click.echo(json.dumps(fields, ensure_ascii=False))


def print_table(columns: Sequence[str], pages: Iterable[Sequence[Sequence[object]]], *, nothing: str) -> None:
    """Print rows under a header as they come, page by page; `nothing` when there is none."""
    from rich.cells import cell_len  # noqa: PLC0415 - only lists need it, and it takes a while
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    is_terminal = sys.stdout.isatty()
    widths: list[int | None] = [None] * len(columns)
    is_first = True
    for page in pages:
        if not page:
            continue
        table = Table(box=None, pad_edge=False, show_header=is_first, header_style="bold")
        for name, width in zip(columns, widths, strict=True):
            table.add_column(name.replace("_", " "), min_width=width, overflow="fold")
        for row in page:
            table.add_row(*("-" if value in ("", None) else str(value) for value in row))
        written = io.StringIO()
        console = Console(
            file=written,
            width=None if is_terminal else _PIPE_WIDTH,
            force_terminal=is_terminal,
            no_color=not is_terminal,
            markup=False,
            emoji=False,
            highlight=False,
        )
        console.print(table)
        for line in written.getvalue().splitlines():
            click.echo(line.rstrip())
        if is_first:  # the pages behind go under its columns
            texts = [[name, *(str(row[place]) for row in page)] for place, name in enumerate(columns)]
            widths = [max(map(cell_len, column)) for column in texts]
            is_first = False
    if is_first:
        click.echo(nothing, err=True)
