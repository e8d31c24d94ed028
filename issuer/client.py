"""A client of a running issuer: both services over one channel, every call with a deadline."""

import json
from types import TracebackType
from typing import Self

import grpc

from issuer.v1.issuer_pb2_grpc import AdminServiceStub, IssuerServiceStub

_MAX_MESSAGE_BYTES = 4 << 20


class IssuerClient:
    """Calls an issuer: `client.admin.EnrolHolders(request)`. Calls raise grpc.RpcError."""

    def __init__(self, server: str, *, timeout_s: float = 10.0) -> None:
        """Connect to `server` (host:port) at the first call; each call gives up after `timeout_s`."""
        # gRPC's own way to give every call a deadline that the caller can still override.
        service_config = {"methodConfig": [{"name": [{}], "timeout": f"{timeout_s}s"}]}
        self._channel = grpc.insecure_channel(
            server,
            options=(
                ("grpc.service_config", json.dumps(service_config)),
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ),
        )
        self.issuer = IssuerServiceStub(self._channel)
        self.admin = AdminServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()
