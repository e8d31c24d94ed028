"""What every engine answers to well-meaning and to careless gates, over real sockets with a real client."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.eventually import eventually
from tests.verifier.engines.serving import (
    GREEN_INDEX,
    RED_INDEX,
    REVOKED_INDEX,
    SERVICE,
    SUSPENDED_INDEX,
    TIMEOUT_S,
    UNKNOWN_INDEX,
    YELLOW_INDEX,
    Served,
)
from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc

OPTIONS = ("--max-streams", "4")
Gate = pb_grpc.VerifierServiceStub
Health = health_pb2.HealthCheckResponse


def code_of(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = caught.value
    assert isinstance(error, grpc.Call)
    return error.code(), error.details() or ""


def test_a_green_code_is_answered_with_all_that_goes_with_it(served: Served, gate: Gate) -> None:
    answer = gate.VerifyCode(served.scan(scan_id="s42"), timeout=TIMEOUT_S)
    assert (answer.scan_id, answer.verdict) == ("s42", pb.VERDICT_GREEN)
    assert (answer.colour, answer.colour_reason, answer.last_negative_test) == (pb.COLOUR_GREEN, 7, 123 * 60)
    assert answer.kind == pb.CREDENTIAL_KIND_PHONE
    assert 0 <= answer.code_age_s <= TIMEOUT_S
    assert abs(answer.verified_at_ms / 1000 - time.time()) < TIMEOUT_S


@pytest.mark.parametrize(
    ("index", "verdict"),
    [
        (GREEN_INDEX, pb.VERDICT_GREEN),
        (RED_INDEX, pb.VERDICT_RED),
        (YELLOW_INDEX, pb.VERDICT_YELLOW),
        (SUSPENDED_INDEX, pb.VERDICT_SUSPENDED),
        (REVOKED_INDEX, pb.VERDICT_REVOKED),
        (UNKNOWN_INDEX, pb.VERDICT_NO_STATUS),
    ],
)
def test_the_status_decides(served: Served, gate: Gate, index: int, verdict: pb.Verdict) -> None:
    assert gate.VerifyCode(served.scan(index), timeout=TIMEOUT_S).verdict == verdict


@pytest.mark.parametrize("qr_text", [b"", b"https://example.org/", b"\xff\x00\xfe", b"gl1:00", b"9" * 900])
def test_street_input_gets_a_verdict_and_not_an_error(served: Served, gate: Gate, qr_text: bytes) -> None:
    request = pb.VerifyCodeRequest(qr_text=qr_text, scan_id="s", gate_id="g")
    assert gate.VerifyCode(request, timeout=TIMEOUT_S).verdict == pb.VERDICT_MALFORMED


def test_codes_out_of_their_window_forged_and_of_an_older_card_are_told_apart(
    served: Served, gate: Gate
) -> None:
    now = int(time.time())
    good = served.scan().qr_text
    texts = {
        served.signer.qr_text(not_before=now + 600): pb.VERDICT_NOT_YET_VALID,
        served.signer.qr_text(not_before=now - 600): pb.VERDICT_EXPIRED,
        served.signer.qr_text(not_before=now, generation=2): pb.VERDICT_REPLACED,
        type(served.signer)("stranger").qr_text(not_before=now): pb.VERDICT_UNKNOWN_KEY,
        good[:-4] + (b"0000" if good[-4:] != b"0000" else b"1111"): pb.VERDICT_BAD_SIGNATURE,
    }
    scans = [pb.VerifyCodeRequest(qr_text=text, scan_id="s", gate_id="g") for text in texts]
    answers = gate.VerifyCodes(pb.VerifyCodesRequest(scans=scans), timeout=TIMEOUT_S).verdicts
    assert [answer.verdict for answer in answers] == list(texts.values())


def test_a_batch_of_a_thousand_is_answered_in_order(served: Served, gate: Gate) -> None:
    scan = served.scan()
    scans = [
        pb.VerifyCodeRequest(qr_text=scan.qr_text, scan_id=f"{n:064}", gate_id="north") for n in range(1000)
    ]
    answers = gate.VerifyCodes(pb.VerifyCodesRequest(scans=scans), timeout=TIMEOUT_S).verdicts
    assert {answer.verdict for answer in answers} == {pb.VERDICT_GREEN}
    assert [answer.scan_id for answer in answers] == [scan.scan_id for scan in scans]


def test_a_stream_answers_each_scan_before_the_next_is_sent(served: Served, gate: Gate) -> None:
    outgoing: queue.Queue[Any] = queue.Queue()
    call = gate.StreamVerify(iter(outgoing.get, None), timeout=TIMEOUT_S)
    for number, index in enumerate((GREEN_INDEX, RED_INDEX, GREEN_INDEX)):
        outgoing.put(pb.StreamVerifyRequest(scan=served.scan(index, f"s{number}")))
        answer = next(call).verdict
        assert answer.scan_id == f"s{number}"
        assert answer.verdict == (pb.VERDICT_RED if index == RED_INDEX else pb.VERDICT_GREEN)
    outgoing.put(None)
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK


def test_a_stream_that_sends_all_at_once_is_answered_in_order(served: Served, gate: Gate) -> None:
    scan = served.scan()
    requests = [
        pb.StreamVerifyRequest(
            scan=pb.VerifyCodeRequest(qr_text=scan.qr_text, scan_id=str(n), gate_id="north")
        )
        for n in range(600)
    ]
    answers = gate.StreamVerify(iter(requests), timeout=TIMEOUT_S)
    assert [answer.verdict.scan_id for answer in answers] == [str(n) for n in range(600)]


def test_what_a_stream_answered_before_an_error_stands(served: Served, gate: Gate) -> None:
    requests = [pb.StreamVerifyRequest(scan=served.scan(scan_id=scan_id)) for scan_id in ("a", "b", "")]
    call = gate.StreamVerify(iter(requests), timeout=TIMEOUT_S)
    assert [next(call).verdict.scan_id for _ in range(2)] == ["a", "b"]
    assert code_of(lambda: next(call)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "scan.scan_id: expected 1 to 64 characters",
    )


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
    served: Served, gate: Gate, scan: pb.VerifyCodeRequest, field: str
) -> None:
    batch = pb.VerifyCodesRequest(scans=[served.scan(), scan])
    lane = iter([pb.StreamVerifyRequest(scan=scan)])
    calls: dict[str, Callable[[], object]] = {
        "": lambda: gate.VerifyCode(scan, timeout=TIMEOUT_S),
        "scans[1].": lambda: gate.VerifyCodes(batch, timeout=TIMEOUT_S),
        "scan.": lambda: list(gate.StreamVerify(lane, timeout=TIMEOUT_S)),
    }
    for where, call in calls.items():
        code, details = code_of(call)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details.startswith(where + field)


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_holds_1_to_1000_scans(served: Served, gate: Gate, count: int) -> None:
    scans = [pb.VerifyCodeRequest(scan_id="s", gate_id="g")] * count
    code, details = code_of(lambda: gate.VerifyCodes(pb.VerifyCodesRequest(scans=scans), timeout=TIMEOUT_S))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("scans:")


@pytest.mark.parametrize("length", [1_100, 20_000, 2_000_000])
def test_a_message_over_its_limit_is_refused(served: Served, gate: Gate, length: int) -> None:
    scan = pb.VerifyCodeRequest(qr_text=b"9" * length, scan_id="s", gate_id="g")
    lane = iter([pb.StreamVerifyRequest(scan=scan)])
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    code, details = code_of(lambda: gate.VerifyCode(scan, timeout=TIMEOUT_S))
    assert code is exhausted
    if length < 1 << 20:  # past it grpcio has a text of its own
        assert details == "expected a message of at most 1024 bytes"
    assert code_of(lambda: list(gate.StreamVerify(lane, timeout=TIMEOUT_S)))[0] is exhausted
    if length > 1 << 20:
        batch = pb.VerifyCodesRequest(scans=[scan])
        assert code_of(lambda: gate.VerifyCodes(batch, timeout=TIMEOUT_S))[0] is exhausted


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_are_understood(
    served: Served, gate: Gate, compression: grpc.Compression
) -> None:
    scans = pb.VerifyCodesRequest(scans=[served.scan()] * 50)
    answers = gate.VerifyCodes(scans, timeout=TIMEOUT_S, compression=compression).verdicts
    assert {answer.verdict for answer in answers} == {pb.VERDICT_GREEN}


def test_a_message_that_grows_over_its_limit_when_it_is_decompressed_is_refused(
    served: Served, gate: Gate
) -> None:
    scan = pb.VerifyCodeRequest(qr_text=b"9" * 100_000, scan_id="s", gate_id="g")
    code, _ = code_of(lambda: gate.VerifyCode(scan, timeout=TIMEOUT_S, compression=grpc.Compression.Gzip))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_method_that_is_not_here_is_unimplemented(channel: grpc.Channel) -> None:
    for path in (f"/{SERVICE}/Nothing", "/a.B/C"):
        call: Any = channel.unary_unary(path)
        assert code_of(lambda call=call: call(b"", timeout=TIMEOUT_S))[0] is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[misc]


def test_bytes_that_are_no_message_are_an_error_and_no_verdict(channel: grpc.Channel) -> None:
    for method, kind in (("VerifyCode", "VerifyCodeRequest"), ("VerifyCodes", "VerifyCodesRequest")):
        call: Any = channel.unary_unary(f"/{SERVICE}/{method}")
        told = code_of(lambda call=call: call(b"\xff\xff\xff", timeout=TIMEOUT_S))  # type: ignore[misc]
        assert told == (grpc.StatusCode.INVALID_ARGUMENT, f"expected a verifier.v1.{kind}")


def test_more_lanes_than_there_may_be_are_refused_with_a_delay_and_take_no_place_of_handhelds(
    served: Served, gate: Gate
) -> None:
    outgoing: queue.Queue[Any] = queue.Queue()
    lanes = [gate.StreamVerify(iter(outgoing.get, None)) for _ in range(8)]
    eventually(lambda: sum(not lane.is_active() for lane in lanes) == 4)
    refused = [lane for lane in lanes if not lane.is_active()]
    assert {lane.code() for lane in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    trailing = dict(refused[0].trailing_metadata())
    assert int(trailing["grpc-retry-pushback-ms"]) > 0
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    advice = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(advice)
    assert advice.retry_delay.nanos > 0
    assert gate.VerifyCode(served.scan(), timeout=TIMEOUT_S).verdict == pb.VERDICT_GREEN
    for lane in lanes:
        lane.cancel()
    # Those who left make room.
    scan = [pb.StreamVerifyRequest(scan=served.scan())]

    def is_let_in() -> bool:
        try:
            return bool(list(gate.StreamVerify(iter(scan), timeout=TIMEOUT_S)))
        except grpc.RpcError:
            return False

    eventually(is_let_in)


def test_calls_at_once_are_each_answered_for_themselves(served: Served, gate: Gate) -> None:
    green, red = served.scan(GREEN_INDEX), served.scan(RED_INDEX)
    calls = [(scan, gate.VerifyCode.future(scan, timeout=TIMEOUT_S)) for scan in (green, red) * 50]
    for scan, call in calls:
        assert call.result().verdict == (pb.VERDICT_GREEN if scan is green else pb.VERDICT_RED)


def test_a_deadline_that_cannot_be_met_is_told(served: Served, gate: Gate) -> None:
    batch = pb.VerifyCodesRequest(scans=[served.scan()] * 1000)
    code, _ = code_of(lambda: gate.VerifyCodes(batch, timeout=0.001))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_lane_with_a_deadline_ends_at_it(gate: Gate) -> None:
    waiting: queue.Queue[Any] = queue.Queue()
    code, _ = code_of(lambda: list(gate.StreamVerify(iter(waiting.get, None), timeout=0.05)))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    waiting.put(None)


def test_calls_that_are_cancelled_harm_nobody(served: Served, gate: Gate) -> None:
    batch = pb.VerifyCodesRequest(scans=[served.scan()] * 200)
    calls = [gate.VerifyCodes.future(batch, timeout=TIMEOUT_S) for _ in range(5)]
    calls += [gate.VerifyCode.future(served.scan(), timeout=TIMEOUT_S) for _ in range(50)]
    for call in calls:
        call.cancel()
    assert gate.VerifyCode(served.scan(), timeout=TIMEOUT_S).verdict == pb.VERDICT_GREEN
    assert "failed" not in served.log.read_text()


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_says_serving_for_the_server_and_its_service(channel: grpc.Channel, service: str) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=service)
    assert health.Check(request, timeout=TIMEOUT_S).status == Health.SERVING
    watch = health.Watch(request, timeout=TIMEOUT_S)
    assert next(watch).status == Health.SERVING
    watch.cancel()


def test_health_of_a_service_that_is_not_here_is_not_found(channel: grpc.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service="b.Service")
    assert code_of(lambda: health.Check(request, timeout=TIMEOUT_S))[0] is grpc.StatusCode.NOT_FOUND
    watch = health.Watch(request, timeout=TIMEOUT_S)
    assert next(watch).status == Health.SERVICE_UNKNOWN
    watch.cancel()


def test_watchers_that_leave_make_room(channel: grpc.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)

    def watch() -> Any:
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        try:
            return watch if next(watch).status == Health.SERVING else None
        except grpc.RpcError:
            return None  # who left has not been missed yet

    for _ in range(2):
        watches = [eventually(watch) for _ in range(16)]
        for there in watches:
            there.cancel()


def test_metadata_that_a_gate_sends_beside_are_let_be(served: Served, gate: Gate) -> None:
    metadata = [("traceparent", "00-1"), ("x-anything", "ü".encode().hex()), ("blob-bin", b"\x00\xff")]
    metadata += [(f"x-{number}", "y") for number in range(150)]
    answer = gate.VerifyCode(served.scan(), timeout=TIMEOUT_S, metadata=metadata)
    assert answer.verdict == pb.VERDICT_GREEN


def test_metadata_over_their_limit_are_refused(served: Served, gate: Gate) -> None:
    # Envoy resets such a stream before it has one to answer on (RST_STREAM, INTERNAL_ERROR).
    refusals = {"grpcio": grpc.StatusCode.RESOURCE_EXHAUSTED, "envoy": grpc.StatusCode.INTERNAL}
    for metadata in ([("x", "y" * 9_000)], [(f"x-{number}", "y" * 30) for number in range(300)]):
        code, _ = code_of(
            lambda metadata=metadata: gate.VerifyCode(  # type: ignore[misc]
                served.scan(), timeout=TIMEOUT_S, metadata=metadata
            )
        )
        assert code is refusals[served.engine]
    assert gate.VerifyCode(served.scan(), timeout=TIMEOUT_S).verdict == pb.VERDICT_GREEN


def test_many_connections_at_once_are_served(served: Served) -> None:
    verdicts: list[int] = []

    def scan_once() -> None:
        with served.channel() as own:
            answer = pb_grpc.VerifierServiceStub(own).VerifyCode(served.scan(), timeout=TIMEOUT_S)
            verdicts.append(answer.verdict)

    threads = [threading.Thread(target=scan_once) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert verdicts == [pb.VERDICT_GREEN] * 20
