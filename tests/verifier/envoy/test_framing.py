"""Frames, deadlines and error texts of gRPC."""

import gzip
import urllib.parse
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.call_error import CallError, Status
from verifier.envoy.framing import ENCODINGS, Unframer, frame, only_message, percent_encode, read_timeout_s

LIMIT = 1_000


def compressed(message: bytes) -> bytes:
    return b"\1" + len(message).to_bytes(4, "big") + message


@given(st.lists(st.binary(max_size=LIMIT), max_size=8), st.lists(st.integers(1, 300), max_size=60))
def test_messages_come_out_as_they_went_in_however_the_bytes_were_cut(
    messages: list[bytes], cuts: list[int]
) -> None:
    rest = b"".join(map(frame, messages))
    unframer = Unframer(LIMIT)
    found: list[bytes] = []
    for cut in [*cuts, len(rest)]:
        found += unframer.feed(rest[:cut])
        rest = rest[cut:]
    found += unframer.feed(rest)
    assert found == messages
    assert unframer.is_between_messages


@pytest.mark.parametrize("length", [0, LIMIT])
def test_a_message_of_at_most_the_limit_is_read(length: int) -> None:
    message = b"x" * length
    assert only_message(frame(message), LIMIT) == message
    assert only_message(compressed(gzip.compress(message)), LIMIT, b"gzip") == message
    assert only_message(compressed(zlib.compress(message)), LIMIT, b"deflate") == message
    assert list(Unframer(LIMIT, b"gzip").feed(compressed(gzip.compress(message)))) == [message]


@pytest.mark.parametrize(
    "body",
    [frame(b"x" * (LIMIT + 1)), compressed(zlib.compress(b"x" * (LIMIT + 1))), b"\0\xff\xff\xff\xff"],
)
def test_a_message_over_the_limit_is_refused_before_there_is_more_of_it(body: bytes) -> None:
    reads = (lambda: only_message(body, LIMIT, b"gzip"), lambda: list(Unframer(LIMIT, b"gzip").feed(body)))
    for read in reads:
        with pytest.raises(CallError) as caught:
            read()
        assert caught.value.status is Status.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "body",
    [b"", b"\0", frame(b"x")[:-1], frame(b"x") + b"\0", frame(b"x") * 2, compressed(b"no zlib"),
     compressed(zlib.compress(b"x" * 100)[:-5]), compressed(zlib.compress(b"x") + b"more"),
     b"\2" + frame(zlib.compress(b"x"))[1:]],
)  # fmt: skip
def test_a_call_with_no_message_or_more_than_one_is_refused(body: bytes) -> None:
    with pytest.raises(CallError) as caught:
        only_message(body, LIMIT, b"gzip")
    assert caught.value.status is Status.INVALID_ARGUMENT


def test_a_message_is_not_compressed_where_the_call_does_not_say_so() -> None:
    body = compressed(zlib.compress(b"x"))
    for encoding in ENCODINGS[1:]:
        assert only_message(body, LIMIT, encoding) == b"x"
    for read in (lambda: only_message(body, LIMIT), lambda: list(Unframer(LIMIT).feed(body))):
        with pytest.raises(CallError):
            read()


def test_what_came_before_a_broken_frame_is_given_first() -> None:
    messages = Unframer(LIMIT).feed(frame(b"good") + compressed(b"no zlib"))
    assert next(messages) == b"good"
    with pytest.raises(CallError):
        next(messages)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 0.004), (b"5u", 5e-6), (b"99999999n", 0.099999999)],
)
def test_a_timeout_is_read_in_every_unit(value: bytes, seconds: float) -> None:
    assert read_timeout_s(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"1", b"S", b"-1S", b"1s", b"123456789S", b"1S ", b" 1S"])
def test_a_timeout_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(CallError):
        read_timeout_s(value)


@given(st.text())
def test_an_error_text_is_printable_ascii_and_comes_back(text: str) -> None:
    encoded = percent_encode(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert urllib.parse.unquote_to_bytes(encoded) == text.encode()
