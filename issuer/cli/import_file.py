"""Read the rows of a CSV or JSON Lines file in batches: in order, with flat memory, whatever is in it.

CSV is RFC 4180 as spreadsheets write it: a header that names the columns, CRLF or LF, quotes, line breaks
inside quotes, a byte order mark. JSON Lines is one object a line. Both are UTF-8 or GB18030.

A row that cannot be read is told with its line, and the rows around it go on. After one in CSV, reading
goes on at the next line of the file, not behind the row's last: a quote that is never closed costs one
line, and not all that follow.
"""

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from issuer.cli.columns import Columns
from issuer.cli.import_errors import BadRow, UnusableFile

ENCODINGS = ("utf-8", "gb18030")
MAX_BATCH_ROWS = 1_000  # admin.proto
# A batch is one gRPC message, which may have 4 MiB.
MAX_BATCH_BYTES = 1 << 20
MAX_ROW_BYTES = 1 << 16
# A quote that is not closed reaches to here before it is given up: it bounds the time for a file of them.
MAX_ROW_LINES = 100

_HEAD_BYTES = 1 << 16
_AS_CSV = "save it as CSV in UTF-8, and import that"
_OTHER_ENCODING = {
    "utf-8": "If a spreadsheet saved the file in Chinese, try --encoding gb18030",
    "gb18030": "If the file is UTF-8, leave out --encoding",
}
_FOREIGN_STARTS = {
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"PK\x03\x04": "a spreadsheet or an archive",
}

# As the file has it: the fields of CSV, an object of JSON, or the text of a line that is neither.
Row = list[str] | dict[str, Any] | str


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two rows."""

    offset: int  # bytes before it
    line: int  # lines before it


@dataclass(frozen=True, slots=True)
class UnreadRow:
    """A row that is not used, and why."""

    line: int  # where it begins, from 1 on
    reason: str
    row: Row


@dataclass(frozen=True, slots=True)
class Batch:
    """The next rows of the file: at most MAX_BATCH_ROWS, of at most about MAX_BATCH_BYTES."""

    rows: list[Row]
    lines: list[int]  # where each of them begins, from 1 on
    unread: list[UnreadRow]
    end: Place


class ImportFile:
    """A file that is read once, from its first row or from a place that an earlier run got to."""

    def __init__(self, path: Path, columns: Columns, *, is_json: bool, encoding: str) -> None:
        """Open the file and look at its beginning; raises UnusableFile."""
        self._is_json = is_json
        self._encoding = encoding
        self._offset = self._line = self._row_offset = self._row_line = 0
        self.header: Sequence[str] = ()  # as the file has it; empty for JSON Lines
        if path.exists() and not path.is_file():
            raise UnusableFile(f"{path} is not a file: an import has to be able to go on where it stopped")
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise UnusableFile(f"{path} cannot be read: {error.strerror}") from None
        try:
            self._require_text(path)
            if is_json:
                self.values: Callable[[Any], Sequence[str]] = columns.of_object
                self._require_object(path, columns)
            else:
                self.values = self._read_header(path, columns)
        except BaseException:
            self._file.close()
            raise
        self._records = csv.reader(self._csv_lines(), strict=True)

    def fileno(self) -> int:
        """Return the descriptor, to be locked."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def place(self) -> Place:
        """How far the file was read."""
        return Place(self._offset, self._line)

    def go_to(self, place: Place) -> None:
        """Go on at a place that an earlier run got to."""
        self._offset, self._line = place.offset, place.line
        self._file.seek(place.offset)
        self._records = csv.reader(self._csv_lines(), strict=True)

    def read_batch(self) -> Batch | None:
        """Return the next rows; None at the end of the file."""
        start = self._offset
        rows: list[Row] = []
        lines: list[int] = []
        unread: list[UnreadRow] = []
        read: Callable[[], Row | None] = self._read_object if self._is_json else self._read_record
        while len(rows) + len(unread) < MAX_BATCH_ROWS and self._offset - start < MAX_BATCH_BYTES:
            self._row_offset, self._row_line = self._offset, self._line
            try:
                row = read()
            except (BadRow, UnicodeDecodeError, csv.Error) as error:
                unread.append(UnreadRow(self._row_line + 1, self._explain(error), self._skip_line()))
                continue
            if row is None:
                break
            if row:  # blank lines are nothing
                rows.append(row)
                lines.append(self._row_line + 1)
        if self._offset == start:
            return None
        return Batch(rows, lines, unread, self.place)

    def _read_record(self) -> list[str] | None:
        values = next(self._records, None)
        # Spreadsheets leave rows of nothing but commas behind.
        if values is None or not any(values):
            return values if values is None else []
        if len(values) != len(self.header):
            raise BadRow(f"expected {len(self.header)} columns, got {len(values)}")
        return values

    def _csv_lines(self) -> Iterator[str]:
        readline, encoding = self._file.readline, self._encoding
        while raw := readline(MAX_ROW_BYTES + 1):
            self._offset += len(raw)
            self._line += 1
            if self._offset - self._row_offset > MAX_ROW_BYTES or self._line - self._row_line > MAX_ROW_LINES:
                if self._line - self._row_line > 1:
                    raise BadRow("a quote is not closed")
                raise BadRow(f"longer than {MAX_ROW_BYTES} bytes")
            yield raw.decode(encoding)

    def _read_object(self) -> dict[str, Any] | None:
        raw = self._file.readline(MAX_ROW_BYTES + 1)
        if not raw:
            return None
        self._offset += len(raw)
        self._line += 1
        if len(raw) > MAX_ROW_BYTES:
            raise BadRow(f"longer than {MAX_ROW_BYTES} bytes")
        if not raw.strip():
            return {}
        return _as_object(raw.decode(self._encoding))

    def _skip_line(self) -> str:
        """Go to the line behind the one where the row begins, and return that as far as it is text."""
        self._file.seek(self._row_offset)
        skipped = line = self._file.readline(MAX_ROW_BYTES)
        length = len(line)
        while line and not line.endswith(b"\n"):
            line = self._file.readline(MAX_ROW_BYTES)
            length += len(line)
        self.go_to(Place(self._row_offset + length, self._row_line + 1))
        return skipped.decode(self._encoding, errors="replace").rstrip("\r\n")

    def _explain(self, error: Exception) -> str:
        if isinstance(error, UnicodeDecodeError):
            return f"not {self._encoding.upper()}"
        return str(error)

    def _require_text(self, path: Path) -> None:
        """Refuse what is no text at all, and step over the byte order mark."""
        head = self._file.read(_HEAD_BYTES)
        for start, kind in _FOREIGN_STARTS.items():
            if head.startswith(start):
                raise UnusableFile(f"{path} is {kind}: {_AS_CSV}")
        is_marked_utf8 = head.startswith(codecs.BOM_UTF8)
        if is_marked_utf8 and self._encoding != "utf-8":
            raise UnusableFile(f"{path} is UTF-8: leave out --encoding {self._encoding}")
        # A first line in another encoding means that all of them are.
        whole = head if len(head) < _HEAD_BYTES else head[: head.rfind(b"\n") + 1]
        for number, line in enumerate(whole.split(b"\n"), 1):
            try:
                line.decode(self._encoding)
            except UnicodeDecodeError:
                raise UnusableFile(
                    f"{path}: line {number} is not {self._encoding.upper()}. "
                    f"{_OTHER_ENCODING[self._encoding]}; otherwise {_AS_CSV}"
                ) from None
        self._offset = len(codecs.BOM_UTF8) if is_marked_utf8 else 0
        self._file.seek(self._offset)

    def _read_header(self, path: Path, columns: Columns) -> Callable[[list[str]], Sequence[str]]:
        self._row_offset = self._offset
        try:
            self.header = next((row for row in csv.reader(self._csv_lines(), strict=True) if row), ())
        except (BadRow, UnicodeDecodeError, csv.Error) as error:
            raise UnusableFile(f"{path}: the header cannot be read: {self._explain(error)}") from None
        if not self.header:
            raise UnusableFile(f"{path} is empty: expected a header with {', '.join(columns.names)}")
        self.header = [name.strip("\ufeff \t").lower() for name in self.header]
        try:
            return columns.in_order(self.header)
        except UnusableFile as error:
            separator = next((one for one in ";\t" if one in "".join(self.header)), None)
            advice = " Columns are separated by commas." if separator else ""
            raise UnusableFile(f"{path}: {error}{advice}") from None

    def _require_object(self, path: Path, columns: Columns) -> None:
        """Refuse a file whose first row is none of ours: a wrong file is no file of bad rows."""
        start = self.place
        try:
            row = self._read_object()
            while row == {}:
                row = self._read_object()
            if row is None:
                raise UnusableFile(f"{path} is empty: expected an object a line")
            columns.of_object(row)
        except (BadRow, UnicodeDecodeError) as error:
            raise UnusableFile(f"{path}: line {self._line}: {self._explain(error)}") from None
        self._offset, self._line = start.offset, start.line
        self._file.seek(start.offset)


def is_json_lines(path: Path) -> bool:
    """Tell by its name whether a file is JSON Lines."""
    return path.suffix.lower() in {".jsonl", ".ndjson", ".json"}


def _as_object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRow("not JSON") from None
    if not isinstance(row, dict):
        raise BadRow(f"expected an object, got {type(row).__name__}")
    return row
