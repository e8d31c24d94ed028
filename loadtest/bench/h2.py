"""Unary calls from h2load, a generator in C: what is left of the machine is the server's.

h2load counts any HTTP 200 as success, also a call that gRPC calls failed. So whoever uses it compares the
verdicts that the verifier counted with the calls that were made.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from loadtest.processes import ProcessError

_TIMEOUT_S = 120
_FINISHED = re.compile(r"finished in ([\d.]+)(ms|s), ([\d.]+) req/s")
_REQUESTS = re.compile(r"(\d+) succeeded")


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


def require_h2load() -> None:
    """Raise ProcessError, with what to do, when there is no h2load."""
    if shutil.which("h2load") is None:
        raise ProcessError("the benchmark needs h2load: apt install nghttp2-client, or brew install nghttp2")


def send(burst: Burst, address: str, *, folder: Path, core: int | None) -> Done:
    """Send a burst, on one core if it is given; raises ProcessError unless every call was answered."""
    body = folder / "h2load.body"
    body.write_bytes(b"\0" + len(burst.message).to_bytes(4, "big") + burst.message)
    command = ["taskset", "-c", str(core)] if core is not None and shutil.which("taskset") else []
    command += ["h2load", "-n", str(burst.calls), "-c", str(burst.connections), "-m", str(burst.streams)]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", str(body)]
    if burst.key:
        command += ["-H", f"authorization: Bearer {burst.key}"]
    command.append(f"http://{address}{burst.method}")
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    finished, requests = _FINISHED.search(ran.stdout), _REQUESTS.search(ran.stdout)
    if ran.returncode != 0 or finished is None or requests is None:
        raise ProcessError(f"h2load ended with {ran.returncode}: {ran.stderr[-300:]}")
    if int(requests[1]) != burst.calls:
        raise ProcessError(f"of {burst.calls} calls {requests[1]} were answered")
    return Done(burst.calls, float(finished[1]) / (1000 if finished[2] == "ms" else 1))
