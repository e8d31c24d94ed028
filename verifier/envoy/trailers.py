"""How a call ends: gRPC's status in headers and trailers. Pure."""

import base64

from verifier.call_error import CallError
from verifier.envoy.framing import ENCODINGS, percent_encode
from verifier.retry_advice import retry_advice

Headers = list[tuple[bytes, bytes]]

# HTTP says 200 whatever gRPC says.
RESPONSE_HEADERS: Headers = [
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", b",".join(ENCODINGS)),
]
OK: Headers = [(b"grpc-status", b"0")]


def end_of(error: CallError) -> Headers:
    """Return the trailers of a call that failed; with a delay, where the caller is to ask again."""
    return [
        (b"grpc-status", b"%d" % error.status),
        (b"grpc-message", percent_encode(error.message)),
        *((name.encode(), _header_value(value)) for name, value in retry_advice(error)),
    ]


def _header_value(value: str | bytes) -> bytes:
    if isinstance(value, str):
        return value.encode()
    # Binary metadata are Base64, by convention without its padding.
    return base64.b64encode(value).rstrip(b"=")
