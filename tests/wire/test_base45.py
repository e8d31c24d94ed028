"""Base45: the examples of RFC 9285, and that every text has one reading or none."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import raw_cbor as raw
from tests.vectors.files import read
from verifier.wire.base45 import ALPHABET, decode, encode
from verifier.wire.errors import Base45Error

RFC_9285 = read("rfc9285_base45.json")
PAIRS = [(bytes.fromhex(pair["bytes"]), pair["text"].encode()) for pair in RFC_9285["pairs"]]

# Mostly readable: random characters of the alphabet rarely overflow.
texts = st.lists(st.sampled_from(ALPHABET), max_size=60).map(bytes)


@pytest.mark.parametrize(("content", "text"), PAIRS)
def test_an_example_of_rfc_9285_is_encoded(content: bytes, text: bytes) -> None:
    assert encode(content) == text


@pytest.mark.parametrize(("content", "text"), PAIRS)
def test_an_example_of_rfc_9285_is_decoded(content: bytes, text: bytes) -> None:
    assert decode(text) == content


@pytest.mark.parametrize("text", RFC_9285["invalid"])
def test_what_rfc_9285_calls_invalid_is_refused(text: str) -> None:
    with pytest.raises(Base45Error):
        decode(text.encode())


@given(st.binary(max_size=300))
def test_what_was_encoded_is_decoded(content: bytes) -> None:
    assert decode(encode(content)) == content


@given(st.binary(max_size=300))
def test_the_encoder_agrees_with_the_independent_one(content: bytes) -> None:
    assert encode(content) == raw.base45(content).encode()


@given(st.one_of(st.binary(max_size=60), texts))
def test_any_bytes_are_decoded_to_what_encodes_to_them_or_refused(text: bytes) -> None:
    try:
        content = decode(text)
    except Base45Error:
        return
    assert encode(content) == text


@pytest.mark.parametrize("byte", sorted(set(range(256)) - set(ALPHABET)))
def test_a_character_outside_the_alphabet_is_refused(byte: int) -> None:
    for at in range(3):
        text = bytearray(b"BB8")
        text[at] = byte
        with pytest.raises(Base45Error):
            decode(bytes(text))


@pytest.mark.parametrize(("text", "content"), [(b"EGW", b"\xff\xfe"), (b"FGW", b"\xff\xff")])
def test_the_largest_groups_of_three_are_decoded(text: bytes, content: bytes) -> None:
    assert decode(text) == content


@pytest.mark.parametrize("text", [b"GGW", b"0HW", b":::", b"BB8GGW", b"GGWBB8"])
def test_a_group_of_more_than_16_bits_is_refused(text: bytes) -> None:
    with pytest.raises(Base45Error):
        decode(text)


def test_the_largest_pair_is_decoded() -> None:
    assert decode(b"U5") == b"\xff"


@pytest.mark.parametrize("text", [b"V5", b"06", b"::", b"BB8V5"])
def test_a_pair_of_more_than_8_bits_is_refused(text: bytes) -> None:
    with pytest.raises(Base45Error):
        decode(text)


def test_every_group_of_three_and_every_pair_is_decoded_right_or_refused() -> None:
    for values in itertools.chain(
        itertools.product(range(45), repeat=3), itertools.product(range(45), repeat=2)
    ):
        number = sum(value * 45**place for place, value in enumerate(values))
        text = bytes(ALPHABET[value] for value in values)
        size = len(values) - 1
        if number < 256**size:
            assert decode(b"BB8" + text) == b"AB" + number.to_bytes(size, "big")
        else:
            with pytest.raises(Base45Error):
                decode(b"BB8" + text)


@pytest.mark.parametrize("length", [1, 4, 7, 301])
def test_a_length_that_no_encoder_makes_is_refused(length: int) -> None:
    with pytest.raises(Base45Error, match=f"got {length}"):
        decode(b"0" * length)


def test_nothing_encodes_nothing() -> None:
    assert encode(b"") == b""
    assert decode(b"") == b""
