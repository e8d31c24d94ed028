"""The outbox: what is put in comes out in order, with the record of that moment, on both databases."""

import contextlib

import pytest
from sqlalchemy import false, true

from issuer.register.database import Database
from issuer.register.entries import CredentialStanding
from issuer.register.outbox import FeedPosition, Outbox, enqueue, enqueue_indices
from issuer.register.schema import credentials
from tests.issuer.publishing import Publishing
from verifier.wire.status_record import RECORD_BYTES, Colour, unpack
from verifier.wire.status_store import RECORDS_PER_SHARD


@pytest.fixture
def register(database: Database, redis_url: str) -> Publishing:
    return Publishing(database, redis_url)


def empty(outbox: Outbox) -> None:
    outbox.settle(outbox.last_seq(), {0: FeedPosition("e", "1-1")})


def test_what_a_condition_selects_is_enqueued_by_index(register: Publishing) -> None:
    register.issue(5)
    empty(register.outbox)
    with register.database.write() as connection:
        seq = enqueue(connection, credentials.c.holder_id.in_([4, 2]))
    batch = register.outbox.next_batch(10)
    assert [index for index, _ in batch.updates] == [2, 4]
    assert batch.last_seq == seq == register.outbox.last_seq()


def test_nothing_enqueued_has_no_seq(register: Publishing) -> None:
    register.issue(2)
    with register.database.write() as connection:
        assert enqueue(connection, false()) == 0
        assert enqueue_indices(connection, []) == 0


def test_indices_can_be_enqueued_as_they_are(register: Publishing) -> None:
    register.issue(3)
    empty(register.outbox)
    with register.database.write() as connection:
        seq = enqueue_indices(connection, [3, 1])
    assert register.outbox.next_batch(10).last_seq == seq
    assert [index for index, _ in register.outbox.next_batch(10).updates] == [1, 3]


def test_what_is_rolled_back_is_not_enqueued(register: Publishing) -> None:
    register.issue(1)
    empty(register.outbox)
    with (
        contextlib.suppress(ZeroDivisionError),
        register.database.write() as connection,
    ):
        enqueue(connection, true())
        _ = 1 / 0
    assert register.outbox.next_batch(10).row_count == 0


def test_a_record_is_read_when_the_batch_is_and_not_when_it_was_enqueued(register: Publishing) -> None:
    (index,) = register.issue()
    register.set_colour(index, Colour.GREEN)
    first = register.outbox.next_batch(1)
    assert [(at, unpack(record).colour) for at, record in first.updates] == [(index, Colour.GREEN)]
    assert first.row_count == 1


def test_rows_of_one_credential_collapse(register: Publishing) -> None:
    one, two = register.issue(2)
    for colour in (Colour.RED, Colour.YELLOW):
        register.set_colour(two, colour)
        register.set_colour(one, colour)
    batch = register.outbox.next_batch(10)
    assert batch.row_count == 6
    assert batch.updates == sorted(register.truth().items())


@pytest.mark.parametrize(("limit", "rows"), [(4, 4), (5, 5), (6, 5)])
def test_a_batch_is_bounded(register: Publishing, limit: int, rows: int) -> None:
    register.issue(5)
    batch = register.outbox.next_batch(limit)
    assert (batch.row_count, [index for index, _ in batch.updates]) == (rows, list(range(1, rows + 1)))


def test_an_empty_outbox_gives_an_empty_batch(register: Publishing) -> None:
    batch = register.outbox.next_batch(10)
    assert (batch.last_seq, batch.row_count, list(batch.updates)) == (0, 0, [])


def test_a_credential_that_does_not_exist_was_never_heard_of(register: Publishing) -> None:
    with register.database.write() as connection:
        enqueue_indices(connection, [77])
    assert register.outbox.next_batch(10).updates == [(77, 0)]


def test_to_verifiers_expired_is_revoked(register: Publishing) -> None:
    one, two = register.issue(2)
    register.set_state(one, CredentialStanding.EXPIRED, 1)
    register.set_state(two, CredentialStanding.REVOKED, 1)
    (_, expired), (_, revoked) = register.outbox.next_batch(10).updates
    assert expired == revoked != 0


def test_settling_drops_what_was_published_and_no_more(register: Publishing) -> None:
    register.issue(3)
    batch = register.outbox.next_batch(2)
    register.outbox.settle(batch.last_seq, {0: FeedPosition("e", "1-1")})
    assert [index for index, _ in register.outbox.next_batch(10).updates] == [3]
    assert register.outbox.positions() == {0: FeedPosition("e", "1-1")}


def test_numbers_are_not_given_twice(register: Publishing) -> None:
    register.issue(3)
    last = register.outbox.last_seq()
    empty(register.outbox)
    register.issue(1)
    assert register.outbox.last_seq() > last


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_backlog_is_counted(register: Publishing, count: int) -> None:
    if count:
        register.issue(count)
    assert register.outbox.backlog() == count


def test_a_comparison_names_what_differs_and_leaves_out_what_waits(register: Publishing) -> None:
    register.issue(3)
    register.issue_at(RECORDS_PER_SHARD)
    truth = register.truth()
    right = b"".join(truth.get(index, 0).to_bytes(RECORD_BYTES, "little") for index in range(4))
    empty(register.outbox)
    assert register.outbox.compare(0, right).differing == []
    assert register.outbox.compare(0, right + bytes(80)).differing == []  # zeros are no records
    damaged = bytearray(right)
    damaged[8] ^= 1
    damaged[24] ^= 1
    damaged += b"\x05" + bytes(7)
    assert register.outbox.compare(0, bytes(damaged)).differing == [(1, truth[1]), (3, truth[3]), (4, 0)]
    assert register.outbox.compare(0, right).shard.content == right
    assert register.outbox.compare(0, b"").differing == [(1, truth[1]), (2, truth[2]), (3, truth[3])]
    with register.database.write() as connection:
        enqueue_indices(connection, [3, 3, RECORDS_PER_SHARD])
    assert register.outbox.compare(0, bytes(damaged)).differing == [(1, truth[1]), (4, 0)]
