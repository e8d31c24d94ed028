"""A client of a running issuer: all services over one channel.

Every unary call has a deadline. Streams have none, because an import takes as long as its file is; a server
that is gone is noticed by pings instead. A bearer key goes with every call, and never in plain text to
another machine.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf.descriptor import FileDescriptor

from issuer.access.bearer import read_key_file
from issuer.addresses import is_local, is_socket, require_sound
from issuer.config import ClientSettings
from issuer.errors import SettingsError
from issuer.tls import ClientTls
from issuer.v1 import access_pb2, admin_pb2, cache_pb2, gates_pb2, issuer_pb2, keys_pb2, scans_pb2
from issuer.v1.access_pb2_grpc import AccessServiceStub
from issuer.v1.admin_pb2_grpc import AdminServiceStub
from issuer.v1.cache_pb2_grpc import CacheServiceStub
from issuer.v1.gates_pb2_grpc import GateServiceStub
from issuer.v1.issuer_pb2_grpc import IssuerServiceStub
from issuer.v1.keys_pb2_grpc import KeyServiceStub
from issuer.v1.scans_pb2_grpc import ScanServiceStub

_FILES: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR
    for module in (access_pb2, admin_pb2, cache_pb2, gates_pb2, issuer_pb2, keys_pb2, scans_pb2)
)
# Carrying out what was approved may sign a hundred thousand bundles (a drill); a purge may remove millions of
# scans.
_LONG_CALLS_S = {"Approve": 900.0, "PurgeScans": 3_600.0, "GetScanStats": 60.0}
_OPTIONS = (
    ("grpc.max_receive_message_length", 4 << 20),
    # A proxy of the environment would be handed the key, and cannot reach a socket or loopback anyway.
    ("grpc.enable_http_proxy", 0),
    # A server that lost power sends no goodbye: noticed after 30 + 10 s. The server allows a ping every 5 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC would wait up to two minutes between attempts to connect.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class IssuerClient:
    """Calls an issuer: `client.admin.EnrolHolders(request)`. Calls raise grpc.RpcError."""

    def __init__(
        self,
        server: str,
        *,
        key: str | None = None,
        tls: ClientTls | None = None,
        insecure: bool = False,
        timeout_s: float = 10.0,
    ) -> None:
        """Connect to `server` (unix:PATH or HOST:PORT) at the first call; unary calls end after `timeout_s`.

        `key` is a bearer key. Without `tls`, TLS is spoken with servers beyond this machine, unless
        `insecure`, and plain text with the others. Raises SettingsError.
        """
        if not is_socket(server):
            require_sound(server, "server")
        if tls is not None and (insecure or is_socket(server)):
            raise SettingsError(f"--server: {server} is spoken to in plain text: leave out the files of TLS")
        if tls is None and not insecure and not is_local(server):
            tls = ClientTls()
        options = (*_OPTIONS, ("grpc.service_config", _service_config(timeout_s)))
        self._channel = (
            grpc.insecure_channel(server, options=options)
            if tls is None
            else grpc.secure_channel(server, tls.read(), options=options)
        )
        channel = self._channel if key is None else grpc.intercept_channel(self._channel, _WithKey(key))
        self.issuer = IssuerServiceStub(channel)
        self.admin = AdminServiceStub(channel)
        self.keys = KeyServiceStub(channel)
        self.cache = CacheServiceStub(channel)
        self.access = AccessServiceStub(channel)
        self.gates = GateServiceStub(channel)
        self.scans = ScanServiceStub(channel)

    @classmethod
    def from_settings(cls, settings: ClientSettings) -> Self:
        """Return the client that the settings ask for; raises SettingsError or KeyFileError."""
        files: tuple[Path | None, ...] = (settings.tls_ca, settings.tls_certificate, settings.tls_key)
        return cls(
            settings.server,
            key=None if settings.key_file is None else read_key_file(settings.key_file),
            tls=ClientTls(*files) if any(files) else None,
            insecure=settings.insecure,
            timeout_s=settings.timeout_s,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


def _service_config(timeout_s: float) -> str:
    """Return gRPC's own way to give calls a deadline that the caller can still override."""
    methods = []
    for service in (one for file in _FILES for one in file.services_by_name.values()):
        for method in service.methods:
            if not (method.client_streaming or method.server_streaming):
                name = {"service": service.full_name, "method": method.name}
                timeout = max(timeout_s, _LONG_CALLS_S.get(method.name, 0.0))
                methods.append({"name": [name], "timeout": f"{timeout:.3f}s"})
    return json.dumps({"methodConfig": methods})


class _Details(NamedTuple):
    """What grpc.ClientCallDetails is made of."""

    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _WithKey(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor
):
    """Sends the bearer key with every call. (gRPC's call credentials would need TLS, also on a socket.)"""

    def __init__(self, key: str) -> None:
        self._metadata = (("authorization", f"Bearer {key}"),)

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        return continuation(self._with_key(details), request)

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        return continuation(self._with_key(details), request)

    def intercept_stream_stream(
        self,
        continuation: Callable[..., Any],
        details: grpc.ClientCallDetails,
        request_iterator: Iterator[Any],
    ) -> Any:
        return continuation(self._with_key(details), request_iterator)

    def _with_key(self, details: grpc.ClientCallDetails) -> _Details:
        return _Details(
            details.method,
            details.timeout,
            (*(details.metadata or ()), *self._metadata),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )
