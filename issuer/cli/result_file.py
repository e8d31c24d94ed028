"""Files that an import writes as it goes: the rows that were refused, and the credentials it issued.

A rejects file has the whole rows, so that a clerk can mend them and import that very file; they are
personal data, which is why nobody else may read it (mode 0600).
"""

import csv
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from issuer.cli.columns import REJECTED_BECAUSE, REJECTED_LINE
from issuer.cli.import_file import Row, UnreadRow

_MODE = 0o600
_OWN = (REJECTED_LINE, REJECTED_BECAUSE)


class ResultFile:
    """A file that is made at the first row, and cut back to what the checkpoint counts."""

    def __init__(self, path: Path, *, size: int) -> None:
        """Go on behind the first `size` bytes; raises OSError when the file is there and cannot be cut."""
        self.path = path
        self._size = size
        self._file: TextIO | None = None
        if path.is_file():
            os.truncate(path, size)

    @property
    def size(self) -> int:
        """Bytes written and handed to the system."""
        return self._size

    @property
    def is_empty(self) -> bool:
        """Whether no row was written, in this run or before."""
        return self._size == 0

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> TextIO:
        if self._file is None:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _MODE)
            self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
        return self._file

    def _flush(self) -> None:
        file = self._open()
        file.flush()
        self._size = os.fstat(file.fileno()).st_size


class CsvRejects(ResultFile):
    """Rejects of a CSV file: its columns, behind the line and the reason."""

    def __init__(self, path: Path, *, size: int, header: Sequence[str]) -> None:
        super().__init__(path, size=size)
        # A rejects file may be imported itself; its own first two columns are not repeated.
        self._kept = [place for place, name in enumerate(header) if name not in _OWN]
        self._header = header

    def write(self, rejected: Iterable[UnreadRow]) -> None:
        """Add rows, and hand them to the system; raises OSError."""
        file = self._open()
        writer = csv.writer(file)
        if self.is_empty:
            file.write("\ufeff")  # without it spreadsheets take Chinese names for something else
            writer.writerow([*_OWN, *(self._header[place] for place in self._kept)])
        for one in rejected:
            writer.writerow([one.line, one.reason, *self._values(one.row)])
        self._flush()

    def _values(self, row: Row) -> Sequence[object]:
        if isinstance(row, str):
            try:
                row = next(csv.reader([row]), [])
            except csv.Error:  # such as a carriage return within a field
                return [row]
        if not isinstance(row, list) or len(row) != len(self._header):
            return list(row)
        return [row[place] for place in self._kept]


class JsonRejects(ResultFile):
    """Rejects of a JSON Lines file: its objects, with the line and the reason."""

    def __init__(self, path: Path, *, size: int, encoding: str = "utf-8") -> None:
        """`encoding` is that of the file that is imported."""
        super().__init__(path, size=size)
        # So that the same command reads the rejects, too; nothing would tell it that they are in UTF-8.
        self._is_ascii = encoding != "utf-8"

    def write(self, rejected: Iterable[UnreadRow]) -> None:
        """Add rows, and hand them to the system; raises OSError."""
        file = self._open()
        for one in rejected:
            told: dict[str, Any] = {REJECTED_LINE: one.line, REJECTED_BECAUSE: one.reason}
            row = one.row if isinstance(one.row, dict) else {"text": one.row}
            kept = {name: value for name, value in row.items() if name not in _OWN}
            file.write(f"{self._as_json(told | kept)}\n")
        self._flush()

    def _as_json(self, fields: dict[str, Any]) -> str:
        text = json.dumps(fields, ensure_ascii=self._is_ascii)
        try:
            text.encode()
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can only write as \u...
            return json.dumps(fields)
        return text


class IssuedFile(ResultFile):
    """The credentials that an import issued, or found issued: external_id and credential_index, as CSV."""

    def write(self, issued: Iterable[tuple[str, int]]) -> None:
        """Add credentials, and hand them to the system; raises OSError."""
        writer = csv.writer(self._open())
        if self.is_empty:
            writer.writerow(("external_id", "credential_index"))
        writer.writerows(issued)
        self._flush()
