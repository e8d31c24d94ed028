"""How workers of every engine end: what is under way is finished, and clients are told to go elsewhere."""

import queue
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.eventually import eventually
from tests.signer import Signer
from tests.verifier.engines.one_worker import OneWorker, one_worker
from tests.verifier.engines.serving import ENGINES, TIMEOUT_S, stub
from tests.verifier.raw_http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    SETTINGS,
    RawPeer,
    frame,
    header_block,
)
from verifier.host.rows import Phase
from verifier.v1 import verifier_pb2 as pb


@pytest.fixture(params=ENGINES)
def worker(request: pytest.FixtureRequest, published_redis_url: str) -> Iterator[OneWorker]:
    with one_worker(request.param, published_redis_url, grace_s=1.5) as worker:
        yield worker


def test_a_worker_that_drains_finishes_what_it_has_and_ends(worker: OneWorker) -> None:
    qr_text = Signer().qr_text(not_before=int(time.time()))
    scan = pb.VerifyCodeRequest(qr_text=qr_text, scan_id="s", gate_id="north")
    lane: queue.Queue[Any] = queue.Queue()
    with worker.channel() as channel, RawPeer(worker.port) as busy:
        busy.begin()
        busy.read_until(SETTINGS)
        busy.send(frame(SETTINGS, ACK))
        gate = stub(channel)
        answers = gate.StreamVerify(iter(lane.get, None), timeout=TIMEOUT_S)
        lane.put(pb.StreamVerifyRequest(scan=scan))
        assert next(answers).verdict.verdict == pb.VERDICT_GREEN
        batch = gate.VerifyCodes.future(pb.VerifyCodesRequest(scans=[scan] * 1000), timeout=TIMEOUT_S)
        eventually(lambda: worker.row.counters.get(pb.VERDICT_GREEN) > 1)
        worker.drain()
        # A connection that is used is told to end, with an answer or at once.
        busy.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block("/a.B/C")))
        busy.read_until(GOAWAY)
        assert len(batch.result().verdicts) == 1000
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        lane.put(None)
    assert eventually(lambda: worker.process.poll() is not None)
    assert worker.row.phase is Phase.DRAINING
