"""How gRPC lies on HTTP/2: messages in frames, deadlines and error texts in headers. Pure.

PROTOCOL-HTTP2.md of gRPC: a frame is one byte that says whether the message is compressed, four bytes of
length, and the message. A limit on messages holds for what is sent and for what becomes of it alike. Nothing
that we send is compressed: an answer is a hundred bytes.
"""

import re
import zlib
from collections.abc import Iterator

from verifier.call_error import CallError, Status, too_big

PREFIX_BYTES = 5
IDENTITY = b"identity"
ENCODINGS = (IDENTITY, b"gzip", b"deflate")
# zlib's sign for "gzip or zlib, as the first bytes say", with the largest window.
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_UNIT_S = {b"H": 3_600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")


class BrokenFrame(CallError):
    """What came is not gRPC as it has to be."""


def frame(message: bytes) -> bytes:
    """Return one message in its frame."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def only_message(body: bytes, max_bytes: int, encoding: bytes = IDENTITY) -> bytes:
    """Return the message of a call that has one; raises CallError when there is none, more, or too much.

    `encoding` is what the call says in `grpc-encoding`, one of ENCODINGS.
    """
    if len(body) < PREFIX_BYTES:
        raise BrokenFrame(Status.INVALID_ARGUMENT, "expected a message, got none")
    length = int.from_bytes(body[1:PREFIX_BYTES], "big")
    if length > max_bytes:
        raise _over(max_bytes)
    if len(body) != PREFIX_BYTES + length:
        raise BrokenFrame(Status.INVALID_ARGUMENT, "expected one message, got less or more")
    message = body[PREFIX_BYTES:]
    return _decompress(message, max_bytes, body[0], encoding) if body[0] else message


class Unframer:
    """Takes the bytes of a stream as they come, and gives its messages."""

    def __init__(self, max_bytes: int, encoding: bytes = IDENTITY) -> None:
        """`max_bytes` is the bound of one message; not more of an unfinished one is kept."""
        self._max_bytes = max_bytes
        self._encoding = encoding
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
                raise _over(self._max_bytes)
            end = at + PREFIX_BYTES + length
            if end > len(body):
                break
            message = body[at + PREFIX_BYTES : end]
            flag = body[at]
            yield _decompress(message, self._max_bytes, flag, self._encoding) if flag else message
            at = end
        self._rest = body[at:]

    @property
    def is_between_messages(self) -> bool:
        """Tell whether nothing of an unfinished message is here."""
        return not self._rest


def _decompress(message: bytes, max_bytes: int, flag: int, encoding: bytes) -> bytes:
    """Return what a compressed message says, without ever having more than `max_bytes` of it."""
    if flag != 1 or encoding == IDENTITY:
        raise BrokenFrame(Status.INVALID_ARGUMENT, "a message is flagged as none of this call can be")
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        whole = inflater.decompress(message, max_bytes + 1)
    except zlib.error:
        text = "a compressed message is neither gzip nor deflate"
        raise BrokenFrame(Status.INVALID_ARGUMENT, text) from None
    if len(whole) > max_bytes:
        raise _over(max_bytes)
    if not inflater.eof:
        raise BrokenFrame(Status.INVALID_ARGUMENT, "a compressed message ends too early")
    if inflater.unused_data:
        raise BrokenFrame(Status.INVALID_ARGUMENT, "a compressed message ends too late")
    return whole


def _over(max_bytes: int) -> BrokenFrame:
    refusal = too_big(max_bytes)
    return BrokenFrame(refusal.status, refusal.message)


def read_timeout_s(value: bytes) -> float:
    """Return the seconds of a header `grpc-timeout`; raises CallError."""
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        text = "grpc-timeout: expected up to 8 digits and a unit of HMSmun"
        raise BrokenFrame(Status.INVALID_ARGUMENT, text)
    return int(match[1]) * _UNIT_S[match[2]]


def percent_encode(text: str) -> bytes:
    """Return a text as `grpc-message` has it: all but printable ASCII, and the percent sign, in %XX."""
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in text.encode()
    )
