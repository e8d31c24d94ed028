"""A hand on the servers: what is to be done to them comes over a Unix socket, and is done by who owns them.

    python -S -E hand.py SOCKET ACT

asks for an act: exit code 0 when it is done, 1 with the reason on standard error when it could not be.
Servers die with the thread that started them (guard.py), so acts are carried out by the main thread of the
process that has them, which serves the hand meanwhile. Standard library only: asking takes 15 ms.
"""

import contextlib
import shlex
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_MAX_ACT_BYTES = 256
_MAX_ANSWER_BYTES = 4_096
_ASK_TIMEOUT_S = 30
# A client of ours sends its one line at once.
_READ_TIMEOUT_S = 1
_DONE = "done"


class Hand:
    """Listens for acts; only who runs it may ask, since the socket lies in a folder of theirs."""

    def __init__(self, do: Callable[[str], object]) -> None:
        """`do` carries out an act by its name; an exception of it is the reason why it was not done."""
        self._do = do
        # A path of a socket is at most some 100 bytes long, so it does not go beside the results.
        self._folder = tempfile.TemporaryDirectory(prefix="gatelight-hand-")
        self.path = Path(self._folder.name) / "hand"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._folder.cleanup()

    @property
    def command(self) -> str:
        """What to run, with the name of an act behind it."""
        return shlex.join([sys.executable, "-S", "-E", __file__, str(self.path)])

    def serve_one(self, timeout_s: float) -> None:
        """Carry out an act, if somebody asks for one within `timeout_s`."""
        self._socket.settimeout(timeout_s)
        try:
            asking, _ = self._socket.accept()
        except TimeoutError:
            return
        # Who asked may be gone by then; their run says so.
        with asking, contextlib.suppress(OSError):
            asking.settimeout(_READ_TIMEOUT_S)
            act = asking.recv(_MAX_ACT_BYTES).decode(errors="replace")
            asking.settimeout(_ASK_TIMEOUT_S)
            asking.sendall(self._carry_out(act).encode()[:_MAX_ANSWER_BYTES])

    def _carry_out(self, act: str) -> str:
        try:
            self._do(act)
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked has to hear of it
            return f"{type(error).__name__}: {error}"
        return _DONE


def ask(path: str, act: str) -> str | None:
    """Have an act carried out; return why it could not be, None when it is done."""
    with socket.socket(socket.AF_UNIX) as hand:
        hand.settimeout(_ASK_TIMEOUT_S)
        try:
            hand.connect(path)
            hand.sendall(act.encode())
            hand.shutdown(socket.SHUT_WR)
            answer = _read(hand)
        except OSError as error:
            return f"the hand does not answer: {error}"
    return None if answer == _DONE else answer or "the hand is gone"


def _read(hand: socket.socket) -> str:
    answer = b""
    while part := hand.recv(_MAX_ANSWER_BYTES):
        answer += part
    return answer.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(ask(sys.argv[1], sys.argv[2]))
