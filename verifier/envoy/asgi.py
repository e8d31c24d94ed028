"""The verifier's service over ASGI: from bytes to messages, and from CallError to the end of a call.

What bounds the calls here, beside what Envoy bounds before them (verifier.envoy.bootstrap):
    VerifyCode     answered on the event loop, in one go; more than `max_backlog` under way are refused
    VerifyCodes    answered on threads of their own: a full one is the work of a thousand calls, and would
                   hold up the others; more than `max_batch_backlog` that wait for a thread are refused
    StreamVerify   answered on the event loop, some scans at a time; more than `max_streams` are refused
    one entry      a call that may wait for Redis is answered on a thread, so that it holds up no other
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import structlog
from google.protobuf.message import DecodeError

from verifier.access.callers import Caller
from verifier.call_error import CallError, Status
from verifier.calls import Calls, late
from verifier.counters import Counter
from verifier.envoy.asgi_types import Event, Receive, Scope, Send
from verifier.envoy.exchange import Exchange, Gone
from verifier.envoy.framing import Unframer, frame, only_message
from verifier.limits import MAX_BATCH_BYTES, MAX_SCAN_BYTES, Limits
from verifier.logs import where_raised
from verifier.v1 import verifier_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["VerifierService"].full_name
Method = Callable[[Exchange, Scope], Awaitable[None]]

# Scans of a stream that are answered before anybody else has a turn: two milliseconds.
_TURN = 32
# Scans of a batch after which its thread lets the event loop have the interpreter. Two batches of 1 000 at a
# time without an end, four handhelds beside them: a handheld's call took 13 ms, at most 400, with batches on
# the event loop; 8 ms, at most 66, with CPython's own turns of 5 ms; 3 ms, at most 9, with these. Batches
# took a tenth longer.
_BATCH_TURN = 4

_log = structlog.get_logger("verifier")


class GrpcApplication:
    """The ASGI application of one worker."""

    def __init__(self, *, calls: Calls, limits: Limits) -> None:
        self._calls = calls
        self._limits = limits
        self._under_way = 0  # VerifyCode
        self._batches = 0
        self._lanes: set[asyncio.Task[None]] = set()
        self._idle_lanes: set[asyncio.Task[None]] = set()
        self._is_draining = False
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="unary")
        self._batch_threads = ThreadPoolExecutor(limits.batch_threads, thread_name_prefix="batch")
        self._methods: dict[str, Method] = {
            f"/{SERVICE}/VerifyCode": self._verify_code,
            f"/{SERVICE}/VerifyCodes": self._verify_codes,
            f"/{SERVICE}/StreamVerify": self._stream_verify,
        }

    def add(self, path: str, method: Method) -> None:
        """Serve another method; `path` is as in HTTP."""
        self._methods[path] = method

    def drain(self) -> None:
        """End the streams on which nothing is under way; to be called on the event loop, also repeatedly."""
        self._is_draining = True
        for lane in self._idle_lanes:
            lane.cancel()

    def close(self) -> None:
        """Let the threads end."""
        for pool in (self._threads, self._batch_threads):
            pool.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, receive, send)
        try:
            method = self._methods.get(scope["path"])
            if method is None or scope["method"] != "POST" or not exchange.is_grpc:
                await _refuse(scope, exchange, send)
                return
            exchange.check()
            await method(exchange, scope)
        except CallError as error:
            await exchange.end(error)
        except DecodeError:
            await exchange.end(CallError(Status.INVALID_ARGUMENT, "the message is not of this method"))
        except (Gone, OSError):
            return  # pyvoy's error for a peer that has gone is an OSError
        except Exception as error:  # noqa: BLE001 - pyvoy would print the text of what we did not foresee
            _log.error("call failed", error=type(error).__name__, where=where_raised(error))
            with contextlib.suppress(Exception):
                await exchange.end(CallError(Status.INTERNAL, "the verifier failed; its log says where"))

    async def _verify_code(self, exchange: Exchange, scope: Scope) -> None:
        if self._under_way > self._limits.max_backlog:
            raise self._calls.overloaded()
        calls = self._calls
        self._under_way += 1
        try:
            caller = calls.identify(exchange.credentials(scope))
            request = pb.VerifyCodeRequest.FromString(only_message(await exchange.body(), MAX_SCAN_BYTES))
            if exchange.is_late:
                raise late()
            if calls.may_wait(caller):
                loop = asyncio.get_running_loop()
                response = await loop.run_in_executor(self._threads, calls.verify_code, request, caller)
            else:
                response = calls.verify_code(request, caller)
        finally:
            self._under_way -= 1
        await exchange.answer(response.SerializeToString())

    async def _verify_codes(self, exchange: Exchange, scope: Scope) -> None:
        if self._batches >= self._limits.batch_threads + self._limits.max_batch_backlog:
            raise self._calls.overloaded()
        self._batches += 1
        try:
            caller = self._calls.identify(exchange.credentials(scope))
            body = await exchange.body()
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._batch_threads, self._batch, exchange, body, caller)
        finally:
            self._batches -= 1
        await exchange.answer(answer)

    def _batch(self, exchange: Exchange, body: bytes, caller: Caller) -> bytes:
        request = pb.VerifyCodesRequest.FromString(only_message(body, MAX_BATCH_BYTES))
        scans = 0

        def is_active() -> bool:
            nonlocal scans
            scans += 1
            if scans % _BATCH_TURN == 0:
                time.sleep(0)
            return not exchange.is_late

        return self._calls.verify_codes(request, caller, is_active).SerializeToString()

    async def _stream_verify(self, exchange: Exchange, scope: Scope) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        if len(self._lanes) >= self._limits.max_streams:
            raise self._calls.overloaded()
        self._lanes.add(task)
        self._calls.counters.add(Counter.STREAMS_OPEN)
        try:
            await self._answer_lane(exchange, scope, task)
        finally:
            self._lanes.discard(task)
            self._calls.counters.add(Counter.STREAMS_OPEN, -1)

    async def _answer_lane(self, exchange: Exchange, scope: Scope, task: "asyncio.Task[None]") -> None:
        # Once: a caller sees by itself when the gate list changes.
        caller = self._calls.identify(exchange.credentials(scope))
        unframer = Unframer(MAX_SCAN_BYTES)
        # One receive ahead, so that what comes while we answer is here when we have: Envoy keeps the rest.
        receiving = exchange.receive()
        has_more = True
        while has_more:
            body, has_more = await self._next(receiving, task)
            if has_more:
                receiving = exchange.receive()
            await self._answer_scans(exchange, unframer, body, caller)
        if not unframer.is_between_messages:
            raise CallError(Status.INVALID_ARGUMENT, "expected a whole message, got the beginning of one")
        await exchange.end()

    async def _next(self, receiving: Awaitable[Event], task: "asyncio.Task[None]") -> tuple[bytes, bool]:
        if self._is_draining:
            raise _going_away()
        self._idle_lanes.add(task)
        try:
            return Exchange.read(await receiving)
        except asyncio.CancelledError:
            if not self._is_draining:
                raise
            raise _going_away() from None
        finally:
            self._idle_lanes.discard(task)

    async def _answer_scans(
        self, exchange: Exchange, unframer: Unframer, body: bytes, caller: Caller
    ) -> None:
        """Answer what is whole now; the answers before an error are sent before it is raised."""
        frames: list[bytes] = []
        may_wait = self._calls.may_wait(caller)
        try:
            for message in unframer.feed(body):
                scan = pb.StreamVerifyRequest.FromString(message).scan
                if may_wait:
                    loop = asyncio.get_running_loop()
                    verdict = await loop.run_in_executor(
                        self._threads, self._calls.verify_code, scan, caller, "scan."
                    )
                else:
                    verdict = self._calls.verify_code(scan, caller, "scan.")
                frames.append(frame(pb.StreamVerifyResponse(verdict=verdict).SerializeToString()))
                if len(frames) == _TURN:
                    await exchange.send(b"".join(frames))
                    frames.clear()
        finally:
            if frames:
                await exchange.send(b"".join(frames))


def _going_away() -> CallError:
    return CallError(Status.UNAVAILABLE, "the verifier is going away: call again")


async def _refuse(scope: Scope, exchange: Exchange, send: Send) -> None:
    """Answer what is none of our calls: another method of gRPC, or no gRPC at all."""
    if scope["method"] == "POST" and exchange.is_grpc:
        await exchange.end(CallError(Status.UNIMPLEMENTED, "there is no such method here"))
        return
    status = 415 if scope["method"] == "POST" else 405
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
