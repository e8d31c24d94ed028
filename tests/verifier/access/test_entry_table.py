"""Claims at one verifier: shared by its workers, and of bounded size."""

import hashlib
from pathlib import Path

from verifier.access.entry_table import SLOTS_PER_ROW, EntryTable, scan_word, table_bytes

_NOW_MS = 1_800_000_000_000
_LATER_MS = _NOW_MS + 60_000
_FIRST, _SECOND = scan_word(b"first"), scan_word(b"second")


def _code(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()[:16]


def test_a_code_is_the_first_scans_and_no_others() -> None:
    table = EntryTable()
    assert table.claim(_code(1), _FIRST, _LATER_MS, _NOW_MS)
    assert not table.claim(_code(1), _SECOND, _LATER_MS, _NOW_MS)
    assert table.claim(_code(1), _FIRST, _LATER_MS, _NOW_MS)
    assert table.claim(_code(2), _SECOND, _LATER_MS, _NOW_MS)


def test_a_claim_is_forgotten_at_its_time_and_not_a_millisecond_before() -> None:
    table = EntryTable()
    table.claim(_code(1), _FIRST, _LATER_MS, _NOW_MS)
    assert not table.claim(_code(1), _SECOND, _LATER_MS, _LATER_MS - 1)
    assert table.claim(_code(1), _SECOND, _LATER_MS + 60_000, _LATER_MS)


def test_workers_see_each_others_claims_and_a_worker_that_was_restarted_sees_its_own(tmp_path: Path) -> None:
    workers = [EntryTable.open(tmp_path / "entries", part=part, parts=3) for part in range(3)]
    assert workers[0].claim(_code(1), _FIRST, _LATER_MS, _NOW_MS)
    assert not workers[2].claim(_code(1), _SECOND, _LATER_MS, _NOW_MS)
    assert workers[2].claim(_code(1), _FIRST, _LATER_MS, _NOW_MS)
    restarted = EntryTable.open(tmp_path / "entries", part=0, parts=3)
    assert not restarted.claim(_code(1), _SECOND, _LATER_MS, _NOW_MS)
    assert (tmp_path / "entries").stat().st_size == table_bytes(3)
    assert (tmp_path / "entries").stat().st_mode & 0o077 == 0


def test_of_two_workers_that_both_wrote_neither_opens() -> None:
    memory = memoryview(bytearray(table_bytes(2, rows=4)))
    one, two = (EntryTable(memory, part=part, parts=2, rows=4) for part in range(2))
    row = int.from_bytes(_code(1)[:8], "little") % 4
    low, high = (int.from_bytes(_code(1)[at : at + 8], "little") for at in (0, 8))
    one._write(row, (low, high, _LATER_MS, _FIRST))
    two._write(row, (low, high, _LATER_MS, _SECOND))
    assert not one.claim(_code(1), _FIRST, _LATER_MS, _NOW_MS)
    assert not two.claim(_code(1), _SECOND, _LATER_MS, _NOW_MS)


def test_a_row_that_is_full_forgets_the_claim_that_ends_soonest() -> None:
    table = EntryTable(rows=1)
    for number in range(SLOTS_PER_ROW):
        assert table.claim(_code(number), _FIRST, _LATER_MS + number, _NOW_MS)
    assert table.claim(_code(100), _FIRST, _LATER_MS + 100, _NOW_MS)
    assert table.claim(_code(0), _SECOND, _LATER_MS + 200, _NOW_MS)
    assert not table.claim(_code(100), _SECOND, _LATER_MS, _NOW_MS)
    assert not table.claim(_code(SLOTS_PER_ROW - 1), _SECOND, _LATER_MS, _NOW_MS)
