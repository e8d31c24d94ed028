"""One StreamVerify call as a scanner uses it: a scan, then its answer, then the next.

gRPC has deadlines for calls and none for their messages, and a call of gRPC for Python cannot be waited
for with a time-out; here each answer has one.
"""

import threading
from queue import Empty, SimpleQueue
from time import monotonic

import grpc

from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc


class Lane:
    """One StreamVerify call, with at most one scan under way."""

    def __init__(self, stub: pb_grpc.VerifierServiceStub, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        """`metadata` go with the call: the gate's key, where it has one."""
        self._requests: SimpleQueue[pb.StreamVerifyRequest | None] = SimpleQueue()
        self._arrivals: SimpleQueue[pb.StreamVerifyResponse | grpc.RpcError] = SimpleQueue()
        self._call = stub.StreamVerify(iter(self._requests.get, None), wait_for_ready=True, metadata=metadata)
        threading.Thread(target=self._receive, name="lane", daemon=True).start()

    def ask(self, scan: pb.VerifyCodeRequest, ends_at: float) -> pb.VerifyCodeResponse:
        """Return the response to the scan; raises RpcError, also at `ends_at` by the monotonic clock."""
        self._requests.put(pb.StreamVerifyRequest(scan=scan))
        try:
            arrival = self._arrivals.get(timeout=max(0.0, ends_at - monotonic()))
        except Empty:
            raise _Late from None
        if isinstance(arrival, grpc.RpcError):
            raise arrival
        return arrival.verdict

    def close(self) -> None:
        """End the call. The threads that serve it end with it."""
        self._requests.put(None)
        self._call.cancel()

    def _receive(self) -> None:
        # From the call to a queue, which can be waited for with a time-out.
        try:
            for response in self._call:
                self._arrivals.put(response)
        except grpc.RpcError as error:
            self._arrivals.put(error)
        else:
            self._arrivals.put(_Ended())


class _Late(grpc.RpcError):
    """No answer came on a lane in time."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self) -> str:
        return ""


class _Ended(grpc.RpcError):
    """The verifier ended the call in good order, as it may do before it stops."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "the call was ended"
