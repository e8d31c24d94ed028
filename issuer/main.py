"""Run an issuer: wire the parts together, serve, and drain when told to stop."""

import contextlib
import signal
import threading
import time
from pathlib import Path

import structlog

from issuer.assembly import Issuer
from issuer.config import ServeSettings
from issuer.errors import SettingsError
from issuer.folder import Folder, locked
from issuer.metrics_listen import metrics_served
from issuer.unlock import unlock
from verifier.atomic_file import write_atomically

_log = structlog.get_logger("issuer")


def serve(settings: ServeSettings, *, passphrase: bytes) -> None:
    """Serve until SIGTERM or SIGINT; raises SetupError or RegisterUnavailable when it cannot begin."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    folder = Folder(settings.folder)
    with locked(folder):
        unlocked = unlock(folder, passphrase=passphrase, register_url=settings.register_url)
        with (
            contextlib.closing(unlocked.database),
            unlocked.database.lock_for_serving(),
            metrics_served(settings.metrics_listen),
        ):
            issuer = Issuer(settings, unlocked, passphrase=passphrase, clock=time.time)
            _serve_until(stopping, settings, issuer)
    _log.info("issuer stopped")


def _serve_until(stopping: threading.Event, settings: ServeSettings, issuer: Issuer) -> None:
    try:
        issuer.start()
        port = issuer.server.port
        _log.info("issuer is serving", listen=settings.listen, port=port, folder=str(settings.folder))
        if settings.port_file is not None:
            _write_port_file(settings.port_file, port)
        stopping.wait()
    finally:
        _log.info("issuer drains", grace_s=settings.grace_s)
        issuer.stop(settings.grace_s)


def _write_port_file(path: Path, port: int) -> None:
    try:
        write_atomically(path, f"{port}\n".encode())
    except OSError as error:
        raise SettingsError(f"port_file: {path} cannot be written: {error.strerror}") from None
