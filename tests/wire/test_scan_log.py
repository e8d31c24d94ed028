"""Frames of the scan log: what was written is read, and damage costs no more than what it hit."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.wire.scan_log import HEAD_BYTES, MAX_ENTRY_BYTES, MAX_FRAME_BYTES, frame, read_frames

entries = st.lists(st.binary(min_size=1, max_size=60), max_size=8)
# Bytes that look like the begin of a frame are what reading has to be careful with.
tricky = st.lists(
    st.sampled_from([b"GL", b"G", b"L", b"\x00\x00", b"\x08\x00", b"\xff\xff"]) | st.binary(max_size=5),
    max_size=12,
).map(b"".join)
THREE = [b"first", b"2", b"third entry"]
CONTENT = b"".join(map(frame, THREE))


def _read(content: bytes) -> list[bytes]:
    return [entry for _, entry in read_frames(content)]


def test_the_bytes_of_a_frame_are_pinned() -> None:
    assert frame(b"123456789").hex() == "474c0900" + "2639f4cb" + b"123456789".hex()
    assert zlib.crc32(b"123456789") == 0xCBF43926  # the check value of CRC-32/ISO-HDLC


@given(entries)
def test_frames_are_read_as_they_were_written(written: list[bytes]) -> None:
    assert _read(b"".join(map(frame, written))) == written


@given(entries)
def test_each_entry_comes_with_where_its_frame_ends(written: list[bytes]) -> None:
    ends = [end for end, _ in read_frames(b"".join(map(frame, written)))]
    assert ends == [sum(HEAD_BYTES + len(entry) for entry in written[: i + 1]) for i in range(len(written))]


@given(st.binary(max_size=300) | tricky)
def test_any_content_is_read_without_an_error(content: bytes) -> None:
    ends = [end for end, _ in read_frames(content)]
    assert ends == sorted(set(ends))
    assert all(end <= len(content) for end in ends)


@given(entries, tricky, entries)
def test_what_is_no_frame_is_passed_over(before: list[bytes], damage: bytes, after: list[bytes]) -> None:
    read = _read(b"".join(map(frame, before)) + damage + b"".join(map(frame, after)))
    # Nothing sound is missing; an entry more would need a CRC that fits by chance.
    assert read == before + after


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=6), st.data())
def test_a_torn_frame_costs_itself_alone(written: list[bytes], data: st.DataObject) -> None:
    torn = data.draw(st.integers(0, len(written) - 1))
    frames = [frame(entry) for entry in written]
    frames[torn] = frames[torn][: data.draw(st.integers(0, len(frames[torn]) - 1))]
    # Not even itself, where the next begins with the bytes that it lacks.
    assert _read(b"".join(frames)) in (written[:torn] + written[torn + 1 :], written)


@pytest.mark.parametrize("short", range(1, HEAD_BYTES))
def test_a_torn_frame_that_the_next_ones_begin_completes_does_not_cost_the_next(short: int) -> None:
    after = frame(b"after")
    torn = frame(b"torn " + after[:short])[:-short]
    assert _read(torn + after + frame(b"last")) == [b"torn " + after[:short], b"after", b"last"]


def test_a_whole_frame_within_an_entry_is_never_read_from_it() -> None:
    for tail in range(HEAD_BYTES + 3):
        content = frame(b"outer" + frame(b"inner") + bytes(tail)) + b"damage"
        assert len(_read(content)) == 1


def test_content_that_ends_within_a_frame_is_read_up_to_it() -> None:
    for length in range(len(CONTENT)):
        ends = [end for end, _ in read_frames(CONTENT[:length])]
        assert ends == [end for end, _ in read_frames(CONTENT) if end <= length]


def test_a_flipped_byte_costs_the_frame_it_is_in_alone() -> None:
    begins = [0, *(end for end, _ in read_frames(CONTENT))]
    for at in range(len(CONTENT)):
        hit = next(i for i in range(len(THREE)) if at < begins[i + 1])
        flipped = CONTENT[:at] + bytes([CONTENT[at] ^ 0xFF]) + CONTENT[at + 1 :]
        assert _read(flipped) == THREE[:hit] + THREE[hit + 1 :]


@pytest.mark.parametrize(("size", "is_read"), [(MAX_ENTRY_BYTES, True), (MAX_ENTRY_BYTES + 1, False)])
def test_an_entry_has_a_longest_size(size: int, is_read: bool) -> None:
    content = frame(b"x" * size)
    assert _read(content) == ([b"x" * size] if is_read else [])
    assert is_read == (len(content) <= MAX_FRAME_BYTES)


def test_a_head_that_was_begun_before_zeros_is_no_empty_entry() -> None:
    assert _read(frame(b"first") + b"GL" + bytes(600) + frame(b"last")) == [b"first", b"last"]
