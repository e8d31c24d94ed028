"""The PostgreSQL of the tests: it works again after anything, and ends with whoever started it."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.eventually import eventually
from tests.issuer.postgres_server import PostgresServer
from tests.running import is_running

_STARTER = """
from tests.issuer.postgres_server import PostgresServer
server = PostgresServer()
print(server.pid, server.folder, flush=True)
input()
"""


def test_a_killed_test_run_leaves_no_server_and_no_files() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        pid, folder = starter.stdout.readline().split()
        assert is_running(int(pid))
        starter.send_signal(signal.SIGKILL)
        starter.wait()
    eventually(lambda: not is_running(int(pid)))
    eventually(lambda: not Path(folder).exists())


def test_a_frozen_server_ends_too() -> None:
    with PostgresServer() as server:
        pid = server.pid
        server.freeze()
    assert not is_running(pid)
    assert not server.folder.exists()


def test_a_server_that_was_killed_works_again_with_what_it_had(own_postgres: PostgresServer) -> None:
    own_postgres.create_database("kept")
    before = own_postgres.pid
    own_postgres.kill()
    own_postgres.start()
    assert own_postgres.pid != before
    own_postgres.drop_database("kept")
