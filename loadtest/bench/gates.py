"""Gates that ask one after the other, each over a connection of its own, so that workers share them."""

import uuid
from types import TracebackType
from typing import Self

import grpc
import psutil

from loadtest.city import GATE_ID
from loadtest.processes import ProcessError
from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc
from verifier.verdict import Verdict

# Channels of a process with the same options share a connection otherwise.
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
_TIMEOUT_S = 10


class Gates:
    """So many gates at one verifier; the connections end with the `with`."""

    def __init__(self, address: str, *, count: int, key: str) -> None:
        """Connect each; raises ProcessError when there are fewer connections then."""
        self.asked = 0
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._channels = [grpc.insecure_channel(address, options=_OPTIONS) for _ in range(count)]
        self._stubs = [pb_grpc.VerifierServiceStub(channel) for channel in self._channels]
        try:
            self._connect(address)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, gate: int, qr_text: bytes) -> Verdict:
        """Return the verdict on a code, asked by one of the gates; raises grpc.RpcError."""
        self.asked += 1
        request = pb.VerifyCodeRequest(qr_text=qr_text, scan_id=uuid.uuid4().hex, gate_id=GATE_ID)
        answer = self._stubs[gate].VerifyCode(request, timeout=_TIMEOUT_S, metadata=self._metadata)
        return Verdict(answer.verdict)

    def _connect(self, address: str) -> None:
        try:
            for channel in self._channels:
                grpc.channel_ready_future(channel).result(_TIMEOUT_S)
        except grpc.FutureTimeoutError:
            raise ProcessError(f"{address} took no connection within {_TIMEOUT_S} s") from None
        if (found := connections(address)) < len(self._channels):
            raise ProcessError(f"expected {len(self._channels)} connections to {address}, got {found}")

    def close(self) -> None:
        """Close all connections."""
        for channel in self._channels:
            channel.close()


def connections(address: str) -> int:
    """Return how many TCP connections this process has to a loopback address."""
    port = int(address.rpartition(":")[2])
    return sum(
        bool(one.raddr) and one.raddr.port == port and one.status == psutil.CONN_ESTABLISHED
        for one in psutil.Process().net_connections(kind="tcp")
    )
