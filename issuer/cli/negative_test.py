"""Commands on negative tests."""

from pathlib import Path
from typing import Any

import click

from issuer.cli.import_options import ImportOptions, import_options, run_import
from issuer.cli.options import FILE
from issuer.cli.rows import TESTS
from issuer.cli.session import Session, asks_issuer, changes


@click.group("test")
def test() -> None:
    """Negative tests, as laboratories report them."""


@test.command("import")
@click.argument("file", type=FILE)
@import_options
@changes
@asks_issuer
def import_tests(session: Session, *, file: Path, apply: bool, **options: Any) -> None:
    """Enter the negative tests of a file. The newest of a holder counts, whatever the order.

    Columns: external_id (of the test), taken_at, authority (the laboratory); holder_id or
    holder_external_id. Times are local (2026-11-21T08:30) or Unix seconds.

    Example: gatelight-issuer test import laboratory.csv --apply
    """
    run_import(session, TESTS, file, ImportOptions(**options), apply=apply)
