"""A worker of the grpcio engine: `python -m verifier.host.grpcio_worker`, started by the supervisor alone."""

import os
import signal
import sys
import threading

import structlog

from verifier.errors import VerifierError
from verifier.host.engine import inherited_config
from verifier.host.life import die_with_supervisor
from verifier.host.worker import TICK_S, Worker
from verifier.logs import configure_logs
from verifier.server import GrpcServer

_EXIT_SETTINGS = 2

_log = structlog.get_logger("verifier")


def main() -> None:
    """Answer scans until SIGTERM."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    # Ctrl-C is the supervisor's, which tells us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logs()
    config = inherited_config()
    die_with_supervisor(config.life_fd)
    host = f"[{config.host}]" if ":" in config.host else config.host
    try:
        worker = Worker(config)
        server = GrpcServer(
            worker.calls,
            listen=f"{host}:{config.port}",
            limits=config.limits,
            tls=config.tls,
            gate_auth=config.gate_auth,
            has_reflection=config.has_reflection,
        )
    except (VerifierError, OSError) as error:
        _log.error("worker cannot serve", worker=config.number, trouble=str(error))
        sys.exit(_EXIT_SETTINGS)
    worker.set_serving = server.set_serving
    server.start()
    while True:
        worker.tick()
        if stopping.wait(TICK_S):
            break
    worker.drain()
    server.drain(config.grace_s)
    worker.close()
    # Threads that a peer holds up are none to wait for.
    os._exit(0)


if __name__ == "__main__":
    main()
