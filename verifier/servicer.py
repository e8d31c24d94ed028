"""gRPC calls to the pipeline of a scan and back: the one place where verdicts become messages and
failures to answer become status codes. Nothing below it knows what serves it.
"""

import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from verifier.errors import NotReady
from verifier.logs import where_raised
from verifier.service import Answer, Verifier
from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc

MAX_SCANS_PER_CALL = 1_000
MAX_ID_CHARACTERS = 64
# Long enough for a burst to pass, short enough for a person at a turnstile.
RETRY_DELAY_MS = 250

_Context = grpc.ServicerContext

_log = structlog.get_logger("verifier")


class VerifierServicer(pb_grpc.VerifierServiceServicer):
    """The verifier.v1 service on a Verifier."""

    def __init__(
        self,
        verifier: Verifier,
        *,
        is_overloaded: Callable[[], bool] = lambda: False,
        has_too_many_batches: Callable[[], bool] = lambda: False,
        max_streams: int = 256,
    ) -> None:
        """`is_overloaded` is asked once a call; while it says so, calls are refused with a retry delay.

        So are batches while there are too many, and streams while `max_streams` of them are open.
        """
        self._verifier = verifier
        self._is_overloaded = is_overloaded
        self._has_too_many_batches = has_too_many_batches
        self._streams = threading.BoundedSemaphore(max_streams)

    def VerifyCode(  # noqa: N802
        self, request: pb.VerifyCodeRequest, context: _Context
    ) -> pb.VerifyCodeResponse:
        """Answer one scan."""
        self._admit(context)
        return self._verdict(request, "", context)

    def VerifyCodes(  # noqa: N802
        self, request: pb.VerifyCodesRequest, context: _Context
    ) -> pb.VerifyCodesResponse:
        """Answer 1 to 1 000 scans."""
        if self._has_too_many_batches():
            _abort_overloaded(context)
        self._admit(context)
        if not 1 <= len(request.scans) <= MAX_SCANS_PER_CALL:
            _abort_invalid(context, f"scans: expected 1 to {MAX_SCANS_PER_CALL}, got {len(request.scans)}")
        verdicts = []
        for position, scan in enumerate(request.scans):
            if not context.is_active():
                _abort_late(context)
            verdicts.append(self._verdict(scan, f"scans[{position}].", context))
        return pb.VerifyCodesResponse(verdicts=verdicts)

    def StreamVerify(  # noqa: N802
        self, request_iterator: Iterator[pb.StreamVerifyRequest], context: _Context
    ) -> Iterator[pb.StreamVerifyResponse]:
        """Answer scans as they come."""
        self._admit(context)
        if not self._streams.acquire(blocking=False):
            _abort_overloaded(context)
        try:
            for request in request_iterator:
                yield pb.StreamVerifyResponse(verdict=self._verdict(request.scan, "scan.", context))
        finally:
            self._streams.release()

    def _admit(self, context: _Context) -> None:
        if self._is_overloaded():
            _abort_overloaded(context)
        if not context.is_active():
            _abort_late(context)

    def _verdict(self, scan: pb.VerifyCodeRequest, where: str, context: _Context) -> pb.VerifyCodeResponse:
        if not 1 <= len(scan.scan_id) <= MAX_ID_CHARACTERS:
            _abort_invalid(context, f"{where}scan_id: expected 1 to {MAX_ID_CHARACTERS} characters")
        if not 1 <= len(scan.gate_id) <= MAX_ID_CHARACTERS:
            _abort_invalid(context, f"{where}gate_id: expected 1 to {MAX_ID_CHARACTERS} characters")
        try:
            return _response(scan.scan_id, self._verifier.verify(scan.qr_text))
        except NotReady as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except Exception as error:  # noqa: BLE001 - gRPC would send and log the text of what we did not foresee
            _log.error("scan failed", error=type(error).__name__, where=where_raised(error))
            context.abort(grpc.StatusCode.INTERNAL, "the verifier failed; its log says where")


def _response(scan_id: str, answer: Answer) -> pb.VerifyCodeResponse:
    response = pb.VerifyCodeResponse(
        scan_id=scan_id,
        verdict=int(answer.verdict),  # type: ignore[arg-type]
        status_age_ms=int(answer.status_age_s * 1000),
        verified_at_ms=int(answer.verified_at * 1000),
    )
    if answer.code is not None:
        response.kind = int(answer.code.kind)  # type: ignore[assignment]
        response.code_age_s = answer.code_age_s
        if answer.code.hint:
            response.hint = answer.code.hint
    if answer.record is not None:
        response.colour = int(answer.record.colour)  # type: ignore[assignment]
        response.colour_reason = answer.record.reason
        response.last_negative_test = 60 * answer.record.last_negative_test_min
    return response


def _abort_invalid(context: _Context, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)


def _abort_overloaded(context: _Context) -> NoReturn:
    context.set_trailing_metadata(_RETRY_ADVICE)
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, _OVERLOADED)


def _abort_late(context: _Context) -> NoReturn:
    context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the work was done")


def _retry_advice() -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata of a refusal: the delay for gRPC itself, and for clients to read."""
    detail = error_details_pb2.RetryInfo(retry_delay=Duration(nanos=RETRY_DELAY_MS * 1_000_000))
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message=_OVERLOADED)
    status.details.add().Pack(detail)
    return (
        ("grpc-retry-pushback-ms", str(RETRY_DELAY_MS)),
        ("grpc-status-details-bin", status.SerializeToString()),
    )


_OVERLOADED = "overloaded: ask again after the delay"
_RETRY_ADVICE = _retry_advice()
