"""How scans go over a connection, and when their places are given back, by a clock that is moved by hand."""

from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import gevent
import grpc
import pytest
from gevent.event import Event

from loadtest.corpus_file import Scan
from loadtest.crowd.arrival import Arrival
from loadtest.crowd.bound import Bound
from loadtest.crowd.connection import Target
from loadtest.crowd.lanes import Stream
from loadtest.crowd.lines import Batch, Line, Shared, Unary
from loadtest.crowd.options import LoadOptions
from loadtest.crowd.tally import Tally
from loadtest.crowd.verdicts import Verdicts
from loadtest.recording import Second
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Verdict

SCAN = Scan(b"GL1:1", Verdict.GREEN, "green")
BEGIN = 1_000.0
DEADLINE_S = 5.0


class Cancelled(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED


class SilentLane:
    """A StreamVerify call that takes scans and answers none."""

    def __init__(self, requests: Iterable[pb.StreamVerifyRequest]) -> None:
        self.ids: list[str] = []
        self._requests = requests
        self._is_cancelled = Event()

    def __iter__(self) -> Iterator[pb.StreamVerifyResponse]:
        return self

    def __next__(self) -> pb.StreamVerifyResponse:
        for request in self._requests:
            self.ids.append(request.scan.scan_id)
        self._is_cancelled.wait()
        raise Cancelled

    def cancel(self) -> None:
        self._is_cancelled.set()


class Server:
    """A channel, and whoever answers at its other end."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer
        self.lanes: list[SilentLane] = []

    def unary_unary(self, *_: object, **__: object) -> Callable[..., Any]:
        return lambda request, **_: self._answer(request)

    def stream_stream(self, *_: object, **__: object) -> Callable[..., SilentLane]:
        return self._open_lane

    def _open_lane(self, requests: Iterable[pb.StreamVerifyRequest], **_: object) -> SilentLane:
        self.lanes.append(SilentLane(requests))
        return self.lanes[-1]


class Street:
    """A line to a server, and a bound."""

    def __init__(
        self, kind: type[Line], answer: Callable[[Any], Any], *, most: int = 10, attempts: int = 1
    ) -> None:
        self.now = BEGIN
        self.tally = Tally()
        self.server = Server(answer)
        options = SimpleNamespace(
            scenario=SimpleNamespace(deadline_s=DEADLINE_S, attempts=attempts), gate_id="a", batch_size=10
        )
        target = SimpleNamespace(connect=lambda: self.server, metadata=())
        self.bound = Bound(
            most=most, patience_s=DEADLINE_S * attempts, tally=self.tally, now=lambda: self.now
        )
        shared = Shared(
            cast("LoadOptions", options),
            cast("Target", target),
            self.tally,
            self.bound,
            Verdicts(self.tally),
            lambda: self.now,
            lambda *_: None,
        )
        self.line = kind(shared)

    def arrive(self, *scan_ids: str) -> None:
        self.line.arrive([Arrival(self.now, one, SCAN, self.line) for one in scan_ids], self.now)
        gevent.idle()

    def is_idle(self) -> bool:
        waiting = gevent.spawn(self.line.wait_until_idle)
        gevent.idle()
        is_idle = bool(waiting.ready())
        waiting.kill()
        return is_idle

    def total(self) -> Second:
        total = Second()
        for second in self.tally.take().values():
            total.add(second)
        return total


def right(request: pb.VerifyCodeRequest) -> pb.VerifyCodeResponse:
    return pb.VerifyCodeResponse(scan_id=request.scan_id, verdict=pb.VERDICT_GREEN)


def test_who_stands_in_line_is_waited_for() -> None:
    """Or their connection would be closed before they are sent."""
    goes_on = Event()

    def answer(request: pb.VerifyCodeRequest) -> pb.VerifyCodeResponse:
        goes_on.wait()
        return right(request)

    street = Street(Unary, answer, most=1)
    street.arrive("a", "b")
    assert street.bound.waiting == 1
    assert not street.is_idle()
    goes_on.set()
    gevent.idle()
    gevent.idle()
    assert street.is_idle()
    assert street.total().right == 2


def test_who_leaves_the_line_is_waited_for_no_longer() -> None:
    street = Street(Unary, lambda _: Event().wait(), most=1)
    street.arrive("a", "b")
    street.bound.clear()
    street.line.leave(1)
    assert street.is_idle()


@pytest.mark.parametrize("kind", [Unary, Batch])
def test_a_call_that_fails_unforeseen_gives_its_places_back(
    kind: type[Line], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise ValueError("closed channel")

    street = Street(kind, fail)
    street.arrive("a", "b")
    assert street.tally.under_way == 0
    assert street.is_idle()
    # gevent tells of it; the master misses the scans.
    assert "closed channel" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_with_too_few_or_too_many_verdicts_is_no_answer(count: int) -> None:
    verdicts = [pb.VerifyCodeResponse(scan_id="a", verdict=pb.VERDICT_GREEN)] * count
    street = Street(Batch, lambda _: pb.VerifyCodesResponse(verdicts=verdicts))
    street.arrive("a", "b")
    total = street.total()
    assert (total.failed, total.right, total.wrong) == (2, 0, 0)


def test_a_lane_whose_next_answer_is_overdue_is_left_with_all_that_is_on_it() -> None:
    street = Street(Stream, right, most=2)
    for name in ("a", "b", "c"):
        street.arrive(name)
        street.now += 2
    street.now = BEGIN + DEADLINE_S - 0.1
    street.line.give_up_overdue(street.now)
    assert street.tally.under_way == 2
    street.now = BEGIN + DEADLINE_S
    street.line.give_up_overdue(street.now)
    gevent.idle()
    first, second = street.server.lanes
    assert (first.ids, second.ids) == (["a", "b"], ["c"])
    total = street.total()
    assert (total.sent, total.failed) == (3, 2)
    assert total.errors == {"DEADLINE_EXCEEDED": 2}
    # Who stood in line has the next lane for themselves.
    assert street.tally.under_way == 1


def test_what_is_on_a_lane_that_is_left_is_tried_again_on_the_next() -> None:
    street = Street(Stream, right, attempts=2)
    street.arrive("a", "b")
    for retries, failed in ((2, 0), (0, 2)):
        street.now += DEADLINE_S
        street.line.give_up_overdue(street.now)
        gevent.idle()
        total = street.total()
        assert (total.retries, total.failed) == (retries, failed)
    assert len(street.server.lanes) == 2
    assert street.is_idle()
