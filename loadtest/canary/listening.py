"""What servers are told by others, written down: every command to Redis, every trace to a collector."""

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import TracebackType
from typing import Self


class RedisMonitor:
    """Hears every command that Redis gets."""

    def __init__(self, port: int) -> None:
        self._heard: list[bytes] = []
        self._connection = socket.create_connection(("127.0.0.1", port))
        self._connection.sendall(b"MONITOR\r\n")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> bytes:
        """Stop, and return what was heard."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()
        return b"".join(self._heard)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while content := self._connection.recv(1 << 20):
                self._heard.append(content)


class Collector:
    """Takes what OpenTelemetry's exporters send over HTTP."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", "0"))
                heard.append(str(self.headers).encode() + self.rfile.read(length))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
