"""Traces for OpenTelemetry: which calls are told of, and how that reaches a collector. Off by default.

Without an endpoint nothing of OpenTelemetry is imported. With one, a call costs a random number more unless
it is chosen: one in 1 / `ratio`, or one whose caller traces it himself (the sampled flag of W3C's
traceparent), of those a few a second. A span is made when its call is over, and a thread of its own exports
it: a queue that is full drops what comes, so that a collector that is away or frozen holds up nothing.

A span says which method took how long and how it ended. Nothing of a scan is in it: no code, no scan_id or
gate_id, no credential. What a caller chooses is the trace that a span belongs to; his tracestate is not kept.
"""

import importlib.util
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

import structlog

from verifier.allowance import Allowance
from verifier.errors import SettingsError

DEFAULT_RATIO = 0.001

# A caller that traces all of its calls gets that many of them; of a worker, and by all callers.
_MOST_FOLLOWED_PER_S = 20.0
# Some megabytes at most.
_QUEUE_SPANS = 2_048
_BATCH_SPANS = 256
_BATCH_PAUSE_MS = 1_000
# Of one export, its repetitions included: there is no hurry, and nobody waits.
_EXPORT_TIMEOUT_S = 5.0
# At the end, for what is still in the queue.
_CLOSE_S = 1.0
_PATH = "/v1/traces"

# https://www.w3.org/TR/trace-context/: version, trace-id, parent-id, flags; later versions may have more.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_MAX_TRACEPARENT_CHARACTERS = 128
_SAMPLED = 1

Attributes = Mapping[str, str | int | float]

_log = structlog.get_logger("gatelight")


@dataclass(frozen=True, slots=True)
class TraceConfig:
    """Where spans go, and how many."""

    endpoint: str  # URL of OTLP over HTTP, with its path
    ratio: float  # 0 to 1


class Parent(NamedTuple):
    """What a span continues; zeros: nothing."""

    trace_id: int
    span_id: int


ROOT = Parent(0, 0)


class Tracing:
    """Tells a collector of what this process does. Threads share it."""

    def __init__(
        self,
        config: TraceConfig,
        *,
        service: str,
        attributes: Attributes | None = None,
        chance: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`attributes` are those of every span. `chance` returns 0 to 1."""
        # Here alone, so that nobody imports it who has no collector.
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

        # It says something of every attempt; we say when they begin to fail, and when no longer.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL + 1)
        self._ratio = config.ratio
        self._attributes = dict(attributes or {})
        self._chance = chance
        self._followed = Allowance(_MOST_FOLLOWED_PER_S, at_once=_MOST_FOLLOWED_PER_S, monotonic=monotonic)
        self._failures = Allowance(1.0, at_once=1.0, monotonic=monotonic)
        self._api = trace
        resource = Resource.create({"service.name": service, "service.version": version("gatelight")})
        # We choose before there is a span.
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _Exporter(OTLPSpanExporter(endpoint=config.endpoint, timeout=_EXPORT_TIMEOUT_S)),  # type: ignore[arg-type]
                max_queue_size=_QUEUE_SPANS,
                schedule_delay_millis=_BATCH_PAUSE_MS,
                max_export_batch_size=_BATCH_SPANS,
            )
        )
        self._tracer = self._provider.get_tracer("gatelight")

    def choose(self, traceparent: str | None) -> Parent | None:
        """Return what the span of a call continues, None for a call that is not told of."""
        if traceparent is None:
            return ROOT if self._chance() < self._ratio else None
        found = None
        if len(traceparent) <= _MAX_TRACEPARENT_CHARACTERS:
            found = _TRACEPARENT.fullmatch(traceparent)
        if found is None:
            return self.choose(None)
        trace_id, span_id, flags = (int(part, 16) for part in found.groups())
        if not (trace_id and span_id):
            return self.choose(None)
        return Parent(trace_id, span_id) if flags & _SAMPLED and self._followed.take() else None

    def tell(
        self,
        name: str,
        parent: Parent = ROOT,
        *,
        begun_ns: int,
        attributes: Attributes,
        is_call: bool = True,
        has_failed: bool = False,
    ) -> None:
        """Make the span of what began at `begun_ns` (monotonic clock) and is over now. Never raises."""
        try:
            self._tell(name, parent, begun_ns, attributes, is_call=is_call, has_failed=has_failed)
        except Exception as error:  # noqa: BLE001 - no fault of a library's ends a call
            _log.error("a span could not be made", error=type(error).__name__)

    def step(self, name: str, step: Callable[[], None], *, done: Callable[[], int]) -> Callable[[], None]:
        """Return a step of a loop, told of when it failed or did something: `done` returns another value.

        Looks that find nothing new are not worth a span.
        """

        def told() -> None:
            before, begun_ns = done(), time.monotonic_ns()
            try:
                step()
            except Exception as error:
                if self._failures.take():
                    attributes = {"error.type": type(error).__name__}
                    self.tell(name, begun_ns=begun_ns, attributes=attributes, is_call=False, has_failed=True)
                raise
            if done() != before:
                self.tell(name, begun_ns=begun_ns, attributes={}, is_call=False)

        return told

    def close(self) -> None:
        """Export what is left, for a second at most."""
        closing = threading.Thread(target=self._provider.shutdown, name="tracing ends", daemon=True)
        closing.start()
        closing.join(_CLOSE_S)

    def _tell(
        self,
        name: str,
        parent: Parent,
        begun_ns: int,
        attributes: Attributes,
        *,
        is_call: bool,
        has_failed: bool,
    ) -> None:
        api = self._api
        context: Any = None
        if parent is not ROOT:
            flags = api.TraceFlags(api.TraceFlags.SAMPLED)
            remote = api.SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
            context = api.set_span_in_context(api.NonRecordingSpan(remote))
        # What it took by the monotonic clock, and when it ended by the machine's.
        ended_ns = time.time_ns()
        span = self._tracer.start_span(
            name,
            context=context,
            kind=api.SpanKind.SERVER if is_call else api.SpanKind.INTERNAL,
            attributes={**self._attributes, **attributes},
            start_time=ended_ns - (time.monotonic_ns() - begun_ns),
        )
        if has_failed:
            span.set_status(api.StatusCode.ERROR)
        span.end(ended_ns)


class _Exporter:
    """Says when an exporter begins to fail, and when it has recovered. In the form of SpanExporter."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self._fails = False

    def export(self, spans: Any) -> Any:
        result = self._exporter.export(spans)
        fails = result.name != "SUCCESS"
        if fails != self._fails:
            self._fails = fails
            if fails:
                _log.warning("spans do not reach the collector, and are dropped")
            else:
                _log.info("spans reach the collector again")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return bool(self._exporter.force_flush(timeout_millis))


def open_tracing(config: TraceConfig | None, *, service: str, **attributes: str | int) -> Tracing | None:
    """Return what tells of a service, None without a configuration; `attributes` are of every span."""
    if config is None:
        return None
    named = {f"gatelight.{name}": value for name, value in attributes.items()}
    return Tracing(config, service=service, attributes=named)


def read_trace_config(endpoint: str, ratio: float) -> TraceConfig | None:
    """Return what the settings say, None for no traces; raises SettingsError."""
    if not endpoint:
        return None
    url = _read_url(endpoint)
    if url is None:
        raise SettingsError("--trace-endpoint: expected a URL, such as http://127.0.0.1:4318")
    if "@" in url.netloc:  # it would be in logs
        raise SettingsError("--trace-endpoint: no password in the URL: set OTEL_EXPORTER_OTLP_HEADERS")
    if not _has_exporter():
        raise SettingsError("--trace-endpoint: OpenTelemetry is missing: install gatelight[otel]")
    if url.path in ("", "/"):
        endpoint = url._replace(path=_PATH).geturl()
    return TraceConfig(endpoint, ratio)


def _read_url(endpoint: str) -> SplitResult | None:
    try:
        url = urlsplit(endpoint)
        is_sound = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return None
    return url if is_sound else None


def _has_exporter() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
