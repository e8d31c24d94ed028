"""Keep a PostgreSQL server, and leave nothing behind when its starter dies, however it dies.

    python -S -E postgres_keeper.py <folder> <user or ""> <command> [<argument> ...]

Each line on standard input starts the server, once the one before has ended, and is answered by its
process id. The end of standard input, which comes when the starter closes it or is killed, ends the
server and removes the folder. Standard library only.
"""

import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

_STOP_TIMEOUT_S = 10


class Identity(TypedDict, total=False):
    """What subprocess takes to run a command as another user."""

    user: int
    group: int
    extra_groups: list[int]


def main() -> None:
    """Start servers until standard input ends."""
    folder, user, *command = sys.argv[1:]
    server: subprocess.Popen[bytes] | None = None
    try:
        for _ in sys.stdin:
            if server is not None:
                server.wait(_STOP_TIMEOUT_S)
            server = _start(Path(folder), user, command)
            print(server.pid, flush=True)  # noqa: T201 - the answer
    finally:
        if server is not None:
            _stop(server)
        shutil.rmtree(folder, ignore_errors=True)


def identity_of(user: str) -> Identity:
    """Return how to run a command as this user; an empty name leaves things as they are."""
    if not user:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _start(folder: Path, user: str, command: list[str]) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            **identity_of(user),
        )


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server, frozen or not. It takes its children along: they notice when it is gone."""
    server.send_signal(signal.SIGQUIT)  # at once, without a checkpoint
    server.send_signal(signal.SIGCONT)
    try:
        server.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
