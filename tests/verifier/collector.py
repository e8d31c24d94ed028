"""A collector of OpenTelemetry's: it takes OTLP over HTTP, or takes it and never answers."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """What came so far."""

    def __init__(self, *, is_frozen: bool = False) -> None:
        """One that `is_frozen` accepts whatever comes, and answers when the test is over."""
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        self.thaw = threading.Event()
        if not is_frozen:
            self.thaw.set()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                collector.paths.append(self.path)
                collector.thaw.wait(30)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> list[dict[str, Any]]:
        """Return the spans that came: name, ids in hexadecimal, and attributes, the resource's among them."""
        found = []
        for body in list(self.bodies):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                common = _read(resource.resource.attributes)
                found += [
                    {
                        "name": span.name,
                        "trace_id": span.trace_id.hex(),
                        "parent_id": span.parent_span_id.hex(),
                        "took_ms": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
                        "status": span.status.code,
                        **common,
                        **_read(span.attributes),
                    }
                    for scope in resource.scope_spans
                    for span in scope.spans
                ]
        return found


@contextmanager
def collector(*, is_frozen: bool = False) -> Iterator[Collector]:
    """Run one until the end of the block."""
    running = Collector(is_frozen=is_frozen)
    thread = threading.Thread(target=running.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.thaw.set()
        running.server.shutdown()
        running.server.server_close()
        thread.join()


def _read(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
