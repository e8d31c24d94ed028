"""Lanes that are idle when the grpcio engine drains."""

import queue
import threading

import grpc
import pytest

from tests.eventually import eventually
from tests.verifier.test_server import TIMEOUT_S, Gate
from verifier.counters import Counter
from verifier.limits import Limits
from verifier.v1 import verifier_pb2 as pb

_GRACE_S = 60


def test_an_idle_lane_is_told_to_call_again_and_holds_up_no_drain() -> None:
    gate = Gate(Limits())
    gate.make_ready()
    outgoing: queue.Queue[pb.StreamVerifyRequest] = queue.Queue()
    fresh = gate.stub.StreamVerify(iter(queue.SimpleQueue().get, None), timeout=_GRACE_S)
    used = gate.stub.StreamVerify(iter(outgoing.get, None), timeout=_GRACE_S)
    outgoing.put(pb.StreamVerifyRequest(scan=gate.scan()))
    assert next(used).verdict.verdict == pb.VERDICT_GREEN
    eventually(lambda: gate.calls.counters.get(Counter.STREAMS_OPEN) == 2)
    draining = threading.Thread(target=gate.server.drain, args=(_GRACE_S,))
    draining.start()
    for lane in (fresh, used):
        with pytest.raises(grpc.RpcError) as caught:
            next(lane)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "the verifier is going away: call again"
    draining.join(TIMEOUT_S)
    assert not draining.is_alive()
    gate.close()
