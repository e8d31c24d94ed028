"""StreamVerify over ASGI: answers the scans of a lane as they come, and ends it when it is time.

Envoy ends a connection at its age by telling it to make no new calls, and waits for those that it has, for
ever where they are lanes. So a lane is ended here, when its connection must have been told and the grace is
over; its gate calls again on a new connection, which may come to another worker.
"""

import asyncio
import random
import time
from collections.abc import Awaitable
from concurrent.futures import Executor
from typing import cast

from verifier.access.callers import Caller
from verifier.call_error import CallError, Status
from verifier.calls import Calls
from verifier.counters import MethodPlace
from verifier.envoy.asgi_types import Event, Scope
from verifier.envoy.exchange import Exchange
from verifier.envoy.framing import Unframer, frame
from verifier.lane_places import LanePlaces
from verifier.limits import MAX_SCAN_BYTES, Limits
from verifier.v1 import verifier_pb2 as pb

_STREAM_VERIFY = int(MethodPlace.STREAM_VERIFY)
# Scans of a stream that are answered before anybody else has a turn: two milliseconds.
_TURN = 32
# Of the connection age: no connection is told later, and lanes that were opened at once do not end at once.
_OLDEST, _JITTER = 1.1, 0.1


class Lanes:
    """The lanes of one worker; used on the event loop only."""

    def __init__(self, calls: Calls, limits: Limits, threads: Executor) -> None:
        """`threads` are for the calls that may wait."""
        self._calls = calls
        self._limits = limits
        self._threads = threads
        self._places = LanePlaces(calls, limits)
        self._lanes: set[_Lane] = set()
        self._is_draining = False

    async def answer(self, exchange: Exchange, scope: Scope) -> None:
        """Answer one lane to its end; raises CallError."""
        # Once: a caller sees by itself when the gate list changes.
        caller = self._calls.identify(exchange.credentials(scope))
        with self._places.place(caller, scope.get("client")):
            if self._is_draining:
                raise _going_away()
            lane = _Lane()
            self._lanes.add(lane)
            ending = asyncio.get_running_loop().call_later(self._longest_s(), lane.end)
            try:
                await self._answer(exchange, lane, caller)
            finally:
                ending.cancel()
                self._lanes.discard(lane)

    def drain(self) -> None:
        """End the lanes on which nothing is under way, and the others after it; may be called repeatedly."""
        self._is_draining = True
        for lane in self._lanes:
            lane.end()

    def _longest_s(self) -> float:
        age_s, grace_s = self._limits.connection_age_s, self._limits.connection_age_grace_s
        return age_s * random.uniform(_OLDEST, _OLDEST + _JITTER) + grace_s  # noqa: S311 - no secret

    async def _answer(self, exchange: Exchange, lane: "_Lane", caller: Caller) -> None:
        unframer = Unframer(MAX_SCAN_BYTES, exchange.encoding)
        # One receive ahead, so that what comes while we answer is here when we have: Envoy keeps the rest.
        receiving = exchange.receive()
        has_more = True
        while has_more:
            body, has_more = Exchange.read(await lane.next(receiving))
            if has_more:
                receiving = exchange.receive()
            await self._answer_scans(exchange, unframer, body, caller)
        if not unframer.is_between_messages:
            raise CallError(Status.INVALID_ARGUMENT, "expected a whole message, got the beginning of one")
        await exchange.end()

    async def _answer_scans(
        self, exchange: Exchange, unframer: Unframer, body: bytes, caller: Caller
    ) -> None:
        """Answer what is whole now; the answers before an error are sent before it is raised."""
        frames: list[bytes] = []
        calls = self._calls
        counters = calls.counters
        come_ns = time.monotonic_ns()  # of all: those behind the first have waited for it
        may_wait = calls.may_wait(caller)
        try:
            for message in unframer.feed(body):
                scan = calls.read(pb.StreamVerifyRequest, message, MAX_SCAN_BYTES).scan
                counters.begin()
                try:
                    if may_wait:
                        loop = asyncio.get_running_loop()
                        verdict = await loop.run_in_executor(
                            self._threads, calls.verify_code, scan, caller, "scan."
                        )
                    else:
                        verdict = calls.verify_code(scan, caller, "scan.")
                except BaseException:
                    counters.drop()
                    raise
                counters.end(_STREAM_VERIFY, come_ns)
                frames.append(frame(pb.StreamVerifyResponse(verdict=verdict).SerializeToString()))
                if len(frames) == _TURN:
                    await exchange.send(b"".join(frames))
                    frames.clear()
        finally:
            if frames:
                await exchange.send(b"".join(frames))


class _Lane:
    """A lane that can be ended between two scans."""

    __slots__ = ("_is_ended", "_is_idle", "_task")

    def __init__(self) -> None:
        """Made by the task that answers it."""
        self._task = cast("asyncio.Task[None]", asyncio.current_task())
        self._is_idle = False
        self._is_ended = False

    def end(self) -> None:
        """Let next() raise CallError, at once where it waits."""
        self._is_ended = True
        if self._is_idle:
            self._task.cancel()

    async def next(self, receiving: Awaitable[Event]) -> Event:
        """Wait for what comes next."""
        if self._is_ended:
            raise _going_away()
        self._is_idle = True
        try:
            return await receiving
        except asyncio.CancelledError:
            if not self._is_ended:
                raise
            raise _going_away() from None
        finally:
            self._is_idle = False


def _going_away() -> CallError:
    return CallError(Status.UNAVAILABLE, "the verifier is going away: call again")
