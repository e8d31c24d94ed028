"""Faults of processes: workers and supervisors that are killed, frozen, stopped or replaced under load."""

import contextlib
import resource
import signal
import socket
from collections.abc import Sequence

import psutil

from loadtest.outages.fault import Fault, Metrics
from loadtest.outages.host_scene import (
    WORKERS,
    HostScene,
    PairScene,
    asked_worker,
    host_scene,
    on_host,
    on_pair,
    pair_scene,
    wait_until,
)
from loadtest.outages.scene import Verifier
from loadtest.outages.signs import PREFIX, below, is_gone
from loadtest.processes import STOP_TIMEOUT_S, ProcessError

# A worker that outlived its supervisor would open gates by a mirror that nobody keeps current.
_WORKERS_GONE_S = 1.0
# Of the descriptors that a worker may have; as the verifier's own rule (health_rules.py).
_DESCRIPTORS_SHARE = 0.9
_IDLE = 64
_idle: list[socket.socket] = []


def _kill_workers(scene: HostScene) -> None:
    for verifier in scene.verifiers:
        asked_worker(verifier).kill()


def _freeze_workers(scene: HostScene) -> None:
    for verifier in scene.verifiers:
        asked_worker(verifier).suspend()


def _all_workers_serve(scene: HostScene) -> None:
    for verifier in scene.verifiers:
        _wait_for_workers(verifier)


def _wait_for_workers(verifier: Verifier) -> None:
    wait_until(
        lambda: verifier.metrics()[f"{PREFIX}workers_serving"] == WORKERS, f"{WORKERS} workers that serve"
    )


def _stop_supervisor(scene: PairScene) -> None:
    """Raise ProcessError unless it ends in good order, its gates asking on meanwhile."""
    process = scene.asked().process
    process.send(signal.SIGTERM)
    if code := process.wait(STOP_TIMEOUT_S):
        raise ProcessError(f"{process.name} ended with {code}:\n{process.tail()}")


def _kill_supervisor(scene: PairScene) -> None:
    """Raise ProcessError when a worker lives on for longer than it may."""
    verifier = scene.asked()
    workers = verifier.workers()
    verifier.process.kill()
    wait_until(
        lambda: not any(map(_lives, workers)), "workers that end with their supervisor", _WORKERS_GONE_S
    )


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        # One that nobody has waited for is over.
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _start_again(scene: PairScene) -> None:
    scene.start_again(*(one for one in scene.verifiers if not one.process.is_running()))


def _roll(scene: HostScene) -> None:
    """Have every worker replaced, and wait until the old ones are gone."""
    before = {worker for verifier in scene.verifiers for worker in verifier.workers()}
    for verifier in scene.verifiers:
        verifier.process.send(signal.SIGHUP)
    for verifier in scene.verifiers:
        _wait_for_new_workers(verifier, before)
        _wait_for_workers(verifier)


def _wait_for_new_workers(verifier: Verifier, before: set[psutil.Process]) -> None:
    wait_until(
        lambda: len(now := set(verifier.workers())) == WORKERS and not now & before, "workers that are new"
    )


def _exhaust_descriptors(scene: HostScene) -> None:
    """Let workers have no more files than now, and have many gates come."""
    for verifier in scene.verifiers:
        _exhaust(verifier)


def _exhaust(verifier: Verifier) -> None:
    for worker in verifier.workers():
        _, hard = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (worker.num_fds(), hard))
    host, _, port = verifier.address.rpartition(":")
    for _ in range(_IDLE):
        idle = socket.socket()
        _idle.append(idle)
        idle.setblocking(False)
        idle.connect_ex((host, int(port)))


def _give_descriptors(scene: HostScene) -> None:
    while _idle:
        _idle.pop().close()
    for verifier in scene.verifiers:
        for worker in verifier.workers():
            _, hard = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (hard, hard))


def _are_descriptors_few(metrics: Metrics) -> bool:
    limit = metrics.get(f"{PREFIX}descriptors_limit", 0.0)
    return metrics.get(f"{PREFIX}descriptors_open", 0.0) > _DESCRIPTORS_SHARE * limit


def _nothing(scene: HostScene) -> None:
    """Leave it as it is."""


FAULTS: Sequence[Fault] = (
    Fault(
        "worker-killed",
        "kill -9 of the worker that the gates ask",
        on_host(_kill_workers),
        on_host(_all_workers_serve),
        below("workers_serving", WORKERS),
        needs=host_scene,
    ),
    Fault(
        "worker-frozen",
        "SIGSTOP of the worker that the gates ask",
        on_host(_freeze_workers),
        on_host(_all_workers_serve),
        below("workers_serving", WORKERS),
        needs=host_scene,
    ),
    Fault(
        "rolling-restart",
        "SIGHUP: every worker is replaced",
        on_host(_roll),
        on_host(_nothing),
        needs=host_scene,
    ),
    Fault(
        "supervisor-stopped",
        "SIGTERM of a verifier, another one beside it",
        on_pair(_stop_supervisor),
        on_pair(_start_again),
        is_gone,
        needs=pair_scene,
        is_in_turn=True,
    ),
    Fault(
        "supervisor-killed",
        "kill -9 of a supervisor, another verifier beside it",
        on_pair(_kill_supervisor),
        on_pair(_start_again),
        is_gone,
        needs=pair_scene,
        is_in_turn=True,
    ),
    Fault(
        "descriptors-exhausted",
        "a verifier may open no file any more, and 64 connections come",
        on_host(_exhaust_descriptors),
        on_host(_give_descriptors),
        _are_descriptors_few,
        needs=host_scene,
    ),
)
