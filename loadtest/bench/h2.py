"""Unary calls from h2load, a generator in C: what is left of the machine is the server's.

h2load counts any HTTP 200 as success, also a call that gRPC calls failed. So whoever uses it compares the
verdicts that the verifier counted with the calls that were made, or the bytes of all answers where nothing is
counted (a call that failed has none), and asks for some itself. It takes headers as arguments alone, which
other users of the machine can read: the gate key is one of a city that is gone after the run.
"""

import math
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from loadtest.processes import ProcessError

_TIMEOUT_S = 120
_FINISHED = re.compile(r"finished in ([\d.]+)(ms|s), ([\d.]+) req/s")
_REQUESTS = re.compile(r"(\d+) succeeded")
_ANSWERED = re.compile(r"\((\d+)\) data")
_OK = 200
_LOG_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class Burst:
    """What to send: the same message again and again."""

    method: str  # /package.Service/Method
    message: bytes
    calls: int
    connections: int
    streams: int  # calls at once on a connection
    key: str = ""  # a bearer key


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    calls: int
    seconds: float
    data_bytes: int  # of all answers, each with gRPC's prefix


@dataclass(frozen=True, slots=True)
class Paced:
    """What came of calls at a rate."""

    per_s: float  # that was kept
    took_ms: Sequence[float]  # from sending a call to the end of its answer


def require_h2load() -> None:
    """Raise click.UsageError, with what to do, when there is no h2load."""
    if shutil.which("h2load") is None:
        raise click.UsageError(
            "the benchmark needs h2load: apt install nghttp2-client, or brew install nghttp2"
        )


def send(burst: Burst, address: str, *, folder: Path, core: int | None) -> Done:
    """Send a burst, on one core if it is given; raises ProcessError unless every call was answered."""
    pinned = ["taskset", "-c", str(core)] if core is not None and shutil.which("taskset") else []
    command = _command(burst, address, folder, "-n", str(burst.calls))
    return _run([*pinned, *command], burst.calls)


def send_paced(burst: Burst, address: str, *, folder: Path, per_s: float) -> Paced:
    """Send calls at a rate, spread evenly; raises ProcessError unless every call was answered.

    A call is sent when it is due, unless as many as `streams` wait on its connection.
    """
    log = folder / "h2load.log"
    calls = math.ceil(burst.calls / burst.connections) * burst.connections
    log.unlink(missing_ok=True)  # h2load would append
    pace = ("--rps", f"{per_s / burst.connections:.3f}", "-n", str(calls), "--log-file", str(log))
    # A connection a millisecond: h2load gives each the same rate, and they would all send at once.
    _run(_command(burst, address, folder, *pace, "-r", "1", "--rate-period", "1ms"), calls)
    return read_log(log.read_text())


@contextmanager
def sending(burst: Burst, address: str, *, folder: Path, per_s: float) -> Iterator[None]:
    """Send calls at a rate meanwhile; raises ProcessError if it ended before."""
    pace = ("--rps", f"{per_s / burst.connections:.3f}", "-D", str(_TIMEOUT_S))
    command = _command(burst, address, folder, *pace)
    output = folder / "h2load.output"
    with (
        output.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as load,
    ):
        try:
            yield
            if load.poll() is not None:
                raise ProcessError(f"h2load ended with {load.returncode}: {output.read_text()[-300:]}")
        finally:
            load.kill()


def read_log(text: str) -> Paced:
    """Return what `h2load --log-file` wrote: start in µs, HTTP status and µs of each call, between tabs.

    Raises ProcessError for anything else, and for a call that failed.
    """
    starts, took_us = [], []
    for line in text.splitlines():
        columns = line.split("\t")[:_LOG_COLUMNS]  # it says that there may be more one day
        try:
            start_us, status, call_us = (int(column) for column in columns)
        except ValueError:
            raise ProcessError(f"expected three numbers in h2load's log, got {line!r}") from None
        if status != _OK:
            raise ProcessError(f"a call was answered with HTTP status {status}")
        starts.append(start_us)
        took_us.append(call_us)
    if len(starts) < 2:
        raise ProcessError(f"expected calls in h2load's log, got {len(starts)}")
    # Connections begin and end one after the other; in between all of them send.
    starts.sort()
    quarter = len(starts) // 4
    middle_us = starts[-1 - quarter] - starts[quarter]
    per_s = (len(starts) - 1 - 2 * quarter) / max(1, middle_us) * 1e6
    return Paced(per_s, [call_us / 1000 for call_us in took_us])


def _command(burst: Burst, address: str, folder: Path, *options: str) -> list[str]:
    body = folder / "h2load.body"
    body.write_bytes(b"\0" + len(burst.message).to_bytes(4, "big") + burst.message)
    command = ["h2load", "-c", str(burst.connections), "-m", str(burst.streams), "-d", str(body)]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    if burst.key:
        command += ["-H", f"authorization: Bearer {burst.key}"]
    return [*command, *options, f"http://{address}{burst.method}"]


def _run(command: Sequence[str], calls: int) -> Done:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    finished, requests, answered = (
        pattern.search(ran.stdout) for pattern in (_FINISHED, _REQUESTS, _ANSWERED)
    )
    if ran.returncode != 0 or finished is None or requests is None or answered is None:
        raise ProcessError(f"h2load ended with {ran.returncode}: {ran.stderr[-300:]}")
    if int(requests[1]) != calls:
        raise ProcessError(f"of {calls} calls {requests[1]} were answered")
    seconds = float(finished[1]) / (1000 if finished[2] == "ms" else 1)
    return Done(calls, seconds, int(answered[1]))
