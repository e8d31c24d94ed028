"""Where Prometheus asks."""

import contextlib
from collections.abc import Iterator

from prometheus_client import REGISTRY

import verifier.metrics_server
from issuer.errors import SettingsError


@contextlib.contextmanager
def metrics_served(listen: str) -> Iterator[None]:
    """Answer Prometheus on an address (HOST:PORT; empty: none); raises SettingsError."""
    if not listen:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(verifier.metrics_server.metrics_served(listen, REGISTRY))
        except OSError as error:
            raise SettingsError(f"metrics_listen: cannot listen on {listen}: {error.strerror}") from None
        yield
