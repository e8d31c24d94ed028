"""A batch of a file as the request that is sent.

The consent to an import of statuses is for the SHA-256 of each request's rows: what asks for it and what
sends the rows both make them here.
"""

from dataclasses import dataclass
from typing import Any

from issuer.cli.import_errors import BadRow
from issuer.cli.import_file import Batch, ImportFile, Place, Row, UnreadRow
from issuer.cli.rows import RowKind, add_row


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A request, and what became of the rows of its batch."""

    request: Any
    rows: list[Row]  # those in the request, in its order
    lines: list[int]  # where each of them begins
    external_ids: list[str]  # of each of them
    unread: list[UnreadRow]  # the others of the batch
    end: Place  # of the batch in the file


def as_request(file: ImportFile, kind: RowKind, batch: Batch) -> BatchRequest:
    """Return the request with all rows of a batch that can be put into one."""
    made = BatchRequest(kind.new_request(), [], [], [], list(batch.unread), batch.end)
    for row, line in zip(batch.rows, batch.lines, strict=True):
        try:
            values = file.values(row)
            add_row(kind, made.request, values)
        except BadRow as error:
            made.unread.append(UnreadRow(line, str(error), row))
            continue
        made.rows.append(row)
        made.lines.append(line)
        made.external_ids.append(values[0])
    return made
