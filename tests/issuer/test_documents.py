import hashlib
import hmac
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.documents import DocumentHasher

DOCUMENTS = DocumentHasher(bytes(32))


@pytest.mark.parametrize(
    "number", ["E12345678", "e1234 5678", "E-1234.5678/", "Ｅ１２３４５６７８", "E1234\u30005678"]
)
def test_one_document_written_differently_is_one_document(number: str) -> None:
    assert DOCUMENTS.mark("id", number) == DOCUMENTS.mark("ID", "E12345678")


def test_one_number_of_two_kinds_of_document_is_two_documents() -> None:
    assert DOCUMENTS.mark("ID", "E123").keyed_hash != DOCUMENTS.mark("PASSPORT", "E123").keyed_hash


def test_kind_and_number_do_not_run_into_each_other() -> None:
    assert DOCUMENTS.mark("ID", "1E123").keyed_hash != DOCUMENTS.mark("ID1", "E123").keyed_hash


def test_another_key_gives_another_hash() -> None:
    assert DocumentHasher(b"k" * 32).mark("ID", "1").keyed_hash != DOCUMENTS.mark("ID", "1").keyed_hash


@pytest.mark.parametrize(
    ("number", "last_four"),
    [("11010119900307851x", "851X"), ("E12345678", "5678"), ("12345", "45"), ("7", "")],
)
def test_the_last_characters_are_kept_but_never_the_whole_number(number: str, last_four: str) -> None:
    assert DOCUMENTS.mark("ID", number).last_four == last_four


def test_a_mark_says_which_key_made_it_without_telling_the_key() -> None:
    key = b"0123456789abcdef0123456789abcdef"
    mark = DocumentHasher(key).mark("ID", "E123")
    assert mark.key_id == DocumentHasher(key).key_id == hashlib.sha256(key).digest()[:8]
    assert mark.key_id != DocumentHasher(bytes(32)).key_id


def test_the_hash_is_the_hmac_of_kind_and_number() -> None:
    key = b"0123456789abcdef0123456789abcdef"
    expected = hmac.new(key, b"ID\0E123", hashlib.sha256).digest()
    assert DocumentHasher(key).mark("id", "e-123").keyed_hash == expected


def test_after_a_change_of_keys_the_newest_marks_and_all_are_looked_under() -> None:
    old, new = DocumentHasher(b"o" * 32), DocumentHasher(b"n" * 32, b"o" * 32)
    assert new.mark("ID", "E123") == DocumentHasher(b"n" * 32).mark("ID", "E123")
    assert new.marks("ID", "E-123") == [new.mark("ID", "E123"), old.mark("ID", "E123")]


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_needs_no_normal_form(text: str) -> None:
    assert unicodedata.normalize("NFKC", text) == text
