"""Traces: what is told of, to whom, and that nobody waits for it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import pytest
import structlog
from opentelemetry.sdk.trace.export import SpanExportResult

from tests.eventually import eventually
from tests.verifier.collector import Collector, collector
from tests.verifier.engines.serving import ENGINES, Served, publish, serving, stub
from verifier import tracing as tracing_module
from verifier.errors import SettingsError
from verifier.tracing import ROOT, TraceConfig, Tracing, read_trace_config
from verifier.v1 import verifier_pb2 as pb

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-01"
_CALL = "verifier.v1.VerifierService/"


@pytest.fixture(scope="module")
def collecting() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module", params=ENGINES)
def served(
    request: pytest.FixtureRequest,
    shared_redis_url: str,
    collecting: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """A verifier whose every call is traced."""
    publish(shared_redis_url)
    options = ("--trace-endpoint", collecting.url, "--trace-ratio", "1")
    with serving(request.param, shared_redis_url, tmp_path_factory.mktemp("traced"), *options) as served:
        yield served


@contextmanager
def tracing(
    url: str, *, ratio: float = 1.0, chance: float = 0.5, now: list[float] | None = None
) -> Iterator[Tracing]:
    config = TraceConfig(f"{url}/v1/traces", ratio)
    clock = [0.0] if now is None else now
    with closing(
        Tracing(config, service="test", chance=lambda: chance, monotonic=lambda: clock[0])
    ) as running:
        yield running


def test_calls_arrive_with_the_callers_trace_and_with_nothing_of_the_scan(
    served: Served, collecting: Collector
) -> None:
    scan = served.scan(scan_id="scan-id-of-the-test")
    scan.gate_id = "gate-id-of-the-test"
    with served.channel() as channel:
        gate = stub(channel)
        gate.VerifyCode(scan, metadata=[("traceparent", SAMPLED), ("tracestate", "free=text")])
        gate.VerifyCodes(pb.VerifyCodesRequest(scans=[scan] * 3))
        assert len(list(gate.StreamVerify(iter([pb.StreamVerifyRequest(scan=scan)] * 4)))) == 4
        with pytest.raises(grpc.RpcError):
            gate.VerifyCode(pb.VerifyCodeRequest(qr_text=scan.qr_text))
        gate.VerifyCode(scan, metadata=[("traceparent", SAMPLED[:-2] + "00")])  # the caller says no

    def calls() -> list[dict[str, object]]:
        spans = [one for one in collecting.spans() if one.get("gatelight.engine") == served.engine]
        return spans if len(spans) >= 4 else []

    spans = eventually(calls)
    by_status = {(one["name"], one["gatelight.status"]): one for one in spans}
    assert set(by_status) == {
        (_CALL + "VerifyCode", "OK"),
        (_CALL + "VerifyCodes", "OK"),
        (_CALL + "StreamVerify", "OK"),
        (_CALL + "VerifyCode", "INVALID_ARGUMENT"),
    }
    one = by_status[_CALL + "VerifyCode", "OK"]
    assert (one["trace_id"], one["parent_id"]) == (TRACE_ID, PARENT_ID)
    assert (one["gatelight.verdict"], one["gatelight.worker"]) == ("GREEN", 0)
    assert one["service.name"] == "gatelight-verifier"
    assert 0 <= float(str(one["gatelight.queue_wait_ms"])) <= float(str(one["took_ms"])) < 5_000
    assert by_status[_CALL + "VerifyCodes", "OK"]["gatelight.batch_size"] == 3
    assert by_status[_CALL + "StreamVerify", "OK"]["gatelight.messages"] == 4
    told = b"".join(collecting.bodies)
    for secret in (scan.qr_text, b"GL1:", b"scan-id-of-the-test", b"gate-id-of-the-test", b"free=text"):
        assert secret not in told


def test_what_the_supervisor_does_is_told_of(served: Served, collecting: Collector) -> None:
    def names() -> set[str]:
        return {one["name"] for one in collecting.spans() if one.get("gatelight.part") == "supervisor"}

    assert served.port
    eventually(lambda: {"key set refresh", "mirror load"} <= names())
    assert names() <= {"key set refresh", "gate list refresh", "mirror load", "scan log shipping"}


def test_a_collector_that_never_answers_or_is_not_there_holds_up_nobody_and_takes_no_more_memory() -> None:
    with collector(is_frozen=True) as frozen:
        for url in (frozen.url, "http://127.0.0.1:9"):
            begun_s = time.monotonic()
            with tracing(url) as told:
                for _ in range(3_000):  # more than the queue has room for
                    told.tell("name", begun_ns=time.monotonic_ns(), attributes={})
            # Five seconds is what one export would be waited for.
            assert time.monotonic() - begun_s < 4.5
        assert frozen.bodies


def test_a_collector_that_is_away_is_told_of_when_that_begins_and_when_it_ends() -> None:
    class Exporter:
        result = SpanExportResult.SUCCESS

        def export(self, _spans: object) -> SpanExportResult:
            return self.result

    exporter = Exporter()
    telling = tracing_module._Exporter(exporter)
    with structlog.testing.capture_logs() as lines:
        for result in (0, 1, 1, 1, 0, 0):
            exporter.result = SpanExportResult(result)
            assert telling.export([]) is exporter.result
    assert [line["event"] for line in lines] == [
        "spans do not reach the collector, and are dropped",
        "spans reach the collector again",
    ]


def test_one_in_so_many_is_told_of() -> None:
    with (
        collector() as running,
        tracing(running.url, ratio=0.001, chance=0.00099) as chosen,
        tracing(running.url, ratio=0.001, chance=0.001) as spared,
        tracing(running.url, ratio=0) as never,
    ):
        assert chosen.choose(None) is ROOT
        assert spared.choose(None) is None
        assert never.choose(None) is None
        for nonsense in ("", "00", SAMPLED[:-1], "ff" + SAMPLED[2:], SAMPLED.upper(), SAMPLED * 3):
            assert never.choose(nonsense) is None
        assert never.choose(f"00-{'0' * 32}-{PARENT_ID}-01") is None
        assert never.choose(f"00-{TRACE_ID}-{'0' * 16}-01") is None
        assert never.choose("01" + SAMPLED[2:] + "-more") == (int(TRACE_ID, 16), int(PARENT_ID, 16))


def test_a_caller_that_traces_everything_gets_some_of_it() -> None:
    now = [0.0]
    with collector() as running, tracing(running.url, ratio=0, now=now) as told:

        def followed() -> int:
            return sum(told.choose(SAMPLED) is not None for _ in range(1_000))

        assert followed() == 20
        now[0] = 1.0
        assert followed() == 20


def test_a_step_that_did_nothing_is_not_told_of_and_one_that_fails_is_once_a_second() -> None:
    with collector() as running:
        count = [0]

        def fail() -> None:
            raise OSError("a text with a name in it")

        with tracing(running.url) as told:
            told.step("idle", lambda: None, done=lambda: 0)()
            told.step("busy", lambda: count.append(1), done=lambda: len(count))()
            failing = told.step("failing", fail, done=lambda: 0)
            for _ in range(10):
                with pytest.raises(OSError, match="a text"):
                    failing()
        spans = running.spans()
        assert [(one["name"], one.get("error.type")) for one in spans] == [
            ("busy", None),
            ("failing", "OSError"),
        ]
        assert b"a text" not in b"".join(running.bodies)


@pytest.mark.parametrize(
    ("endpoint", "complaint"),
    [
        ("localhost:4318", "expected a URL"),
        ("http://:4318", "expected a URL"),
        ("http://collector:99999", "expected a URL"),
        ("ftp://collector", "expected a URL"),
        ("http://user:password@collector", "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_an_endpoint_that_is_none_is_refused_without_its_password(endpoint: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as refused:
        read_trace_config(endpoint, 1)
    assert "password@" not in str(refused.value)


def test_the_path_is_that_of_otlp_unless_it_is_given() -> None:
    assert read_trace_config("", 1) is None
    assert read_trace_config("http://c:4318/", 1) == TraceConfig("http://c:4318/v1/traces", 1)
    assert read_trace_config("https://c/otlp/v1/traces", 0) == TraceConfig("https://c/otlp/v1/traces", 0)


def test_nothing_of_opentelemetry_is_loaded_without_an_endpoint_and_no_grpcio_with_one(
    tmp_path: Path,
) -> None:
    script = """
import sys
import verifier.main, verifier.envoy.app, verifier.host.worker
from verifier.tracing import TraceConfig, open_tracing
assert open_tracing(None, service="test") is None
# redis-py loads metrics of OpenTelemetry by itself where they are installed.
ours = ("opentelemetry.exporter", "opentelemetry.sdk.trace", "requests")
assert not [name for name in sys.modules if name.startswith(ours)]
open_tracing(TraceConfig("http://127.0.0.1:9/v1/traces", 1), service="test")
assert "grpc" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
