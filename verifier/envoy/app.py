"""What runs inside Envoy: pyvoy imports this module and serves `app`.

The worker is built when ASGI's lifespan begins, before Envoy listens, and let go of when it ends. Envoy does
not listen when that fails: the process ends with an error, and the supervisor sees it.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable

import structlog

from verifier.envoy import health, reflection
from verifier.envoy.admin import Admin, AdminError
from verifier.envoy.asgi import SERVICE, GrpcApplication
from verifier.envoy.asgi_types import Receive, Scope, Send
from verifier.envoy.bootstrap import admin_socket
from verifier.envoy.health import Health
from verifier.host.engine import WORKER_FD_VARIABLE, inherited_config
from verifier.host.life import die_with_supervisor
from verifier.host.worker import TICK_S, Worker
from verifier.logs import configure_logs, finish_logs, where_raised
from verifier.tracing import Tracing, open_tracing

_LISTEN_LOOK_S = 0.01

_log = structlog.get_logger("verifier")


class App:
    """The ASGI application: its lifespan is the worker's."""

    # Called as it is, without another coroutine around the one that answers.
    _asgi_single_callable = True

    def __init__(self) -> None:
        self._application: GrpcApplication | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request, or keep the worker while Envoy runs."""
        if self._application is not None and scope["type"] == "http":
            return self._application(scope, receive, send)
        return self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            worker, application, health_service, tracing = _build()
        except Exception as error:  # noqa: BLE001 - whatever it is, Envoy must not listen
            _log.error("worker cannot serve", error=type(error).__name__, where=where_raised(error))
            finish_logs()
            await send({"type": "lifespan.startup.failed", "message": "the worker cannot serve"})
            return
        self._application = application
        asyncio.get_running_loop().set_exception_handler(_log_unforeseen)
        worker.prepare()
        ticking = asyncio.create_task(_tick(worker, application, health_service))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        application.close()
        worker.close()
        if tracing is not None:
            tracing.close()
        finish_logs()
        await send({"type": "lifespan.shutdown.complete"})


def _build() -> tuple[Worker, GrpcApplication, Health, Tracing | None]:
    config = inherited_config()
    configure_logs("verifier", worker=config.number)
    die_with_supervisor(config.life_fd)
    # What is started from here on is not a worker.
    os.environ.pop(WORKER_FD_VARIABLE, None)
    health_service = Health([SERVICE], slow_peer_s=config.limits.slow_peer_s)
    worker = Worker(config, set_serving=health_service.set_serving)
    tracing = open_tracing(config.trace, service="gatelight-verifier", engine="envoy", worker=config.number)
    application = GrpcApplication(calls=worker.calls, limits=config.limits, tracing=tracing)
    application.add(health.CHECK, health_service.check)
    application.add(health.WATCH, health_service.watch)
    if config.has_reflection:
        for path in reflection.PATHS:
            application.add(path, reflection.answer)
    return worker, application, health_service, tracing


async def _tick(worker: Worker, application: GrpcApplication, health_service: Health) -> None:
    loop = asyncio.get_running_loop()
    # The first tick says that the worker answers, and another one may be ended for it.
    while not await loop.run_in_executor(None, _listens, worker):
        await loop.run_in_executor(None, worker.prepare)
        await asyncio.sleep(_LISTEN_LOOK_S)
    while True:
        # On a thread: a gate list of 16 MiB takes its time to be read.
        await loop.run_in_executor(None, worker.tick)
        if worker.is_to_drain:
            worker.drain()
            health_service.is_draining = True
            application.drain()
        await asyncio.sleep(TICK_S)


def _listens(worker: Worker) -> bool:
    try:
        return Admin(admin_socket(worker.config)).listens()
    except AdminError:
        return False


def _log_unforeseen(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:  # noqa: ARG001
    """Log an error that no call has. A call that is ended while it waits leaves an InvalidStateError."""
    error = context.get("exception")
    if isinstance(error, asyncio.InvalidStateError):
        return
    _log.error("event loop failed", error=type(error).__name__)


app = App()
