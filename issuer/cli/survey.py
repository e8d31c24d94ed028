"""A first reading of a file to import, without sending anything: what there is in it, and what is wrong."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from issuer.batch_sha256 import sha256_of_batch
from issuer.cli.batch_request import as_request
from issuer.cli.import_file import ImportFile, UnreadRow
from issuer.cli.rows import STATUSES, RowKind
from verifier.wire.status_record import Colour

# Enough to see what is wrong with a file.
_SHOWN_UNREAD = 5
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Survey:
    """What a first reading found."""

    rows: int  # that can be sent
    unread: int  # that cannot
    first_unread: Sequence[UnreadRow]
    colours: Mapping[Colour, int]  # rows by colour, in imports of statuses
    batch_sha256: Sequence[bytes]  # of each batch as it will be sent, in imports of statuses


def survey(file: ImportFile, kind: RowKind, *, on_progress: Callable[[int], None]) -> Survey:
    """Read all of the file, tell `on_progress` how many bytes were read, and go back to where it was."""
    start = file.place
    rows = unread = 0
    first: list[UnreadRow] = []
    batches: list[bytes] = []
    colours = dict.fromkeys((Colour.GREEN, Colour.YELLOW, Colour.RED), 0)
    while (batch := file.read_batch()) is not None:
        made = as_request(file, kind, batch)
        request, bad = made.request, sorted(made.unread, key=lambda one: one.line)
        rows += len(request.rows)
        unread += len(bad)
        first += bad[: _SHOWN_UNREAD - len(first)]
        if kind is STATUSES:
            for row in request.rows:
                colours[row.colour] += 1
            if request.rows:
                batches.append(sha256_of_batch(request))
        on_progress(batch.end.offset)
    file.go_to(start)
    return Survey(rows, unread, first, colours, batches)


def count_lines(path: Path) -> int:
    """Return how many line breaks there are in a file, which is quick, and about its rows."""
    count = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            count += block.count(b"\n")
    return count


def sha256_of(path: Path) -> bytes:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
