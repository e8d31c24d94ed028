"""A worker of the grpcio engine: `python -m verifier.host.grpcio_worker`, started by the supervisor alone."""

import os
import signal
import sys
import threading

import structlog

from verifier.errors import VerifierError
from verifier.host.engine import inherited_config
from verifier.host.life import die_with_supervisor
from verifier.host.signals import Signals
from verifier.host.worker import TICK_S, Worker
from verifier.logs import configure_logs, finish_logs, where_raised
from verifier.server import GrpcServer
from verifier.tracing import open_tracing

_EXIT_SETTINGS = 2

_log = structlog.get_logger("verifier")


def main() -> None:
    """Answer scans until SIGTERM."""
    # A thread that dies may be the one of grpcio's that serves: the supervisor starts a worker that lives.
    threading.excepthook = _end
    # Ctrl-C is the supervisor's, which tells us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Signals(signal.SIGTERM) as signals:
        _serve(signals)
    finish_logs()
    # Threads that a peer holds up are none to wait for.
    os._exit(0)


def _end(died: threading.ExceptHookArgs) -> None:
    error = died.exc_value
    where = where_raised(error) if isinstance(error, Exception) else ""
    _log.error("a thread of the worker died", error=died.exc_type.__name__, where=where)
    finish_logs()
    os._exit(1)


def _serve(signals: Signals) -> None:
    config = inherited_config()
    configure_logs("verifier", worker=config.number)
    die_with_supervisor(config.life_fd)
    host = f"[{config.host}]" if ":" in config.host else config.host
    try:
        worker = Worker(config)
        tracing = open_tracing(
            config.trace, service="gatelight-verifier", engine="grpcio", worker=config.number
        )
        server = GrpcServer(
            worker.calls,
            listen=f"{host}:{config.port}",
            limits=config.limits,
            tls=config.tls,
            gate_auth=config.gate_auth,
            has_reflection=config.has_reflection,
            tracing=tracing,
        )
    except (VerifierError, OSError) as error:
        _log.error("worker cannot serve", worker=config.number, trouble=str(error))
        sys.exit(_EXIT_SETTINGS)
    worker.set_serving = server.set_serving
    worker.prepare()
    server.start()
    while not signals.stops:
        worker.tick()
        signals.wait(TICK_S)
    finish(worker, server, config.grace_s)
    if tracing is not None:
        tracing.close()


def finish(worker: Worker, server: GrpcServer, grace_s: float) -> None:
    """Answer what is under way, for `grace_s` seconds at most, and let go of everything.

    Ticks go on meanwhile: an answer of the last second obeys the key set and the gate list of that second.
    """
    worker.drain()
    draining = threading.Thread(target=server.drain, args=(grace_s,), name="drain", daemon=True)
    draining.start()
    while draining.is_alive():
        worker.tick()
        draining.join(TICK_S)
    worker.close()


if __name__ == "__main__":
    main()
