"""Run an issuer: wire the parts together, serve, and drain when told to stop."""

import contextlib
import signal
import threading
import time
from pathlib import Path

import structlog

from issuer.config import ServeSettings
from issuer.errors import SettingsError
from issuer.folder import Folder, locked
from issuer.publisher import Publisher
from issuer.register.keys import Keys
from issuer.register.outbox import Outbox
from issuer.register.register import Register
from issuer.server import GrpcServer
from issuer.servicer import AdminServicer, IssuerServicer
from issuer.status_writer import StatusWriter
from issuer.unlock import Unlocked, unlock
from verifier.atomic_file import write_atomically
from verifier.wire.key_set import KeySet

# When less of the key set's life is left, somebody has to be told.
_EXPIRY_WARNING_SHARE = 3

_log = structlog.get_logger("issuer")


def serve(settings: ServeSettings, *, passphrase: bytes) -> None:
    """Serve until SIGTERM or SIGINT; raises SetupError or RegisterUnavailable when it cannot begin."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    folder = Folder(settings.folder)
    with locked(folder):
        unlocked = unlock(folder, passphrase=passphrase)
        with contextlib.closing(unlocked.database):
            _warn_of_expiry(unlocked.key_set, time.time())
            _serve_until(stopping, settings, unlocked)
    _log.info("issuer stopped")


def _serve_until(stopping: threading.Event, settings: ServeSettings, unlocked: Unlocked) -> None:
    register = Register(database=unlocked.database, documents=unlocked.documents)
    keys = Keys(unlocked.database)
    publisher = Publisher(
        outbox=Outbox(unlocked.database), keys=keys, writer=_status_writer(settings, unlocked.root_key_id)
    )
    server = GrpcServer(
        issuer=IssuerServicer(
            register=register, keys=keys, key=unlocked.key, key_set=unlocked.key_set, clock=time.time
        ),
        admin=AdminServicer(register=register, publisher=publisher, clock=time.time),
        listen=settings.listen,
        threads=settings.threads,
    )
    publisher.start()
    server.start()
    try:
        _log.info("issuer is serving", listen=settings.listen, port=server.port, folder=str(settings.folder))
        if settings.port_file is not None:
            _write_port_file(settings.port_file, server.port)
        stopping.wait()
    finally:
        _log.info("issuer drains", grace_s=settings.grace_s)
        server.drain(settings.grace_s)
        publisher.stop()


def _status_writer(settings: ServeSettings, root_key_id: bytes) -> StatusWriter:
    try:
        return StatusWriter(settings.redis_url, root_key_id=root_key_id, partitions=settings.partitions)
    except ValueError as error:
        raise SettingsError(f"redis_url: {error}") from None


def _write_port_file(path: Path, port: int) -> None:
    try:
        write_atomically(path, f"{port}\n".encode())
    except OSError as error:
        raise SettingsError(f"port_file: {path} cannot be written: {error.strerror}") from None


def _warn_of_expiry(key_set: KeySet, now: float) -> None:
    left_s = key_set.expires_at - now
    if left_s < (key_set.expires_at - key_set.issued_at) / _EXPIRY_WARNING_SHARE:
        _log.warning(
            "the key set ends soon: no verifier takes a code after that",
            version=key_set.version,
            days_left=round(left_s / 86_400, 1),
        )
