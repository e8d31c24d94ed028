"""The verifier.v1 service on a grpcio server: messages, credentials and errors to verifier.calls and back."""

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import AbstractContextManager
from typing import Any, NoReturn, TypeVar

import grpc

from verifier.access.callers import Credentials
from verifier.call_error import CallError
from verifier.call_pool import refusable
from verifier.calls import Calls, late
from verifier.counters import Counter, MethodPlace
from verifier.limits import MAX_BATCH_BYTES, MAX_SCAN_BYTES, Limits
from verifier.open_lanes import OpenLanes
from verifier.own_pool import on_own_pool
from verifier.places import Places
from verifier.retry_advice import retry_advice
from verifier.shedding import Suspects
from verifier.v1 import verifier_pb2 as pb

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["VerifierService"].full_name

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}

_Context = grpc.ServicerContext
_Request = TypeVar("_Request", pb.VerifyCodeRequest, pb.VerifyCodesRequest, pb.StreamVerifyRequest)
# As numbers of this module: a member of an enum is looked up in 0.1 microseconds.
_VERIFY_CODE, _VERIFY_CODES, _STREAM_VERIFY = (int(method) for method in MethodPlace)
_BAD_SIGNATURE = int(pb.VERDICT_BAD_SIGNATURE)
# A message, or what is wrong with it, and when it came: its wait for a thread is part of the call.
_Arrival = tuple[_Request | CallError, int]


class VerifierServicer:
    """The verifier.v1 service on Calls."""

    def __init__(
        self,
        calls: Calls,
        *,
        credentials: Callable[[_Context], Credentials],
        is_overloaded: Callable[[], bool],
        limits: Limits,
        suspects: Suspects,
        stream_pool: futures.ThreadPoolExecutor,
        batch_pool: futures.ThreadPoolExecutor,
    ) -> None:
        """`credentials` reads what came with a call. `is_overloaded` is asked once a lane; while it says so,
        lanes are refused with a retry delay, as they are past their `limits`. Calls with one message are
        refused by their pools. Whose codes are forged is noted in `suspects`.
        """
        self._stream_pool = stream_pool
        self._batch_pool = batch_pool
        self._calls = calls
        self._counters = calls.counters
        self._credentials = credentials
        self._is_overloaded = is_overloaded
        self._suspects = suspects
        self._lane_places = Places(
            calls,
            most=limits.max_streams,
            per_caller=limits.max_streams_per_caller,
            counter=Counter.STREAMS_OPEN,
        )
        self._batch_places = Places(calls, per_caller=limits.max_batches_per_caller)
        self._lanes = OpenLanes()

    def verify_code(
        self, arrival: _Arrival[pb.VerifyCodeRequest], context: _Context
    ) -> pb.VerifyCodeResponse:
        """Answer one scan."""
        request, begun_ns = arrival
        try:
            _require_active(context)
            caller = self._calls.identify(self._credentials(context))
            response = self._calls.verify_code(_readable(request), caller)
        except CallError as error:
            self._counters.drop()
            _abort(context, error)
        self._counters.end(_VERIFY_CODE, begun_ns)
        if response.verdict == _BAD_SIGNATURE or self._suspects:
            self._suspects.note(context.peer(), response.verdict)
        return response

    def verify_codes(
        self, arrival: _Arrival[pb.VerifyCodesRequest], context: _Context
    ) -> pb.VerifyCodesResponse:
        """Answer 1 to 1 000 scans."""
        request, begun_ns = arrival
        try:
            _require_active(context)
            caller = self._calls.identify(self._credentials(context))
            response = self._calls.verify_codes(_readable(request), caller, context.is_active)
        except CallError as error:
            self._counters.drop()
            _abort(context, error)
        self._counters.end(_VERIFY_CODES, begun_ns)
        return response

    def stream_verify(
        self, requests: Iterator[_Arrival[pb.StreamVerifyRequest]], context: _Context
    ) -> Iterator[pb.StreamVerifyResponse]:
        """Answer scans as they come."""
        try:
            if self._is_overloaded():
                raise self._calls.overloaded()
            _require_active(context)
            caller = self._calls.identify(self._credentials(context))
            with self._lane_places.place(caller, context.peer()):
                for request, come_ns in self._lanes.requests(requests, context):
                    scan = _readable(request).scan
                    self._counters.begin()
                    try:
                        verdict = self._calls.verify_code(scan, caller, "scan.")
                    except CallError:
                        self._counters.drop()
                        raise
                    self._counters.end(_STREAM_VERIFY, come_ns)
                    yield pb.StreamVerifyResponse(verdict=verdict)
        except CallError as error:
            _abort(context, error)

    def end_idle_lanes(self) -> None:
        """End the streams on which nothing is under way; to be called again and again while draining."""
        self._lanes.end_idle()

    def _batch_place(self, context: _Context) -> AbstractContextManager[int]:
        caller = self._calls.identify(self._credentials(context))
        return self._batch_places.place(caller, context.peer())

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the methods by name."""

        def reader(
            kind: type[_Request], max_bytes: int, begin: Callable[[], int]
        ) -> Callable[[bytes], _Arrival[_Request]]:
            # Called when the message has come, before it waits for a thread. grpcio would make INTERNAL of
            # what a deserializer raises, and log its text.
            def read(content: bytes) -> _Arrival[_Request]:
                begun_ns = begin()
                try:
                    return self._calls.read(kind, content, max_bytes), begun_ns
                except CallError as error:
                    return error, begun_ns

            return read

        begin = self._counters.begin

        return {
            "VerifyCode": grpc.unary_unary_rpc_method_handler(
                refusable(self.verify_code, self._calls.overloaded),
                request_deserializer=reader(pb.VerifyCodeRequest, MAX_SCAN_BYTES, begin),
                response_serializer=pb.VerifyCodeResponse.SerializeToString,
            ),
            "VerifyCodes": grpc.unary_unary_rpc_method_handler(
                on_own_pool(
                    refusable(self.verify_codes, self._calls.overloaded, place=self._batch_place),
                    self._batch_pool,
                ),
                request_deserializer=reader(pb.VerifyCodesRequest, MAX_BATCH_BYTES, begin),
                response_serializer=pb.VerifyCodesResponse.SerializeToString,
            ),
            "StreamVerify": grpc.stream_stream_rpc_method_handler(
                on_own_pool(self.stream_verify, self._stream_pool),
                request_deserializer=reader(pb.StreamVerifyRequest, MAX_SCAN_BYTES, time.monotonic_ns),
                response_serializer=pb.StreamVerifyResponse.SerializeToString,
            ),
        }


def _require_active(context: _Context) -> None:
    """Raise CallError where nobody waits for an answer any more."""
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
