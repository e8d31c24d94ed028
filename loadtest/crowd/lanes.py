"""Lanes: StreamVerify calls that stay open, one a site, on which scans follow each other without waiting."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import gevent
import grpc
from gevent.queue import SimpleQueue

from loadtest.crowd.arrival import Arrival
from loadtest.crowd.connection import status_of, stub_on
from loadtest.crowd.lines import Line, Shared
from verifier.v1 import verifier_pb2 as pb

_TOO_LATE = grpc.StatusCode.DEADLINE_EXCEEDED.name
_CLOSED = grpc.StatusCode.CANCELLED.name


@dataclass(slots=True)
class _Sent:
    """A scan on a lane, whose answer comes when those before it were answered."""

    arrival: Arrival
    attempt: int
    deadline: float  # Unix time


class _Lane:
    """One call."""

    def __init__(self) -> None:
        self.sent: Final[deque[_Sent]] = deque()
        self._requests: Final[SimpleQueue] = SimpleQueue()
        self.call: Any = None  # of gRPC; None before it is made

    def requests(self) -> Iterator[pb.StreamVerifyRequest]:
        """Yield what is put on the lane until it ends."""
        return iter(self._requests.get, None)

    def put(self, sent: _Sent, request: pb.VerifyCodeRequest) -> None:
        """Send a scan."""
        self.sent.append(sent)
        self._requests.put(pb.StreamVerifyRequest(scan=request))

    def end(self) -> None:
        """Send nothing more."""
        self._requests.put(None)
        if self.call is not None:
            self.call.cancel()


class Stream(Line):
    """Opens a lane with the first scan, and another one whenever that broke."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._stream_verify = stub_on(self._channel).StreamVerify
        self._lane: _Lane | None = None

    def give_up_overdue(self, now: float) -> None:
        """Leave a lane whose next answer is overdue, as one that broke.

        What is on a lane cannot be taken back. If the others stayed, scans that are given up would pile up
        on it behind those, beyond the bound.
        """
        lane = self._lane
        if lane is not None and lane.sent and lane.sent[0].deadline <= now:
            self._leave(lane, _TOO_LATE)

    def close(self) -> None:
        """End the lane and the connection."""
        if self._lane is not None:
            self._leave(self._lane, _CLOSED)
        super().close()

    def send(self, arrivals: Sequence[Arrival]) -> None:
        """Send scans; returns at once."""
        for arrival in arrivals:
            self._put(arrival, attempt=1)

    def _put(self, arrival: Arrival, *, attempt: int) -> None:
        if self._lane is None:
            self._lane = _Lane()
            gevent.spawn(self._read, self._lane)
        deadline = self.shared.now() + self._attempts.deadline_s
        self._lane.put(_Sent(arrival, attempt, deadline), self._request(arrival))

    def _read(self, lane: _Lane) -> None:
        """Take answers until the lane ends."""
        status = "ended by the server"
        try:
            lane.call = self._stream_verify(lane.requests(), metadata=self._attempts.metadata)
            for answer in lane.call:
                if not lane.sent:
                    status = "an answer without a scan"
                    break
                self._take(lane.sent.popleft(), answer.verdict)
        except grpc.RpcError as error:
            status = status_of(error)
        finally:
            self._leave(lane, status)

    def _leave(self, lane: _Lane, status: str) -> None:
        """End a lane; who is still waited for on it has failed an attempt."""
        if self._lane is lane:
            self._lane = None
        lane.end()
        waited_for = tuple(lane.sent)
        lane.sent.clear()
        now = self.shared.now()
        for sent in waited_for:
            self._attempt_failed(sent, now, status)

    def _take(self, sent: _Sent, answer: pb.VerifyCodeResponse) -> None:
        now = self.shared.now()
        failure = self._answered(sent.arrival, now, answer)
        self.shared.tell("StreamVerify", now - sent.arrival.due, answer.ByteSize(), failure)
        self._ended(1)

    def _attempt_failed(self, sent: _Sent, now: float, status: str) -> None:
        self.shared.tally.attempt_failed(now, status, 1)
        if sent.attempt < self._attempts.most:
            self.shared.tally.retried(now, 1)
            self._put(sent.arrival, attempt=sent.attempt + 1)
            return
        failure = self._gave_up(sent.arrival, now, status)
        self.shared.tell("StreamVerify", now - sent.arrival.due, 0, failure)
        self._ended(1)
