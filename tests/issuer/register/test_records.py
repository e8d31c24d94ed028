"""What the database packs is what the wire format packs, on both databases."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from issuer.register.database import Database
from issuer.register.outbox import Outbox, enqueue_indices
from issuer.register.records import apart
from issuer.register.schema import credentials, holder_status, holders, outbox
from tests.issuer.publishing import NOW, packed
from verifier.wire.status_record import RECORD_BYTES
from verifier.wire.status_store import RECORDS_PER_SHARD

_LAST_INDEX = 2**32 - 1

Status = tuple[int, int, int]  # colour, reason, last negative test
Entry = tuple[int, int, Status | None]  # state, generation, status

statuses = st.tuples(st.integers(0, 3), st.integers(0, 2**16 - 1), st.integers(0, 2**31 - 1))
entries = st.tuples(st.integers(1, 4), st.integers(1, 256), st.none() | statuses)
indices = st.one_of(
    st.integers(1, 40),
    st.integers(RECORDS_PER_SHARD - 3, RECORDS_PER_SHARD + 3),
    st.integers(_LAST_INDEX - 3, _LAST_INDEX),
)


def enter(database: Database, found: dict[int, Entry]) -> None:
    """Make these the only credentials of the register; each waits in the outbox."""
    numbered = list(zip(itertools.count(1), found.items(), strict=False))
    with database.write() as connection:
        for table in (outbox, holder_status, credentials, holders):
            connection.execute(delete(table))
        for number, (index, (state, generation, status)) in numbered:
            connection.execute(
                insert(holders).values(
                    id=number,
                    name="",
                    document_type="",
                    document_last_four="",
                    region="",
                    enrolled_at=NOW,
                )
            )
            connection.execute(
                insert(credentials).values(
                    credential_index=index,
                    holder_id=number,
                    kind=1,
                    generation=generation,
                    state=state,
                    issued_at=NOW,
                )
            )
            if status is not None:
                colour, reason, tested_min = status
                connection.execute(
                    insert(holder_status).values(
                        holder_id=number, colour=colour, reason=reason, last_negative_test_min=tested_min
                    )
                )
        enqueue_indices(connection, list(found))


def expected(found: dict[int, Entry]) -> dict[int, int]:
    return {
        index: packed(state, generation, *(status or (None, None, None)))
        for index, (state, generation, status) in found.items()
    }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.dictionaries(indices, entries, min_size=1, max_size=30))
def test_the_database_packs_what_the_wire_format_packs(database: Database, found: dict[int, Entry]) -> None:
    enter(database, found)
    register = Outbox(database)
    assert dict(register.next_batch(100).updates) == expected(found)

    shards: dict[int, int] = {}
    counted = 0
    number = register.next_shard(0)
    while number is not None:
        shard = register.read_shard(number)
        counted += shard.record_count
        records: Sequence[int] = memoryview(shard.content).cast("Q")
        shards |= {number * RECORDS_PER_SHARD + at: record for at, record in enumerate(records) if record}
        number = register.next_shard(number + 1)
    assert shards == {index: record for index, record in expected(found).items() if record}
    assert counted == len(found)
    assert register.count_shards() == max(found) // RECORDS_PER_SHARD + 1


@pytest.mark.parametrize("first", [1, RECORDS_PER_SHARD - 1, RECORDS_PER_SHARD, RECORDS_PER_SHARD + 1])
def test_a_dense_shard_is_laid_out_from_its_first_record(database: Database, first: int) -> None:
    found: dict[int, Entry] = {first + at: (1, at + 1, (1, at, at)) for at in range(20)}
    enter(database, found)
    for number in (0, 1):
        shard = Outbox(database).read_shard(number)
        for index, record in expected(found).items():
            if index // RECORDS_PER_SHARD == number:
                begin = RECORD_BYTES * (index % RECORDS_PER_SHARD)
                assert shard.content[begin : begin + RECORD_BYTES] == record.to_bytes(RECORD_BYTES, "little")


def test_a_shard_ends_with_its_last_record(database: Database) -> None:
    enter(database, {5: (1, 1, None)})
    assert len(Outbox(database).read_shard(0).content) == 6 * RECORD_BYTES


def test_an_empty_register_has_no_shards(database: Database) -> None:
    register = Outbox(database)
    assert (register.count_shards(), register.next_shard(0)) == (0, None)
    assert register.read_shard(0).content == b""


def test_the_last_shard_is_followed_by_none(database: Database) -> None:
    enter(database, {_LAST_INDEX: (1, 1, None)})
    register = Outbox(database)
    assert register.next_shard(0) == _LAST_INDEX // RECORDS_PER_SHARD
    assert register.next_shard(_LAST_INDEX // RECORDS_PER_SHARD + 1) is None


def test_values_come_apart_as_they_were_put_together() -> None:
    assert list(apart("00000000000000010f00000000000002")) == [1, 0x0F00000000000002]
    assert list(apart(bytes(7) + b"\x01")) == [1]
    assert list(apart(None)) == []
