"""Gates that show forged codes only: each gets its verdict, and others notice nothing of it."""

import grpc

from tests.verifier.engines.serving import TIMEOUT_S, Served, stub
from verifier.v1 import verifier_pb2 as pb

# More than go at once, and no more than may be under way on a connection.
_SCANS = 100


def _forged(served: Served) -> pb.VerifyCodeRequest:
    scan = served.scan()
    scan.qr_text = scan.qr_text[:-4] + (b"0000" if scan.qr_text[-4:] != b"0000" else b"1111")
    return scan


def test_a_forger_is_answered_and_others_meanwhile(served: Served, channel: grpc.Channel) -> None:
    forger, forged = stub(channel), _forged(served)
    with served.channel() as another:
        honest = stub(another)
        # One after the other, as at a gate: what comes now is a forger's.
        for _ in range(8):
            assert forger.VerifyCode(forged, timeout=TIMEOUT_S).verdict == pb.VERDICT_BAD_SIGNATURE
        calls = [forger.VerifyCode.future(forged, timeout=TIMEOUT_S) for _ in range(_SCANS)]
        for _ in range(50):
            assert honest.VerifyCode(served.scan(), timeout=TIMEOUT_S).verdict == pb.VERDICT_GREEN
        assert {call.result().verdict for call in calls} == {pb.VERDICT_BAD_SIGNATURE}


def test_a_forger_that_shows_a_good_code_is_a_gate_like_any_other(
    served: Served, channel: grpc.Channel
) -> None:
    gate, forged = stub(channel), _forged(served)
    for _ in range(10):
        assert gate.VerifyCode(forged, timeout=TIMEOUT_S).verdict == pb.VERDICT_BAD_SIGNATURE
    for _ in range(_SCANS):
        assert gate.VerifyCode(served.scan(), timeout=TIMEOUT_S).verdict == pb.VERDICT_GREEN
