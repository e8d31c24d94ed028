"""The verifier's service over ASGI: from bytes to messages, and from CallError to the end of a call.

What bounds the calls here, beside what Envoy bounds before them (verifier.envoy.bootstrap):
    VerifyCode     answered on the event loop, in one go; more than `max_backlog` under way are refused
    VerifyCodes    of one caller no more than `max_batches_per_caller`; read here, when it is known who calls,
                   and no more than `max_unfinished_batches` at once; answered on threads of their own: a
                   full one is the work of a thousand calls, and would hold up the others; more than
                   `max_batch_backlog` that wait for a thread are refused
    StreamVerify   see verifier.envoy.lanes
    one entry      a call that may wait for Redis is answered on a thread, so that it holds up no other
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from google.protobuf.message import DecodeError

from verifier.access.callers import Caller
from verifier.call_error import CallError, Status
from verifier.calls import Calls, late
from verifier.counters import Counter, MethodPlace
from verifier.envoy.asgi_types import Receive, Scope, Send
from verifier.envoy.batch_turns import BatchTurns
from verifier.envoy.exchange import Exchange, Gone
from verifier.envoy.framing import BrokenFrame, only_message
from verifier.envoy.lanes import Lanes
from verifier.envoy.traced import TracedExchanges
from verifier.envoy.turns import Turns
from verifier.limits import MAX_BATCH_BYTES, MAX_SCAN_BYTES, Limits
from verifier.logs import where_raised
from verifier.places import Places
from verifier.shedding import Suspects
from verifier.tracing import Tracing
from verifier.v1 import verifier_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["VerifierService"].full_name
Method = Callable[[Exchange, Scope], Awaitable[None]]

# As numbers of this module: a member of an enum is looked up in 0.1 microseconds.
_VERIFY_CODE, _VERIFY_CODES = int(MethodPlace.VERIFY_CODE), int(MethodPlace.VERIFY_CODES)
_BAD_SIGNATURE = int(pb.VERDICT_BAD_SIGNATURE)

# Scans of a batch after which its thread lets the event loop have the interpreter. Two batches of 1 000 at a
# time without an end, four handhelds beside them: a handheld's call took 13 ms, at most 400, with batches on
# the event loop; 8 ms, at most 66, with CPython's own turns of 5 ms; 3 ms, at most 9, with these. Batches
# took a tenth longer.
_BATCH_TURN = 4

_log = structlog.get_logger("verifier")


class GrpcApplication:
    """The ASGI application of one worker."""

    def __init__(self, *, calls: Calls, limits: Limits, tracing: Tracing | None = None) -> None:
        self._calls = calls
        self._limits = limits
        self._traced = None if tracing is None else TracedExchanges(tracing, SERVICE)
        self._under_way = 0  # VerifyCode
        self._batches = 0  # whose message is here
        self._unfinished_batches = 0
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="unary")
        self._batch_threads = ThreadPoolExecutor(limits.batch_threads, thread_name_prefix="batch")
        self._suspects = Suspects()
        self._turns = Turns(limits, self._suspects)
        self._lanes = Lanes(calls, limits, threads=self._threads, turns=self._turns, suspects=self._suspects)
        self._batch_turns = BatchTurns(limits.batch_threads)
        self._batch_places = Places(calls, per_caller=limits.max_batches_per_caller)
        self._methods: dict[str, Method] = {
            f"/{SERVICE}/VerifyCode": self._verify_code,
            f"/{SERVICE}/VerifyCodes": self._verify_codes,
            f"/{SERVICE}/StreamVerify": self._lanes.answer,
        }

    def add(self, path: str, method: Method) -> None:
        """Serve another method; `path` is as in HTTP."""
        self._methods[path] = method

    def drain(self) -> None:
        """End the lanes; to be called on the event loop, also repeatedly."""
        self._lanes.drain()

    def close(self) -> None:
        """Let the threads end."""
        for pool in (self._threads, self._batch_threads):
            pool.shutdown(wait=False, cancel_futures=True)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request."""
        # Now, and not when the event loop has a turn for it: that wait is part of the call.
        exchange = Exchange(scope, receive, send, come_ns=time.monotonic_ns())
        if self._traced is not None:
            watch = self._traced.watch(scope["path"], exchange, send)
            if watch is not None:
                exchange = Exchange(scope, receive, watch.send, come_ns=exchange.come_ns)
                return watch.over(self._answer(scope, exchange, watch.send), exchange)
        return self._answer(scope, exchange, send)

    async def _answer(self, scope: Scope, exchange: Exchange, send: Send) -> None:
        try:
            method = self._methods.get(scope["path"])
            if method is None or scope["method"] != "POST" or not exchange.is_grpc:
                await _refuse(scope, exchange, send)
                return
            exchange.check()
            await method(exchange, scope)
        except BrokenFrame as error:
            self._calls.counters.add(Counter.INVALID)
            await exchange.end(error)
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
        connection = scope.get("client")
        if self._under_way > self._limits.max_backlog or self._turns.is_long(connection):
            raise self._calls.overloaded()
        calls = self._calls
        self._under_way += 1
        calls.counters.begin()
        try:
            caller = calls.identify(exchange.credentials(scope))
            message = only_message(await exchange.body(MAX_SCAN_BYTES), MAX_SCAN_BYTES, exchange.encoding)
            request = calls.read(pb.VerifyCodeRequest, message, MAX_SCAN_BYTES)
            await self._turns.turn(connection)
            if calls.may_wait(caller):
                loop = asyncio.get_running_loop()
                response = await loop.run_in_executor(self._threads, self._verify, exchange, request, caller)
            else:
                response = self._verify(exchange, request, caller)
        except BaseException:
            calls.counters.drop()
            raise
        finally:
            self._under_way -= 1
        calls.counters.end(_VERIFY_CODE, exchange.come_ns)
        if response.verdict == _BAD_SIGNATURE or self._suspects:
            self._suspects.note(connection, response.verdict)
        await exchange.answer(response.SerializeToString())

    def _verify(
        self, exchange: Exchange, request: pb.VerifyCodeRequest, caller: Caller
    ) -> pb.VerifyCodeResponse:
        exchange.taken_up_ns = time.monotonic_ns()
        # Behind every wait, that for a thread included: a late call must use no code.
        if exchange.is_late:
            raise late()
        return self._calls.verify_code(request, caller)

    async def _verify_codes(self, exchange: Exchange, scope: Scope) -> None:
        # First: whoever has no credential gets nothing read.
        caller = self._calls.identify(exchange.credentials(scope))
        with self._batch_places.place(caller, scope.get("client")) as number:
            await self._answer_batch(exchange, caller, is_first=number == 1)

    async def _answer_batch(self, exchange: Exchange, caller: Caller, *, is_first: bool) -> None:
        limits = self._limits
        if self._unfinished_batches >= limits.max_unfinished_batches:
            raise self._calls.overloaded()
        self._unfinished_batches += 1
        try:
            body = await exchange.body_within(limits.slow_peer_s, MAX_BATCH_BYTES)
        finally:
            self._unfinished_batches -= 1
        if self._batches >= limits.batch_threads + limits.max_batch_backlog:
            raise self._calls.overloaded()
        self._batches += 1
        counters = self._calls.counters
        # Not before: how long a peer takes to send its scans is not ours.
        begun_ns = counters.begin()
        try:
            loop = asyncio.get_running_loop()
            async with self._batch_turns.turn(is_first=is_first):
                answer = await loop.run_in_executor(self._batch_threads, self._batch, exchange, body, caller)
        except BaseException:
            counters.drop()
            raise
        finally:
            self._batches -= 1
        counters.end(_VERIFY_CODES, begun_ns)
        await exchange.answer(answer)

    def _batch(self, exchange: Exchange, body: bytes, caller: Caller) -> bytes:
        exchange.taken_up_ns = time.monotonic_ns()
        message = only_message(body, MAX_BATCH_BYTES, exchange.encoding)
        request = self._calls.read(pb.VerifyCodesRequest, message, MAX_BATCH_BYTES)
        scans = 0

        def is_active() -> bool:
            nonlocal scans
            scans += 1
            if scans % _BATCH_TURN == 0:
                time.sleep(0)
            return not exchange.is_late

        return self._calls.verify_codes(request, caller, is_active).SerializeToString()


async def _refuse(scope: Scope, exchange: Exchange, send: Send) -> None:
    """Answer what is none of our calls: another method of gRPC, or no gRPC at all."""
    if scope["method"] == "POST" and exchange.is_grpc:
        await exchange.end(CallError(Status.UNIMPLEMENTED, "there is no such method here"))
        return
    status = 415 if scope["method"] == "POST" else 405
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
