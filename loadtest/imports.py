"""`python -m loadtest imports`: files through the command line, into the register, and on to a verifier.

The real commands, as processes of their own, against a real issuer with SQLite and Redis. Holders are timed
from the start of the command to its end. Statuses are timed until the verifier answers with the last
change of the file; what the second person takes to agree is not counted. Afterwards the history and every
byte of Redis are compared with the register.
"""

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from issuer.v1 import issuer_pb2
from loadtest.residents import REASON_CLOSE_CONTACT, approve
from loadtest.stage import Stage, given_redis_url, stage
from verifier.client import VerifierClient
from verifier.wire.status_record import Colour

# The aims of a million rows, on two cores.
HOLDERS_AIM_S = 60.0
STATUSES_AIM_S = 90.0
_MILLION = 1_000_000

_EXIT_WAITS = 4
_WAIT_S = 60.0
# More often would cost the verifier, on a machine that is shared, what the import needs.
_SAMPLE_EVERY_S = 0.02
# Codes for as long as the whole takes: a window begins each half minute.
_WINDOWS = 240
_FAMILY_NAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗"
_GIVEN_NAMES = "伟芳娜秀敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂英华玉建国文辉"
_REGIONS = ("north", "east", "south", "west", "harbour")
_COLOURS = ("GREEN", "YELLOW", "RED")
_WEIGHTS = (96, 3, 1)


@dataclass(frozen=True, slots=True)
class Step:
    """One command, and what it took."""

    what: str
    rows: int
    seconds: float
    command_peak_mib: float
    issuer_peak_mib: float | None
    aim_s: float | None = None


def run(holders: int, statuses: int) -> int:
    """Import that many rows; return the exit code: 1 if one is missing or anything differs afterwards."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="gatelight-imports-") as name:
        folder = Path(name)
        console.print(f"Writing files of {holders:,} holders and {statuses:,} statuses")
        files = _write_files(folder, holders, statuses, random.Random(1))
        with stage(folder, redis_url=given_redis_url()) as running:
            return _Measurement(running, console, files, holders, statuses).run()


@dataclass(frozen=True, slots=True)
class _Files:
    holders: Path
    orders: Path
    statuses: Path


class _Measurement:
    def __init__(self, running: Stage, console: Console, files: _Files, holders: int, statuses: int) -> None:
        self._stage = running
        self._console = console
        self._files = files
        self._holders = holders
        self._statuses = statuses
        self._steps: list[Step] = []
        self._wrong: list[str] = []

    def run(self) -> int:
        verifier = self._stage.start_verifier()
        self._import("holders", self._holders, HOLDERS_AIM_S, "holder", "import", self._files.holders)
        output = self._files.orders.with_name("issued.csv")
        command = ("credential", "issue", "--from", self._files.orders, "--output", output)
        self._import("credentials", self._holders, None, *command)
        with VerifierClient(verifier, gate_id="imports") as gate:
            self._import_statuses(gate, _index_of_last(output))
        self._check("the history is sound", "status", "verify-history")
        self._check("Redis is equal to the register", "cache", "check")
        return self._report()

    def _import(self, what: str, rows: int, aim_s: float | None, *command: object) -> None:
        began = time.monotonic()
        told, peak_mib = self._command(*command, "--apply", "--json")
        self._add(what, rows, time.monotonic() - began, peak_mib, aim_s)
        self._expect(f"all {what} were entered", told.get("entered") == rows)

    def _import_statuses(self, gate: VerifierClient, credential_index: int) -> None:
        with self._stage.client("local") as clerk:
            request = issuer_pb2.IssueBundleRequest(credential_index=credential_index, window_count=_WINDOWS)
            codes = clerk.issuer.IssueBundle(request).codes
        command = ("status", "import", self._files.statuses, "--apply", "--json")
        began = time.monotonic()
        told, _ = self._command(*command, exit_code=_EXIT_WAITS)
        asked_s = time.monotonic() - began
        with self._stage.client("approver") as approver:
            approve(approver, told["approval_id"])
        with _watching(gate, codes) as arrival:
            began = time.monotonic()
            told, peak_mib = self._command(*command)
            arrival.done.wait(_WAIT_S)
        arrived_s = arrival.at - began if arrival.at else float("inf")
        self._expect("all statuses were entered", told.get("entered") == self._statuses)
        self._expect("the verifier has the last change", arrival.at > 0)
        self._add(
            "statuses, until the verifier answers",
            self._statuses,
            asked_s + arrived_s,
            peak_mib,
            STATUSES_AIM_S,
        )

    def _command(self, *arguments: object, exit_code: int = 0) -> tuple[dict[str, Any], float]:
        """Run gatelight-issuer; return what it printed, and the most memory that it had, in MiB."""
        process = subprocess.Popen(
            [sys.executable, "-m", "issuer", *map(str, arguments)],
            env={**os.environ, **self._stage.environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None  # noqa: S101 - for the type checker
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        called = f"{arguments[0]} {arguments[1]}"
        self._expect(f"{called} ended with {process.returncode}", process.returncode == exit_code)
        told: dict[str, Any] = json.loads(printed.splitlines()[-1]) if printed else {}
        # Linux counts in KiB, macOS in bytes.
        return told, usage.ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))

    def _check(self, what: str, *command: object) -> None:
        began = time.monotonic()
        self._command(*command, "--json")
        self._console.print(f"  {what}: looked at in {time.monotonic() - began:.1f} s")

    def _expect(self, what: str, holds: bool) -> None:
        if not holds:
            self._wrong.append(what)

    def _add(self, what: str, rows: int, seconds: float, peak_mib: float, aim_s: float | None) -> None:
        issuer = self._stage.issuer
        issuer_mib = None if issuer is None else _peak_mib(issuer.pid)
        self._steps.append(Step(what, rows, seconds, peak_mib, issuer_mib, aim_s))
        self._console.print(f"  {what}: {seconds:.1f} s")

    def _report(self) -> int:
        table = Table(
            "what", "rows", "s", "rows/s", "aim", "command", "issuer", title="Imports, and peaks of memory"
        )
        for step in self._steps:
            table.add_row(
                step.what,
                f"{step.rows:,}",
                f"{step.seconds:.1f}",
                f"{step.rows / step.seconds:,.0f}",
                _verdict(step),
                f"{step.command_peak_mib:.0f} MiB",
                "-" if step.issuer_peak_mib is None else f"{step.issuer_peak_mib:.0f} MiB",
            )
        self._console.print(table)
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        self._console.print(f"{machine}; issuer, Redis, verifier and the command share it. SQLite.")
        for what in self._wrong:
            self._console.print(f"[bold red]wrong:[/] {what}")
        return 1 if self._wrong else 0


def _verdict(step: Step) -> str:
    if step.aim_s is None:
        return "-"
    if step.rows < _MILLION:
        return f"{step.aim_s:.0f} s/million"
    return f"{step.aim_s:.0f} s{'' if step.seconds <= step.aim_s else ', missed'}"


def _write_files(folder: Path, holders: int, statuses: int, rng: random.Random) -> _Files:
    files = _Files(folder / "holders.csv", folder / "orders.csv", folder / "statuses.csv")
    with files.holders.open("w", encoding="utf-8") as file:
        file.write("external_id,name,document_type,document_number,region\r\n")
        for number in range(holders):
            name = rng.choice(_FAMILY_NAMES) + "".join(rng.sample(_GIVEN_NAMES, rng.choice((1, 2, 2))))
            file.write(f"person-{number},{name},ID,11010519{number:010},{rng.choice(_REGIONS)}\r\n")
    with files.orders.open("w", encoding="utf-8") as file:
        file.write("external_id,kind,holder_external_id\r\n")
        file.writelines(f"order-{number},PHONE,person-{number}\r\n" for number in range(holders))
    with files.statuses.open("w", encoding="utf-8") as file:
        file.write("external_id,holder_external_id,colour,reason,authority\r\n")
        for number in range(statuses):
            # The last change is told from the others by the holder, who has no other.
            is_last = number == statuses - 1
            person = holders - 1 if is_last else number % max(1, holders - 1)
            colour = "YELLOW" if is_last else rng.choices(_COLOURS, _WEIGHTS)[0]
            reason = "" if colour == "GREEN" else REASON_CLOSE_CONTACT
            file.write(f"decision-{number},person-{person},{colour},{reason},city health office\r\n")
    return files


@dataclass(slots=True)
class _Arrival:
    done: threading.Event
    at: float = 0.0  # monotonic; 0 not yet


@contextmanager
def _watching(gate: VerifierClient, codes: Any) -> Iterator[_Arrival]:
    """Scan the current one of `codes` again and again until it is YELLOW, and note when."""
    arrival, stopping = _Arrival(threading.Event()), threading.Event()

    def watch() -> None:
        while not stopping.wait(_SAMPLE_EVERY_S):
            now = time.time()
            current = next((code for code in codes if code.not_before <= now < code.expires_at), codes[-1])
            if gate.verify(current.qr_text).colour is Colour.YELLOW:
                arrival.at = time.monotonic()
                arrival.done.set()
                return

    watcher = threading.Thread(target=watch, name="watcher")
    watcher.start()
    try:
        yield arrival
    finally:
        stopping.set()
        watcher.join()


def _index_of_last(output: Path) -> int:
    with output.open("rb") as file:
        file.seek(-64, os.SEEK_END)
        return int(file.read().splitlines()[-1].rpartition(b",")[2])


def _peak_mib(pid: int) -> float | None:
    """Return the most memory that a process had; None where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)
