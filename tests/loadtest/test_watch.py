"""Watching servers: with all of their processes, also those that end meanwhile."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from loadtest.process_tree import tree
from loadtest.processes import ServerProcess
from loadtest.watch import Watch, sample
from tests.eventually import eventually

# Spends CPU and memory in a child that it waits for, then has another one that stays.
PARENT = """
import subprocess, sys, time
spends = "x = bytearray(50 << 20); [hash(str(i)) for i in range(300_000)]"
subprocess.run([sys.executable, "-c", spends])
holds = "x = bytearray(b'x') * (30 << 20); input()"  # until its parent is gone
stays = subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
open(sys.argv[1], "w").write("ready\\n")
time.sleep(60)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[ServerProcess]:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "ready")]
    with ServerProcess("parent", command, folder=tmp_path) as parent:
        parent.wait_for_file(tmp_path / "ready")
        yield parent


def test_a_server_is_counted_with_all_of_its_processes(parent: ServerProcess) -> None:
    eventually(lambda: (found := sample("parent", parent)) is not None and found.memory_mib > 30)
    found = sample("parent", parent)
    assert found is not None
    assert (found.name, found.pid) == ("parent", parent.pid)
    assert found.descriptors >= 6  # three standard ones each


def test_the_cpu_time_of_a_process_that_ended_is_not_forgotten(parent: ServerProcess) -> None:
    found = sample("parent", parent)
    alone = sum(psutil.Process(parent.pid).cpu_times()[:2])
    assert found is not None
    assert found.cpu_s > alone


def test_a_server_that_is_gone_has_no_sample(parent: ServerProcess) -> None:
    children = tree(parent)[1:]
    parent.stop()
    for child in children:
        child.kill()
    assert sample("parent", parent) is None


def test_servers_come_and_go_while_they_are_watched(parent: ServerProcess, tmp_path: Path) -> None:
    running = {"parent": parent}
    with Watch(lambda: dict(running), interval_s=0.005) as watch:
        eventually(lambda: watch.samples)
        with ServerProcess("other", [sys.executable, "-c", "input()"], folder=tmp_path) as other:
            running["other"] = other
            eventually(lambda: any(one.name == "other" for one in watch.samples))
        seen = len(watch.samples)
        eventually(lambda: len(watch.samples) > seen + 3)
    after = [one.name for one in watch.samples[seen + 1 :]]
    assert set(after) == {"parent"}
    assert [one.at for one in watch.samples] == sorted(one.at for one in watch.samples)
