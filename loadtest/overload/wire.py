"""gRPC over HTTP/2 by hand (RFC 9113, RFC 7541): one unary call, the same again and again. Pure.

A client library costs as much CPU a call as the verifier does, so no crowd of one could ask for ten times as
much. The client here allows no HPACK table, so that equal headers are equal bytes, and are decoded once.
"""

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from hpack import Decoder, HPACKError

from loadtest.processes import ProcessError

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK = 1, 1
_END_HEADERS = 4
_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE = 1, 4
_LARGEST_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65_535
_CANCEL = 8
_HEAD = struct.Struct(">BHBBI")  # 24 bits of length, kind, flags, stream
HEAD_BYTES = _HEAD.size

# What a client says first. Of what we receive, windows hold back nothing.
GREETING = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + _HEAD.pack(0, 12, SETTINGS, 0, 0)
    + struct.pack(">HIHI", _HEADER_TABLE_SIZE, 0, _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)
    + _HEAD.pack(0, 4, WINDOW_UPDATE, 0, 0)
    + struct.pack(">I", _LARGEST_WINDOW - _FIRST_WINDOW)
)
SETTINGS_TAKEN = _HEAD.pack(0, 0, SETTINGS, ACK, 0)


@dataclass(frozen=True, slots=True)
class Ending:
    """What a block of headers says."""

    status: int | None  # of gRPC; None where it does not end the call
    retry_delay_s: float | None  # None: it says nothing of one


@dataclass(frozen=True, slots=True)
class Frame:
    """What came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Request:
    """A call, ready to be sent on any stream."""

    def __init__(self, method: str, message: bytes, *, key: str, timeout_ms: int) -> None:
        """`method` is /package.Service/Method, `key` a bearer key."""
        headers = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", method.encode()),
            (b":authority", b"verifier"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"grpc-timeout", b"%dm" % timeout_ms),
            (b"authorization", b"Bearer " + key.encode()),
        )
        # Each a literal without indexing (RFC 7541, section 6.2.2), shorter than 127 bytes.
        block = b"".join(bytes((0, len(name))) + name + bytes((len(text),)) + text for name, text in headers)
        body = b"\0" + len(message).to_bytes(4, "big") + message
        self._head = _HEAD.pack(0, len(block), HEADERS, _END_HEADERS, 0)[:5]
        self._block = block
        self._data = _HEAD.pack(0, len(body), DATA, END_STREAM, 0)[:5]
        self._body = body

    def on(self, stream: int) -> bytes:
        """Return the bytes of the call."""
        number = stream.to_bytes(4, "big")
        return self._head + number + self._block + self._data + number + self._body


def cancel(stream: int) -> bytes:
    """Return what tells the server that nobody waits for a call any more."""
    return _HEAD.pack(0, 4, RST_STREAM, 0, stream) + _CANCEL.to_bytes(4, "big")


def pong(payload: bytes) -> bytes:
    """Return the answer to a ping."""
    return _HEAD.pack(0, len(payload), PING, ACK, 0) + payload


def frames(received: bytearray) -> Iterator[Frame]:
    """Give the whole frames, and take them off what was received."""
    at = 0
    while len(received) - at >= HEAD_BYTES:
        high, low, kind, flags, stream = _HEAD.unpack_from(received, at)
        end = at + HEAD_BYTES + (high << 16 | low)
        if end > len(received):
            break
        yield Frame(kind, flags, stream, bytes(received[at + HEAD_BYTES : end]))
        at = end
    del received[:at]


@functools.lru_cache(maxsize=4_096)  # the date changes every second
def read_headers(block: bytes) -> Ending:
    """Return what a block of headers says; raises ProcessError for what is none."""
    decoder = Decoder()
    try:
        headers = dict(decoder.decode(block, raw=True))
        status, delay_ms = headers.get(b"grpc-status"), headers.get(b"grpc-retry-pushback-ms")
        return Ending(
            None if status is None else int(status), None if delay_ms is None else int(delay_ms) / 1e3
        )
    except (HPACKError, ValueError) as error:
        raise ProcessError(f"expected headers of gRPC: {error}") from None
