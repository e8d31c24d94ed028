"""A peer that speaks HTTP/2 (RFC 9113) by hand, so that it can do what a client library would not."""

import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
CANCEL = 8
EMPTY_MESSAGE = bytes(5)  # gRPC's head of a message of no bytes
_HEAD = struct.Struct(">BHBBI")  # 24 bits of length, kind, flags, stream


@dataclass(frozen=True, slots=True)
class Frame:
    """What came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return a frame."""
    return _HEAD.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def header_block(path: str, *more: tuple[bytes, bytes]) -> bytes:
    """Return the headers of a gRPC call, each a literal without indexing (RFC 7541, section 6.2.2)."""
    headers = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    )
    return b"".join(bytes((0, len(name))) + name + bytes((len(value),)) + value for name, value in headers)


def settings(*pairs: tuple[int, int]) -> bytes:
    """Return a SETTINGS frame of identifiers and values."""
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def call_headers(path: str, stream: int) -> bytes:
    """Return the HEADERS frame of a gRPC call."""
    return frame(HEADERS, END_HEADERS, stream, header_block(path))


def connect(port: int, *pairs: tuple[int, int]) -> socket.socket:
    """Return a connection to a server of this machine, its preface and settings sent."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=5)
    peer.sendall(PREFACE + settings(*pairs))
    return peer


def read_settings(peer: socket.socket) -> dict[int, int]:
    """Return the settings that a server sends first."""
    head = peer.recv(9, socket.MSG_WAITALL)
    payload = peer.recv(int.from_bytes(head[:3], "big"), socket.MSG_WAITALL)
    return dict(struct.iter_unpack(">HI", payload))


class RawPeer:
    """One connection."""

    def __init__(self, port: int, *, timeout_s: float = 10) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def begin(self) -> None:
        """Say what every client says first."""
        self.send(PREFACE + frame(SETTINGS))

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def read(self) -> Frame | None:
        """Return the next frame, None at the end of the connection; fails when neither comes in time."""
        head = self._take(9)
        if head is None:
            return None
        high, low, kind, flags, stream = _HEAD.unpack(head)
        payload = self._take(high << 16 | low)
        return None if payload is None else Frame(kind, flags, stream, payload)

    def read_until(self, kind: int) -> Frame:
        """Return the next frame of a kind; fails when the connection ends before."""
        while (received := self.read()) is not None:
            if received.kind == kind:
                return received
        raise AssertionError("the connection ended")

    def _take(self, length: int) -> bytes | None:
        while len(self._received) < length:
            content = b""
            with contextlib.suppress(ConnectionError):
                content = self.socket.recv(1 << 16)
            if not content:
                return None
            self._received += content
        taken, self._received = self._received[:length], self._received[length:]
        return taken
