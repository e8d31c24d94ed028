"""How a call over gRPC was refused."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2


def refused_call(call: Callable[..., Any], request: Any, **options: Any) -> grpc.Call:
    """Make a call that has to fail, and return it."""
    with pytest.raises(grpc.RpcError) as caught:
        _finish(call(request, **options))
    error = caught.value
    assert isinstance(error, grpc.Call)
    return error


def refusal(call: Callable[..., Any], request: Any) -> tuple[grpc.StatusCode, str]:
    """Return status code and text of a call that has to fail."""
    refused = refused_call(call, request)
    return refused.code(), refused.details() or ""


def retry_after_s(refused: grpc.Call) -> int:
    """Return what a refusal's RetryInfo says."""
    details = dict(refused.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    info = error_details_pb2.RetryInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    return int(info.retry_delay.seconds)


def _finish(answer: object) -> None:
    if isinstance(answer, Iterator):  # a stream fails when it is read
        list(answer)
