"""The three ways in which a site asks: a call a scan, a call for many, and a lane that stays open."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import gevent
import grpc
from gevent.event import Event

from loadtest.crowd.arrival import Arrival
from loadtest.crowd.bound import Bound
from loadtest.crowd.connection import Attempts, GaveUp, Target, stub_on
from loadtest.crowd.options import LoadOptions
from loadtest.crowd.tally import Tally
from loadtest.crowd.verdicts import Verdicts
from verifier.v1 import verifier_pb2 as pb


@dataclass(frozen=True, slots=True)
class Shared:
    """What all sites of a process have in common."""

    options: LoadOptions
    target: Target
    tally: Tally
    bound: Bound
    verdicts: Verdicts
    now: Callable[[], float]  # Unix time that never jumps
    tell: Callable[[str, float, int, Exception | None], None]  # Locust: method, seconds, bytes, failure


class Line(ABC):
    """A connection, and how scans go over it."""

    def __init__(self, shared: Shared) -> None:
        self.shared: Final = shared
        self._waited_for = 0
        self._is_idle = Event()
        self._is_idle.set()
        self._channel: Final[grpc.Channel] = shared.target.connect()
        self._attempts: Final = Attempts(shared.options, shared.target, shared.tally, shared.now)

    def arrive(self, arrivals: Sequence[Arrival], wanted_at: float) -> None:
        """Have people sent when there is room; from here on to their end they are waited for."""
        self._waited_for += len(arrivals)
        self._is_idle.clear()
        self.shared.bound.arrive(arrivals, wanted_at)

    def leave(self, count: int) -> None:
        """Wait for `count` scans no longer."""
        self._waited_for -= count
        if not self._waited_for:
            self._is_idle.set()

    def wait_until_idle(self) -> None:
        """Return when nobody is under way, or stands in line to be sent."""
        self._is_idle.wait()

    def give_up_overdue(self, now: float) -> None:  # noqa: B027 - calls have deadlines of gRPC's own
        """Give up scans whose deadline passed by `now`, where gRPC does not do it."""

    def close(self) -> None:
        """End what is under way."""
        self._channel.close()

    @abstractmethod
    def send(self, arrivals: Sequence[Arrival]) -> None:
        """Send scans; returns at once."""

    def _request(self, arrival: Arrival) -> pb.VerifyCodeRequest:
        return pb.VerifyCodeRequest(
            qr_text=arrival.scan.qr_text, scan_id=arrival.scan_id, gate_id=self.shared.options.gate_id
        )

    def _answered(self, arrival: Arrival, now: float, answer: pb.VerifyCodeResponse) -> Exception | None:
        """Judge one answer."""
        return self.shared.verdicts.answered(arrival, now, answer.scan_id, answer.verdict)

    def _gave_up(self, arrival: Arrival, now: float, status: str) -> Exception:
        return self.shared.verdicts.gave_up(arrival, now, status)

    def _ended(self, count: int) -> None:
        """Make room for others: `count` scans that were sent are through."""
        self.shared.tally.ended(count)
        self.leave(count)
        self.shared.bound.advance()


class Unary(Line):
    """Handhelds and turnstiles: VerifyCode."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._verify_code = stub_on(self._channel).VerifyCode

    def send(self, arrivals: Sequence[Arrival]) -> None:
        """Send scans; returns at once."""
        for arrival in arrivals:
            gevent.spawn(self._scan, arrival)

    def _scan(self, arrival: Arrival) -> None:
        try:
            self._ask(arrival)
        finally:
            self._ended(1)

    def _ask(self, arrival: Arrival) -> None:
        failure: Exception | None
        size = 0
        try:
            answer = self._attempts.make(self._verify_code, self._request(arrival), 1)
        except GaveUp as error:
            now = self.shared.now()
            failure = self._gave_up(arrival, now, error.status)
        else:
            now = self.shared.now()
            failure = self._answered(arrival, now, answer)
            size = answer.ByteSize()
        self.shared.tell("VerifyCode", now - arrival.due, size, failure)


class Batch(Line):
    """A gate hub: VerifyCodes. Who comes together is sent together."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._verify_codes = stub_on(self._channel).VerifyCodes

    def send(self, arrivals: Sequence[Arrival]) -> None:
        """Send scans; returns at once."""
        size = self.shared.options.batch_size
        for first in range(0, len(arrivals), size):
            gevent.spawn(self._call, arrivals[first : first + size])

    def _call(self, arrivals: Sequence[Arrival]) -> None:
        try:
            self._ask(arrivals)
        finally:
            self._ended(len(arrivals))

    def _ask(self, arrivals: Sequence[Arrival]) -> None:
        failures: list[Exception | None]
        size = 0
        request = pb.VerifyCodesRequest(scans=[self._request(arrival) for arrival in arrivals])
        try:
            answer = self._attempts.make(self._verify_codes, request, len(arrivals))
        except GaveUp as error:
            now = self.shared.now()
            failures = [self._gave_up(arrival, now, error.status) for arrival in arrivals]
        else:
            now = self.shared.now()
            failures = self._judge(arrivals, now, answer)
            size = answer.ByteSize()
        failure = next((one for one in failures if one is not None), None)
        self.shared.tell("VerifyCodes", now - arrivals[0].due, size, failure)

    def _judge(
        self, arrivals: Sequence[Arrival], now: float, answer: pb.VerifyCodesResponse
    ) -> list[Exception | None]:
        # Such an answer breaks the API, and whose the verdicts are is anybody's guess.
        if len(answer.verdicts) != len(arrivals):
            return [self._gave_up(arrival, now, "too few or too many verdicts") for arrival in arrivals]
        answered = zip(arrivals, answer.verdicts, strict=True)
        return [self._answered(arrival, now, verdict) for arrival, verdict in answered]
