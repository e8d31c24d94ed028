from dataclasses import replace

import pytest

from issuer.errors import InvalidArgument
from issuer.idempotency import _MAX_ENTRIES, _MAX_REFUSALS, KEPT_S, Answered, IdempotencyRecord

DIGEST = b"digest"


class Record:
    """A record with a clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.record = IdempotencyRecord(monotonic=lambda: self.now_s)

    def remember(self, key: str, *, refused: int = 0, digest: bytes = DIGEST) -> Answered:
        answered = Answered(digest, 1_800_000_000, b"key", dict.fromkeys(range(refused), 1))
        self.record.remember(1, key, answered)
        return answered

    def find(self, key: str, *, client_id: int = 1, digest: bytes = DIGEST) -> Answered | None:
        return self.record.find(client_id, key, request_digest=digest)


@pytest.fixture
def record() -> Record:
    """An empty record."""
    return Record()


def test_what_was_answered_is_found_again(record: Record) -> None:
    answered = record.remember("one")
    assert record.find("one") == replace(answered, repeats=1)
    assert record.find("two") is None
    assert record.find("one", client_id=2) is None


def test_the_first_two_repeats_are_free(record: Record) -> None:
    record.remember("one")
    repeats = [record.find("one") for _ in range(4)]
    assert [repeated is not None and repeated.is_free for repeated in repeats] == [True, True, False, False]


def test_asking_again_keeps_nothing_longer(record: Record) -> None:
    record.remember("one")
    record.now_s = KEPT_S - 1
    assert record.find("one") is not None
    record.now_s = KEPT_S
    assert record.find("one") is None


def test_a_request_without_a_key_is_never_remembered(record: Record) -> None:
    record.remember("")
    assert record.find("") is None


def test_a_key_of_another_request_is_refused(record: Record) -> None:
    record.remember("one")
    with pytest.raises(InvalidArgument, match="idempotency_key"):
        record.find("one", digest=b"other")


@pytest.mark.parametrize(("offset_s", "is_kept"), [(-1, True), (0, False), (1, False)])
def test_it_is_kept_for_ten_minutes(record: Record, offset_s: int, is_kept: bool) -> None:
    record.remember("one")
    record.now_s = KEPT_S + offset_s
    assert (record.find("one") is not None) is is_kept


def test_ten_thousand_are_kept_and_the_oldest_goes_first(record: Record) -> None:
    for number in range(_MAX_ENTRIES + 1):
        record.remember(f"{number}")
    assert record.find("0") is None
    assert record.find("1") is not None
    assert record.find(f"{_MAX_ENTRIES}") is not None


def test_long_lists_of_refusals_do_not_add_up_without_end(record: Record) -> None:
    for number in range(5):
        record.remember(f"{number}", refused=_MAX_REFUSALS // 4)
    assert record.find("0") is None
    assert record.find("1") is not None


def test_the_same_key_again_takes_no_further_room(record: Record) -> None:
    for _ in range(100):
        record.remember("one", refused=_MAX_REFUSALS // 2)
    record.remember("two", refused=_MAX_REFUSALS // 2)
    assert record.find("one") is not None
