import pytest

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
