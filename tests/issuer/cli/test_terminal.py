"""What only a person at a terminal sees: the bar, the question, the colours."""

import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.issuer.cli.commands import start, write_lines
from tests.issuer.cli.test_imports import HEADER, holder_lines, holders
from tests.issuer.running_issuer import RunningIssuer

_TIMEOUT_S = 60


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, issuer: RunningIssuer, *arguments: object) -> None:
        self._hand, terminal = os.openpty()
        self.process = start(issuer, *arguments, stdin=terminal, stdout=terminal, stderr=terminal, text=False)
        os.close(terminal)
        self._seen = b""

    def read_until(self, expected: str) -> str:
        """Return all that was shown until something is; fails if it does not come."""
        eventually(lambda: self._read() and expected in self.seen, timeout_s=_TIMEOUT_S)
        return self.seen

    def read_to_end(self) -> str:
        """Return all that was shown until the command ended."""
        eventually(lambda: not self._read(), timeout_s=_TIMEOUT_S)
        self.process.wait(_TIMEOUT_S)
        return self.seen

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._hand, text.encode())

    @property
    def seen(self) -> str:
        """All that was shown so far."""
        return self._seen.decode(errors="replace")

    def close(self) -> None:
        """Take the terminal away."""
        self.process.kill()
        self.process.wait()
        os.close(self._hand)

    def _read(self) -> bool:
        if not select.select([self._hand], [], [], 0.1)[0]:
            return True
        try:
            read = os.read(self._hand, 65_536)
        except OSError:  # the other end is closed
            return False
        self._seen += read
        return bool(read)


@pytest.fixture
def terminal(running_issuer: RunningIssuer) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals that are taken away at the end of the test."""
    opened: list[Terminal] = []

    def open_one(*arguments: object) -> Terminal:
        opened.append(Terminal(running_issuer, *arguments))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "people.csv", [HEADER, *holder_lines(12_000)])


def test_an_import_asks_once_more_and_no_is_no(
    terminal: Callable[..., Terminal], running_issuer: RunningIssuer, file: Path
) -> None:
    shown = terminal("holder", "import", file, "--apply")
    assert "about 12001 rows" in shown.read_until("[y/N]")
    shown.type("n\n")
    told = shown.read_to_end()
    assert told.endswith("nothing was changed\r\n")
    assert "Usage" not in told
    assert "Error" not in told
    assert shown.process.returncode == 2
    assert holders(running_issuer) == []


def test_an_import_shows_a_bar_with_rate_and_time_left(
    terminal: Callable[..., Terminal], running_issuer: RunningIssuer, file: Path
) -> None:
    shown = terminal("holder", "import", file, "--apply")
    shown.read_until("[y/N]")
    shown.type("y\n")
    seen = shown.read_to_end()
    assert shown.process.returncode == 0
    assert "importing holders" in seen
    assert re.search(r"\d+ rows, \d+/s", seen)
    assert "left" in seen
    assert len(holders(running_issuer)) == 12_000


def test_with_yes_nothing_is_asked(terminal: Callable[..., Terminal], file: Path) -> None:
    shown = terminal("holder", "import", file, "--apply", "--yes")
    assert "[y/N]" not in shown.read_to_end()
    assert shown.process.returncode == 0


def test_ctrl_c_at_the_terminal_leaves_it_in_order(terminal: Callable[..., Terminal], file: Path) -> None:
    shown = terminal("holder", "import", file, "--apply", "--yes")
    shown.read_until("rows, ")
    shown.process.send_signal(signal.SIGINT)
    seen = shown.read_to_end()
    if shown.process.returncode != 0:  # it may have come to its end just then
        assert shown.process.returncode == 130
        assert "repeat the command" in seen
    assert seen.count("\x1b[?25h") >= seen.count("\x1b[?25l")  # the cursor is there again


def test_what_cannot_be_undone_is_asked_about(
    terminal: Callable[..., Terminal], running_issuer: RunningIssuer
) -> None:
    running_issuer.enrol()
    shown = terminal("holder", "erase", 1, "--apply")
    shown.read_until("It cannot be undone. Go on? [y/N]")
    shown.type("\n")
    told = shown.read_to_end()
    assert told.endswith("nothing was changed\r\n")
    assert "Usage" not in told
    assert shown.process.returncode == 1


def test_in_a_pipe_there_is_no_bar_and_no_question(running_issuer: RunningIssuer, file: Path) -> None:
    process = start(running_issuer, "holder", "import", file, "--apply", stdin=subprocess.DEVNULL)
    told, errors = process.communicate(timeout=_TIMEOUT_S)
    assert process.returncode == 0
    assert "\x1b" not in told + errors
    assert errors == ""
