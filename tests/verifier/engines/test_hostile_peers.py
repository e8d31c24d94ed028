"""Peers that mean harm, or are broken, meet a bound on every engine, and gates beside them are served."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.eventually import eventually
from tests.signer import Signer
from tests.verifier.engines.one_worker import OneWorker, one_worker
from tests.verifier.engines.serving import ENGINES, SERVICE, TIMEOUT_S, stub
from tests.verifier.raw_http2 import (
    CANCEL,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    MAX_CONCURRENT_STREAMS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    RawPeer,
    frame,
    header_block,
)
from verifier.limits import Limits
from verifier.v1 import verifier_pb2 as pb

LIMITS = Limits(
    max_connections=24,
    max_streams_per_connection=16,
    slow_peer_s=0.3,
    connection_age_s=1.0,
    connection_age_grace_s=0.2,
    max_streams=8,
    max_streams_per_caller=4,
)
VERIFY = f"/{SERVICE}/VerifyCode"
WATCH = "/grpc.health.v1.Health/Watch"


@pytest.fixture(scope="module", params=ENGINES)
def worker(request: pytest.FixtureRequest, published_redis_url: str) -> Iterator[OneWorker]:
    with one_worker(request.param, published_redis_url, limits=LIMITS) as worker:
        yield worker


def is_served(worker: OneWorker) -> bool:
    scan = pb.VerifyCodeRequest(qr_text=Signer().qr_text(not_before=0), scan_id="s", gate_id="g")
    with worker.channel() as channel:
        verdict = stub(channel).VerifyCode(scan, timeout=TIMEOUT_S, wait_for_ready=True).verdict
    return bool(verdict == pb.VERDICT_EXPIRED)


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        PREFACE[:10],
        b"GET / HTTP/1.1\r\nx: ",
        PREFACE + frame(SETTINGS) + frame(HEADERS, END_HEADERS, 1, header_block(VERIFY))[:20],
    ],
    ids=["silence", "half a preface", "half of HTTP/1.1", "half of the headers"],
)
def test_a_connection_that_does_not_get_to_a_call_is_ended(worker: OneWorker, beginning: bytes) -> None:
    with RawPeer(worker.port) as peer:
        if beginning:
            peer.send(beginning)
        # Either all of it, or the call that it has begun.
        frames = iter(peer.read, None)
        next((received for received in frames if received.kind in (HEADERS, RST_STREAM, GOAWAY)), None)
    assert is_served(worker)


def test_a_message_that_does_not_come_to_its_end_is_not_waited_for(worker: OneWorker) -> None:
    with RawPeer(worker.port) as peer:
        peer.begin()
        peer.send(
            frame(HEADERS, END_HEADERS, 1, header_block(VERIFY)) + frame(DATA, 0, 1, b"\0\0\0\0\x80half")
        )
        frames = iter(peer.read, None)
        ended = next(received for received in frames if received.stream == 1 or received.kind == GOAWAY)
        assert ended.kind in (HEADERS, RST_STREAM, GOAWAY)
    assert is_served(worker)


def test_calls_that_are_reset_at_once_are_let_be_or_end_the_connection(worker: OneWorker) -> None:
    block = header_block(VERIFY)
    with RawPeer(worker.port) as peer:
        peer.begin()
        try:
            for number in range(3_000):
                stream = 2 * number + 1
                peer.send(
                    frame(HEADERS, END_HEADERS, stream, block)
                    + frame(RST_STREAM, 0, stream, CANCEL.to_bytes(4, "big"))
                )
        except ConnectionError:
            pass
        assert is_served(worker)


def test_a_connection_is_told_how_many_calls_it_may_make_at_once(worker: OneWorker) -> None:
    with RawPeer(worker.port) as peer:
        peer.begin()
        payload = peer.read_until(SETTINGS).payload
    settings = {
        int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
        for at in range(0, len(payload), 6)
    }
    assert settings[MAX_CONCURRENT_STREAMS] == LIMITS.max_streams_per_connection


def test_a_flood_of_connections_meets_a_bound_and_passes(worker: OneWorker) -> None:
    flood = [socket.create_connection(("127.0.0.1", worker.port), timeout=TIMEOUT_S) for _ in range(60)]
    try:
        for one in flood:
            one.setblocking(False)
            one.sendall(PREFACE + frame(SETTINGS))

        def ended() -> int:
            return sum(_is_ended(one) for one in flood)

        eventually(lambda: ended() >= len(flood) - LIMITS.max_connections)
    finally:
        for one in flood:
            one.close()
    assert eventually(lambda: is_served(worker))


def _is_ended(one: socket.socket) -> bool:
    try:
        while one.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


def test_a_connection_ends_at_its_age_and_says_so_first(worker: OneWorker) -> None:
    with RawPeer(worker.port) as peer:
        peer.begin()
        peer.send(frame(SETTINGS, 1))
        # Also when it has a lane, which would be open for ever.
        peer.send(frame(HEADERS, END_HEADERS, 1, header_block(f"/{SERVICE}/StreamVerify")))
        assert peer.read_until(GOAWAY).stream == 0
        frames = iter(peer.read, None)
        next((received for received in frames if received.stream == 1), None)


def test_a_connection_with_many_lanes_leaves_places_for_another(worker: OneWorker) -> None:
    scan = pb.StreamVerifyRequest(scan=pb.VerifyCodeRequest(qr_text=b"x", scan_id="s", gate_id="g"))
    path = f"/{SERVICE}/StreamVerify"
    with RawPeer(worker.port) as peer, worker.channel() as channel:
        peer.begin()
        for number in range(LIMITS.max_streams):
            peer.send(frame(HEADERS, END_HEADERS, 2 * number + 1, header_block(path)))
        peer.read_until(HEADERS)  # the first that is refused
        (answer,) = stub(channel).StreamVerify(iter([scan]), timeout=TIMEOUT_S)
        assert answer.verdict.verdict == pb.VERDICT_MALFORMED


def test_watchers_that_do_not_ask_for_anything_leave_places_for_those_who_do(worker: OneWorker) -> None:
    with RawPeer(worker.port) as peer, worker.channel() as channel:
        peer.begin()
        for number in range(LIMITS.max_streams_per_connection):
            peer.send(frame(HEADERS, END_HEADERS, 2 * number + 1, header_block(WATCH)))
        peer.send(frame(DATA, 0, 1, b"\0\x7f\xff\xff\xff" + bytes(2_000)))
        peer.read_until(HEADERS if "envoy" in worker.engine.name else RST_STREAM)
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


def test_a_lane_that_keeps_to_no_window_is_ended(worker: OneWorker) -> None:
    """It takes no answers and sends without end: the stream ends, or the connection with it."""
    scan = pb.VerifyCodeRequest(qr_text=b"9" * 900, scan_id="s", gate_id="g")
    message = pb.StreamVerifyRequest(scan=scan).SerializeToString()
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    with RawPeer(worker.port) as peer:
        peer.send(PREFACE + frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"))  # SETTINGS_INITIAL_WINDOW_SIZE 0
        peer.send(frame(HEADERS, END_HEADERS, 1, header_block(f"/{SERVICE}/StreamVerify")))
        with contextlib.suppress(ConnectionError):
            peer.send(frame(DATA, 0, 1, framed * 16) * 64)
        frames = iter(peer.read, None)
        next((received for received in frames if received.kind in (RST_STREAM, GOAWAY)), None)
    assert is_served(worker)
