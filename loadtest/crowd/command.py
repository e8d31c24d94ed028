"""Runs a command where gevent and gRPC are, which interfere with who forks.

Not by subprocess: gevent's forks, and gRPC, where it is in use, gets in its way. Not by waiting for the
process either, since gevent takes the exit codes of all children where Locust has forked.
"""

import contextlib
import os
import re
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Final

_LOOK_S: Final = 0.01
_MOST_BYTES: Final = 1 << 20
_ENDED: Final = re.compile(rb"^exit (?P<code>[0-9]+)\n\Z", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that came to its end."""

    exit_code: int
    said: Sequence[str]  # lines of both outputs


def run(command: Sequence[str], timeout_s: float) -> Ended | None:
    """Return what came of a command; None if it has not ended within `timeout_s`. Raises OSError.

    Without an end, also where the caller's greenlet is killed, it and what it started are: else what it does
    might come after what is done next.
    """
    with tempfile.TemporaryFile() as said:
        group = _spawn(command, said.fileno())
        ended = None
        try:
            until = time.monotonic() + timeout_s
            while (ended := _ENDED.search(_content(said))) is None:
                if time.monotonic() > until:
                    return None
                # Under Locust, others have their turn meanwhile: gevent has patched it.
                time.sleep(_LOOK_S)
        finally:
            if ended is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
        lines = _content(said)[: ended.start()].decode(errors="replace").splitlines()
        return Ended(int(ended["code"]), lines)


def _spawn(command: Sequence[str], output: int) -> int:
    """Run a command, with its exit code as the last line of its output; return its process group."""
    return os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", '"$@"; echo "exit $?"', "sh", *command],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, output, descriptor) for descriptor in (1, 2)],
        setpgroup=0,
    )


def _content(file: IO[bytes]) -> bytes:
    return os.pread(file.fileno(), _MOST_BYTES, 0)
