"""Where Prometheus asks."""

import contextlib
from collections.abc import Iterator

from prometheus_client import start_http_server

from issuer.errors import SettingsError


@contextlib.contextmanager
def metrics_served(listen: str) -> Iterator[None]:
    """Answer Prometheus on an address (HOST:PORT; empty: none); raises SettingsError."""
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"))
    except OSError as error:
        raise SettingsError(f"metrics_listen: cannot listen on {listen}: {error.strerror}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
