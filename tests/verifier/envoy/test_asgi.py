"""The adapter from gRPC over ASGI to Calls, without Envoy."""

import asyncio
import base64
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc import status_pb2

from tests.verifier.fakes import AnyGate
from verifier.access.callers import Credentials
from verifier.call_error import CallError, Status, too_big
from verifier.counters import Counter, Counters
from verifier.envoy.asgi import SERVICE, GrpcApplication
from verifier.envoy.framing import Unframer, frame
from verifier.limits import Limits
from verifier.v1 import verifier_pb2 as pb

TIMEOUT_S = 10
SCAN = pb.VerifyCodeRequest(qr_text=b"x", scan_id="s", gate_id="g")


class FakeCalls:
    """Answers GREEN, and remembers who asked."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.asked: list[Credentials] = []
        self.waits = False
        self.threads: list[str] = []
        self.error: Exception | None = None
        self.verdict: pb.Verdict = pb.VERDICT_GREEN
        self.callers = AnyGate()

    def identify(self, credentials: Credentials) -> Any:
        self.asked.append(credentials)
        return self.callers.identify(credentials)

    def read(self, kind: type[Message], content: bytes, max_bytes: int) -> Message:
        assert len(content) <= max_bytes
        return kind.FromString(content)

    def may_wait(self, caller: Any) -> bool:  # noqa: ARG002
        return self.waits

    def verify_code(
        self,
        request: pb.VerifyCodeRequest,
        caller: Any,  # noqa: ARG002
        where: str = "",  # noqa: ARG002
    ) -> pb.VerifyCodeResponse:
        self.threads.append(threading.current_thread().name)
        if self.error is not None:
            raise self.error
        return pb.VerifyCodeResponse(scan_id=request.scan_id, verdict=self.verdict)

    def verify_codes(
        self, request: pb.VerifyCodesRequest, caller: Any, is_active: Callable[[], bool]
    ) -> pb.VerifyCodesResponse:
        answers = [self.verify_code(scan, caller) for scan in request.scans if is_active()]
        return pb.VerifyCodesResponse(verdicts=answers)

    def overloaded(self) -> CallError:
        return CallError(Status.RESOURCE_EXHAUSTED, "overloaded", retry_delay_ms=250)


class Call:
    """One request to an application, and what came of it."""

    def __init__(
        self, path: str, body: Sequence[bytes] = (), *, content: bytes = b"application/grpc", **more: Any
    ) -> None:
        headers = [(b"content-type", content), *more.pop("headers", [])]
        self.scope = {"type": "http", "method": "POST", "path": path, "headers": headers, **more}
        self._body = list(body)
        self.sent: list[dict[str, Any]] = []
        self.is_held = False
        self.taken = 0  # pieces of the body

    def receive(self) -> Awaitable[dict[str, Any]]:
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if self._body:
            body = self._body.pop(0)
            self.taken += 1
            future.set_result(
                {"type": "http.request", "body": body, "more_body": bool(self._body) or self.is_held}
            )
        elif not self.is_held:
            future.set_result({"type": "http.disconnect"})
        return future

    async def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)

    @property
    def ending(self) -> dict[bytes, bytes]:
        """The trailers, or the headers of a response that has nothing else."""
        events = [event for event in self.sent if event.get("headers")]
        return dict(events[-1]["headers"])

    @property
    def messages(self) -> list[bytes]:
        return list(Unframer(1 << 20).feed(b"".join(event.get("body", b"") for event in self.sent)))


def verify(*body: bytes, **more: Any) -> Call:
    return Call(f"/{SERVICE}/VerifyCode", body or [frame(SCAN.SerializeToString())], **more)


def application(calls: FakeCalls, **limits: Any) -> GrpcApplication:
    return GrpcApplication(calls=calls, limits=Limits(**limits))  # type: ignore[arg-type]


def answer(calls: FakeCalls, *made: Call, **limits: Any) -> None:
    """Make calls at once, until all are answered."""

    async def all_at_once() -> None:
        app = application(calls, **limits)
        await asyncio.wait_for(
            asyncio.gather(*(app(call.scope, call.receive, call.send) for call in made)), TIMEOUT_S
        )
        app.close()

    asyncio.run(all_at_once())


def status_of(call: Call) -> int:
    return int(call.ending[b"grpc-status"])


def test_an_answer_is_start_body_and_trailers() -> None:
    call = verify()
    answer(FakeCalls(), call)
    assert [event["type"] for event in call.sent] == [
        "http.response.start", "http.response.body", "http.response.trailers",
    ]  # fmt: skip
    assert pb.VerifyCodeResponse.FromString(*call.messages).verdict == pb.VERDICT_GREEN
    assert status_of(call) == 0


def test_a_message_may_come_in_pieces() -> None:
    whole = frame(SCAN.SerializeToString())
    call = verify(*(whole[at : at + 1] for at in range(len(whole))))
    answer(FakeCalls(), call)
    assert status_of(call) == 0


def test_an_error_is_told_in_headers_alone_with_its_text_encoded() -> None:
    calls = FakeCalls()
    calls.error = CallError(Status.PERMISSION_DENIED, "gate_id: 100% no\n")
    call = verify()
    answer(calls, call)
    assert call.messages == []
    assert call.ending[b"grpc-message"] == b"gate_id: 100%25 no%0A"
    assert status_of(call) == Status.PERMISSION_DENIED


def test_what_was_not_foreseen_is_internal_and_tells_nothing() -> None:
    calls = FakeCalls()
    calls.error = ValueError("GL1:SECRET")
    call = verify()
    answer(calls, call)
    assert status_of(call) == Status.INTERNAL
    assert b"SECRET" not in call.ending[b"grpc-message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"grpc-encoding", b"snappy")], Status.UNIMPLEMENTED),
        ([(b"grpc-timeout", b"0m")], Status.DEADLINE_EXCEEDED),
        ([(b"grpc-timeout", b"soon")], Status.INVALID_ARGUMENT),
    ],
)
def test_what_the_headers_ask_for_in_vain_is_refused(
    headers: list[tuple[bytes, bytes]], status: Status
) -> None:
    call = verify(headers=headers)
    answer(FakeCalls(), call)
    assert status_of(call) == status
    assert call.ending[b"grpc-accept-encoding"] == b"identity,gzip,deflate"


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (verify(content=b"application/json"), 415),
        (verify(content=b"application/grpc-web"), 415),
        (verify(method="GET"), 405),
    ],
)
def test_what_is_no_grpc_is_told_so_in_http(call: Call, status: int) -> None:
    answer(FakeCalls(), call)
    assert call.sent[0]["status"] == status


def test_a_caller_that_has_gone_is_not_answered() -> None:
    call = verify()
    call._body = []
    answer(FakeCalls(), call)
    assert call.sent == []


def test_credentials_are_those_of_the_headers() -> None:
    calls, sha256 = FakeCalls(), bytes(range(32))
    certificate = (b"x-forwarded-client-cert", b"By=x;Hash=" + sha256.hex().encode())
    answer(
        calls, verify(headers=[(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b"), certificate])
    )
    answer(calls, verify(headers=[(b"x-forwarded-client-cert", b"Hash=zz")]), verify())
    assert calls.asked == [Credentials(("Bearer a", "Bearer b"), sha256), Credentials(), Credentials()]


def test_more_calls_than_may_wait_are_refused_with_a_delay() -> None:
    made = [verify() for _ in range(5)]
    for call in made[:3]:
        call.is_held, call._body = True, []  # its message does not come

    async def main() -> None:
        app = application(FakeCalls(), max_backlog=2)
        held = [asyncio.create_task(_run(app, call)) for call in made[:3]]
        await asyncio.sleep(0)
        await _run(app, made[3])
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        await _run(app, made[4])
        app.close()

    asyncio.run(main())
    assert status_of(made[3]) == Status.RESOURCE_EXHAUSTED
    assert made[3].ending[b"grpc-retry-pushback-ms"] == b"250"
    details = made[3].ending[b"grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(details + b"=="))
    assert (status.code, len(status.details)) == (Status.RESOURCE_EXHAUSTED, 1)
    assert status_of(made[4]) == 0


async def _run(app: GrpcApplication, call: Call) -> None:
    await app(call.scope, call.receive, call.send)


@pytest.mark.parametrize("waits", [False, True])
def test_calls_that_may_wait_for_redis_are_answered_on_a_thread(waits: bool) -> None:
    calls = FakeCalls()
    calls.waits = waits
    lane = Call(f"/{SERVICE}/StreamVerify", [frame(pb.StreamVerifyRequest(scan=SCAN).SerializeToString())])
    answer(calls, verify(), lane)
    assert len(calls.threads) == 2
    assert all(name.startswith("unary") is waits for name in calls.threads)


def test_batches_are_answered_on_threads_of_their_own() -> None:
    calls = FakeCalls()
    batch = pb.VerifyCodesRequest(scans=[SCAN] * 9).SerializeToString()
    call = Call(f"/{SERVICE}/VerifyCodes", [frame(batch)])
    answer(calls, call)
    assert len(pb.VerifyCodesResponse.FromString(*call.messages).verdicts) == 9
    assert {name.startswith("batch") for name in calls.threads} == {True}


def test_a_lane_is_answered_in_order_however_its_bytes_come() -> None:
    scans = [pb.VerifyCodeRequest(qr_text=b"x", scan_id=str(number), gate_id="g") for number in range(100)]
    whole = b"".join(frame(pb.StreamVerifyRequest(scan=scan).SerializeToString()) for scan in scans)
    calls = FakeCalls()
    lane = Call(f"/{SERVICE}/StreamVerify", [whole[at : at + 333] for at in range(0, len(whole), 333)])
    answer(calls, lane)
    answers = [pb.StreamVerifyResponse.FromString(message) for message in lane.messages]
    assert [one.verdict.scan_id for one in answers] == [scan.scan_id for scan in scans]
    assert status_of(lane) == 0
    assert calls.counters.get(Counter.STREAMS_OPEN) == 0


def test_a_lane_that_ends_within_a_message_is_told() -> None:
    whole = frame(pb.StreamVerifyRequest(scan=SCAN).SerializeToString())
    lane = Call(f"/{SERVICE}/StreamVerify", [whole + whole[:-1]])
    answer(FakeCalls(), lane)
    assert len(lane.messages) == 1
    assert status_of(lane) == Status.INVALID_ARGUMENT


def test_lanes_that_wait_are_ended_when_the_worker_drains() -> None:
    calls = FakeCalls()
    lane = Call(f"/{SERVICE}/StreamVerify", [frame(pb.StreamVerifyRequest(scan=SCAN).SerializeToString())])
    lane.is_held = True

    async def main() -> None:
        app = application(calls)
        task = asyncio.create_task(_run(app, lane))
        while not lane.messages:
            await asyncio.sleep(0)
        assert calls.counters.get(Counter.STREAMS_OPEN) == 1
        app.drain()
        await asyncio.wait_for(task, TIMEOUT_S)
        app.close()

    asyncio.run(main())
    assert status_of(lane) == Status.UNAVAILABLE
    assert calls.counters.get(Counter.STREAMS_OPEN) == 0


def test_a_lane_is_ended_when_its_connection_has_come_to_its_age_and_the_grace_is_over() -> None:
    lane = held_lane()
    answer(FakeCalls(), lane, connection_age_s=0, connection_age_grace_s=0)
    assert status_of(lane) == Status.UNAVAILABLE


@pytest.mark.parametrize("gate_ids", [("north", "south"), (None, None)])
def test_a_caller_has_a_part_of_the_lanes_and_leaves_the_others_to_others(
    gate_ids: tuple[str | None, str | None],
) -> None:
    """A caller is a gate whose credential is known, or else a connection."""
    calls = FakeCalls()

    async def main() -> None:
        app = application(calls, max_streams=3, max_streams_per_caller=2)

        async def open_lane(caller: int, client: str) -> tuple[Call, "asyncio.Task[None]"]:
            calls.callers.shown_gate_id = gate_ids[caller]
            lane = held_lane(client=(client, caller))
            before = calls.counters.get(Counter.STREAMS_OPEN)
            task = asyncio.create_task(_run(app, lane))
            while calls.counters.get(Counter.STREAMS_OPEN) == before and not task.done():
                await asyncio.sleep(0)
            return lane, task

        addresses = ("a", "b", "c") if gate_ids[0] else ("a", "a", "a")
        lanes = [await open_lane(0, address) for address in addresses]
        assert [task.done() for _, task in lanes] == [False, False, True]
        refused = lanes[-1][0]
        assert status_of(refused) == Status.RESOURCE_EXHAUSTED
        assert b"grpc-retry-pushback-ms" in refused.ending
        lanes.append(await open_lane(1, "a"))
        assert not lanes[-1][1].done()
        lanes[0][1].cancel()
        await asyncio.gather(lanes[0][1], return_exceptions=True)
        lanes.append(await open_lane(0, "a"))
        assert not lanes[-1][1].done()
        app.drain()
        await asyncio.wait_for(asyncio.gather(*(task for _, task in lanes[1:])), TIMEOUT_S)
        app.close()

    asyncio.run(main())
    assert calls.counters.get(Counter.STREAMS_OPEN) == 0


def held_lane(**more: Any) -> Call:
    """A lane that is open, and on which nothing comes."""
    lane = Call(f"/{SERVICE}/StreamVerify", **more)
    lane.is_held = True
    return lane


def lane_of(scans: int, **more: Any) -> Call:
    """A lane whose scans come all at once."""
    message = frame(pb.StreamVerifyRequest(scan=SCAN).SerializeToString())
    return Call(f"/{SERVICE}/StreamVerify", [message * scans], **more)


def test_a_lane_takes_turns_with_all_others_also_where_sending_takes_no_time() -> None:
    calls, lane = FakeCalls(), lane_of(100)
    steps = []

    async def main() -> None:
        app = application(calls)
        task = asyncio.create_task(_run(app, lane))
        while not task.done():
            before = len(calls.threads)
            await asyncio.sleep(0)
            steps.append(len(calls.threads) - before)
        app.close()

    asyncio.run(main())
    assert sum(steps) == 100
    assert max(steps) <= 8, "a millisecond"


def test_who_shows_forged_codes_on_a_lane_is_a_forger_for_all_of_its_calls_until_an_authentic_one() -> None:
    calls, forger = FakeCalls(), ("10.0.0.9", 1)

    async def main() -> None:
        app = application(calls)
        calls.verdict = pb.VERDICT_BAD_SIGNATURE
        await _run(app, lane_of(8, client=forger))
        assert app._suspects.is_forger(forger)
        calls.verdict = pb.VERDICT_GREEN
        await _run(app, lane_of(1, client=forger))
        assert not app._suspects
        app.close()

    asyncio.run(main())


def test_a_lane_with_scans_that_wait_is_ended_after_the_one_under_way_when_the_worker_drains() -> None:
    calls, lane = FakeCalls(), lane_of(100)
    lane.is_held = True

    async def main() -> None:
        app = application(calls)
        task = asyncio.create_task(_run(app, lane))
        while not lane.messages:
            await asyncio.sleep(0)
        app.drain()
        await asyncio.wait_for(task, TIMEOUT_S)
        app.close()

    asyncio.run(main())
    assert status_of(lane) == Status.UNAVAILABLE
    assert len(lane.messages) == len(calls.threads) < 100


class Leaving(Call):
    """Its caller leaves when all is sent, and does not end the call."""

    def receive(self) -> Awaitable[dict[str, Any]]:
        self.is_held = bool(self._body)
        return super().receive()


def test_scans_of_a_lane_whose_caller_has_gone_use_no_codes() -> None:
    calls, sent = FakeCalls(), lane_of(9)
    lane = Leaving(sent.scope["path"], sent._body)
    answer(calls, lane)
    assert (calls.threads, lane.sent) == ([], [])


def test_a_call_that_is_late_when_it_gets_its_thread_uses_no_code() -> None:
    calls, call = FakeCalls(), verify(headers=[(b"grpc-timeout", b"50m")])
    calls.waits = True
    held = threading.Event()

    async def main() -> None:
        app = application(calls, threads=1)
        app._threads.submit(held.wait, TIMEOUT_S)
        is_late = time.monotonic() + 0.1
        task = asyncio.create_task(_run(app, call))
        while time.monotonic() < is_late:
            await asyncio.sleep(0)
        held.set()
        await asyncio.wait_for(task, TIMEOUT_S)
        app.close()

    asyncio.run(main())
    assert status_of(call) == Status.DEADLINE_EXCEEDED
    assert calls.threads == []


def batch(*body: bytes, **more: Any) -> Call:
    return Call(f"/{SERVICE}/VerifyCodes", body, **more)


@pytest.mark.parametrize(("gate_id", "clients"), [("north", "abc"), (None, "aaa")])
def test_a_caller_has_a_part_of_the_batches_and_leaves_the_others_to_others(
    gate_id: str | None, clients: str
) -> None:
    """A caller is a gate whose credential is known, or else a connection."""
    calls = FakeCalls()
    sent = frame(pb.VerifyCodesRequest(scans=[SCAN]).SerializeToString())
    made = [batch(b"half", client=(client, 1)) for client in clients]
    for call in made:
        call.is_held = True
    anothers = batch(sent, client=("d", 1))

    async def main() -> None:
        app = application(calls, max_batches_per_caller=2)
        calls.callers.shown_gate_id = gate_id
        held = [asyncio.create_task(_run(app, call)) for call in made]
        await asyncio.wait_for(held[2], TIMEOUT_S)
        calls.callers.shown_gate_id = None
        await asyncio.wait_for(_run(app, anothers), TIMEOUT_S)
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        calls.callers.shown_gate_id = gate_id
        made.append(batch(sent, client=(clients[0], 1)))
        await asyncio.wait_for(_run(app, made[-1]), TIMEOUT_S)
        app.close()

    asyncio.run(main())
    assert status_of(made[2]) == Status.RESOURCE_EXHAUSTED
    assert b"grpc-retry-pushback-ms" in made[2].ending
    assert (status_of(anothers), status_of(made[-1])) == (0, 0)


def test_of_a_batch_by_nobody_that_is_known_nothing_is_read() -> None:
    calls = FakeCalls()
    calls.callers.refusal = CallError(Status.UNAUTHENTICATED, "no")
    call = batch(b"half")
    answer(calls, call)
    assert (status_of(call), call.taken) == (Status.UNAUTHENTICATED, 0)


def test_a_batch_is_read_up_to_its_limit_and_not_further() -> None:
    call = batch(*[bytes(300_000)] * 9)
    answer(FakeCalls(), call)
    assert (status_of(call), call.taken) == (Status.RESOURCE_EXHAUSTED, 4)


def test_batches_that_do_not_come_to_their_end_are_not_waited_for_and_are_few() -> None:
    made = [batch(b"half") for _ in range(3)]
    for call in made:
        call.is_held = True
    answer(FakeCalls(), *made, slow_peer_s=0, max_unfinished_batches=2)
    assert [status_of(call) for call in made] == [
        Status.DEADLINE_EXCEEDED, Status.DEADLINE_EXCEEDED, Status.RESOURCE_EXHAUSTED,
    ]  # fmt: skip


def test_what_breaks_grpcs_frames_is_counted_and_told_as_on_every_engine() -> None:
    calls = FakeCalls()
    made = [verify(b"\0"), verify(frame(bytes(1_100))), batch(b"\2\0\0\0\0")]
    made.append(Call(f"/{SERVICE}/StreamVerify", [b"\1\0\0\0\0"]))
    answer(calls, *made)
    assert calls.counters.get(Counter.INVALID) == len(made)
    assert made[1].ending[b"grpc-message"] == too_big(1_024).message.encode()


def test_a_message_is_compressed_as_the_call_says() -> None:
    packed = zlib.compress(SCAN.SerializeToString())
    call = verify(b"\1" + frame(packed)[1:], headers=[(b"grpc-encoding", b"deflate")])
    answer(FakeCalls(), call)
    assert status_of(call) == 0
