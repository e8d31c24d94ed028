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


@dataclass(slots=True)
class _Sent:
    """A scan on a lane, whose answer comes when those before it were answered."""

    arrival: Arrival
    attempt: int
    deadline: float  # Unix time
    is_given_up: bool = False  # nobody waits for its answer any more, but it will come first


class _Lane:
    """One call."""

    def __init__(self) -> None:
        self.sent: Final[deque[_Sent]] = deque()
        self.waited_for = 0
        self._requests: Final[SimpleQueue] = SimpleQueue()
        self.call: Any = None  # of gRPC; None before it is made

    def requests(self) -> Iterator[pb.StreamVerifyRequest]:
        """Yield what is put on the lane until it ends."""
        return iter(self._requests.get, None)

    def put(self, sent: _Sent, request: pb.VerifyCodeRequest) -> None:
        """Send a scan."""
        self.sent.append(sent)
        self.waited_for += 1
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
        """End attempts whose deadline passed. A lane on which nobody is waited for any more is left."""
        lane = self._lane
        if lane is None:
            return
        overdue = []
        for sent in lane.sent:
            if sent.deadline > now:
                break
            if not sent.is_given_up:
                sent.is_given_up = True
                lane.waited_for -= 1
                overdue.append(sent)
        if overdue and not lane.waited_for:
            self._leave(lane)
        for sent in overdue:
            self._attempt_failed(sent, now, _TOO_LATE)

    def close(self) -> None:
        """End the lane and the connection."""
        if self._lane is not None:
            self._leave(self._lane)
        super().close()

    def _send(self, arrivals: Sequence[Arrival]) -> None:
        for arrival in arrivals:
            self._put(arrival, attempt=1)

    def _put(self, arrival: Arrival, *, attempt: int) -> None:
        if self._lane is None:
            self._lane = _Lane()
            gevent.spawn(self._read, self._lane)
        deadline = self.shared.now() + self._attempts.deadline_s
        self._lane.put(_Sent(arrival, attempt, deadline), self._request(arrival))

    def _read(self, lane: _Lane) -> None:
        """Take answers until the lane ends; who is still waited for then has failed an attempt."""
        status = "ended by the server"
        try:
            lane.call = self._stream_verify(lane.requests(), metadata=self._attempts.metadata)
            for answer in lane.call:
                if not lane.sent:
                    status = "an answer without a scan"
                    break
                self._take(lane, lane.sent.popleft(), answer.verdict)
        except grpc.RpcError as error:
            status = status_of(error)
        self._leave(lane)
        now = self.shared.now()
        for sent in lane.sent:
            if not sent.is_given_up:
                self._attempt_failed(sent, now, status)

    def _leave(self, lane: _Lane) -> None:
        if self._lane is lane:
            self._lane = None
        lane.end()

    def _take(self, lane: _Lane, sent: _Sent, answer: pb.VerifyCodeResponse) -> None:
        if sent.is_given_up:
            return
        lane.waited_for -= 1
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
