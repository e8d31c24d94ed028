"""A real supervisor with real workers: what becomes of them when one dies, is renewed, or is left alone."""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from loadtest.processes import ServerProcess
from loadtest.stage import wait_until_serving
from tests.eventually import eventually
from tests.signer import Signer
from tests.verifier.status_in_redis import StatusInRedis
from verifier.client import VerifierClient
from verifier.journal.shipper import Shipper
from verifier.wire.status_store import KEY_SET_KEY

_WORKERS = 2


class Supervised:
    """A verifier with two workers."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        (folder / "root.pub").write_bytes(Signer().root_pem)
        self.configure()
        port_file = folder / "port"
        command = [sys.executable, "-m", "verifier", "serve", "--config", str(folder / "verifier.toml")]
        command += ["--redis-url", redis_url, "--listen", "127.0.0.1:0", "--port-file", str(port_file)]
        self.server = ServerProcess("verifier", command, folder=folder)
        self.address = f"127.0.0.1:{self.server.wait_for_file(port_file)}"
        wait_until_serving(self.address, self.server)

    def configure(self, **settings: str | float) -> None:
        """Write the file of --config."""
        said = {"root_key": str(self.folder / "root.pub"), "engine": "grpcio", "workers": _WORKERS}
        said |= {"journal": str(self.folder / "journal"), **settings}
        lines = [
            f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"
            for name, value in said.items()
        ]
        (self.folder / "verifier.toml").write_text("\n".join(lines))

    def workers(self) -> set[psutil.Process]:
        return set(psutil.Process(self.server.pid).children())

    def log_of(self, event: str) -> list[str]:
        return [line for line in self.server.log.read_text().splitlines() if f'"{event}"' in line]


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str) -> Iterator[Supervised]:
    with redis.Redis.from_url(shared_redis_url) as client:
        StatusInRedis(client).rebuild(b"e1", {1: 5})
        client.set(KEY_SET_KEY, Signer().key_set(issued_at=int(time.time())))
    running = Supervised(tmp_path_factory.mktemp("supervised"), shared_redis_url)
    with running.server:
        yield running


def _answers(supervised: Supervised) -> bool:
    with VerifierClient(supervised.address, gate_id="north") as client:
        return bool(client.verify(b"a parking ticket"))


def test_a_killed_worker_is_replaced_and_the_gates_do_not_notice(supervised: Supervised) -> None:
    before = supervised.workers()
    assert len(before) == _WORKERS
    killed = before.pop()
    killed.kill()
    assert _answers(supervised)
    eventually(lambda: len(supervised.workers() - {killed}) == _WORKERS)
    eventually(lambda: len(supervised.log_of("worker is ready")) == _WORKERS + 1)
    assert before < supervised.workers()
    assert _answers(supervised)
    assert not _is_free(supervised.folder / "journal")


def test_a_rolling_restart_renews_every_worker_and_names_what_it_cannot_take_up(
    supervised: Supervised,
) -> None:
    before = supervised.workers()
    supervised.configure(threads=4, mirror_capacity=4_096)
    supervised.server.send(signal.SIGHUP)
    true_line = "every worker runs with the new configuration except mirror_capacity: restart for it"
    eventually(lambda: supervised.log_of(true_line))
    eventually(lambda: len(supervised.workers()) == _WORKERS)
    assert not before & supervised.workers()
    (warning,) = supervised.log_of("settings have changed that need a restart")
    assert '["mirror_capacity"]' in warning
    assert _answers(supervised)


def test_a_configuration_that_cannot_be_read_changes_nothing(supervised: Supervised) -> None:
    before = supervised.workers()
    supervised.configure(treads=4)
    supervised.server.send(signal.SIGHUP)
    (error,) = eventually(lambda: supervised.log_of("the configuration cannot be used, the old one holds"))
    assert "did you mean threads?" in error
    assert supervised.workers() == before
    assert _answers(supervised)


def test_the_workers_of_a_killed_supervisor_die_with_it(supervised: Supervised) -> None:
    workers = supervised.workers()
    supervised.server.kill()
    eventually(lambda: all(_has_ended(worker) for worker in workers))
    assert _is_free(supervised.folder / "journal")


def _is_free(journal: Path) -> bool:
    shipper = Shipper(journal, redis_url="redis://127.0.0.1:1/0")
    try:
        return shipper.take_folder()
    finally:
        shipper.close()


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # of which nobody has taken notice yet
    except psutil.NoSuchProcess:
        return True
