"""How a worker of the grpcio engine ends."""

import threading
from typing import Any, cast

from verifier.host.grpcio_worker import finish

_TIMEOUT_S = 10


class FakeWorker:
    """A worker that says when it has ticked twice."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.ticked_twice = threading.Event()

    def drain(self) -> None:
        self.events.append("drain")

    def tick(self) -> None:
        self.events.append("tick")
        if self.events.count("tick") == 2:
            self.ticked_twice.set()

    def close(self) -> None:
        self.events.append("close")


class FakeServer:
    """A server with calls under way until the worker has ticked twice."""

    def __init__(self, worker: FakeWorker) -> None:
        self._worker = worker
        self.was_ticked = False

    def drain(self, grace_s: float) -> None:
        self.was_ticked = self._worker.ticked_twice.wait(grace_s)


def test_a_worker_takes_what_is_published_until_its_last_call_is_answered() -> None:
    worker = FakeWorker()
    server = FakeServer(worker)
    finish(cast("Any", worker), cast("Any", server), _TIMEOUT_S)
    assert server.was_ticked
    assert worker.events[0] == "drain"
    assert worker.events[-1] == "close"
