"""What the issuer tells of its calls: to Prometheus by method and code, and as spans to a collector."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from issuer.register.database import Database
from issuer.v1 import admin_pb2, issuer_pb2
from tests.eventually import eventually
from tests.issuer.serving import TIMEOUT_S, Serving
from tests.verifier.collector import Collector, collector
from verifier.tracing import TraceConfig, Tracing

_TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def collecting() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture
def serving(sqlite_database: Database, collecting: Collector) -> Iterator[Serving]:
    tracing = Tracing(TraceConfig(collecting.url + "/v1/traces", 1), service="gatelight-issuer")
    serving = Serving(sqlite_database, tracing=tracing)
    yield serving
    serving.stop()
    tracing.close()


def _calls(method: str, code: str) -> float:
    labels = {"method": method, "code": code}
    return REGISTRY.get_sample_value("gatelight_issuer_calls_total", labels) or 0


def test_each_call_is_counted_by_its_end_and_told_of_whoever_ended_it(
    serving: Serving, collecting: Collector
) -> None:
    get, enrol, key_set = "AdminService/GetStatus", "AdminService/EnrolHolders", "IssuerService/GetKeySet"
    ends = [
        (get, "OK"), (get, "INTERNAL"), (get, "PERMISSION_DENIED"), (enrol, "UNAUTHENTICATED"),
        (key_set, "OK"), ("AdminService/ImportHolders", "OK"), ("IssuerService/IssueBundles", "CANCELLED"),
    ]  # fmt: skip
    before = {end: _calls(*end) for end in ends}
    clerk, auditor = serving.client("clerk"), serving.client("auditor")
    clerk.admin.GetStatus(admin_pb2.GetStatusRequest(holder_id=4_711))
    clerk.issuer.GetKeySet(issuer_pb2.GetKeySetRequest())
    list(clerk.admin.ImportHolders(iter([admin_pb2.ImportHoldersRequest()])))
    bundles = clerk.issuer.IssueBundles(issuer_pb2.IssueBundlesRequest())
    next(iter(bundles))
    bundles.cancel()
    with pytest.raises(grpc.RpcError):
        auditor.admin.GetStatus(admin_pb2.GetStatusRequest(holder_id=4_711))
    with pytest.raises(grpc.RpcError):
        serving.client().admin.EnrolHolders(admin_pb2.EnrolHoldersRequest())
    serving.error = RuntimeError("王小秀 is in here")
    with pytest.raises(grpc.RpcError):
        clerk.admin.GetStatus(admin_pb2.GetStatusRequest(holder_id=4_711))
    eventually(lambda: all(_calls(*end) == before[end] + 1 for end in ends))
    took = REGISTRY.get_sample_value("gatelight_issuer_call_seconds_count", {"method": get})
    assert took is not None
    assert took >= 3

    def told() -> set[tuple[str, str]]:
        return {(span["name"], span["gatelight.status"]) for span in collecting.spans()}

    eventually(lambda: told() == {(f"issuer.v1.{method}", code) for method, code in ends})
    sent = b"".join(collecting.bodies)
    assert not [secret for secret in ("王小秀", "holder 4711", "4711") if secret.encode() in sent]


def test_who_calls_what_does_not_exist_writes_no_label(serving: Serving) -> None:
    with grpc.insecure_channel(serving.address) as channel:
        for path in (
            "/issuer.v1.AdminService/FreeText",
            "/free/text/with/more",
            "/issuer.v1.FreeText/GetStatus",
        ):
            call: Any = channel.unary_unary(path)
            with pytest.raises(grpc.RpcError):
                call(b"", timeout=TIMEOUT_S)
    names = {
        sample.labels.get("method", "")
        for family in REGISTRY.collect()
        for sample in family.samples
        if family.name.startswith("gatelight_issuer_call")
    }
    assert not [name for name in names if "ree" in name.replace("Agree", "")]


def test_a_call_continues_its_callers_trace(serving: Serving, collecting: Collector) -> None:
    metadata = [("traceparent", _TRACEPARENT), ("authorization", f"Bearer {serving.staff.keys['clerk']}")]
    with grpc.insecure_channel(serving.address) as channel:
        call: Any = channel.unary_unary("/issuer.v1.IssuerService/GetKeySet")
        call(b"", metadata=metadata, timeout=TIMEOUT_S)
    span = eventually(lambda: (collecting.spans() or [{}])[0])
    assert span["trace_id"] == _TRACEPARENT.split("-")[1]
    assert serving.staff.keys["clerk"].encode() not in b"".join(collecting.bodies)
