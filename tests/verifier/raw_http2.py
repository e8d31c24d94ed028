"""A peer that speaks HTTP/2 (RFC 9113) by hand, so that it can break off anywhere."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
EMPTY_MESSAGE = bytes(5)  # gRPC's head of a message of no bytes


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    """Return a SETTINGS frame of identifiers and values."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def call_headers(path: str, stream: int) -> bytes:
    """Return the HEADERS frame of a gRPC call, without Huffman coding or the dynamic table."""
    headers = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
    block = b"".join(bytes((0, len(name))) + name + bytes((len(value),)) + value for name, value in headers)
    return frame(HEADERS, END_HEADERS, stream, block)


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
