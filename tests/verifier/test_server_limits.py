"""The grpcio engine to peers that mean harm or have lost their way, and to gates that show who they are."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.eventually import eventually
from tests.issuer.certificates import Authority
from tests.signer import Signer
from tests.verifier import raw_http2
from tests.verifier.fakes import AnyGate
from verifier.access.callers import Credentials
from verifier.calls import Calls
from verifier.counters import Counters
from verifier.errors import SettingsError
from verifier.host.worker_config import GateAuth, TlsFiles
from verifier.key_set_follower import KeySets
from verifier.limits import Limits
from verifier.mirror import HeapTable, Mirror
from verifier.server import GrpcServer
from verifier.service import Verifier
from verifier.servicer import SERVICE_NAME
from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc

TIMEOUT_S = 5
SCAN = pb.VerifyCodeRequest(qr_text=b"no code of ours", scan_id="s", gate_id="g")
VERIFY_CODE = f"/{SERVICE_NAME}/VerifyCode"

Serve = Callable[..., GrpcServer]


@pytest.fixture
def gatekeeper() -> AnyGate:
    return AnyGate()


@pytest.fixture
def serve(gatekeeper: AnyGate) -> Iterator[Serve]:
    """Start servers that call everything MALFORMED: this is about how calls come in."""
    signer = Signer()
    key_sets = KeySets(signer.root)
    key_sets.offer(signer.key_set(issued_at=int(time.time())))
    mirror = Mirror(partitions=1, monotonic=time.monotonic)
    mirror.partitions[0].swap_in(HeapTable(16), time.monotonic())
    verifier = Verifier(key_sets=key_sets, mirror=mirror, clock=time.time)
    calls = Calls(verifier=verifier, gatekeeper=gatekeeper, entries=None, journal=None, counters=Counters())
    with contextlib.ExitStack() as servers:

        def serve(**options: Any) -> GrpcServer:
            limits = Limits(**options.pop("limits", {}))
            server = GrpcServer(calls, listen="127.0.0.1:0", limits=limits, **options)
            servers.callback(server.drain, 0)
            server.start()
            return server

        yield serve


def verdict(channel: grpc.Channel, **options: Any) -> int:
    with channel:
        answer = pb_grpc.VerifierServiceStub(channel).VerifyCode(SCAN, timeout=TIMEOUT_S, **options)
    return int(answer.verdict)


def plain(server: GrpcServer) -> grpc.Channel:
    return grpc.insecure_channel(f"127.0.0.1:{server.port}")


@contextlib.contextmanager
def silent_calls(server: GrpcServer, count: int, method: str = VERIFY_CODE) -> Iterator[socket.socket]:
    """Make calls on one connection that never send their message."""
    with raw_http2.connect(server.port) as peer:
        peer.sendall(b"".join(raw_http2.call_headers(method, 2 * number + 1) for number in range(count)))
        yield peer


@pytest.mark.parametrize("method", [VERIFY_CODE, "/grpc.health.v1.Health/Check"])
def test_calls_that_send_no_message_hold_up_nobody(serve: Serve, method: str) -> None:
    server = serve(limits={"threads": 1})
    with silent_calls(server, 100, method):
        eventually(lambda: server._unary_pool.silent() == 100)
        assert verdict(plain(server)) == pb.VERDICT_MALFORMED


def test_watches_that_send_no_message_hold_up_no_watch(serve: Serve) -> None:
    server = serve()
    with silent_calls(server, 100, "/grpc.health.v1.Health/Watch"), plain(server) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()


def test_batches_that_send_no_message_hold_up_no_batch(serve: Serve) -> None:
    server = serve(limits={"batch_threads": 1})
    with silent_calls(server, 100, f"/{SERVICE_NAME}/VerifyCodes"), plain(server) as channel:
        eventually(lambda: server._batch_pool.silent() == Limits().max_batches_per_caller)
        stub = pb_grpc.VerifierServiceStub(channel)
        assert len(stub.VerifyCodes(pb.VerifyCodesRequest(scans=[SCAN]), timeout=TIMEOUT_S).verdicts) == 1


def test_a_call_that_sends_no_message_is_ended_in_time(serve: Serve) -> None:
    server = serve(limits={"slow_peer_s": 0.1})
    with silent_calls(server, 3):
        eventually(lambda: server._unary_pool.silent() == 3)
        eventually(lambda: server._unary_pool.silent() == 0)
        assert verdict(plain(server)) == pb.VERDICT_MALFORMED


def test_of_too_many_calls_without_a_message_the_oldest_are_ended(serve: Serve) -> None:
    server = serve()
    with silent_calls(server, 128), silent_calls(server, 128), silent_calls(server, 128):
        eventually(lambda: server._unary_pool.silent() == 256)
        assert verdict(plain(server)) == pb.VERDICT_MALFORMED


def test_a_caller_that_leaves_before_its_message_is_forgotten(serve: Serve) -> None:
    server = serve()
    with silent_calls(server, 3):
        eventually(lambda: server._unary_pool.silent() == 3)
    eventually(lambda: server._unary_pool.silent() == 0)


def test_a_call_that_ends_without_its_message_is_told_so(serve: Serve) -> None:
    server = serve()
    with plain(server) as channel:
        method: Any = channel.stream_unary(VERIFY_CODE)
        with pytest.raises(grpc.RpcError) as caught:
            method(iter(()), timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert server._unary_pool.silent() == 0


def test_connections_beyond_the_limit_are_closed(serve: Serve) -> None:
    server = serve(limits={"max_connections": 2})
    with raw_http2.connect(server.port) as one, raw_http2.connect(server.port) as two:
        assert raw_http2.read_settings(one)
        assert raw_http2.read_settings(two)
        with raw_http2.connect(server.port) as three, contextlib.suppress(ConnectionResetError):
            assert three.recv(1) == b""
    eventually(lambda: is_open(server))


def is_open(server: GrpcServer) -> bool:
    with raw_http2.connect(server.port) as peer, contextlib.suppress(ConnectionResetError):
        return peer.recv(1) != b""
    return False


def test_a_peer_that_says_nothing_is_let_go(serve: Serve) -> None:
    server = serve(limits={"slow_peer_s": 0.1})
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as peer:
        while peer.recv(1_000):  # the server's settings, and why it closes
            pass


def test_a_connection_may_have_so_many_streams_and_send_so_much_ahead(serve: Serve) -> None:
    server = serve(limits={"max_streams_per_connection": 5})
    with raw_http2.connect(server.port) as peer:
        told = raw_http2.read_settings(peer)
    assert told[raw_http2.MAX_CONCURRENT_STREAMS] == 5
    assert told[raw_http2.INITIAL_WINDOW_SIZE] == 64 << 10


def test_a_connection_is_ended_at_its_age_and_the_client_connects_again(serve: Serve) -> None:
    server = serve(limits={"connection_age_s": 0.1, "connection_age_grace_s": 0.1})
    with raw_http2.connect(server.port) as peer:
        while peer.recv(1_000):
            pass
    assert verdict(plain(server)) == pb.VERDICT_MALFORMED


def test_too_much_metadata_is_refused(serve: Serve) -> None:
    server = serve()
    with pytest.raises(grpc.RpcError) as caught:
        verdict(plain(server), metadata=[("x", "y" * 9_000)])
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert verdict(plain(server), metadata=[("x", "y" * 4_000)]) == pb.VERDICT_MALFORMED


def test_bearer_keys_reach_the_gatekeeper_where_it_asks_for_them(serve: Serve, gatekeeper: AnyGate) -> None:
    metadata = [("authorization", "Bearer one"), ("other", "thing"), ("authorization", "Bearer two")]
    verdict(plain(serve(gate_auth=GateAuth.KEY)), metadata=metadata)
    verdict(plain(serve()), metadata=metadata)
    assert gatekeeper.seen == [Credentials(authorization=("Bearer one", "Bearer two")), Credentials()]


def test_with_a_client_authority_the_certificate_says_who_calls(
    serve: Serve, gatekeeper: AnyGate, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    pair, gate = authority.issue("server"), authority.issue("gate")
    stranger = Authority(tmp_path, "stranger").issue("stranger-gate")
    server = serve(
        tls=TlsFiles(pair.certificate, pair.key, client_ca=authority.certificate),
        gate_auth=GateAuth.CERTIFICATE,
    )

    def channel(*files: Path) -> grpc.Channel:
        contents = [file.read_bytes() for file in files]
        credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes(), *contents)
        return grpc.secure_channel(f"127.0.0.1:{server.port}", credentials)

    for _ in range(2):
        assert verdict(channel(gate.key, gate.certificate)) == pb.VERDICT_MALFORMED
    assert gatekeeper.seen == 2 * [Credentials(certificate_sha256=gate.sha256)]
    for refused in (channel(), channel(stranger.key, stranger.certificate), plain(server)):
        with pytest.raises(grpc.RpcError) as caught:
            verdict(refused)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_that_cannot_be_used_is_an_error_that_names_it(serve: Serve, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("server")
    with pytest.raises(SettingsError, match=r"cannot read .*nowhere"):
        serve(tls=TlsFiles(tmp_path / "nowhere", pair.key))


def test_reflection_is_there_where_it_is_asked_for(serve: Serve) -> None:
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    for has_reflection, code in ((True, grpc.StatusCode.OK), (False, grpc.StatusCode.UNIMPLEMENTED)):
        with plain(serve(has_reflection=has_reflection)) as channel:
            call: Any = channel.stream_stream(method)(iter(()), timeout=TIMEOUT_S)
            assert call.code() is code
