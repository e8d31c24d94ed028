"""Envoy's admin interface on its Unix socket: what we ask of it."""

import contextlib
import http.client
import json
import socket

_TIMEOUT_S = 1.0
_LISTENS = "listener_manager.workers_started"
_CONNECTIONS = "http.verifier.downstream_cx_active"
_UNDER_WAY = "http.verifier.downstream_rq_active"
# What is kept of Envoy's thousands of statistics.
STATS = (_LISTENS, _CONNECTIONS, _UNDER_WAY)


class AdminError(Exception):
    """Envoy does not answer, or not as expected."""


class Admin:
    """Asks one Envoy; every call raises AdminError, and takes a second at most."""

    def __init__(self, path: str) -> None:
        """`path` is the socket's."""
        self._path = path

    def listens(self) -> bool:
        """Tell whether Envoy takes connections."""
        return self._stat(_LISTENS) > 0

    def connections(self) -> int:
        """Return how many connections there are."""
        return self._stat(_CONNECTIONS)

    def calls_under_way(self) -> int:
        """Return how many calls and streams there are."""
        return self._stat(_UNDER_WAY)

    def drain(self) -> None:
        """Let Envoy take no new connections, and tell those that it has, with the next answer, to end."""
        self._ask("POST", "/drain_listeners?graceful&skip_exit")

    def _stat(self, name: str) -> int:
        try:
            stats = json.loads(self._ask("GET", f"/stats?format=json&filter=^{name}$"))["stats"]
            return sum(int(stat["value"]) for stat in stats if stat.get("name") == name)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise AdminError("expected statistics in JSON") from None

    def _ask(self, method: str, path: str) -> bytes:
        connection = _Connection(self._path)
        try:
            with contextlib.closing(connection):
                connection.request(method, path)
                response = connection.getresponse()
                content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise AdminError(f"no answer: {type(error).__name__}") from None
        if response.status != http.client.OK:
            raise AdminError(f"expected status 200, got {response.status}")
        return content


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("envoy", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)
