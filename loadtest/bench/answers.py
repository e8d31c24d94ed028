"""Whether a server answers scans as it has to: asked by a client of its own, beside the load.

A generator in C counts any HTTP 200 as success, whatever it says.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import grpc

from loadtest.empty_server import LANE_METHOD
from loadtest.processes import ProcessError
from verifier.v1 import verifier_pb2 as pb

_SERVICE = "/verifier.v1.VerifierService/"
UNARY = f"{_SERVICE}VerifyCode"
BATCH = f"{_SERVICE}VerifyCodes"
LANE = f"{_SERVICE}StreamVerify"
_LANES = (LANE, LANE_METHOD)
_TIMEOUT_S = 10


class WrongAnswer(ProcessError):
    """A measured server gave another answer than it had to; the figures would mean nothing."""


def require_green(address: str, method: str, request: bytes, *, key: str) -> int:
    """Send one request of UNARY, BATCH or LANE; raises WrongAnswer unless all of it is answered GREEN.

    Returns the bytes of the answer.
    """
    answer = _ask(address, method, request, key=key)
    require_green_answers(method, [request, answer])
    return len(answer)


def require_empty(address: str, method: str) -> None:
    """Send one empty message; raises WrongAnswer unless it is answered with an empty one."""
    if answer := _ask(address, method, b"", key=""):
        raise WrongAnswer(f"{method}: expected an empty answer, got {len(answer)} bytes")


def _ask(address: str, method: str, request: bytes, *, key: str) -> bytes:
    metadata = (("authorization", f"Bearer {key}"),)
    with grpc.insecure_channel(address) as channel:
        try:
            answer: bytes
            if method in _LANES:
                lane: Any = channel.stream_stream(method)
                (answer,) = lane(iter([request]), timeout=_TIMEOUT_S, metadata=metadata)
            else:
                call: Any = channel.unary_unary(method)
                answer = call(request, timeout=_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            raise WrongAnswer(f"{method} was answered with {error.code()}") from None
    return answer


def require_green_answers(method: str, messages: Iterable[bytes]) -> None:
    """Raise WrongAnswer unless each request is followed by an answer that is GREEN for each of its scans."""
    pairs = iter(messages)
    for request, answer in zip(pairs, pairs, strict=True):
        asked = [scan.scan_id for scan in _scans(method, request)]
        told = [(one.scan_id, one.verdict) for one in _verdicts(method, answer)]
        if told != [(scan_id, pb.VERDICT_GREEN) for scan_id in asked]:
            names = sorted({pb.Verdict.Name(verdict) for _, verdict in told})
            raise WrongAnswer(f"expected {len(asked)} scans to be answered GREEN, got {len(told)}: {names}")


def _scans(method: str, request: bytes) -> Iterator[pb.VerifyCodeRequest]:
    if method == BATCH:
        yield from pb.VerifyCodesRequest.FromString(request).scans
    elif method == LANE:
        yield pb.StreamVerifyRequest.FromString(request).scan
    else:
        yield pb.VerifyCodeRequest.FromString(request)


def _verdicts(method: str, answer: bytes) -> Iterator[pb.VerifyCodeResponse]:
    if method == BATCH:
        yield from pb.VerifyCodesResponse.FromString(answer).verdicts
    elif method == LANE:
        yield pb.StreamVerifyResponse.FromString(answer).verdict
    else:
        yield pb.VerifyCodeResponse.FromString(answer)
