"""Does to the servers what the scenario says, when it says so, by the user's command."""

import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO, Final

import gevent

from loadtest.crowd.options import CHANGES_KEY
from loadtest.recording import DoneAct
from loadtest.scenario import Act

_TIMEOUT_S: Final = 20
_LOOK_S: Final = 0.01
_MOST_BYTES: Final = 1 << 20
_ENDED: Final = re.compile(rb"^exit (?P<code>[0-9]+)\n\Z", re.MULTILINE)


def carry_out_all(
    acts: Sequence[Act], *, began_at: float, duration_s: float, hand: str, done: Callable[[DoneAct], None]
) -> None:
    """Carry out acts at their moments, `began_at` in Unix time; tells of each as soon as it is done."""
    for act in sorted(acts, key=lambda act: act.at):
        at = began_at + act.at * duration_s
        while (ahead_s := at - time.time()) > 0:
            gevent.sleep(ahead_s)
        done(_carry_out(act.name, hand))


def _carry_out(name: str, hand: str) -> DoneAct:
    at, began = time.time(), time.perf_counter()
    # The generators do that themselves.
    problem = "" if name == CHANGES_KEY else _ask(hand, name)
    return DoneAct(name, at, time.perf_counter() - began, problem)


def _ask(hand: str, name: str) -> str:
    """Return why it could not be done; "" when it is."""
    with tempfile.TemporaryFile() as said:
        try:
            _spawn([*shlex.split(hand), name], said.fileno())
        except OSError as error:
            return f"{hand}: {error.strerror}"
        until = time.monotonic() + _TIMEOUT_S
        while (ended := _ENDED.search(_content(said))) is None:
            if time.monotonic() > until:
                return f"no answer within {_TIMEOUT_S} s"
            gevent.sleep(_LOOK_S)
        if ended["code"] == b"0":
            return ""
        lines = _content(said)[: ended.start()].decode(errors="replace").splitlines()
        return lines[-1].strip() if lines else f"exit code {ended['code'].decode()}"


def _spawn(command: Sequence[str], output: int) -> None:
    """Run a command, with its exit code as the last line of its output.

    Not by subprocess: gevent's forks, and gRPC, where it is in use, interferes with who forks. Not by waiting
    for the process either, since gevent takes the exit codes of all children where Locust has forked.
    """
    os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", '"$@"; echo "exit $?"', "sh", *command],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, output, descriptor) for descriptor in (1, 2)],
    )


def _content(file: IO[bytes]) -> bytes:
    return os.pread(file.fileno(), _MOST_BYTES, 0)
