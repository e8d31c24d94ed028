"""How gRPC lies on HTTP/2: messages in frames, deadlines and error texts in headers. Pure.

PROTOCOL-HTTP2.md of gRPC: a frame is one byte that says whether the message is compressed, four bytes of
length, and the message. A limit on messages holds for what is sent and for what becomes of it alike. Nothing
that we send is compressed: an answer is a hundred bytes.
"""

import re
import zlib
from collections.abc import Iterator

from verifier.call_error import CallError, Status

PREFIX_BYTES = 5
ENCODINGS = (b"identity", b"gzip", b"deflate")
# zlib's sign for "gzip or zlib, as the first bytes say", with the largest window.
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_UNIT_S = {b"H": 3_600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")


def frame(message: bytes) -> bytes:
    """Return one message in its frame."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def only_message(body: bytes, max_bytes: int) -> bytes:
    """Return the message of a call that has one; raises CallError when there is none, more, or too much."""
    if len(body) < PREFIX_BYTES:
        raise CallError(Status.INVALID_ARGUMENT, "expected a message, got none")
    length = int.from_bytes(body[1:PREFIX_BYTES], "big")
    if length > max_bytes:
        raise too_big(max_bytes)
    if len(body) != PREFIX_BYTES + length:
        raise CallError(Status.INVALID_ARGUMENT, "expected one message, got less or more")
    message = body[PREFIX_BYTES:]
    return _decompress(message, max_bytes) if body[0] else message


class Unframer:
    """Takes the bytes of a stream as they come, and gives its messages."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` is the bound of one message; not more of an unfinished one is kept."""
        self._max_bytes = max_bytes
        self._rest = b""

    def feed(self, body: bytes) -> Iterator[bytes]:
        """Give the messages that are whole now; raises CallError where a frame is none of ours.

        All are to be taken before more is fed.
        """
        body = self._rest + body if self._rest else body
        at = 0
        while len(body) - at >= PREFIX_BYTES:
            length = int.from_bytes(body[at + 1 : at + PREFIX_BYTES], "big")
            if length > self._max_bytes:
                raise too_big(self._max_bytes)
            end = at + PREFIX_BYTES + length
            if end > len(body):
                break
            message = body[at + PREFIX_BYTES : end]
            yield _decompress(message, self._max_bytes) if body[at] else message
            at = end
        self._rest = body[at:]

    @property
    def is_between_messages(self) -> bool:
        """Tell whether nothing of an unfinished message is here."""
        return not self._rest


def _decompress(message: bytes, max_bytes: int) -> bytes:
    """Return what a compressed message says, without ever having more than `max_bytes` of it."""
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        whole = inflater.decompress(message, max_bytes + 1)
    except zlib.error:
        raise CallError(Status.INVALID_ARGUMENT, "a compressed message is neither gzip nor deflate") from None
    if len(whole) > max_bytes:
        raise too_big(max_bytes)
    if not inflater.eof:
        raise CallError(Status.INVALID_ARGUMENT, "a compressed message ends too early")
    return whole


def too_big(max_bytes: int) -> CallError:
    """Return the refusal of a message that is over its limit."""
    return CallError(Status.RESOURCE_EXHAUSTED, f"the message is over its limit of {max_bytes} bytes")


def read_timeout_s(value: bytes) -> float:
    """Return the seconds of a header `grpc-timeout`; raises CallError."""
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise CallError(Status.INVALID_ARGUMENT, "grpc-timeout: expected up to 8 digits and a unit of HMSmun")
    return int(match[1]) * _UNIT_S[match[2]]


def percent_encode(text: str) -> bytes:
    """Return a text as `grpc-message` has it: all but printable ASCII, and the percent sign, in %XX."""
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in text.encode()
    )
