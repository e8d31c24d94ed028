"""The status record: 64 bits that keep their meaning."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors.files import read
from verifier.wire.errors import StatusError
from verifier.wire.status_record import (
    NEVER_HEARD_OF,
    RECORD_BYTES,
    Colour,
    CredentialState,
    StatusRecord,
    pack,
    unpack,
)

VECTORS = read("status_records.json")
SOUND = StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 1)

records = st.builds(
    StatusRecord,
    st.sampled_from(Colour),
    st.sampled_from(CredentialState),
    st.integers(0, 255),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**32 - 1),
)


def _record(vector: dict[str, Any]) -> StatusRecord:
    return StatusRecord(
        Colour(vector["colour"]),
        CredentialState(vector["state"]),
        vector["generation"],
        vector["reason"],
        vector["last_negative_test_min"],
    )


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["name"])
def test_the_stored_bytes_of_a_record_are_pinned(vector: dict[str, Any]) -> None:
    assert pack(_record(vector)).to_bytes(RECORD_BYTES, "little").hex() == vector["stored"]


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["name"])
def test_stored_bytes_are_read_as_their_record(vector: dict[str, Any]) -> None:
    assert unpack(int.from_bytes(bytes.fromhex(vector["stored"]), "little")) == _record(vector)


@pytest.mark.parametrize("stored", VECTORS["bad"])
def test_a_reserved_bit_makes_no_record(stored: str) -> None:
    with pytest.raises(StatusError, match="bits 12-15"):
        unpack(int.from_bytes(bytes.fromhex(stored), "little"))


@given(records)
def test_a_record_is_read_as_it_was_packed(record: StatusRecord) -> None:
    bits = pack(record)
    assert 0 <= bits < 2**64
    assert unpack(bits) == record


@given(st.integers(0, 2**64 - 1))
def test_any_64_bits_are_a_record_that_packs_to_them_or_none(bits: int) -> None:
    try:
        record = unpack(bits)
    except StatusError:
        assert bits & 0xF000
        return
    assert pack(record) == bits


def test_never_heard_of_has_no_colour_and_no_state() -> None:
    assert unpack(NEVER_HEARD_OF) == StatusRecord(Colour.NONE, CredentialState.NONE, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"generation": -1},
        {"generation": 256},
        {"reason": -1},
        {"reason": 2**16},
        {"last_negative_test_min": -1},
        {"last_negative_test_min": 2**32},
    ],
    ids=str,
)
def test_a_field_out_of_range_is_not_packed(change: dict[str, int]) -> None:
    with pytest.raises(StatusError):
        pack(SOUND._replace(**change))  # type: ignore[arg-type]
