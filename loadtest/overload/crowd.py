"""A crowd of gates, each with a connection, one scan at a time, a deadline and the manners of gRPC's clients.

    python -m loadtest.overload.crowd < PLAN > OUTCOME      both JSON

When a scan is due at a gate is even, and does not wait for the server; a gate that is busy has a line, which
people leave after the deadline. A gate that is refused asks again after the delay that it was told, as gRPC
does by itself, until the deadline; then it cancels the call. One process can ask some 20 000 times a second.
"""

import contextlib
import heapq
import itertools
import json
import select
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from google.protobuf.message import DecodeError

from loadtest.bench.answers import UNARY
from loadtest.latency import Latencies
from loadtest.overload import wire
from loadtest.processes import ProcessError
from verifier.v1 import verifier_pb2 as pb

_PREFIX_BYTES = 5
_READ_BYTES = 1 << 16
_RECONNECT_S = 0.1
_OK, _DEADLINE_EXCEEDED, _RESOURCE_EXHAUSTED = 0, 4, 8
# A wait for events never begins when less is left: epoll counts in milliseconds.
_LEAST_WAIT_S = 0.0005
_PERCENTILES = (50.0, 99.0, 100.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """Who asks for what."""

    address: str
    key: str
    message: str  # a VerifyCodeRequest, hexadecimal
    verdict: int  # that it has to get
    gates: int
    per_s: float  # scans due at all gates; 0: at each the next one when the last is over
    seconds: float
    deadline_s: float = 2.0
    has_manners: bool = True  # or else the next scan is sent at once after a refusal
    begins_at_s: float = 0.0  # on the monotonic clock, which processes share
    keeps_scans: bool = False  # each of them, in the outcome


@dataclass(slots=True)
class Outcome:
    """What came of it. Each scan that was asked about is right, wrong, late, refused or failed in the end."""

    began_at_s: float = 0.0  # on the monotonic clock
    due: int = 0
    left: int = 0  # the line, before the gate asked
    asked: int = 0
    calls: int = 0  # with those after a refusal
    right: int = 0
    wrong: int = 0
    late: int = 0  # not answered until the deadline, and never refused
    refused: int = 0  # until the deadline
    refusals: int = 0  # of calls
    refusals_without_delay: int = 0
    failed: dict[str, int] = field(default_factory=dict)  # by gRPC status, or what HTTP/2 did
    verdict_ms: Mapping[str, float | None] = field(default_factory=dict)  # since the gate first asked
    refusal_ms: Mapping[str, float | None] = field(default_factory=dict)  # of a call
    # When a scan began, how many seconds it took, and whether it was right; where they are kept.
    scans: list[tuple[float, float, bool]] = field(default_factory=list)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return what to_json() wrote; raises ProcessError."""
        try:
            fields: dict[str, Any] = json.loads(text)
            return cls(**fields)
        except (ValueError, TypeError, KeyError):
            raise ProcessError("the crowd did not tell what came of it") from None

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))


class _Gate:
    """A connection and its scan."""

    __slots__ = (
        "asked_at", "attempt_at", "data", "due_at", "is_asking", "is_full", "is_refused", "is_waiting",
        "received", "socket", "status", "stream", "timer", "to_send",
    )  # fmt: skip

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.received = bytearray()
        self.to_send = b""
        self.stream = -1
        self.timer = 0  # what is set for an earlier number is void
        self.is_asking = False  # a scan is under way, if only waiting for its next attempt
        self.is_waiting = False  # for an answer
        self.is_refused = False
        self.is_full = False  # the socket, with more to send
        self.asked_at = self.attempt_at = self.due_at = 0.0
        self.data = b""
        self.status: wire.Ending | None = None


class Crowd:
    """All gates, in one thread."""

    def __init__(self, plan: Plan) -> None:
        host, _, port = plan.address.rpartition(":")
        self._address = (host, int(port))
        self._plan = plan
        message = bytes.fromhex(plan.message)
        self._scan_id = pb.VerifyCodeRequest.FromString(message).scan_id
        self._request = wire.Request(UNARY, message, key=plan.key, timeout_ms=round(plan.deadline_s * 1_000))
        self._gates = [_Gate() for _ in range(plan.gates)]
        self._by_descriptor: dict[int, _Gate] = {}
        self._poll = select.epoll()
        self._timers: list[tuple[float, int, _Gate, int]] = []
        self._ticks = itertools.count()
        self._outcome = Outcome()
        self._verdicts, self._refusals = Latencies(), Latencies()
        self._ends_at = 0.0

    def run(self) -> Outcome:
        """Ask until the time is over; raises ProcessError where the server takes no connection."""
        plan, outcome = self._plan, self._outcome
        for gate in self._gates:
            self._connect(gate)
        begins_at = outcome.began_at_s = max(time.monotonic(), plan.begins_at_s)
        self._ends_at = begins_at + plan.seconds
        pause_s = plan.gates / plan.per_s if plan.per_s else 0.0
        for number, gate in enumerate(self._gates):
            gate.due_at = begins_at + pause_s * number / plan.gates
            self._set_timer(gate, gate.due_at)
        while (now := time.monotonic()) < self._ends_at:
            self._run_timers(now)
            wait_s = max(_LEAST_WAIT_S, min(self._ends_at, self._next_timer()) - now)
            for descriptor, events in self._poll.poll(wait_s):
                self._take_events(self._by_descriptor[descriptor], events)
        for gate in self._gates:
            if gate.socket is not None:
                gate.socket.close()
        outcome.due = round(plan.per_s * plan.seconds) if plan.per_s else outcome.asked
        outcome.verdict_ms = {f"p{one:g}": self._verdicts.percentile_ms(one) for one in _PERCENTILES}
        outcome.refusal_ms = {f"p{one:g}": self._refusals.percentile_ms(one) for one in _PERCENTILES}
        return outcome

    def _connect(self, gate: _Gate) -> None:
        try:
            gate.socket = connection = socket.create_connection(self._address, timeout=10)
        except OSError as error:
            raise ProcessError(f"{self._plan.address}: {error.strerror}") from None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        gate.received.clear()
        gate.stream = -1
        gate.to_send = wire.GREETING
        self._by_descriptor[connection.fileno()] = gate
        self._poll.register(connection.fileno(), select.EPOLLIN)
        self._flush(gate)

    # Timers: one a gate, for what it waits for.

    def _set_timer(self, gate: _Gate, at_s: float) -> None:
        gate.timer += 1
        heapq.heappush(self._timers, (at_s, next(self._ticks), gate, gate.timer))

    def _next_timer(self) -> float:
        while self._timers and self._timers[0][3] != self._timers[0][2].timer:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else self._ends_at

    def _run_timers(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            _, _, gate, timer = heapq.heappop(self._timers)
            if timer == gate.timer:
                self._on_timer(gate, now)

    def _on_timer(self, gate: _Gate, now: float) -> None:
        if gate.socket is None:
            self._connect(gate)
            self._next_scan(gate, now)
        elif not gate.is_asking:
            self._next_scan(gate, now)
        elif now >= gate.asked_at + self._plan.deadline_s:
            if gate.is_waiting:
                gate.to_send += wire.cancel(gate.stream)
            if gate.is_refused:
                self._outcome.refused += 1
            else:
                self._outcome.late += 1
            self._end(gate, now, is_right=False)
        else:
            self._ask(gate, now)

    def _next_scan(self, gate: _Gate, now: float) -> None:
        """Ask about who is next in the line, or wait for somebody."""
        plan = self._plan
        if plan.per_s:
            pause_s = plan.gates / plan.per_s
            if now - gate.due_at > plan.deadline_s:
                gone = int((now - gate.due_at - plan.deadline_s) / pause_s) + 1
                self._outcome.left += gone
                gate.due_at += gone * pause_s
            if gate.due_at > now:
                self._set_timer(gate, gate.due_at)
                return
            gate.due_at += pause_s
        self._outcome.asked += 1
        gate.is_asking, gate.is_refused, gate.asked_at = True, False, now
        self._ask(gate, now)

    def _ask(self, gate: _Gate, now: float) -> None:
        self._outcome.calls += 1
        gate.stream += 2
        gate.is_waiting, gate.attempt_at, gate.data, gate.status = True, now, b"", None
        gate.to_send += self._request.on(gate.stream)
        self._set_timer(gate, gate.asked_at + self._plan.deadline_s)
        self._flush(gate)

    def _end(self, gate: _Gate, now: float, *, is_right: bool) -> None:
        self._keep(gate, now, is_right=is_right)
        gate.is_asking = gate.is_waiting = False
        self._next_scan(gate, now)

    # What comes.

    def _take_events(self, gate: _Gate, events: int) -> None:
        connection = gate.socket
        if connection is None:
            return
        if events & select.EPOLLOUT:
            self._flush(gate)
        if not events & ~select.EPOLLOUT:
            return
        try:
            received = connection.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._lose(gate)
            return
        now = time.monotonic()
        gate.received += received
        for frame in wire.frames(gate.received):
            self._take(gate, frame, now)

    def _take(self, gate: _Gate, frame: wire.Frame, now: float) -> None:
        if frame.kind == wire.HEADERS:
            ending = wire.read_headers(frame.payload)
            if frame.stream == gate.stream and gate.is_waiting and ending.status is not None:
                gate.is_waiting = False
                self._settle(gate, ending, now)
        elif frame.kind == wire.DATA:
            if frame.stream == gate.stream:
                gate.data += frame.payload
        elif frame.kind == wire.RST_STREAM:
            if frame.stream == gate.stream and gate.is_waiting:
                self._fail(gate, f"RST_STREAM {int.from_bytes(frame.payload, 'big')}", now)
        elif frame.kind == wire.SETTINGS and not frame.flags & wire.ACK:
            gate.to_send += wire.SETTINGS_TAKEN
            self._flush(gate)
        elif frame.kind == wire.PING and not frame.flags & wire.ACK:
            gate.to_send += wire.pong(frame.payload)
            self._flush(gate)

    def _settle(self, gate: _Gate, ending: wire.Ending, now: float) -> None:
        outcome, plan = self._outcome, self._plan
        if ending.status == _OK:
            is_right = self._is_right(gate.data)
            if not is_right:
                outcome.wrong += 1
            elif now - gate.asked_at <= plan.deadline_s:
                outcome.right += 1
                self._verdicts.record(now - gate.asked_at)
            else:
                outcome.late += 1
            self._end(gate, now, is_right=is_right)
        elif ending.status == _RESOURCE_EXHAUSTED:
            outcome.refusals += 1
            self._refusals.record(now - gate.attempt_at)
            gate.is_refused = True
            if ending.retry_delay_s is None:
                outcome.refusals_without_delay += 1
            if plan.has_manners:
                again_at = now + (ending.retry_delay_s or 0.0)
                self._set_timer(gate, min(again_at, gate.asked_at + plan.deadline_s))
            else:
                outcome.refused += 1
                self._end(gate, now, is_right=False)
        elif ending.status == _DEADLINE_EXCEEDED:
            outcome.late += 1
            self._end(gate, now, is_right=False)
        else:
            self._fail(gate, f"status {ending.status}", now)

    def _is_right(self, data: bytes) -> bool:
        try:
            answer = pb.VerifyCodeResponse.FromString(data[_PREFIX_BYTES:])
        except DecodeError:
            return False
        return answer.verdict == self._plan.verdict and answer.scan_id == self._scan_id

    def _fail(self, gate: _Gate, why: str, now: float) -> None:
        self._count_failed(why)
        self._end(gate, now, is_right=False)

    def _keep(self, gate: _Gate, now: float, *, is_right: bool) -> None:
        if self._plan.keeps_scans:
            self._outcome.scans.append((gate.asked_at, now - gate.asked_at, is_right))

    def _count_failed(self, why: str) -> None:
        self._outcome.failed[why] = self._outcome.failed.get(why, 0) + 1

    def _lose(self, gate: _Gate) -> None:
        """The server has closed the connection: connect again soon."""
        if gate.socket is None:
            return
        self._poll.unregister(gate.socket.fileno())
        del self._by_descriptor[gate.socket.fileno()]
        gate.socket.close()
        gate.socket = None
        now = time.monotonic()
        if gate.is_asking:
            self._count_failed("connection closed")
            self._keep(gate, now, is_right=False)
            gate.is_asking = gate.is_waiting = False
        self._set_timer(gate, now + _RECONNECT_S)

    def _flush(self, gate: _Gate) -> None:
        if gate.socket is None or not gate.to_send:
            return
        was_full = gate.is_full
        with contextlib.suppress(BlockingIOError, ConnectionError):  # a lost one is seen by reading
            sent = gate.socket.send(gate.to_send)
            gate.to_send = gate.to_send[sent:]
        gate.is_full = bool(gate.to_send)
        if gate.is_full is not was_full:
            self._poll.modify(gate.socket.fileno(), select.EPOLLIN | (select.EPOLLOUT if gate.is_full else 0))


def main() -> None:
    """Read the plan, and tell what came of it."""
    plan = Plan(**json.load(sys.stdin))
    print(Crowd(plan).run().to_json())


if __name__ == "__main__":
    main()
