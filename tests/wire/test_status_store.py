"""How status lies in Redis: names and bytes that other programs rely on."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors.files import read
from verifier.wire import status_store
from verifier.wire.errors import StatusError
from verifier.wire.status_store import (
    MAX_SHARD,
    MAX_UPDATES_PER_ENTRY,
    RECORDS_PER_SHARD,
    SHARD_BYTES,
    decode_updates,
    encode_updates,
    epoch_key,
    feed_key,
    offset_of,
    partition_of,
    shard_of,
    status_key,
)

VECTORS = read("feed_entries.json")
indices = st.integers(0, 2**32 - 1)
updates_lists = st.lists(st.tuples(indices, st.integers(0, 2**64 - 1)), min_size=1, max_size=50)


def _bits(stored: str) -> int:
    return int.from_bytes(bytes.fromhex(stored), "little")


def _updates(vector: dict[str, Any]) -> list[tuple[int, int]]:
    return [(update["credential_index"], _bits(update["stored"])) for update in vector["updates"]]


def test_the_names_of_the_keys_are_pinned() -> None:
    assert status_key(0, 1) == "gatelight:{0}:status:0"
    assert status_key(65_535, 4) == "gatelight:{3}:status:65535"
    assert feed_key(2) == "gatelight:{2}:feed"
    assert epoch_key(0) == "gatelight:{0}:epoch"
    assert status_store.KEY_SET_KEY == "gatelight:key_set"
    fields = (status_store.EPOCH_FIELD, status_store.UPDATES_FIELD, status_store.PARTITIONS_FIELD)
    assert fields == (b"e", b"u", b"p")


def test_a_shard_is_half_a_mebibyte_of_65_536_records() -> None:
    assert (RECORDS_PER_SHARD, SHARD_BYTES) == (65_536, 524_288)


@pytest.mark.parametrize(
    ("credential_index", "shard", "offset"),
    [
        (0, 0, 0),
        (1, 0, 8),
        (65_535, 0, 524_280),
        (65_536, 1, 0),
        (2**32 - 1, MAX_SHARD, 524_280),
    ],
)
def test_where_a_record_lies_is_pinned(credential_index: int, shard: int, offset: int) -> None:
    assert (shard_of(credential_index), offset_of(credential_index)) == (shard, offset)


@given(indices)
def test_shard_and_offset_tell_the_credential(credential_index: int) -> None:
    shard, offset = shard_of(credential_index), offset_of(credential_index)
    assert 0 <= shard <= MAX_SHARD
    assert 0 <= offset <= SHARD_BYTES - 8
    assert shard * RECORDS_PER_SHARD + offset // 8 == credential_index


@given(st.integers(0, MAX_SHARD), st.integers(1, 64))
def test_a_shard_lies_in_the_partition_that_its_key_names(shard: int, partitions: int) -> None:
    partition = partition_of(shard, partitions)
    assert 0 <= partition < partitions
    assert f"{{{partition}}}" in status_key(shard, partitions)
    assert f"{{{partition}}}" in feed_key(partition)


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["name"])
def test_the_bytes_of_updates_are_pinned(vector: dict[str, Any]) -> None:
    assert encode_updates(_updates(vector)).hex() == vector["u"]
    assert list(decode_updates(bytes.fromhex(vector["u"]))) == _updates(vector)


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["name"])
def test_bytes_that_are_no_updates_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(StatusError):
        decode_updates(bytes.fromhex(vector["u"]))


@given(updates_lists)
def test_updates_are_read_as_they_were_written(updates: list[tuple[int, int]]) -> None:
    assert list(decode_updates(encode_updates(updates))) == updates


@given(st.binary(max_size=100))
def test_any_bytes_are_the_updates_that_they_are_the_bytes_of_or_none(encoded: bytes) -> None:
    try:
        updates = list(decode_updates(encoded))
    except StatusError:
        return
    assert encode_updates(updates) == encoded


def test_4_096_updates_fit_an_entry() -> None:
    updates = [(index, index) for index in range(MAX_UPDATES_PER_ENTRY)]
    assert len(list(decode_updates(encode_updates(updates)))) == 4_096


def test_4_097_updates_do_not_fit_an_entry() -> None:
    with pytest.raises(StatusError, match="got 4097"):
        encode_updates([(0, 0)] * 4_097)
    with pytest.raises(StatusError, match=f"got {12 * 4_097} bytes"):
        decode_updates(bytes(12 * 4_097))


@pytest.mark.parametrize(
    "updates", [[], [(-1, 0)], [(2**32, 0)], [(0, -1)], [(0, 2**64)], [(0, 0), (2**32, 0)]], ids=str
)
def test_updates_that_do_not_fit_are_not_written(updates: list[tuple[int, int]]) -> None:
    with pytest.raises(StatusError):
        encode_updates(updates)
