"""What the shipper believes of the stream and the archive."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.journal.shipped import Ledger, Note


@given(st.integers(0, 2**60), st.dictionaries(st.text(max_size=10), st.integers(0, 2**40), max_size=4))
def test_a_note_is_read_as_it_was_written(number: int, positions: dict[str, int]) -> None:
    assert Note.decode(Note(number, positions).encode()) == Note(number, positions)


@pytest.mark.parametrize(
    "found",
    [None, b"", b"7", b"[]", b"\xff", b'{"n":"7"}', b'{"at":{"a":-1}}', b'{"at":[1]}', b"[" * 100_000],
)
def test_what_is_no_note_says_nothing(found: bytes | None) -> None:
    assert Note.decode(found) == Note()


def _shipped(ledger: Ledger, position: int, batches: int) -> range:
    numbers, note = ledger.plan({"a": position}, batches)
    ledger.shipped(note, b"%d-0" % numbers[-1])
    return numbers


def _confirm(ledger: Ledger, number: int) -> tuple[bool, Mapping[str, int]]:
    """Returns whether a batch is awaited then, and what is archived."""
    ledger.confirm(number)
    return ledger.awaited is not None, ledger.archived


def test_what_was_shipped_is_archived_once_its_last_batch_is() -> None:
    ledger = Ledger()
    numbers = _shipped(ledger, 100, 2)
    assert _confirm(ledger, 0) == (True, {})
    assert _confirm(ledger, numbers[0]) == (True, {})
    assert _confirm(ledger, numbers[1]) == (False, {"a": 100})


def test_an_old_confirmation_says_nothing_of_what_is_shipped_again() -> None:
    ledger = Ledger()
    old = _shipped(ledger, 100, 3)
    ledger.believe(Note(), archived_number=0, least_number=0)
    new = _shipped(ledger, 100, 1)
    assert _confirm(ledger, old[-1]) == (True, {})
    assert _confirm(ledger, new[-1]) == (False, {"a": 100})


def test_numbers_ascend_whatever_is_believed() -> None:
    ledger = Ledger()
    ledger.believe(Note(5), archived_number=9, least_number=7)
    assert ledger.plan({}, 2)[0] == range(10, 12)
    ledger.believe(Note(), archived_number=0, least_number=7)
    assert ledger.plan({}, 1)[0] == range(12, 13)
    ledger.believe(Note(), archived_number=0, least_number=50)
    assert ledger.plan({}, 1)[0] == range(50, 51)


def test_what_is_archived_is_not_shipped_again() -> None:
    ledger = Ledger()
    ledger.confirm(_shipped(ledger, 100, 1)[-1])
    _shipped(ledger, 300, 1)
    ledger.believe(Note(), archived_number=0, least_number=0)
    assert ledger.note.positions == {"a": 100}


def test_a_note_found_at_the_start_counts_as_shipped_and_waits_for_the_archive() -> None:
    ledger = Ledger()
    ledger.believe(Note(7, {"a": 100}), archived_number=6, least_number=0)
    assert ledger.note.positions == {"a": 100}
    ledger.confirm(6)
    assert (ledger.is_unsure, ledger.archived) == (True, {})
    ledger.confirm(7)
    assert (ledger.is_unsure, ledger.archived) == (False, {"a": 100})


def test_the_oldest_entry_we_know_is_awaited() -> None:
    ledger = Ledger()
    ledger.believe(Note(7, {"a": 100}), archived_number=0, least_number=0)
    assert (ledger.is_unsure, ledger.awaited) == (True, None)
    _shipped(ledger, 200, 2)
    _shipped(ledger, 300, 1)
    assert (ledger.is_unsure, ledger.awaited) == (False, b"9-0")
    ledger.confirm(9)
    assert ledger.awaited == b"10-0"


def test_segments_that_are_gone_are_forgotten() -> None:
    ledger = Ledger()
    ledger.confirm(_shipped(ledger, 100, 1)[-1])
    ledger.forget({"b"})
    assert ledger.archived == {}
