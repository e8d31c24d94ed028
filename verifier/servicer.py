"""The verifier.v1 service on a grpcio server: messages, credentials and errors to verifier.calls and back."""

from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, NoReturn, TypeVar

import grpc

from verifier.access.callers import Credentials
from verifier.call_error import CallError
from verifier.calls import Calls, late
from verifier.lane_places import LanePlaces
from verifier.limits import MAX_BATCH_BYTES, MAX_SCAN_BYTES, Limits
from verifier.open_lanes import OpenLanes
from verifier.own_pool import on_own_pool
from verifier.retry_advice import retry_advice
from verifier.v1 import verifier_pb2 as pb

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["VerifierService"].full_name

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}

_Context = grpc.ServicerContext
_Request = TypeVar("_Request", pb.VerifyCodeRequest, pb.VerifyCodesRequest, pb.StreamVerifyRequest)


class VerifierServicer:
    """The verifier.v1 service on Calls."""

    def __init__(
        self,
        calls: Calls,
        *,
        credentials: Callable[[_Context], Credentials],
        is_overloaded: Callable[[], bool],
        has_too_many_batches: Callable[[], bool],
        limits: Limits,
        stream_pool: futures.ThreadPoolExecutor,
        batch_pool: futures.ThreadPoolExecutor,
    ) -> None:
        """`credentials` reads what came with a call. `is_overloaded` is asked once a call; while it says so,
        calls are refused with a retry delay. So are batches while there are too many, and lanes past their
        `limits`.
        """
        self._stream_pool = stream_pool
        self._batch_pool = batch_pool
        self._calls = calls
        self._credentials = credentials
        self._is_overloaded = is_overloaded
        self._has_too_many_batches = has_too_many_batches
        self._places = LanePlaces(calls, limits)
        self._lanes = OpenLanes()

    def verify_code(
        self, request: pb.VerifyCodeRequest | CallError, context: _Context
    ) -> pb.VerifyCodeResponse:
        """Answer one scan."""
        try:
            self._admit(context)
            caller = self._calls.identify(self._credentials(context))
            return self._calls.verify_code(_readable(request), caller)
        except CallError as error:
            _abort(context, error)

    def verify_codes(
        self, request: pb.VerifyCodesRequest | CallError, context: _Context
    ) -> pb.VerifyCodesResponse:
        """Answer 1 to 1 000 scans."""
        try:
            if self._has_too_many_batches():
                raise self._calls.overloaded()
            self._admit(context)
            caller = self._calls.identify(self._credentials(context))
            return self._calls.verify_codes(_readable(request), caller, context.is_active)
        except CallError as error:
            _abort(context, error)

    def stream_verify(
        self, requests: Iterator[pb.StreamVerifyRequest | CallError], context: _Context
    ) -> Iterator[pb.StreamVerifyResponse]:
        """Answer scans as they come."""
        try:
            self._admit(context)
            caller = self._calls.identify(self._credentials(context))
            with self._places.place(caller, context.peer()):
                for request in self._lanes.requests(requests, context):
                    verdict = self._calls.verify_code(_readable(request).scan, caller, "scan.")
                    yield pb.StreamVerifyResponse(verdict=verdict)
        except CallError as error:
            _abort(context, error)

    def end_idle_lanes(self) -> None:
        """End the streams on which nothing is under way; to be called again and again while draining."""
        self._lanes.end_idle()

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the methods by name."""

        def reader(kind: type[_Request], max_bytes: int) -> Callable[[bytes], _Request | CallError]:
            # grpcio would make INTERNAL of what a deserializer raises, and log its text.
            def read(content: bytes) -> _Request | CallError:
                try:
                    return self._calls.read(kind, content, max_bytes)
                except CallError as error:
                    return error

            return read

        return {
            "VerifyCode": grpc.unary_unary_rpc_method_handler(
                self.verify_code,
                request_deserializer=reader(pb.VerifyCodeRequest, MAX_SCAN_BYTES),
                response_serializer=pb.VerifyCodeResponse.SerializeToString,
            ),
            "VerifyCodes": grpc.unary_unary_rpc_method_handler(
                on_own_pool(self.verify_codes, self._batch_pool),
                request_deserializer=reader(pb.VerifyCodesRequest, MAX_BATCH_BYTES),
                response_serializer=pb.VerifyCodesResponse.SerializeToString,
            ),
            "StreamVerify": grpc.stream_stream_rpc_method_handler(
                on_own_pool(self.stream_verify, self._stream_pool),
                request_deserializer=reader(pb.StreamVerifyRequest, MAX_SCAN_BYTES),
                response_serializer=pb.StreamVerifyResponse.SerializeToString,
            ),
        }

    def _admit(self, context: _Context) -> None:
        if self._is_overloaded():
            raise self._calls.overloaded()
        if not context.is_active():
            raise late()


def _readable(request: _Request | CallError) -> _Request:
    """Return a message; raises the CallError that stands in place of one that could not be read."""
    if isinstance(request, CallError):
        raise request
    return request


def _abort(context: _Context, error: CallError) -> NoReturn:
    advice = retry_advice(error)
    if advice:
        context.set_trailing_metadata(advice)
    context.abort(_STATUS_CODES[int(error.status)], error.message)
