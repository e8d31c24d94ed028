"""The cache service over a real connection: who may, what is told, and that callers who leave are noticed."""

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from issuer.access.roles import Caller, Role
from issuer.cache_servicer import CacheServicer
from issuer.errors import Unauthenticated
from issuer.publisher import Publisher
from issuer.register.database import Database
from issuer.v1 import cache_pb2 as pb
from issuer.v1.cache_pb2_grpc import CacheServiceStub, add_CacheServiceServicer_to_server
from tests.eventually import eventually
from tests.issuer.publishing import Publishing
from verifier.wire.status_store import epoch_key, new_epoch, status_key


class FakeGatekeeper:
    """Knows each role by its name, and keeps the record in a list."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def authenticate(self, context: grpc.ServicerContext) -> Caller:
        role = dict(context.invocation_metadata()).get("role")
        if role is None:
            raise Unauthenticated("no client")
        return Caller(1, str(role), frozenset({Role[str(role)]}))

    def begin(self, caller: Caller, *, method: str, target: str) -> int:
        self.calls.append([caller.name, method, target, ""])
        return len(self.calls) - 1

    def end(self, seq: int, *, outcome: str) -> None:
        self.calls[seq][3] = outcome


class Service:
    """A served cache service, and the register behind it."""

    def __init__(self, published: Publishing, publisher: Publisher, stub: CacheServiceStub) -> None:
        self.published = published
        self.publisher = publisher
        self.stub = stub
        self.gatekeeper = FakeGatekeeper()

    def rebuild(self, role: str) -> Any:
        return self.stub.RebuildCache(pb.RebuildCacheRequest(), metadata=[("role", role)])

    def check(self, role: str, *, repair: bool = False) -> Any:
        return self.stub.CheckCache(pb.CheckCacheRequest(repair=repair), metadata=[("role", role)])


@pytest.fixture
def service(sqlite_database: Database, redis_url: str) -> Iterator[Service]:
    published = Publishing(sqlite_database, redis_url)
    published.issue(3)
    with (
        published.running() as publisher,
        futures.ThreadPoolExecutor(4) as pool,
    ):
        eventually(lambda: publisher.wait_until_published(published.outbox.last_seq()))
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            served = Service(published, publisher, CacheServiceStub(channel))
            add_CacheServiceServicer_to_server(
                CacheServicer(gatekeeper=served.gatekeeper, publisher=publisher), server
            )
            server.start()
            yield served
            server.stop(0).wait()
    published.close()


def test_a_rebuild_tells_how_far_it_is_and_when_it_is_done(service: Service) -> None:
    *_, last = service.rebuild("OPERATOR")
    assert (last.shards_done, last.shards_total, last.records, last.is_done) == (1, 1, 3, True)
    assert service.gatekeeper.calls == [["OPERATOR", "CacheService/RebuildCache", "", "OK"]]


def test_a_check_tells_what_differs_and_a_repair_mends_it(service: Service) -> None:
    service.published.redis.setrange(status_key(0, 1), 8 * 2, b"\xff")
    service.published.redis.set(status_key(7, 1), "nonsense")
    *_, found = service.check("AUDITOR")
    assert (found.differing_records, list(found.differing_indices)) == (1, [2])
    assert list(found.problems) == ["gatelight:{0}:status:7: does not belong there"]
    assert (found.is_done, found.is_repaired) == (True, False)
    *_, mended = service.check("OPERATOR", repair=True)
    assert (mended.differing_records, mended.is_repaired) == (1, True)
    assert [call[2] for call in service.gatekeeper.calls] == ["", "repair"]
    assert service.published.status.records() == service.published.truth()


@pytest.mark.parametrize("role", ["APP", "CLERK", "APPROVER", "AUDITOR"])
def test_only_operators_rebuild_and_repair(service: Service, role: str) -> None:
    for call in (service.rebuild(role), service.check(role, repair=True)):
        with pytest.raises(grpc.RpcError) as refused:
            list(call)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("role", ["APP", "CLERK", "APPROVER"])
def test_only_operators_and_auditors_check(service: Service, role: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        list(service.check(role))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_second_call_is_refused_while_one_is_under_way_and_a_caller_who_leaves_makes_room(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("issuer.cache_job._REPEAT_S", 0.02)
    monkeypatch.setattr(Publisher, "_advance_job", lambda _: False)  # the job makes no step
    first = service.rebuild("OPERATOR")
    next(first)
    with pytest.raises(grpc.RpcError) as refused:
        list(service.check("OPERATOR"))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "already" in str(refused.value.details())
    monkeypatch.undo()
    monkeypatch.setattr("issuer.cache_job._REPEAT_S", 0.02)
    first.cancel()
    eventually(lambda: service.publisher._job is None)
    *_, last = service.rebuild("OPERATOR")
    assert last.is_done


def test_a_caller_who_leaves_is_recorded_as_such(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("issuer.cache_job._REPEAT_S", 0.02)
    monkeypatch.setattr(Publisher, "_advance_job", lambda _: False)
    call = service.rebuild("OPERATOR")
    next(call)
    call.cancel()
    eventually(lambda: service.gatekeeper.calls[0][3] == "CANCELLED")


def test_the_redis_of_another_issuer_is_a_failed_precondition(service: Service) -> None:
    service.published.redis.set(epoch_key(0), new_epoch(b"stranger", b"e"))
    with pytest.raises(grpc.RpcError) as refused:
        list(service.check("OPERATOR"))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "another issuer" in str(refused.value.details())
