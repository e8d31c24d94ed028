"""StreamVerify over ASGI: answers the scans of a lane as they come, and ends it when it is time.

Envoy ends a connection at its age by telling it to make no new calls, and waits for those that it has, for
ever where they are lanes. So a lane is ended here, when its connection must have been told and the grace is
over; its gate calls again on a new connection, which may come to another worker.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Hashable, Iterator
from concurrent.futures import Executor
from typing import cast

from verifier.access.callers import Caller
from verifier.call_error import CallError, Status
from verifier.calls import Calls
from verifier.counters import Counter, MethodPlace
from verifier.envoy.asgi_types import Event, Scope
from verifier.envoy.exchange import Exchange
from verifier.envoy.framing import Unframer, frame
from verifier.envoy.turns import Turns
from verifier.limits import MAX_SCAN_BYTES, Limits
from verifier.places import Places
from verifier.shedding import Suspects
from verifier.v1 import verifier_pb2 as pb

_STREAM_VERIFY = int(MethodPlace.STREAM_VERIFY)
_BAD_SIGNATURE = int(pb.VERDICT_BAD_SIGNATURE)
# Of the connection age: no connection is told later, and lanes that were opened at once do not end at once.
_OLDEST, _JITTER = 1.1, 0.1


class Lanes:
    """The lanes of one worker; used on the event loop only."""

    def __init__(
        self, calls: Calls, limits: Limits, *, threads: Executor, turns: Turns, suspects: Suspects
    ) -> None:
        """`threads` are for the calls that may wait. Each scan takes its turn among all calls of the worker;
        whose codes are forged is noted in `suspects`.
        """
        self._calls = calls
        self._limits = limits
        self._threads = threads
        self._turns = turns
        self._suspects = suspects
        self._places = Places(
            calls,
            most=limits.max_streams,
            per_caller=limits.max_streams_per_caller,
            counter=Counter.STREAMS_OPEN,
        )
        self._lanes: set[_Lane] = set()
        self._is_draining = False

    async def answer(self, exchange: Exchange, scope: Scope) -> None:
        """Answer one lane to its end; raises CallError."""
        # Once: a caller sees by itself when the gate list changes.
        caller = self._calls.identify(exchange.credentials(scope))
        connection = scope.get("client")
        with self._places.place(caller, connection):
            if self._is_draining:
                raise _going_away()
            lane = _Lane(exchange, caller, connection)
            self._lanes.add(lane)
            ending = asyncio.get_running_loop().call_later(self._longest_s(), lane.end)
            try:
                await self._answer(exchange, lane)
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

    async def _answer(self, exchange: Exchange, lane: "_Lane") -> None:
        unframer = Unframer(MAX_SCAN_BYTES, exchange.encoding)
        has_more = True
        while has_more:
            body, has_more = await lane.next()
            await self._answer_scans(lane, unframer.feed(body))
        if not unframer.is_between_messages:
            raise CallError(Status.INVALID_ARGUMENT, "expected a whole message, got the beginning of one")
        await exchange.end()

    async def _answer_scans(self, lane: "_Lane", messages: Iterator[bytes]) -> None:
        """Answer what is whole now; the answers before an error are sent before it is raised."""
        calls, turns = self._calls, self._turns
        counters, caller, connection = calls.counters, lane.caller, lane.connection
        come_ns = time.monotonic_ns()  # of all: those behind the first have waited for it
        may_wait = calls.may_wait(caller)
        try:
            for message in messages:
                lane.check()
                scan = calls.read(pb.StreamVerifyRequest, message, MAX_SCAN_BYTES).scan
                counters.begin()
                try:
                    if not turns.take(connection):
                        await lane.send()
                        await turns.turn(connection)
                        lane.check_peer()
                    if may_wait:
                        await lane.send()
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
                if verdict.verdict == _BAD_SIGNATURE or self._suspects:
                    self._suspects.note(connection, verdict.verdict)
                lane.add(frame(pb.StreamVerifyResponse(verdict=verdict).SerializeToString()))
        finally:
            await lane.send()


class _Lane:
    """A lane that can be ended between two scans."""

    __slots__ = (
        "_answers",
        "_exchange",
        "_is_ended",
        "_is_idle",
        "_receiving",
        "_task",
        "caller",
        "connection",
    )

    def __init__(self, exchange: Exchange, caller: Caller, connection: Hashable) -> None:
        """Made by the task that answers it."""
        self.caller = caller
        self.connection = connection
        self._exchange = exchange
        self._answers: list[bytes] = []
        self._task = cast("asyncio.Task[None]", asyncio.current_task())
        self._is_idle = False
        self._is_ended = False
        # One receive ahead, so that what comes while we answer is here when we have: Envoy keeps the rest.
        self._receiving: Awaitable[Event] = exchange.receive()

    def end(self) -> None:
        """Let check() and next() raise CallError, at once where it waits for a scan."""
        self._is_ended = True
        if self._is_idle:
            self._task.cancel()

    async def next(self) -> tuple[bytes, bool]:
        """Wait for what comes next; return it, and whether there is more to come."""
        self.check()
        self._is_idle = True
        try:
            body, has_more = Exchange.read(await self._receiving)
        except asyncio.CancelledError:
            if not self._is_ended:
                raise
            raise _going_away() from None
        finally:
            self._is_idle = False
        if has_more:
            self._receiving = self._exchange.receive()
        return body, has_more

    def check(self) -> None:
        """Raise what ends the lane between two scans: CallError, or as check_peer()."""
        if self._is_ended:
            raise _going_away()
        self.check_peer()

    def check_peer(self) -> None:
        """Raise Gone where it is known already that nobody is there: for them, no code is to be used."""
        receiving = self._receiving
        if isinstance(receiving, asyncio.Future) and receiving.done():
            Exchange.read(receiving.result())

    def add(self, answer: bytes) -> None:
        """Keep an answer, in its frame, until send()."""
        self._answers.append(answer)

    async def send(self) -> None:
        """Send the answers that there are: what takes longer is not waited for."""
        if self._answers:
            answers = b"".join(self._answers)
            self._answers.clear()
            await self._exchange.send(answers)


def _going_away() -> CallError:
    return CallError(Status.UNAVAILABLE, "the verifier is going away: call again")
