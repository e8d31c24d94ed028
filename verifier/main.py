"""Run a verifier: wire the parts together, serve, and drain when told to stop.

This is the supervisor's process. It answers no scan, and knows nothing of gRPC.
"""

import contextlib
import signal
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import structlog

from verifier.atomic_file import write_atomically
from verifier.config import (
    VerifierSettings,
    changes_needing_restart,
    read_root_key,
    reloaded,
)
from verifier.errors import SettingsError
from verifier.host.certificate_life import CertificateLife
from verifier.host.descriptors import raise_descriptor_limit, say_if_descriptors_are_few
from verifier.host.engines import EngineName, choose_engine
from verifier.host.following import Following
from verifier.host.life import life
from verifier.host.metrics import Gauge, Skew, VerifierCollector, serve_metrics
from verifier.host.port import HeldPort, hold_port
from verifier.host.run_folder import run_folder
from verifier.host.shared import SharedMemory
from verifier.host.signals import Signals
from verifier.host.supervisor import Configure, Reloaded, Supervisor
from verifier.host.worker_config import GateAuth, TlsFiles, WorkerConfig
from verifier.host.workers import Workers
from verifier.logs import where_raised
from verifier.tls import read_certificates, read_pair
from verifier.tracing import open_tracing
from verifier.wire.ed25519 import VerifyingKey

_log = structlog.get_logger("verifier")


def serve(settings: VerifierSettings, *, load: Callable[[], VerifierSettings]) -> None:
    """Serve until SIGTERM or SIGINT. `load` reads the settings anew.

    A second signal ends the process at once, by that signal. Raises SettingsError when it cannot begin, and
    WorkersFailed when workers die again and again.
    """
    # A second one waits for no disk and no Redis; workers die with their supervisor.
    with Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, is_second_final=True) as signals:
        _serve(settings, load, signals)
    _log.info("verifier stopped")


def _serve(settings: VerifierSettings, load: Callable[[], VerifierSettings], signals: Signals) -> None:
    raise_descriptor_limit()
    say_if_descriptors_are_few(settings.max_connections)
    root = read_root_key(settings.root_key)
    _check_tls(settings.tls)
    port = hold_port(settings.listen)
    rows = settings.workers + 1  # a place more, for the successor in a rolling restart
    shared = SharedMemory.create(partitions=settings.partitions, capacity=settings.mirror_capacity, rows=rows)
    with contextlib.closing(port.held), run_folder() as folder, life() as life_fd:
        tracing = open_tracing(settings.trace, service="gatelight-verifier", part="supervisor")
        following = Following(
            shared,
            root=root,
            redis_url=settings.redis_url,
            journal=settings.journal_folder,
            state=settings.state_folder,
            state_max_age_s=settings.state_max_age_s,
            is_state_asked_for=settings.state is not None,
            tracing=tracing,
            is_gate_list_needed=settings.effective_gate_auth is not GateAuth.NONE,
        )
        configure = partial(
            _worker_config, root=root, port=port, folder=folder, shared_fd=shared.descriptor, life_fd=life_fd
        )
        engine = choose_engine(settings.engine)
        _say_if_no_web_page_may_call(settings, engine.name)
        workers = Workers(
            engine,
            shared.rows,
            count=settings.workers,
            configure=partial(configure, settings),
            monotonic=time.monotonic,
        )
        skew = Skew()
        certificate = CertificateLife(lambda: workers.configure)
        certificate.take(workers.configure)
        outdated = Gauge(
            "workers_outdated",
            "Workers that run with another configuration than the newest one.",
            lambda: workers.outdated,
        )
        collector = VerifierCollector(
            shared.rows,
            restarts=lambda: workers.restarted,
            skew=skew,
            gauges=[
                *following.gauges(),
                outdated,
                Gauge("workers", "Workers that there are to be.", lambda: settings.workers),
                Gauge(
                    "backlog_limit",
                    "Calls that may wait at all workers together.",
                    lambda: settings.workers * workers.configure(0).limits.max_backlog,
                ),
                Gauge(
                    "tls_certificate_left_seconds",
                    "Until the certificate that workers show ends.",
                    certificate.left_s,
                ),
            ],
            health=following.health,
            about={"version": version("gatelight"), "engine": engine.name},
        )
        supervisor = Supervisor(
            workers,
            signals=signals,
            reload=_Reload(
                settings,
                load=load,
                configure=configure,
                in_force=lambda: workers.configure,
                on_taken=certificate.take,
                engine=engine.name,
            ),
            on_ready=partial(_ready, settings, port),
            skew=skew,
            rows=shared.rows,
        )
        with contextlib.ExitStack() as at_end:
            if tracing is not None:
                at_end.callback(tracing.close)
            with serve_metrics(settings.metrics_listen, collector):
                following.start()
                at_end.callback(following.finish)
                supervisor.run()


class _Reload:
    """Reads the settings anew, and says what of them needs more than that."""

    def __init__(
        self,
        settings: VerifierSettings,
        *,
        load: Callable[[], VerifierSettings],
        configure: Callable[[VerifierSettings, int], WorkerConfig],
        in_force: Callable[[], Configure],
        on_taken: Callable[[Configure], None],
        engine: str,
    ) -> None:
        """`in_force` returns what configures a worker that starts now, `on_taken` is told what will; `engine`
        is the name of its engine.
        """
        self._settings = settings
        self._load = load
        self._configure = configure
        self._in_force = in_force
        self._on_taken = on_taken
        self._engine = engine
        self._offered: tuple[Configure, VerifierSettings] | None = None

    def __call__(self) -> Reloaded | None:
        """Return what configures workers from now on; None, with a log line, for settings of no use."""
        # Compared is with what workers run with, and not with what may have failed to run.
        if self._offered is not None and self._in_force() is self._offered[0]:
            self._settings = self._offered[1]
        try:
            new = self._load()
            merged = reloaded(self._settings, new)
            _check_tls(merged.tls)
        except SettingsError as error:
            _log.error("the configuration cannot be used, the old one holds", trouble=str(error))
            return None
        except Exception as error:  # noqa: BLE001 - whatever lies in the files, the workers go on
            _log.error(
                "the configuration cannot be used, the old one holds",
                error=type(error).__name__,
                where=where_raised(error),
            )
            return None
        if names := changes_needing_restart(self._settings, new):
            _log.warning("settings have changed that need a restart", settings=names)
        say_if_descriptors_are_few(merged.max_connections)
        _say_if_no_web_page_may_call(merged, self._engine)
        self._offered = partial(self._configure, merged), merged
        self._on_taken(self._offered[0])
        return Reloaded(self._offered[0], names)


def _worker_config(
    settings: VerifierSettings,
    number: int,
    *,
    root: VerifyingKey,
    port: HeldPort,
    folder: Path,
    shared_fd: int,
    life_fd: int,
) -> WorkerConfig:
    return WorkerConfig(
        number=number,
        host=port.host,
        port=port.port,
        root_public_key=root.public_key,
        redis_url=settings.redis_url,
        max_workers=settings.workers + 1,
        policy=settings.policy,
        gate_auth=settings.effective_gate_auth,
        tls=settings.tls,
        journal=settings.journal_folder,
        journal_limit_bytes=settings.journal_limit_mib << 20,
        limits=settings.limits,
        has_reflection=settings.reflection,
        grace_s=settings.grace_s,
        run_folder=folder,
        shared_fd=shared_fd,
        life_fd=life_fd,
        trace=settings.trace,
        cors_origins=tuple(origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()),
    )


def _check_tls(tls: TlsFiles | None) -> None:
    """Raise SettingsError for files that no worker could use."""
    if tls is None:
        return
    read_pair(tls.certificate, tls.key)
    if tls.client_ca is not None:
        read_certificates(tls.client_ca)


def _say_if_no_web_page_may_call(settings: VerifierSettings, engine: str) -> None:
    """Log a warning where `auto` has taken the engine that cannot do what was asked for."""
    if settings.cors_origins and engine == EngineName.GRPCIO:
        _log.warning("no web page may call: --cors-origins needs the engine envoy", engine=engine)


def _ready(settings: VerifierSettings, port: HeldPort) -> None:
    _log.info("verifier listens", listen=settings.listen, port=port.port, workers=settings.workers)
    if settings.port_file is None:
        return
    try:
        write_atomically(settings.port_file, f"{port.port}\n".encode())
    except OSError as error:
        raise SettingsError(
            f"--port-file: {settings.port_file} cannot be written: {error.strerror}"
        ) from None
