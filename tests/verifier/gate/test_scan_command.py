"""The command as its users run it: a process on a real terminal, pipe or FIFO, and a verifier on a socket."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.verifier.gate.fake_verifier import Failure, FakeVerifier
from verifier.bearer import make_key, write_key_file
from verifier.v1 import verifier_pb2 as pb

WAIT_S = 30.0
NOW = 1_700_000_000
SECRET = b"GL1:NCFOXN*TS0BI$ZD" * 11  # as long as a code of a phone

_RUN = "from verifier.scan_command import scan; scan(prog_name='gatelight-verifier scan')"
# A terminal sends Ctrl-C to those who have it for their terminal of control. SIGHUP is set as a login has
# it, also when the tests run under nohup.
_RUN_ON_TERMINAL = (
    "import fcntl, signal, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    f"signal.signal(signal.SIGHUP, signal.SIG_DFL); {_RUN}"
)


def verdict_of(scan: pb.VerifyCodeRequest) -> pb.VerifyCodeResponse:
    """Answer by the first letter of what was scanned."""
    response = pb.VerifyCodeResponse(scan_id=scan.scan_id, verified_at_ms=NOW * 1_000)
    if scan.qr_text.startswith(b"GL1:"):
        response.verdict, response.colour = pb.VERDICT_GREEN, pb.COLOUR_GREEN
        response.kind, response.hint = pb.CREDENTIAL_KIND_PAPER, "王*秀"
    elif scan.qr_text.startswith(b"E"):
        response.verdict, response.kind, response.code_age_s = (
            pb.VERDICT_EXPIRED,
            pb.CREDENTIAL_KIND_PHONE,
            265,
        )
    else:
        response.verdict = pb.VERDICT_MALFORMED
    return response


@pytest.fixture
def fake() -> Iterator[FakeVerifier]:
    with FakeVerifier() as fake:
        fake.answer = verdict_of
        yield fake


def command(fake: FakeVerifier, *options: str, run: str = _RUN) -> list[str]:
    return [sys.executable, "-c", run, "--server", fake.target, "--gate", "north-3", *options]


def run(
    fake: FakeVerifier, *options: str, typed: bytes = b"", **variables: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(fake, *options),
        input=typed,
        capture_output=True,
        timeout=WAIT_S,
        check=False,
        env={**os.environ, **variables},
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class GateOnTerminal:
    """A gate that runs on a terminal of its own, and what that terminal was sent."""

    def __init__(self, fake: FakeVerifier, *options: str, run: str = _RUN_ON_TERMINAL) -> None:
        self._hand, self._terminal = os.openpty()
        self.modes_before = termios.tcgetattr(self._terminal)
        self._shown = b""
        self._shown_before = 0
        self._process = subprocess.Popen(
            command(fake, *options, run=run),
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        )

    def modes(self) -> list[object]:
        return termios.tcgetattr(self._terminal)

    def type(self, data: bytes) -> None:
        os.write(self._hand, data)

    def wait_until_quiet(self) -> None:
        """Wait until the terminal repeats nothing any more."""
        until = time.monotonic() + WAIT_S
        while self.modes() == self.modes_before:
            assert time.monotonic() < until, "expected the echo to be off"
            time.sleep(0.01)

    def wait_for(self, words: str) -> None:
        """Wait until the words are shown, after those that were waited for before."""
        until = time.monotonic() + WAIT_S
        while (at := self.shown().find(words, self._shown_before)) < 0:
            assert time.monotonic() < until, f"expected {words!r}, got {self.shown()[self._shown_before :]!r}"
            if select.select([self._hand], [], [], 0.1)[0]:
                self._shown += os.read(self._hand, 65_536)
        self._shown_before = at + len(words)

    def shown(self) -> str:
        return self._shown.decode(errors="ignore")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for the end of the process; return its exit code and standard error."""
        _, errors = self._process.communicate(timeout=WAIT_S)
        os.set_blocking(self._hand, False)
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._hand, 65_536):
                self._shown += chunk
        return self._process.returncode, errors.decode()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        os.close(self._hand)
        os.close(self._terminal)


@pytest.fixture
def gate(fake: FakeVerifier) -> Iterator[GateOnTerminal]:
    gate = GateOnTerminal(fake, "--hold", "0.2")
    yield gate
    gate.close()


def test_help_does_not_load_grpc_or_rich() -> None:
    probe = (
        "import sys; from verifier.scan_command import scan\n"
        "try: scan(['--help'])\n"
        "except SystemExit: sys.exit(bool({'grpc', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0
    assert b"--device" in done.stdout


@pytest.mark.parametrize(
    "options",
    [
        ["--gate", ""],
        ["--gate", "x" * 65],
        ["--hold", "0"],
        ["--no-such-option"],
    ],
)
def test_wrong_usage_ends_with_two(fake: FakeVerifier, options: list[str]) -> None:
    assert run(fake, *options).returncode == 2


def test_a_gate_has_to_have_a_name() -> None:
    variables = {name: value for name, value in os.environ.items() if name != "GATELIGHT_GATE_ID"}
    done = subprocess.run(
        [sys.executable, "-c", _RUN], capture_output=True, timeout=WAIT_S, check=False, env=variables
    )
    assert done.returncode == 2
    assert b"--gate" in done.stderr


def test_server_and_gate_may_be_variables(fake: FakeVerifier) -> None:
    variables = {"GATELIGHT_VERIFIER_SERVER": fake.target, "GATELIGHT_GATE_ID": "south-1"}
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=SECRET,
        capture_output=True,
        timeout=WAIT_S,
        check=False,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0
    assert fake.scans[0].gate_id == "south-1"


def test_a_gate_asks_with_its_key(fake: FakeVerifier, tmp_path: Path) -> None:
    write_key_file(tmp_path / "gate.key", key := make_key())
    assert run(fake, "--key-file", str(tmp_path / "gate.key"), typed=SECRET).returncode == 0
    assert fake.authorizations == [f"Bearer {key}"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--key-file", "nowhere"], "cannot read the key file nowhere"),
        (["--tls-ca", "nowhere"], "cannot read nowhere"),
        (["--tls-key", "nowhere"], "come together"),
        (["--tls-ca", "nowhere", "--insecure"], "expected TLS or plain text"),
    ],
)
def test_a_file_that_is_no_good_is_wrong_usage(fake: FakeVerifier, options: list[str], words: str) -> None:
    done = run(fake, *options)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_device_that_cannot_be_opened_ends_with_three(
    fake: FakeVerifier, tmp_path: Path, name: str
) -> None:
    done = run(fake, "--device", str(tmp_path / name))
    assert done.returncode == 3
    assert done.stderr.startswith("cannot open ")


def test_a_pipe_gets_a_plain_line_a_scan(fake: FakeVerifier) -> None:
    done = run(fake, typed=SECRET + b"\r\n\r\nEXPIRED\rparking ticket")
    assert done.stdout.splitlines() == [
        "GREEN: may pass; compare the name: 王*秀; printed card",
        "EXPIRED: phone clock is 4 min slow, or a screenshot: ask for the live code; phone",
        "MALFORMED: not a code of ours: ask for the right code, or scan again",
    ]
    assert done.stderr.endswith("scans 3, green 1, refused 2, no answer 0\n")
    assert done.returncode == 0


def test_json_is_one_object_a_scan_and_nothing_else(fake: FakeVerifier) -> None:
    done = run(fake, "--json", typed=SECRET + b"\nEXPIRED\n")
    scans = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(scan["open"], scan["verdict"]) for scan in scans] == [(True, "GREEN"), (False, "EXPIRED")]
    assert [scan["scan_id"] for scan in scans] == [scan.scan_id for scan in fake.scans]


def test_an_overlong_line_is_answered_too(fake: FakeVerifier) -> None:
    done = run(fake, "--json", typed=b"x" * 1_000_000 + b"\n" + SECRET + b"\n")
    assert [json.loads(line)["verdict"] for line in done.stdout.splitlines()] == ["MALFORMED", "GREEN"]
    assert len(fake.scans[0].qr_text) == 513


def test_a_scan_without_an_answer_is_an_object_too(fake: FakeVerifier) -> None:
    fake.script += [Failure(grpc.StatusCode.UNAVAILABLE, pushback_ms=-1)]
    done = run(fake, "--json", typed=SECRET + b"\n" + SECRET + b"\n")
    scans = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(scan["open"], scan["error"]) for scan in scans] == [(False, "UNAVAILABLE"), (True, None)]
    assert done.returncode == 0


def test_a_name_that_cannot_be_written_does_not_stop_a_gate(fake: FakeVerifier) -> None:
    done = run(fake, typed=SECRET, PYTHONIOENCODING="ascii")
    assert done.stdout.startswith("GREEN: may pass; compare the name: ?*?")


def test_an_answer_is_written_before_the_next_scan_comes(fake: FakeVerifier) -> None:
    with subprocess.Popen(
        command(fake, "--json"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as gate:
        assert gate.stdin is not None
        assert gate.stdout is not None
        for _ in range(2):
            gate.stdin.write(SECRET + b"\n")
            gate.stdin.flush()
            assert json.loads(gate.stdout.readline())["open"]
        gate.stdin.close()
        assert gate.wait(WAIT_S) == 0


def test_a_fifo_serves_one_writer_after_the_other(fake: FakeVerifier, tmp_path: Path) -> None:
    path = tmp_path / "scanner"
    os.mkfifo(path)
    with subprocess.Popen(
        command(fake, "--json", "--device", str(path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as gate:
        assert gate.stdout is not None
        for _ in range(2):
            path.write_bytes(SECRET + b"\r")
            assert json.loads(gate.stdout.readline())["open"]
        gate.terminate()
        _, errors = gate.communicate(timeout=WAIT_S)
    assert gate.returncode == 0
    assert errors.endswith(b"scans 2, green 2, refused 0, no answer 0\n")


def test_a_scanner_that_is_unplugged_ends_with_three(fake: FakeVerifier) -> None:
    hand, terminal = os.openpty()
    with subprocess.Popen(
        command(fake, "--json", "--device", os.ttyname(terminal)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as gate:
        assert gate.stdout is not None
        assert gate.stderr is not None
        assert b"reads codes" in gate.stderr.readline()
        os.write(hand, SECRET + b"\r")
        assert json.loads(gate.stdout.readline())["open"]
        os.close(terminal)
        os.close(hand)
        _, errors = gate.communicate(timeout=WAIT_S)
    assert gate.returncode == 3
    assert errors.endswith(b" is gone\n")


def test_a_scan_on_a_terminal_fills_the_screen_and_goes_by_itself(gate: GateOnTerminal) -> None:
    gate.wait_for("R E A D Y")
    gate.type(SECRET + b"\r")
    gate.wait_for("G R E E N")
    gate.wait_for("王*秀")
    gate.wait_for("scans 1, green 1")
    gate.wait_for("R E A D Y")


def test_a_terminal_hears_one_beep_for_green_and_two_for_the_rest(gate: GateOnTerminal) -> None:
    gate.wait_for("R E A D Y")
    gate.type(SECRET + b"\r")
    gate.wait_for("R E A D Y")
    assert gate.shown().count("\x07") == 1
    gate.type(b"EXPIRED\r")
    gate.wait_for("R E A D Y")
    assert gate.shown().count("\x07") == 3


def test_a_gate_can_be_silent(fake: FakeVerifier) -> None:
    gate = GateOnTerminal(fake, "--no-beep", "--hold", "0.2")
    gate.wait_for("R E A D Y")
    gate.type(b"EXPIRED\r")
    gate.wait_for("R E A D Y")
    gate.close()
    assert "\x07" not in gate.shown()


def test_a_scanner_that_sends_no_enter_is_understood(gate: GateOnTerminal) -> None:
    gate.wait_for("R E A D Y")
    gate.type(SECRET)
    gate.wait_for("G R E E N")


def test_a_gate_on_a_terminal_goes_on_when_the_verifier_is_back(
    fake: FakeVerifier, gate: GateOnTerminal
) -> None:
    gate.wait_for("R E A D Y")
    fake.stop()
    gate.type(SECRET + b"\r")
    gate.wait_for("N O   A N S W E R")
    gate.wait_for("keep the gate closed")
    fake.start()
    gate.wait_for("R E A D Y")
    gate.type(SECRET + b"\r")
    gate.wait_for("G R E E N")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_gate_and_restores_its_terminal(gate: GateOnTerminal, number: signal.Signals) -> None:
    gate.wait_for("R E A D Y")
    gate.type(SECRET + b"\r")
    gate.wait_for("G R E E N")
    assert gate.modes() != gate.modes_before
    gate.signal(number)
    code, errors = gate.end()
    assert code == 0
    assert gate.modes() == gate.modes_before
    assert gate.shown().endswith("\x1b[?1049l\x1b[?25h")
    assert errors == "scans 1, green 1, refused 0, no answer 0\n"


def test_ctrl_c_ends_a_gate_and_restores_its_terminal(gate: GateOnTerminal) -> None:
    gate.wait_for("R E A D Y")
    gate.type(b"\x03")
    assert gate.end()[0] == 0
    assert gate.modes() == gate.modes_before


@pytest.mark.parametrize(
    ("options", "ready", "after_a_scan"), [([], "R E A D Y", "R E A D Y"), (["--json"], "", '"error":')]
)
def test_no_qr_text_is_ever_seen(
    fake: FakeVerifier, options: list[str], ready: str, after_a_scan: str
) -> None:
    gate = GateOnTerminal(fake, "--hold", "0.2", *options)
    gate.wait_until_quiet()
    gate.wait_for(ready)
    fake.script += [verdict_of, Failure(grpc.StatusCode.INTERNAL), Failure(grpc.StatusCode.INVALID_ARGUMENT)]
    for text in (SECRET, SECRET, SECRET, SECRET * 10, b"x" + SECRET):
        gate.type(text + b"\r")
        gate.wait_for(after_a_scan)
    gate.type(SECRET)  # and one half-way
    gate.signal(signal.SIGTERM)
    code, errors = gate.end()
    gate.close()
    assert code == 0
    assert len(fake.scans) >= 5
    assert "NCFOXN" not in gate.shown()
    assert "NCFOXN" not in errors
