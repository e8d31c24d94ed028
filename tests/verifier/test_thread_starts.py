"""A thread that the system does not give holds up what needed it, and nothing else."""

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from loadtest.embedded_redis import EmbeddedRedis
from tests.eventually import eventually
from verifier.access.entry_store import EntryStore
from verifier.limits import Limits
from verifier.own_pool import LanePool, on_own_pool
from verifier.server import build_server, unary_pool

_TIMEOUT_S = 5


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of threads whose next start fails, once."""
    names: list[str] = []
    start = threading.Thread.start

    def start_or_fail(thread: threading.Thread) -> None:
        for name in names:
            if thread.name.startswith(name):
                names.remove(name)
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_fail)
    return names


def _echo(request: bytes, _context: Any) -> bytes:
    return request


def _echo_each(requests: Iterator[bytes], _context: Any) -> Iterator[bytes]:
    yield from requests


@pytest.mark.parametrize("name", ["unary_watch", "unary_0", "stream"])
def test_calls_go_on_after_a_thread_that_could_not_be_started(refused: list[str], name: str) -> None:
    limits = Limits()
    lanes = LanePool(4, thread_name_prefix="stream")
    pool = unary_pool(limits)
    server = build_server(pool, limits)
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Unary": grpc.unary_unary_rpc_method_handler(_echo),
        "Lane": grpc.stream_stream_rpc_method_handler(on_own_pool(_echo_each, lanes)),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            refused.append(name)
            unary: Any = channel.unary_unary("/test/Unary")
            lane: Any = channel.stream_stream("/test/Lane")
            first_call = unary.future(b"1", timeout=_TIMEOUT_S)
            first_lane = lane(iter([b"1"]), timeout=_TIMEOUT_S)
            eventually(lambda: not refused)
            assert unary(b"2", timeout=_TIMEOUT_S) == b"2"
            assert list(lane(iter([b"2"]), timeout=_TIMEOUT_S)) == [b"2"]
            assert first_call.result() == b"1"
            assert list(first_lane) == [b"1"]
            assert pool._is_watched  # or silent calls would stay
    finally:
        server.stop(None).wait()
        lanes.shutdown(wait=False)


def test_a_claim_without_a_thread_has_no_answer_and_the_next_tries_again(
    own_redis: EmbeddedRedis, refused: list[str]
) -> None:
    refused.append("entries")
    store = EntryStore(own_redis.url)
    assert store.claim("1:a", b"scan", 60_000) is None
    assert not refused
    eventually(lambda: store.claim("1:b", b"scan", 60_000) is True)
    store.close()
