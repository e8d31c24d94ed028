"""The health service over a real socket, also to peers that do not play by the rules."""

import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.eventually import eventually
from tests.verifier import raw_http2
from verifier.health import HealthServicer

TIMEOUT_S = 5
Status = health_pb2.HealthCheckResponse


class Served:
    """A server with nothing but health."""

    def __init__(self) -> None:
        self.health = HealthServicer(["a.Service"])
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        self.stub: Any = health_pb2_grpc.HealthStub(self.channel)

    def check(self, service: str = "") -> int:
        answer = self.stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)
        return int(answer.status)

    def watch(self, service: str = "") -> Any:
        return self.stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.channel.close()
    served.server.stop(0).wait()


@pytest.mark.parametrize("service", ["", "a.Service"])
def test_health_is_not_serving_until_told(served: Served, service: str) -> None:
    assert served.check(service) == Status.NOT_SERVING
    served.health.set_serving(True)
    assert served.check(service) == Status.SERVING


def test_a_service_that_is_not_here_is_not_found(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.check("b.Service")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert next(served.watch("b.Service")).status == Status.SERVICE_UNKNOWN


def test_who_watches_is_told_of_each_change(served: Served) -> None:
    watch = served.watch("a.Service")
    assert next(watch).status == Status.NOT_SERVING
    served.health.set_serving(True)
    assert next(watch).status == Status.SERVING


def test_watchers_that_leave_make_room(served: Served) -> None:
    for _ in range(3):
        watches = [served.watch() for _ in range(16)]
        for watch in watches:
            next(watch)
        for watch in watches:
            watch.cancel()
        eventually(lambda: served.health._watchers._value == 16)


def test_more_than_may_watch_are_refused(served: Served) -> None:
    watches = [served.watch() for _ in range(16)]
    for watch in watches:
        next(watch)
    with pytest.raises(grpc.RpcError) as caught:
        next(served.watch())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def watch_without_a_window(port: int) -> socket.socket:
    """Call Watch with a flow-control window of 0: nothing can be sent to us."""
    peer = raw_http2.connect(port, (raw_http2.INITIAL_WINDOW_SIZE, 0))
    peer.sendall(raw_http2.call_headers("/grpc.health.v1.Health/Watch", 1))
    peer.sendall(raw_http2.frame(raw_http2.DATA, raw_http2.END_STREAM, 1, raw_http2.EMPTY_MESSAGE))
    return peer


def test_a_peer_that_takes_nothing_holds_up_nobody(served: Served) -> None:
    with watch_without_a_window(served.port):
        eventually(lambda: served.health._watchers._value == 15)
        telling = threading.Thread(target=served.health.set_serving, args=(True,), daemon=True)
        telling.start()
        telling.join(TIMEOUT_S)
        assert not telling.is_alive()
        assert served.check() == Status.SERVING
        stopping = served.server.stop(0.1)
        assert stopping.wait(TIMEOUT_S)
