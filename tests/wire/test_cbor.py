"""The strict CBOR of codes: what is written is deterministic, and nothing else is read."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import raw_cbor as raw
from verifier.wire import cbor
from verifier.wire.errors import CborError

MAJORS = (cbor.UINT, cbor.NINT, cbor.BYTES, cbor.TEXT, cbor.ARRAY, cbor.MAP, cbor.TAG)
BOUNDARIES = [0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1]

values = st.one_of(st.sampled_from(BOUNDARIES), st.integers(0, 2**64 - 1))
majors = st.sampled_from(MAJORS)


@pytest.mark.parametrize("value", BOUNDARIES)
def test_an_integer_is_written_as_cbor2_writes_it(value: int) -> None:
    assert cbor.head(cbor.UINT, value) == cbor2.dumps(value)
    assert cbor.head(cbor.NINT, value) == cbor2.dumps(-1 - value)


@given(majors, values)
def test_a_head_is_written_as_the_independent_writer_does(major: int, value: int) -> None:
    assert cbor.head(major, value) == raw.head(major >> 5, value)


@pytest.mark.parametrize("value", [2**64, 2**70])
def test_a_value_of_more_than_64_bits_is_not_written(value: int) -> None:
    with pytest.raises(ValueError, match="under 2"):
        cbor.head(cbor.UINT, value)


@given(st.binary(max_size=300))
def test_a_byte_string_is_written_as_cbor2_writes_it(content: bytes) -> None:
    assert cbor.byte_string(content) == cbor2.dumps(content)


@given(st.text(max_size=100))
def test_a_text_string_is_written_as_cbor2_writes_it(content: str) -> None:
    assert cbor.text_string(content) == cbor2.dumps(content)


@given(majors, values, st.binary(max_size=9), st.binary(max_size=9))
def test_a_head_that_was_written_is_read_wherever_it_stands(
    major: int, value: int, before: bytes, after: bytes
) -> None:
    head = cbor.head(major, value)
    assert cbor.read_head(before + head + after, len(before), major) == (value, len(before + head))


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@given(major=majors, value=st.integers(0, 2**32))
def test_a_head_longer_than_needed_is_refused(width: int, major: int, value: int) -> None:
    shortest = len(cbor.head(major, value)) - 1
    if width <= shortest:
        value = min(value, [23, 255, 65_535, 2**32 - 1][[1, 2, 4, 8].index(width)])
    with pytest.raises(CborError, match="shortest head"):
        cbor.read_head(raw.head(major >> 5, value, width), 0, major)


@pytest.mark.parametrize(("width", "least"), [(1, 24), (2, 256), (4, 65_536), (8, 2**32)])
def test_the_least_value_that_needs_a_width_is_read_in_it(width: int, least: int) -> None:
    assert cbor.read_head(raw.head(0, least, width), 0, cbor.UINT) == (least, 1 + width)
    with pytest.raises(CborError):
        cbor.read_head(raw.head(0, least - 1, width), 0, cbor.UINT)


@pytest.mark.parametrize("major", MAJORS)
def test_only_heads_of_the_type_asked_for_are_read(major: int) -> None:
    tail = b"\xff" * 8
    read = set()
    for initial in range(256):
        try:
            cbor.read_head(bytes([initial]) + tail, 0, major)
        except CborError:
            continue
        read.add(initial)
    # 28 to 30 are reserved, 31 is indefinite length.
    assert read == set(range(major, major + 28))


@given(majors, values)
def test_a_head_cut_short_is_refused(major: int, value: int) -> None:
    head = cbor.head(major, value)
    for length in range(len(head)):
        with pytest.raises(CborError):
            cbor.read_head(head[:length], 0, major)


@given(st.sampled_from((cbor.BYTES, cbor.TEXT)), st.binary(max_size=300), st.binary(max_size=9))
def test_a_string_is_read_to_its_end_and_no_further(major: int, content: bytes, after: bytes) -> None:
    item = raw.head(major >> 5, len(content)) + content
    assert cbor.read_string(item + after, 0, major) == (content, len(item))


@pytest.mark.parametrize("length", [4, 256, 2**32, 2**63, 2**64 - 1])
def test_a_string_that_claims_more_than_there_is_is_refused(length: int) -> None:
    with pytest.raises(CborError, match=f"expected a string of {length} bytes, got 3"):
        cbor.read_string(cbor.head(cbor.BYTES, length) + b"abc", 0, cbor.BYTES)


@given(st.binary(max_size=12), st.integers(0, 14), majors)
def test_any_bytes_are_read_within_their_length_or_refused(data: bytes, at: int, major: int) -> None:
    for read in (cbor.read_head, cbor.read_string):
        try:
            _, end = read(data, at, major)
        except CborError:
            continue
        assert at < end <= len(data)
