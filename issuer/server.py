"""The grpcio server of an issuer: all services and health, on a TCP address and on a Unix socket.

The socket lies in the issuer's folder and is open to its owner alone. Who calls is asked of every call on
both (issuer/answers.py), except on the health service, which says no more than that the issuer serves.

What this engine cannot bound is a client that opens calls and sends no message: grpcio waits for it on a
thread. Without a bearer key, or where `client_ca` is set a certificate, nobody gets that far; but whether the
key is anybody's is asked on that thread. So keep the address to a network of your own, or put a proxy before
it that waits for the whole request.
"""

import contextlib
import os
import socket as sockets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2_grpc

from issuer.addresses import require_socket_path, require_sound, socket_address
from issuer.admission import Admission, Pool
from issuer.answers import Gatekeeper
from issuer.call_watch import CallWatch
from issuer.errors import SettingsError
from issuer.idle_streams import IdleStreams
from issuer.tls import ServerTls
from issuer.v1 import (
    access_pb2,
    access_pb2_grpc,
    admin_pb2,
    admin_pb2_grpc,
    cache_pb2,
    cache_pb2_grpc,
    gates_pb2,
    gates_pb2_grpc,
    issuer_pb2,
    issuer_pb2_grpc,
    keys_pb2,
    keys_pb2_grpc,
    scans_pb2,
    scans_pb2_grpc,
)
from verifier.health import HealthServicer
from verifier.own_pool import on_own_pool
from verifier.traced_calls import TracedCalls
from verifier.tracing import Tracing

# 1 000 rows with the longest of everything are 2.1 MB, 2 880 codes half a megabyte.
MAX_MESSAGE_BYTES = 4 << 20
SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for module in (access_pb2, admin_pb2, cache_pb2, gates_pb2, issuer_pb2, keys_pb2, scans_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)
SERVICE_NAMES = tuple(service.full_name for service in SERVICES)

# Signing a day of codes takes a tenth of a second and a thousand bundles minutes; imports and the checks
# of everything last as long as they last. None of them holds up a status change.
_BUNDLE_THREADS = 2
# Lists last as long as their readers take; a phone's bundle must not wait for them.
_LIST_THREADS = 4
_IMPORTS = frozenset({"ImportHolders", "ImportCredentials", "ImportStatuses", "ImportTests"})
_IMPORT_THREADS = 4
_LONG = frozenset({"RebuildCache", "CheckCache", "VerifyHistory", "GetScanStats", "PurgeScans"})
_LONG_THREADS = 2
# Beside what the pools take: refusals under way, and those who watch the health.
_OTHER_CALLS = 64
# Longer than any pause of a program that reads a file; a person at a prompt holds no stream open.
_IDLE_STREAM_S = 300.0
_HEALTH = "grpc.health.v1.Health"
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A second server on the port is a mistake here, and must fail instead of taking half the calls.
    ("grpc.so_reuseport", 0),
    # Clients ping an idle connection so that they notice a dead server; gRPC's own limit is five minutes.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # The server pings as well: the streams of a client that lost power end after 80 s.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


class GrpcServer:
    """Serves an issuer."""

    def __init__(
        self,
        *,
        issuer: issuer_pb2_grpc.IssuerServiceServicer,
        admin: admin_pb2_grpc.AdminServiceServicer,
        keys: keys_pb2_grpc.KeyServiceServicer,
        cache: cache_pb2_grpc.CacheServiceServicer,
        access: access_pb2_grpc.AccessServiceServicer,
        gates: gates_pb2_grpc.GateServiceServicer,
        scans: scans_pb2_grpc.ScanServiceServicer,
        gatekeeper: Gatekeeper,
        listen: str,
        socket: Path | None,
        threads: int,
        tls: ServerTls | None = None,
        tracing: Tracing | None = None,
        idle_stream_s: float = _IDLE_STREAM_S,
    ) -> None:
        """Bind `listen` (HOST:PORT, port 0 for any; empty for none) and `socket`.

        Raises SettingsError when one of them cannot be bound. Without `tls`, `listen` is plain text; whether
        that may be is for issuer/config.py to say. `port` is the one bound, 0 for none.
        """
        self._pools = {
            "IssueBundle": Pool(_BUNDLE_THREADS, name="bundle"),
            "IssueBundles": Pool(_LIST_THREADS, name="bundles"),
            **dict.fromkeys(_IMPORTS, Pool(_IMPORT_THREADS, name="import")),
            **dict.fromkeys(_LONG, Pool(_LONG_THREADS, name="long")),
        }
        self._calls = Pool(threads, name="call")
        self._idle_streams = IdleStreams(limit_s=idle_stream_s)
        self._health = HealthServicer(SERVICE_NAMES)
        self._server = self._build(
            gatekeeper, needs_key=tls is None or tls.client_ca is None, tracing=tracing
        )
        servicers = {
            "Issuer": issuer,
            "Admin": admin,
            "Key": keys,
            "Cache": cache,
            "Access": access,
            "Gate": gates,
            "Scan": scans,
        }
        for service in SERVICES:
            self._place(servicers[service.name.removesuffix("Service")], service)
        issuer_pb2_grpc.add_IssuerServiceServicer_to_server(issuer, self._server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, self._server)
        keys_pb2_grpc.add_KeyServiceServicer_to_server(keys, self._server)
        cache_pb2_grpc.add_CacheServiceServicer_to_server(cache, self._server)
        access_pb2_grpc.add_AccessServiceServicer_to_server(access, self._server)
        gates_pb2_grpc.add_GateServiceServicer_to_server(gates, self._server)
        scans_pb2_grpc.add_ScanServiceServicer_to_server(scans, self._server)
        # Whether the issuer serves can be asked while all of its threads are busy.
        self._health.Check = on_own_pool(self._health.Check, Pool(1, name="health"))  # type: ignore[method-assign]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._socket = socket
        self.port = self._bind(listen, tls) if listen else 0
        if socket is not None:
            self._bind_socket(socket)

    def start(self) -> None:
        """Begin to answer."""
        self._idle_streams.start()
        self._server.start()
        self._health.set_serving(True)

    def drain(self, grace_s: float) -> None:
        """Say NOT_SERVING, take no new calls, give those under way `grace_s` seconds, and stop."""
        self._health.set_serving(False)
        self._server.stop(grace_s).wait()
        self._idle_streams.stop()
        for pool in {self._calls, *self._pools.values()}:
            pool.shutdown(wait=False, cancel_futures=True)
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)

    def _build(self, gatekeeper: Gatekeeper, *, needs_key: bool, tracing: Tracing | None) -> grpc.Server:
        by_method = {
            f"/{service.full_name}/{method.name}": self._pools[method.name]
            for service in SERVICES
            for method in service.methods
            if method.name in self._pools
        }
        pools = {self._calls, *self._pools.values()}
        admission = Admission(
            by_method,
            otherwise=self._calls,
            unbounded=frozenset({_HEALTH}),
            gatekeeper=gatekeeper,
            needs_key=needs_key,
        )
        return grpc.server(
            self._calls,
            options=_OPTIONS,
            interceptors=[
                *([] if tracing is None else [TracedCalls(tracing, SERVICES)]),
                CallWatch(SERVICES),
                admission,
            ],
            maximum_concurrent_rpcs=_OTHER_CALLS + sum(pool.max_calls for pool in pools),
        )

    def _place(self, servicer: Any, service: ServiceDescriptor) -> None:
        """Put the methods of a servicer on their pools."""
        for method in service.methods:
            behaviour = getattr(servicer, method.name)
            if method.server_streaming:
                behaviour = self._idle_streams.watched(behaviour, has_request_stream=method.client_streaming)
            pool = self._pools.get(method.name, self._calls)
            setattr(servicer, method.name, on_own_pool(behaviour, pool))

    def _bind(self, listen: str, tls: ServerTls | None) -> int:
        require_sound(listen, "listen")
        credentials = None if tls is None else tls.read()
        try:
            if credentials is None:
                return int(self._server.add_insecure_port(listen))
            return int(self._server.add_secure_port(listen, credentials))
        except RuntimeError:  # gRPC says no more than that it failed
            raise SettingsError(
                f"--listen: cannot listen on {listen}: {_why_not(listen)}; choose another address, or none"
            ) from None

    def _bind_socket(self, path: Path) -> None:
        require_socket_path(path)
        _remove_stale(path)
        try:
            with _only_for_owner():
                self._server.add_insecure_port(socket_address(path))
        except RuntimeError:
            raise SettingsError(
                f"cannot listen on the socket {path}: can this user write to {path.parent}?"
            ) from None


@contextlib.contextmanager
def _only_for_owner() -> Iterator[None]:
    # A socket has its mode from the moment it is bound; to change it afterwards would be too late.
    mask = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(mask)


def _remove_stale(path: Path) -> None:
    """Remove the socket of an issuer that died; raises SettingsError for anything else that is there."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SettingsError(f"{path} is there and no socket: move it away")
        with sockets.socket(sockets.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"the socket {path} cannot be used: {error.strerror}") from None
    else:
        raise SettingsError(f"another server listens on {path}: stop that one first")


def _why_not(listen: str) -> str:
    """Return why an address cannot be listened on, by trying without gRPC."""
    host, _, port = listen.rpartition(":")
    try:
        for family, _, _, _, address in sockets.getaddrinfo(
            host.strip("[]"), int(port), type=sockets.SOCK_STREAM, flags=sockets.AI_PASSIVE
        ):
            sockets.create_server(address[:2], family=family).close()
    except OSError as error:
        return error.strerror or "it is no address of this machine"
    return "is another server running there?"
