"""A server with the real access service, and stand-ins for the other services that a test can hold up."""

import threading
import time
from collections.abc import Iterator
from typing import Any

from issuer.access.calls import Calls
from issuer.access.clients import Clients
from issuer.access.gatekeeper import RegisterGatekeeper
from issuer.access.roles import Caller, Role
from issuer.access.settling import Approvals
from issuer.access_servicer import AccessServicer
from issuer.answers import Gatekeeper, answers, answers_with_stream
from issuer.client import IssuerClient
from issuer.register.database import Database
from issuer.server import GrpcServer
from issuer.v1 import admin_pb2, cache_pb2, issuer_pb2
from issuer.v1.admin_pb2_grpc import AdminServiceServicer
from issuer.v1.cache_pb2_grpc import CacheServiceServicer
from issuer.v1.gates_pb2_grpc import GateServiceServicer
from issuer.v1.issuer_pb2_grpc import IssuerServiceServicer
from issuer.v1.keys_pb2_grpc import KeyServiceServicer
from issuer.v1.scans_pb2_grpc import ScanServiceServicer
from tests.issuer.access.staff import Staff

TIMEOUT_S = 10
_ANY = tuple(Role)


class _StandIn:
    """What the stand-ins share."""

    def __init__(self, serving: "Serving") -> None:
        self.serving = serving

    @property
    def gatekeeper(self) -> Gatekeeper:
        return self.serving.gatekeeper


class IssuerServicer(_StandIn, IssuerServiceServicer):
    """Bundles that wait for the test, and a key set that does not."""

    @answers(*_ANY, is_recorded=False)
    def IssueBundle(self, _request: Any, _caller: Caller) -> issuer_pb2.IssueBundleResponse:  # noqa: N802
        self.serving.hold()
        return issuer_pb2.IssueBundleResponse()

    @answers_with_stream(*_ANY, is_recorded=False)
    def IssueBundles(self, _request: Any, _caller: Caller) -> Iterator[issuer_pb2.IssueBundlesResponse]:  # noqa: N802
        for number in range(1_000):
            codes = [issuer_pb2.SignedCode(qr_text="x" * 200)] * 1_000
            bundle = issuer_pb2.IssueBundleResponse(codes=codes)
            yield issuer_pb2.IssueBundlesResponse(credential_index=number + 1, bundle=bundle)

    @answers(*_ANY, is_recorded=False)
    def GetKeySet(self, _request: Any, _caller: Caller) -> issuer_pb2.GetKeySetResponse:  # noqa: N802
        return issuer_pb2.GetKeySetResponse(signed_key_set=b"key set")


class AdminServicer(_StandIn, AdminServiceServicer):
    """Imports that answer each batch; a status that waits, fails or answers as the test says."""

    @answers(Role.CLERK, target=lambda request: f"holder {request.holder_id}")
    def GetStatus(self, _request: Any, _caller: Caller) -> admin_pb2.GetStatusResponse:  # noqa: N802
        self.serving.hold()
        if self.serving.error is not None:
            raise self.serving.error
        return admin_pb2.GetStatusResponse()

    @answers(Role.CLERK, target=lambda request: f"{len(request.holders)} rows")
    def EnrolHolders(  # noqa: N802
        self, request: admin_pb2.EnrolHoldersRequest, _caller: Caller
    ) -> admin_pb2.EnrolHoldersResponse:
        return admin_pb2.EnrolHoldersResponse(holder_ids=range(len(request.holders)))

    @answers_with_stream(Role.CLERK)
    def ImportHolders(  # noqa: N802
        self, requests: Iterator[admin_pb2.ImportHoldersRequest], _caller: Caller
    ) -> Iterator[admin_pb2.ImportHoldersResponse]:
        for request in requests:
            if self.serving.error is not None:
                raise self.serving.error
            outcome = admin_pb2.ImportOutcome(known=len(request.rows))
            yield admin_pb2.ImportHoldersResponse(outcome=outcome)


class CacheServicer(_StandIn, CacheServiceServicer):
    """A rebuild without end."""

    @answers_with_stream(Role.OPERATOR)
    def RebuildCache(self, _request: Any, _caller: Caller) -> Iterator[cache_pb2.RebuildCacheResponse]:  # noqa: N802
        number = 0
        while not self.serving.ending.wait(0.01):
            number += 1
            yield cache_pb2.RebuildCacheResponse(shards_done=number)


class Serving:
    """A running server, and clients of it."""

    def __init__(self, database: Database, **options: Any) -> None:
        self.clock_skew_s = 0.0
        self.clients = Clients(database=database)
        self.calls = Calls(database=database)
        self.approvals = Approvals(database=database, clock=self.clock)
        self.gatekeeper = RegisterGatekeeper(clients=self.clients, calls=self.calls, clock=self.clock)
        self.staff = Staff(self.clients)
        if not self.clients.list():
            self.staff.add_one_of_each()
        self.error: Exception | None = None
        self.held: threading.Event | None = None
        self.begun = threading.Semaphore(0)
        self.ending = threading.Event()
        options = {"listen": "127.0.0.1:0", "socket": None, "threads": 4} | options
        self.server = GrpcServer(
            issuer=IssuerServicer(self),
            admin=AdminServicer(self),
            keys=KeyServiceServicer(),
            cache=CacheServicer(self),
            access=AccessServicer(
                clients=self.clients,
                approvals=self.approvals,
                calls=self.calls,
                gatekeeper=self.gatekeeper,
                clock=self.clock,
            ),
            gates=GateServiceServicer(),
            scans=ScanServiceServicer(),
            gatekeeper=self.gatekeeper,
            **options,
        )
        self.server.start()
        self.address = f"127.0.0.1:{self.server.port}"
        self._opened: list[IssuerClient] = []

    def client(self, name: str | None = None, *, address: str = "", **options: Any) -> IssuerClient:
        """Return a client that calls with the key of one of the staff; None: without a key."""
        key = None if name is None else self.staff.keys[name]
        options = {"key": key, "timeout_s": TIMEOUT_S} | options
        client = IssuerClient(address or self.address, **options)
        self._opened.append(client)
        return client

    def recorded(self) -> list[tuple[str, str, str, str]]:
        """Return the record of calls, the oldest first: client, method, target, outcome."""
        entries, _ = self.calls.page(client="", page_size=1_000, before_seq=0)
        return [(entry.client, entry.method, entry.target, entry.outcome) for entry in reversed(entries)]

    def hold(self) -> None:
        """Wait, in a call, until the test lets it go."""
        self.begun.release()
        if self.held is not None:
            self.held.wait(TIMEOUT_S)

    def clock(self) -> float:
        return time.time() + self.clock_skew_s

    def stop(self) -> None:
        self.ending.set()
        if self.held is not None:
            self.held.set()
        for client in self._opened:
            client.close()
        self.server.drain(0)
