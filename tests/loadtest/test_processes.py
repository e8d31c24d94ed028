"""Servers that we start become ready, and none is left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import redis

from loadtest.embedded_redis import BorrowedRedis, EmbeddedRedis
from loadtest.processes import ProcessError, ServerProcess
from tests.running import is_running

ROOT = Path(__file__).parents[2]


def wait_until_gone(pid: int, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} was left behind"
        time.sleep(0.01)


def test_an_embedded_redis_answers_and_a_restart_leaves_it_empty(own_redis: EmbeddedRedis) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.set("gatelight:key_set", b"x")
        own_redis.kill()
        own_redis.restart()
        assert client.get("gatelight:key_set") is None


def test_a_borrowed_redis_is_left_as_it_was_found(own_redis: EmbeddedRedis) -> None:
    borrowed = BorrowedRedis(own_redis.url)
    with redis.Redis.from_url(own_redis.url) as client:
        client.mset({"gatelight:key_set": b"x", "other": b"y"})
        borrowed.stop()
        assert client.keys() == [b"other"]


def test_a_redis_that_holds_a_gatelight_is_not_borrowed(own_redis: EmbeddedRedis) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.set("gatelight:key_set", b"x")
        with pytest.raises(ProcessError, match="holds a Gatelight already"):
            BorrowedRedis(own_redis.url)
        assert client.get("gatelight:key_set") == b"x"


def test_a_frozen_redis_can_be_stopped(own_redis: EmbeddedRedis) -> None:
    pid = own_redis.pid
    own_redis.freeze()
    own_redis.stop()
    wait_until_gone(pid)


def test_no_redis_is_left_behind_when_its_starter_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from loadtest.embedded_redis import BorrowedRedis, EmbeddedRedis
        print(EmbeddedRedis(Path(sys.argv[1])).pid, flush=True)
        time.sleep(60)
    """)
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert psutil.pid_exists(pid)
        starter.send_signal(signal.SIGKILL)
    wait_until_gone(pid)


def test_without_help_from_the_kernel_a_watcher_ends_the_server(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, sys
        from loadtest import guard
        guard.watch(int(sys.argv[1]))
        print(os.getpid(), flush=True)
        os.execvp("sleep", ["sleep", "60"])
    """)
    with subprocess.Popen(["sleep", "60"]) as starter:
        command = [sys.executable, "-c", script, str(starter.pid)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as server:
            assert server.stdout is not None
            server.stdout.readline()
            assert server.poll() is None
            starter.kill()
            starter.wait()
            assert server.wait(10) == -signal.SIGKILL


def test_a_server_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('cannot bind')"]
    with (
        ServerProcess("verifier", command, folder=tmp_path) as server,
        pytest.raises(ProcessError, match="cannot bind"),
    ):
        server.wait_for_file(tmp_path / "port")


def test_the_process_id_is_that_of_the_server_itself(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(__import__('os').getpid()))",
    ]
    with ServerProcess("verifier", command, folder=tmp_path) as server:
        deadline = time.monotonic() + 10
        while server.is_running() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert int((tmp_path / "pid").read_text()) == server.pid != os.getpid()
