"""The port for Prometheus cannot be used to use up the process."""

import contextlib
import http.client
import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from verifier import metrics_server
from verifier.metrics_server import MAX_CONNECTIONS, metrics_served

_TIMEOUT_S = 10


@pytest.fixture
def port() -> Iterator[int]:
    registry = CollectorRegistry()
    Counter("scans", "Scans.", registry=registry)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with metrics_served(f"127.0.0.1:{port}", registry):
        yield port


def _ask(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_TIMEOUT_S) as reply:
        return bytes(reply.read())


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/metrics?a=b", 200), ("/metric", 404), ("/metrics/", 404)]
)
def test_metrics_are_answered_where_they_are_and_nowhere_else(port: int, path: str, status: int) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)) as connection:
        connection.request("GET", path)
        assert connection.getresponse().status == status


def test_connections_over_the_bound_are_closed_at_once(port: int) -> None:
    assert b"scans_total 0.0" in _ask(port)
    before = threading.active_count()
    with contextlib.ExitStack() as peers:
        idle = [
            peers.enter_context(socket.create_connection(("127.0.0.1", port), _TIMEOUT_S))
            for _ in range(MAX_CONNECTIONS + 3)
        ]
        for refused in idle[MAX_CONNECTIONS:]:
            assert refused.recv(1) == b""
        assert threading.active_count() <= before + MAX_CONNECTIONS


def test_a_peer_that_says_little_by_little_is_ended_in_time(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "MAX_CONNECTION_S", 0.0)  # for all of it, not for each byte
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as peer:
        peer.send(b"GET /met")
        assert peer.recv(1) == b""
