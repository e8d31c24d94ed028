"""The trailing metadata of a refusal that says when to ask again, for gRPC itself and for clients to read."""

import functools

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from verifier.call_error import CallError


def retry_advice(error: CallError) -> tuple[tuple[str, str | bytes], ...]:
    """Return metadata for the error; empty where it says nothing of a retry.

    A key that ends in -bin has bytes, which an engine that writes HTTP/2 itself encodes in base64.
    """
    if error.retry_delay_ms is None:
        return ()
    return _advice(int(error.status), error.message, error.retry_delay_ms)


# Made in an overload, when there is no time; there are a few such messages.
@functools.lru_cache(maxsize=64)
def _advice(status: int, message: str, retry_delay_ms: int) -> tuple[tuple[str, str | bytes], ...]:
    seconds, milliseconds = divmod(retry_delay_ms, 1_000)
    delay = Duration(seconds=seconds, nanos=milliseconds * 1_000_000)
    answer = status_pb2.Status(code=status, message=message)
    answer.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return (
        ("grpc-retry-pushback-ms", str(retry_delay_ms)),
        ("grpc-status-details-bin", answer.SerializeToString()),
    )
