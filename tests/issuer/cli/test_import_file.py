"""Files as spreadsheets, laboratories and accidents make them."""

import csv
import io
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issuer.cli.columns import Columns
from issuer.cli.import_errors import UnusableFile
from issuer.cli.import_file import MAX_ROW_BYTES, MAX_ROW_LINES, Batch, ImportFile, Place, Row

COLUMNS = Columns(("external_id", "name"), ("region", "note"))


def read_all(
    path: Path, *, is_json: bool = False, encoding: str = "utf-8", start: Place | None = None
) -> tuple[list[tuple[int, Row]], list[tuple[int, str]], list[Place]]:
    """Return rows and rows that cannot be read, with their lines, and the places between batches."""
    file = ImportFile(path, COLUMNS, is_json=is_json, encoding=encoding)
    if start is not None:
        file.go_to(start)
    batches: list[Batch] = list(iter(file.read_batch, None))
    file.close()
    rows = [one for batch in batches for one in zip(batch.lines, batch.rows, strict=True)]
    unread = [(one.line, one.reason) for batch in batches for one in batch.unread]
    return rows, unread, [batch.end for batch in batches]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def test_rows_come_with_the_lines_where_they_begin(path: Path) -> None:
    write(path, 'external_id,name\na,"two\nlines"\nb,one\n')
    assert read_all(path)[0] == [(2, ["a", "two\nlines"]), (4, ["b", "one"])]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("last", ["", "end"])
def test_line_ends_and_byte_order_marks_make_no_difference(
    path: Path, line_end: str, mark: str, last: str
) -> None:
    write(
        path, mark + line_end.join(["external_id,name", "a,王小秀", '"b","O""Neill"']) + (last and line_end)
    )
    rows, unread, _ = read_all(path)
    assert [row for _, row in rows] == [["a", "王小秀"], ["b", 'O"Neill']]
    assert unread == []


def test_chinese_names_in_gb18030_are_read(path: Path) -> None:
    write(path, "external_id,name\na,王小秀\nb,𠮷田\n".encode("gb18030"))
    assert [row for _, row in read_all(path, encoding="gb18030")[0]] == [["a", "王小秀"], ["b", "𠮷田"]]


def test_a_file_in_gb18030_is_told_with_line_and_way_out(path: Path) -> None:
    write(path, "external_id,name\na,b\nb,王小秀\n".encode("gb18030"))
    with pytest.raises(UnusableFile, match=r"line 3 is not UTF-8.*--encoding gb18030"):
        read_all(path)


def test_a_file_in_utf8_is_not_taken_for_gb18030(path: Path) -> None:
    write(path, "\ufeffexternal_id,name\na,王小秀\n")
    with pytest.raises(UnusableFile, match="leave out --encoding"):
        read_all(path, encoding="gb18030")


@pytest.mark.parametrize(
    "content", ["external_id,name\na,b\n".encode("utf-16"), b"PK\x03\x04 and the rest of a spreadsheet"]
)
def test_what_is_no_csv_is_told_how_to_become_one(path: Path, content: bytes) -> None:
    write(path, content)
    with pytest.raises(UnusableFile, match="save it as CSV in UTF-8"):
        read_all(path)


def test_a_line_that_is_not_utf8_far_into_the_file_costs_that_line_alone(path: Path) -> None:
    good = "".join(f"{number},name of {number}\n" for number in range(10_000))
    write(path, b"external_id,name\n" + good.encode() + b"bad,\xff\n" + b"last,one\n")
    rows, unread, _ = read_all(path)
    assert unread == [(10_002, "not UTF-8")]
    assert rows[-1] == (10_003, ["last", "one"])
    assert len(rows) == 10_001


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            "external_id,nmae",
            r"column 2 of the header, 'nmae', is not known: did you mean name\? Known columns: ",
        ),
        (f"external_id,\x07{'x' * 50}", f"column 2 of the header, '.{'x' * 39}', is not known. Known"),
        ("external_id,name,name", "column 3 of the header is name a second time"),
        ("external_id,region", "the header lacks name"),
        ("external_id;name", "separated by commas"),
        ("a,王小秀", ": column 1 of the header is not known, or the first line is no header"),
        ("", "is empty"),
        ('"external_id,name', "the header cannot be read"),
    ],
)
def test_a_header_that_is_wrong_is_told_with_what_is_right(path: Path, header: str, told: str) -> None:
    write(path, f"{header}\n")
    with pytest.raises(UnusableFile, match=told) as caught:
        read_all(path)
    assert "王小秀" not in str(caught.value)


def test_columns_come_in_any_order_and_case(path: Path) -> None:
    write(path, "Region, NAME ,external_id\nnorth,王小秀,a\n")
    file = ImportFile(path, COLUMNS, is_json=False, encoding="utf-8")
    batch = file.read_batch()
    assert batch is not None
    assert list(file.values(batch.rows[0])) == ["a", "王小秀", "north", ""]
    file.close()


@pytest.mark.parametrize(("line", "told"), [("a", "got 1"), ("a,b,c", "got 3")])
def test_a_row_with_another_number_of_columns_costs_itself_alone(path: Path, line: str, told: str) -> None:
    write(path, f"external_id,name\nx,1\n{line}\ny,2\n")
    rows, unread, _ = read_all(path)
    assert [row for _, row in rows] == [["x", "1"], ["y", "2"]]
    assert unread == [(3, f"expected 2 columns, {told}")]


def test_empty_rows_of_spreadsheets_are_nothing(path: Path) -> None:
    write(path, "external_id,name\n\na,b\n,\n\r\n")
    rows, unread, _ = read_all(path)
    assert rows == [(3, ["a", "b"])]
    assert unread == []


def test_a_quote_that_is_never_closed_costs_one_line(path: Path) -> None:
    good = [f"{number},ok" for number in range(3 * MAX_ROW_LINES)]
    write(path, "\n".join(["external_id,name", 'bad,"never', *good, ""]))
    rows, unread, _ = read_all(path)
    assert unread == [(2, "a quote is not closed")]
    assert len(rows) == len(good)


def test_a_quote_that_another_row_closes_costs_one_line(path: Path) -> None:
    write(path, 'external_id,name\nbad,"never\na,"1"\nb,2\n')
    rows, unread, _ = read_all(path)
    assert [line for line, _ in unread] == [2]
    assert [row for _, row in rows] == [["a", "1"], ["b", "2"]]


@pytest.mark.parametrize(("more", "is_read"), [(-1, True), (0, True), (1, False)])
def test_a_row_is_bounded(path: Path, more: int, is_read: bool) -> None:
    long = "x" * (MAX_ROW_BYTES - len("a,\n") + more)
    write(path, f"external_id,name\na,{long}\nb,c\n")
    rows, unread, _ = read_all(path)
    assert [line for line, _ in unread] == ([] if is_read else [2])
    assert rows[-1] == (3, ["b", "c"])


def test_many_megabytes_without_a_line_break_take_no_memory(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"external_id,name\n")
        for _ in range(20):
            file.write(b"x" * 1_000_000)
        file.write(b"\na,b\n")
    tracemalloc.start()
    rows, unread, _ = read_all(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == [(3, ["a", "b"])]
    assert [line for line, _ in unread] == [2]
    assert peak < 4_000_000


def test_batches_have_a_thousand_rows_at_most(path: Path) -> None:
    write(path, "external_id,name\n" + "".join(f"{number},n\n" for number in range(2_001)))
    file = ImportFile(path, COLUMNS, is_json=False, encoding="utf-8")
    assert [len(batch.rows) for batch in iter(file.read_batch, None)] == [1_000, 1_000, 1]
    file.close()


def test_batches_of_long_rows_stay_below_what_a_message_may_have(path: Path) -> None:
    write(path, "external_id,name\n" + "".join(f"{number},{'x' * 60_000}\n" for number in range(100)))
    file = ImportFile(path, COLUMNS, is_json=False, encoding="utf-8")
    sizes = [
        sum(len(row[1]) for row in batch.rows if isinstance(row, list))
        for batch in iter(file.read_batch, None)
    ]
    assert max(sizes) < 2 << 20
    file.close()


# JSON Lines


def test_objects_are_read_with_text_and_numbers(path: Path) -> None:
    write(
        path, '{"external_id": 17, "name": "王小秀"}\n\n{"external_id": "b", "name": "c", "region": null}\n'
    )
    file = ImportFile(path, COLUMNS, is_json=True, encoding="utf-8")
    batch = file.read_batch()
    assert batch is not None
    assert batch.lines == [1, 3]
    assert [list(file.values(row)) for row in batch.rows] == [["17", "王小秀", "", ""], ["b", "c", "", ""]]
    file.close()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "not JSON"),
        ("[1]", "expected an object, got list"),
        ("[" * 100_000, "longer than"),
        ("\xff", "not JSON"),
    ],
)
def test_a_line_that_is_no_object_costs_itself_alone(path: Path, line: str, told: str) -> None:
    write(path, f'{{"external_id": "a", "name": "b"}}\n{line}\n{{"external_id": "c", "name": "d"}}\n')
    rows, unread, _ = read_all(path, is_json=True)
    assert [line for line, _ in rows] == [1, 3]
    assert [line for line, _ in unread] == [2]
    assert unread[0][1].startswith(told)


@pytest.mark.parametrize("first", ['{"external_id": "a", "nmae": "b"}', "external_id,name", "[]", ""])
def test_a_file_that_begins_wrong_is_no_file_of_bad_rows(path: Path, first: str) -> None:
    write(path, f"{first}\n")
    with pytest.raises(UnusableFile, match=r"line 1|is empty"):
        read_all(path, is_json=True)


# All that can be in a file


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=20)
_ROWS = st.lists(st.tuples(_TEXT, _TEXT).filter(any), max_size=30)


@given(rows=_ROWS, line_end=st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=200, deadline=None)
def test_what_the_csv_writer_wrote_is_read(
    rows: Sequence[tuple[str, str]], line_end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerow(("external_id", "name"))
    writer.writerows(rows)
    path = write(tmp_path_factory.mktemp("rows") / "rows.csv", written.getvalue())
    read, unread, _ = read_all(path)
    assert [tuple(row) for _, row in read] == list(rows)
    assert unread == []


@given(content=st.binary(max_size=400), is_json=st.booleans())
@settings(max_examples=300, deadline=None)
def test_whatever_is_in_a_file_it_is_read_to_its_end(
    content: bytes, is_json: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    long = b"x" * 30_000
    # Behind the beginning that is looked at before anything else.
    objects = b'{"external_id": "a", "name": "%s"}\n' % long * 3
    start = objects if is_json else b"external_id,name\n" + b"a,%s\n" % long * 3
    path = write(tmp_path_factory.mktemp("rows") / "rows", start + content)
    _, _, places = read_all(path, is_json=is_json)
    assert places[-1].offset == len(start + content)


def test_a_file_read_in_two_parts_gives_the_rows_of_one(path: Path) -> None:
    rows: list[Any] = [f'{number},"two\r\nlines of {number}"\r\n' for number in range(3_500)]
    rows[1_234] = 'bad,"never closed\r\n'
    write(path, "\ufeffexternal_id,name\r\n" + "".join(rows))
    whole, unread, places = read_all(path)
    assert [line for line, _ in unread] == [2 + 2 * 1_234]
    for number, place in enumerate(places[:-1]):
        later, _, _ = read_all(path, start=place)
        assert whole[len(whole) - len(later) :] == later
        assert len(later) >= len(whole) - (number + 1) * 1_000


def test_objects_that_were_written_are_read(path: Path) -> None:
    rows = [{"external_id": str(number), "name": "名\n字"} for number in range(1_500)]
    write(
        path, "".join(json.dumps(row, ensure_ascii=number % 2 == 0) + "\n" for number, row in enumerate(rows))
    )
    assert [row for _, row in read_all(path, is_json=True)[0]] == rows
