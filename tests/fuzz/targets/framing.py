"""gRPC's frames and headers on the Envoy engine (verifier.envoy.framing), however they are cut."""

import gzip
import zlib
from urllib.parse import unquote_to_bytes

from tests.fuzz.target import Input, Target, only, piece
from verifier.call_error import CallError, Status
from verifier.envoy.framing import (
    ENCODINGS,
    IDENTITY,
    PREFIX_BYTES,
    Unframer,
    frame,
    only_message,
    percent_encode,
    read_timeout_s,
)

STREAM, ONE, TIMEOUT, TEXT, COMPRESSED = range(5)
_MAX_BYTES = 256


def run(content: bytes) -> None:
    """Read one."""
    given = Input(content)
    (_stream, _one, _timeout, _text, _compressed)[given.number() % 5](given)


def _stream(given: Input) -> None:
    encoding = given.pick(ENCODINGS)
    cuts = [given.number() for _ in range(4)]
    body = given.rest()
    whole = _messages([body], encoding)
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(body[at : at + cut])
        at += cut
    pieces.append(body[at:])
    assert _messages(pieces, encoding) == whole, "what comes out depends on how it came in"


def _messages(pieces: list[bytes], encoding: bytes) -> tuple[list[bytes], Status | None]:
    unframer = Unframer(_MAX_BYTES, encoding)
    found: list[bytes] = []
    try:
        for one in pieces:
            for message in unframer.feed(one):
                assert len(message) <= _MAX_BYTES
                found.append(message)
            if unframer.is_between_messages:
                assert not unframer._rest
            assert len(unframer._rest) <= _MAX_BYTES + PREFIX_BYTES
    except CallError as error:
        return found, error.status
    return found, None


def _one(given: Input) -> None:
    encoding = given.pick(ENCODINGS)
    body = given.rest()
    assert only_message(frame(body[:_MAX_BYTES]), _MAX_BYTES) == body[:_MAX_BYTES]
    with only(CallError):
        message = only_message(body, _MAX_BYTES, encoding)
        assert len(message) <= _MAX_BYTES
        assert _messages([body], encoding) == ([message], None)
        if body[0] == 0:
            assert frame(message) == body


def _timeout(given: Input) -> None:
    value = given.rest()
    with only(CallError):
        assert 0 <= read_timeout_s(value) <= 99_999_999 * 3_600
        assert value[:-1].isdigit()


def _text(given: Input) -> None:
    text = given.rest().decode("utf-8", "replace")
    encoded = percent_encode(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote_to_bytes(encoded) == text.encode()


def _compressed(given: Input) -> None:
    """What is compressed comes out as it was, or is refused where it is too long."""
    repeats = given.number()
    message = given.rest() * (1 + repeats)
    for encoding, compressed in (
        (b"gzip", gzip.compress(message, mtime=0)),
        (b"deflate", zlib.compress(message)),
    ):
        if len(compressed) > _MAX_BYTES:
            continue
        body = b"\1" + len(compressed).to_bytes(4, "big") + compressed
        try:
            assert only_message(body, _MAX_BYTES, encoding) == message
            assert len(message) <= _MAX_BYTES
        except CallError as error:
            assert error.status is Status.RESOURCE_EXHAUSTED
            assert len(message) > _MAX_BYTES
        with only(CallError):
            only_message(body, _MAX_BYTES, IDENTITY)
            raise AssertionError("a flag was taken that the call cannot have")


def seeds() -> list[bytes]:
    """Return some of each."""
    packed = gzip.compress(b"hello" * 20, mtime=0)
    compressed = b"\1" + len(packed).to_bytes(4, "big") + packed
    return [
        bytes([STREAM, 0, 3, 4, 5, 6]) + frame(b"a") + frame(b"bc") + frame(b""),
        bytes([STREAM, 1, 3, 4, 9, 6]) + compressed + frame(b"x") + compressed,
        bytes([STREAM, 0, 0, 0, 0, 1]) + b"\0\0\0\1\1" + bytes(257),
        bytes([ONE, 0]) + frame(b"hello"),
        bytes([ONE, 1]) + compressed,
        bytes([ONE, 2]) + b"\1\0\0\0\x0d" + zlib.compress(b"hello"),
        *(bytes([TIMEOUT]) + one for one in (b"5S", b"99999999H", b"1n", b"0m")),
        bytes([TEXT]) + "名 100 %".encode(),
        bytes([COMPRESSED, 200]) + b"hello",
        bytes([COMPRESSED, 0]) + piece(b"hello"),
    ]


TARGET = Target("framing", run, seeds, max_bytes=1_024, words=(b"\x1f\x8b\x08", b"\x78\x9c", b"\0\0\0\0"))
