"""Run a verifier: wire the parts together, serve, and drain when told to stop."""

import signal
import threading
import time
from pathlib import Path

import structlog

from verifier.atomic_file import write_atomically
from verifier.config import VerifierSettings, read_root_key
from verifier.errors import NotReady, SettingsError
from verifier.key_set_follower import REFRESH_S, KeySetFollower, KeySets
from verifier.loop import Loop
from verifier.mirror import HeapTable, Mirror
from verifier.mirror_follower import MirrorFollower
from verifier.server import GrpcServer, Limits
from verifier.service import Verifier
from verifier.status_reader import StatusReader
from verifier.verdict import Policy
from verifier.wire.cose import key_id
from verifier.wire.ed25519 import VerifyingKey

_HEALTH_INTERVAL_S = 0.1
# Short enough to be back soon, long enough not to burden a Redis that is just starting.
_RETRY_S = 0.2

_log = structlog.get_logger("verifier")


def serve(settings: VerifierSettings) -> None:
    """Serve until SIGTERM or SIGINT; raises SettingsError when it cannot begin."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    root = read_root_key(settings.root_key)
    key_sets = KeySets(root)
    mirror = Mirror(partitions=settings.partitions, monotonic=time.monotonic)
    policy = Policy(settings.max_test_age_s, settings.max_status_age_s)
    verifier = Verifier(key_sets=key_sets, mirror=mirror, policy=policy, clock=time.time)
    loops = _loops(settings, root, key_sets, mirror)
    limits = Limits(settings.threads, settings.max_backlog, settings.max_streams)
    server = GrpcServer(verifier, listen=settings.listen, limits=limits)

    for loop in loops:
        loop.start()
    server.start()
    _log.info("verifier listens", listen=settings.listen, port=server.port)
    try:
        if settings.port_file is not None:
            _write_port_file(settings.port_file, server.port)
        _tell_health_until(stopping, server, verifier)
    finally:
        _log.info("verifier drains", grace_s=settings.grace_s)
        server.drain(settings.grace_s)
        for loop in loops:
            loop.stop()
    _log.info("verifier stopped")


def _write_port_file(path: Path, port: int) -> None:
    try:
        write_atomically(path, f"{port}\n".encode())
    except OSError as error:
        raise SettingsError(f"--port-file: {path} cannot be written: {error.strerror}") from None


def _loops(settings: VerifierSettings, root: VerifyingKey, key_sets: KeySets, mirror: Mirror) -> list[Loop]:
    """Return what keeps key set and mirror current, one loop for each partition."""
    try:
        key_set_follower = KeySetFollower(redis_url=settings.redis_url, key_sets=key_sets)
        readers = [
            StatusReader(
                settings.redis_url,
                root_key_id=key_id(root.public_key),
                partition=number,
                partitions=settings.partitions,
            )
            for number in range(settings.partitions)
        ]
    except ValueError as error:
        raise SettingsError(f"--redis-url: {error}") from None
    mirror_followers = [
        MirrorFollower(
            reader=reader,
            mirror=partition,
            monotonic=time.monotonic,
            new_table=lambda: HeapTable(settings.mirror_capacity),
        )
        for reader, partition in zip(readers, mirror.partitions, strict=True)
    ]
    # A step of the mirror waits for the feed itself, so it needs no pause.
    return [
        Loop(key_set_follower.refresh, name="key set", pause_s=REFRESH_S, retry_s=REFRESH_S),
        *(Loop(one.step, name="mirror", pause_s=0, retry_s=_RETRY_S) for one in mirror_followers),
    ]


def _tell_health_until(stopping: threading.Event, server: GrpcServer, verifier: Verifier) -> None:
    missing: str | None = "nothing was checked yet"
    while not stopping.wait(_HEALTH_INTERVAL_S):
        was_missing = missing
        missing = _what_is_missing(verifier)
        if missing == was_missing:
            continue
        server.set_serving(missing is None)
        if missing is None:
            _log.info("verifier is serving")
        else:
            _log.warning("verifier is not serving", missing=missing)


def _what_is_missing(verifier: Verifier) -> str | None:
    try:
        verifier.check_ready()
    except NotReady as error:
        return str(error)
    return None
