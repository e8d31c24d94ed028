"""The grpcio engine over a real socket."""

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.eventually import eventually
from tests.signer import Signer
from tests.verifier.fakes import AnyGate, MemoryJournal
from verifier.call_error import CallError, Status
from verifier.calls import Calls
from verifier.counters import Counter, Counters
from verifier.errors import SettingsError
from verifier.key_set_follower import KeySets
from verifier.limits import Limits
from verifier.mirror import HeapTable, Mirror
from verifier.server import GrpcServer
from verifier.service import Answer, Verifier
from verifier.servicer import SERVICE_NAME
from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc
from verifier.verdict import Policy
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, pack

GREEN = pack(StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 1, reason=7, last_negative_test_min=123))
RED = pack(StatusRecord(Colour.RED, CredentialState.ACTIVE, 1, reason=31))
TIMEOUT_S = 5


class SlowVerifier(Verifier):
    """A Verifier that can be held up, so that calls wait."""

    held: threading.Event | None = None

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.begun = threading.Event()

    def verify(self, qr_text: bytes, policy: Policy) -> Answer:
        self.begun.set()
        if self.held is not None:
            self.held.wait(TIMEOUT_S)
        return super().verify(qr_text, policy)


class Gate:
    """A running server and a channel to it."""

    def __init__(self, limits: Limits) -> None:
        self.signer = Signer()
        self.key_sets = KeySets(self.signer.root)
        self.mirror = Mirror(partitions=1, monotonic=time.monotonic)
        self.verifier = SlowVerifier(key_sets=self.key_sets, mirror=self.mirror, clock=time.time)
        self.gatekeeper = AnyGate()
        self.journal = MemoryJournal()
        self.calls = Calls(
            verifier=self.verifier,
            gatekeeper=self.gatekeeper,
            entries=None,
            journal=self.journal,
            counters=Counters(),
        )
        self.server = GrpcServer(self.calls, listen="127.0.0.1:0", limits=limits)
        self.server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}")
        self.stub = pb_grpc.VerifierServiceStub(self.channel)

    def make_ready(self) -> None:
        self.key_sets.offer(self.signer.key_set(issued_at=int(time.time())))
        table = HeapTable(1024)
        table.apply([(1, GREEN), (2, RED)])
        self.mirror.partitions[0].table = table
        self.mirror.partitions[0].current_at_s = time.monotonic()

    def scan(self, credential_index: int = 1, scan_id: str = "s1") -> pb.VerifyCodeRequest:
        qr_text = self.signer.qr_text(not_before=int(time.time()), credential_index=credential_index)
        return pb.VerifyCodeRequest(qr_text=qr_text, scan_id=scan_id, gate_id="north")

    def close(self) -> None:
        self.channel.close()
        self.server.drain(0)


@pytest.fixture
def start() -> Iterator[Callable[..., Gate]]:
    gates: list[Gate] = []

    def start(*, is_ready: bool = True, limits: Limits | None = None) -> Gate:
        gate = Gate(limits or Limits())
        gates.append(gate)
        if is_ready:
            gate.make_ready()
        return gate

    yield start
    for gate in gates:
        gate.close()


def test_a_green_code_is_answered_with_all_that_goes_with_it(start: Callable[..., Gate]) -> None:
    gate = start()
    answer = gate.stub.VerifyCode(gate.scan(scan_id="s42"), timeout=TIMEOUT_S)
    assert answer.scan_id == "s42"
    assert answer.verdict == pb.VERDICT_GREEN
    assert (answer.colour, answer.colour_reason) == (pb.COLOUR_GREEN, 7)
    assert answer.last_negative_test == 123 * 60
    assert answer.kind == pb.CREDENTIAL_KIND_PHONE
    assert answer.HasField("code_age_s")
    assert 0 <= answer.code_age_s <= TIMEOUT_S
    assert answer.status_age_ms < 5000
    assert abs(answer.verified_at_ms / 1000 - time.time()) < TIMEOUT_S


@pytest.mark.parametrize("qr_text", [b"", b"https://example.org/", b"\xff\x00\xfe", b"gl1:00", b"9" * 513])
def test_street_input_gets_a_verdict_and_not_an_error(start: Callable[..., Gate], qr_text: bytes) -> None:
    gate = start()
    request = pb.VerifyCodeRequest(qr_text=qr_text, scan_id="s", gate_id="g")
    answer = gate.stub.VerifyCode(request, timeout=TIMEOUT_S)
    assert answer.verdict == pb.VERDICT_MALFORMED
    assert not answer.HasField("code_age_s")
    assert answer.kind == pb.CREDENTIAL_KIND_UNSPECIFIED


def test_a_batch_is_answered_in_order_each_with_its_own_verdict(start: Callable[..., Gate]) -> None:
    gate = start()
    scans = [gate.scan(1, "a"), pb.VerifyCodeRequest(scan_id="b", gate_id="g"), gate.scan(2, "c")]
    answers = gate.stub.VerifyCodes(pb.VerifyCodesRequest(scans=scans), timeout=TIMEOUT_S).verdicts
    assert [(answer.scan_id, answer.verdict) for answer in answers] == [
        ("a", pb.VERDICT_GREEN),
        ("b", pb.VERDICT_MALFORMED),
        ("c", pb.VERDICT_RED),
    ]


def test_a_batch_of_a_thousand_fits(start: Callable[..., Gate]) -> None:
    gate = start()
    scans = [gate.scan(1, f"{number:064}") for number in range(1000)]
    answers = gate.stub.VerifyCodes(pb.VerifyCodesRequest(scans=scans), timeout=TIMEOUT_S).verdicts
    assert {answer.verdict for answer in answers} == {pb.VERDICT_GREEN}
    assert [answer.scan_id for answer in answers] == [scan.scan_id for scan in scans]


def test_a_stream_answers_each_scan_before_the_next_is_sent(start: Callable[..., Gate]) -> None:
    gate = start()
    outgoing: queue.Queue[pb.StreamVerifyRequest] = queue.Queue()
    call = gate.stub.StreamVerify(iter(outgoing.get, None), timeout=TIMEOUT_S)
    for number, index in enumerate((1, 2, 1)):
        outgoing.put(pb.StreamVerifyRequest(scan=gate.scan(index, f"s{number}")))
        answer = next(call).verdict
        assert answer.scan_id == f"s{number}"
        assert answer.verdict == (pb.VERDICT_GREEN if index == 1 else pb.VERDICT_RED)
    call.cancel()


def code_of(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = caught.value
    assert isinstance(error, grpc.Call)
    return error.code(), error.details() or ""


@pytest.mark.parametrize(
    ("scan", "field"),
    [
        (pb.VerifyCodeRequest(gate_id="g"), "scan_id"),
        (pb.VerifyCodeRequest(gate_id="g", scan_id="x" * 65), "scan_id"),
        (pb.VerifyCodeRequest(scan_id="s"), "gate_id"),
        (pb.VerifyCodeRequest(scan_id="s", gate_id="x" * 65), "gate_id"),
    ],
)
def test_a_caller_that_breaks_the_api_is_told_the_field(
    start: Callable[..., Gate], scan: pb.VerifyCodeRequest, field: str
) -> None:
    gate = start()
    calls: dict[str, Callable[[], object]] = {
        "": lambda: gate.stub.VerifyCode(scan, timeout=TIMEOUT_S),
        "scans[1].": lambda: gate.stub.VerifyCodes(
            pb.VerifyCodesRequest(scans=[gate.scan(), scan]), timeout=TIMEOUT_S
        ),
        "scan.": lambda: list(
            gate.stub.StreamVerify(iter([pb.StreamVerifyRequest(scan=scan)]), timeout=TIMEOUT_S)
        ),
    }
    for where, call in calls.items():
        code, details = code_of(call)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details.startswith(where + field)


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_holds_1_to_1000_scans(start: Callable[..., Gate], count: int) -> None:
    gate = start()
    scans = [pb.VerifyCodeRequest(scan_id="s", gate_id="g")] * count
    code, details = code_of(
        lambda: gate.stub.VerifyCodes(pb.VerifyCodesRequest(scans=scans), timeout=TIMEOUT_S)
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("scans:")


def test_before_it_is_ready_a_verifier_says_unavailable_and_not_serving(start: Callable[..., Gate]) -> None:
    gate = start(is_ready=False)
    code, _ = code_of(lambda: gate.stub.VerifyCode(gate.scan(), timeout=TIMEOUT_S))
    assert code is grpc.StatusCode.UNAVAILABLE
    health: Any = health_pb2_grpc.HealthStub(gate.channel)
    request = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
    assert health.Check(request, timeout=TIMEOUT_S).status == health_pb2.HealthCheckResponse.NOT_SERVING
    gate.server.set_serving(True)
    assert health.Check(request, timeout=TIMEOUT_S).status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(("qr_text_bytes", "in_batch"), [(1_024, 1_023), (2_000_000, 1)])
def test_an_overlong_message_is_refused(
    start: Callable[..., Gate], qr_text_bytes: int, in_batch: int
) -> None:
    gate = start()
    scan = pb.VerifyCodeRequest(qr_text=b"9" * qr_text_bytes, scan_id="s", gate_id="g")
    calls: list[Callable[[], object]] = [
        lambda: gate.stub.VerifyCode(scan, timeout=TIMEOUT_S),
        lambda: list(gate.stub.StreamVerify(iter([pb.StreamVerifyRequest(scan=scan)]), timeout=TIMEOUT_S)),
        lambda: gate.stub.VerifyCodes(pb.VerifyCodesRequest(scans=[scan] * in_batch), timeout=TIMEOUT_S),
    ]
    for call in calls:
        assert code_of(call)[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert gate.journal.writes == []


def test_bytes_that_are_no_message_break_the_api(start: Callable[..., Gate]) -> None:
    gate = start()
    raw: Any = gate.channel.unary_unary(f"/{SERVICE_NAME}/VerifyCode")
    code, details = code_of(lambda: raw(b"\xff" * 16, timeout=TIMEOUT_S))
    assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, "expected a verifier.v1.VerifyCodeRequest")


def test_under_overload_calls_are_refused_with_a_retry_delay(start: Callable[..., Gate]) -> None:
    gate = start(limits=Limits(threads=1, max_backlog=1, max_streams=1))
    gate.verifier.held = threading.Event()
    # Without retries of gRPC's own, so that the refusals are seen.
    options = [("grpc.enable_retries", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{gate.server.port}", options=options) as channel:
        stub = pb_grpc.VerifierServiceStub(channel)
        first = stub.VerifyCode.future(gate.scan(), timeout=TIMEOUT_S)
        assert gate.verifier.begun.wait(TIMEOUT_S)
        # The only thread is taken, so these wait: as many as may, and the one that finds too many is refused.
        waiting = []
        for _ in range(2):
            waiting.append(stub.VerifyCode.future(gate.scan(), timeout=TIMEOUT_S))
            eventually(lambda: gate.server._unary_pool.backlog() == len(waiting))
        refused = stub.VerifyCode.future(gate.scan(), timeout=TIMEOUT_S)
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, "at once, while the others wait"
        gate.verifier.held.set()
        assert [call.code() for call in (first, *waiting)] == 3 * [grpc.StatusCode.OK]
        assert stub.VerifyCode(gate.scan(), timeout=TIMEOUT_S).verdict == pb.VERDICT_GREEN
    trailing = dict(refused.trailing_metadata())
    assert int(trailing["grpc-retry-pushback-ms"]) > 0
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    advice = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(advice)
    assert advice.retry_delay.nanos > 0


def test_batches_do_not_take_the_threads_of_handhelds_and_are_refused_when_too_many(
    start: Callable[..., Gate],
) -> None:
    gate = start(limits=Limits(batch_threads=1, max_batch_backlog=0))
    gate.verifier.held = held = threading.Event()
    request = pb.VerifyCodesRequest(scans=[gate.scan()])
    options = [("grpc.enable_retries", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{gate.server.port}", options=options) as channel:
        stub = pb_grpc.VerifierServiceStub(channel)
        first = stub.VerifyCodes.future(request, timeout=TIMEOUT_S)
        assert gate.verifier.begun.wait(TIMEOUT_S)
        waiting = stub.VerifyCodes.future(request, timeout=TIMEOUT_S)
        eventually(lambda: gate.server._batch_pool.backlog() == 1)
        refused = stub.VerifyCodes.future(request, timeout=TIMEOUT_S)
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        gate.verifier.held = None
        assert gate.stub.VerifyCode(gate.scan(), timeout=TIMEOUT_S).verdict == pb.VERDICT_GREEN
        held.set()
        assert [call.code() for call in (first, waiting)] == 2 * [grpc.StatusCode.OK]


def test_one_callers_batches_leave_places_for_anothers_whose_first_goes_before_them(
    start: Callable[..., Gate],
) -> None:
    gate = start(limits=Limits(batch_threads=1, max_batches_per_caller=3))
    gate.verifier.held = held = threading.Event()
    request = pb.VerifyCodesRequest(scans=[gate.scan()])
    address = f"127.0.0.1:{gate.server.port}"
    # Without retries of gRPC's own, and each with a connection.
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options) as many, grpc.insecure_channel(address, options) as one:
        stub = pb_grpc.VerifierServiceStub(many)
        calls = [stub.VerifyCodes.future(request, timeout=TIMEOUT_S)]
        assert gate.verifier.begun.wait(TIMEOUT_S)
        calls += [stub.VerifyCodes.future(request, timeout=TIMEOUT_S) for _ in range(2)]
        eventually(lambda: gate.server._batch_pool.backlog() == 2)
        refused = stub.VerifyCodes.future(request, timeout=TIMEOUT_S)
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "grpc-retry-pushback-ms" in dict(refused.trailing_metadata())
        anothers = pb.VerifyCodesRequest(scans=[gate.scan(scan_id="another's")])
        calls.append(pb_grpc.VerifierServiceStub(one).VerifyCodes.future(anothers, timeout=TIMEOUT_S))
        eventually(lambda: gate.server._batch_pool.backlog() == 3)
        held.set()
        assert [call.code() for call in calls] == 4 * [grpc.StatusCode.OK]
        assert [entry.scan_id for entry in gate.journal.entries()] == ["s1", "another's", "s1", "s1"]
        assert stub.VerifyCodes(request, timeout=TIMEOUT_S).verdicts, "there are places again"


def test_a_gate_has_its_places_for_batches_whatever_connections_it_makes(start: Callable[..., Gate]) -> None:
    gate = start(limits=Limits(batch_threads=1, max_batches_per_caller=1))
    gate.gatekeeper.shown_gate_id = "north"
    gate.verifier.held = held = threading.Event()
    request = pb.VerifyCodesRequest(scans=[gate.scan()])
    first = gate.stub.VerifyCodes.future(request, timeout=TIMEOUT_S)
    assert gate.verifier.begun.wait(TIMEOUT_S)
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{gate.server.port}", options) as channel:
        refused = pb_grpc.VerifierServiceStub(channel).VerifyCodes.future(request, timeout=TIMEOUT_S)
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    held.set()
    assert first.code() is grpc.StatusCode.OK


def test_who_is_not_known_is_told_before_a_batch_is_read(start: Callable[..., Gate]) -> None:
    gate = start()
    gate.gatekeeper.refusal = CallError(Status.UNAUTHENTICATED, "expected a bearer key")
    # Its message never comes.
    batch: Any = gate.channel.stream_unary(f"/{SERVICE_NAME}/VerifyCodes")
    never = threading.Event()
    call = batch.future(iter(never.wait, True), timeout=TIMEOUT_S)
    assert (call.code(), call.details()) == (grpc.StatusCode.UNAUTHENTICATED, "expected a bearer key")
    never.set()


def test_a_call_whose_deadline_passed_while_it_waited_is_not_begun(start: Callable[..., Gate]) -> None:
    gate = start(limits=Limits(threads=1))
    gate.verifier.held = held = threading.Event()
    first = gate.stub.VerifyCode.future(gate.scan(), timeout=TIMEOUT_S)
    assert gate.verifier.begun.wait(TIMEOUT_S)
    late = gate.stub.VerifyCode.future(gate.scan(), timeout=0.05)
    assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    begun: list[bytes] = []
    gate.verifier.verify = lambda qr_text, _: begun.append(qr_text)  # type: ignore[assignment,method-assign,return-value]
    held.set()
    assert first.code() is grpc.StatusCode.OK
    eventually(lambda: gate.server._unary_pool.backlog() == 0)
    assert begun == []


def test_lanes_do_not_take_the_threads_of_handhelds(start: Callable[..., Gate]) -> None:
    gate = start(limits=Limits(threads=1, max_streams=2))
    outgoing: queue.Queue[pb.StreamVerifyRequest] = queue.Queue()
    lanes = [gate.stub.StreamVerify(iter(outgoing.get, None), timeout=TIMEOUT_S) for _ in range(2)]
    assert gate.stub.VerifyCode(gate.scan(), timeout=TIMEOUT_S).verdict == pb.VERDICT_GREEN
    for lane in lanes:
        lane.cancel()


def test_more_lanes_than_there_may_be_are_refused_and_take_no_place_of_handhelds(
    start: Callable[..., Gate],
) -> None:
    gate = start(limits=Limits(threads=1, max_backlog=1, max_streams=2))
    outgoing: queue.Queue[pb.StreamVerifyRequest] = queue.Queue()
    options = [("grpc.enable_retries", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{gate.server.port}", options=options) as channel:
        stub = pb_grpc.VerifierServiceStub(channel)
        lanes = [stub.StreamVerify(iter(outgoing.get, None)) for _ in range(12)]
        eventually(lambda: sum(not lane.is_active() for lane in lanes) == 10)
        refused = [lane for lane in lanes if not lane.is_active()]
        assert {lane.code() for lane in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert "grpc-retry-pushback-ms" in dict(refused[0].trailing_metadata())
        assert stub.VerifyCode(gate.scan(), timeout=TIMEOUT_S).verdict == pb.VERDICT_GREEN
        for lane in lanes:
            lane.cancel()
        eventually(lambda: gate.calls.counters.get(Counter.STREAMS_OPEN) == 0)


def test_what_was_not_foreseen_is_internal_and_tells_nothing(start: Callable[..., Gate]) -> None:
    gate = start()

    def fail(qr_text: bytes, policy: Policy) -> Answer:
        raise ValueError(qr_text)

    gate.verifier.verify = fail  # type: ignore[method-assign]
    code, details = code_of(lambda: gate.stub.VerifyCode(gate.scan(), timeout=TIMEOUT_S))
    assert code is grpc.StatusCode.INTERNAL
    assert "GL1" not in details


def test_calls_under_way_are_finished_while_draining(start: Callable[..., Gate]) -> None:
    gate = start()
    gate.verifier.held = held = threading.Event()
    under_way = gate.stub.VerifyCode.future(gate.scan(), timeout=TIMEOUT_S)
    assert gate.verifier.begun.wait(TIMEOUT_S)
    drain = threading.Thread(target=gate.server.drain, args=(TIMEOUT_S,))
    drain.start()
    drained = grpc.StatusCode.UNAVAILABLE
    eventually(lambda: code_of(lambda: gate.stub.VerifyCode(gate.scan(), timeout=0.2))[0] is drained)
    held.set()
    assert under_way.result().verdict == pb.VERDICT_GREEN
    drain.join(TIMEOUT_S)
    assert not drain.is_alive()


def test_a_port_that_is_taken_is_an_error_that_says_so(start: Callable[..., Gate]) -> None:
    gate = start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(SettingsError, match="another server"):
            GrpcServer(gate.calls, listen=listen, limits=Limits())


def test_workers_share_a_port(start: Callable[..., Gate]) -> None:
    gate = start()
    other = GrpcServer(gate.calls, listen=f"127.0.0.1:{gate.server.port}", limits=Limits())
    other.drain(0)
