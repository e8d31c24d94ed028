"""What does not grow with the city: more workers, more credentials, and changes that reach every worker."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.calls import FEW, MANY, ROUNDS, Calls
from loadtest.bench.h2 import Burst, send
from loadtest.bench.measured import Measured
from loadtest.bench.running import RunningVerifier, WrongAnswer
from loadtest.city import GATE_ID, City
from loadtest.process_tree import cpu_s, pss_mib
from verifier.client import VerifierClient
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Verdict
from verifier.wire.status_record import Colour

_METHOD = "/verifier.v1.VerifierService/VerifyCode"
_CALLS = 20_000
_CHANGES = 100
# Each connection is some worker's; that 16 all miss one of two is a chance of 1 in 32 768.
_GATES = 16
_LOAD_PER_S = 20 * 100  # scans, at 20 changes a second: one in a hundred
_CHANGE_EVERY_S = 0.05
_WAIT_S = 10


@dataclass(frozen=True, slots=True)
class Throughput:
    """What one or more workers give."""

    per_s: Measured  # verdicts, the generator on the same machine
    cpu_us: Measured  # server CPU of a verdict


def throughput(city: City, verifier: RunningVerifier, *, folder: Path) -> Throughput:
    """Measure verdicts a second over 500 connections, nothing pinned."""
    scan = pb.VerifyCodeRequest(qr_text=city.code(0), scan_id="0" * 32, gate_id=GATE_ID).SerializeToString()
    per_s, cpu = [], []
    for _ in range(ROUNDS):
        before, cpu_before = verifier.green_scans(), cpu_s(verifier.process)
        burst = Burst(_METHOD, scan, _CALLS, MANY.connections, MANY.streams, city.gate_key)
        done = send(burst, verifier.address, folder=folder, core=None)
        cpu.append((cpu_s(verifier.process) - cpu_before) / _CALLS * 1e6)
        if verifier.green_scans() - before != _CALLS:
            raise WrongAnswer(f"expected {_CALLS} scans to be answered GREEN")
        per_s.append(done.calls / done.seconds)
    what = f"{verifier.engine} engine, {verifier.workers} workers, 500 connections"
    return Throughput(
        Measured(f"verdicts a second, {what}", "1/s", tuple(per_s)),
        Measured(f"unary verdict, {what}, server CPU", "µs", tuple(cpu)),
    )


def cost_of_size(
    small: City, large: City, verifiers: Sequence[RunningVerifier], *, folder: Path
) -> tuple[Measured, Measured]:
    """Return server CPU of a code in a batch, µs, of random credentials of a small and of a large city."""
    samples: tuple[list[float], list[float]] = ([], [])
    measured = [
        Calls(city, [verifier], folder=folder)
        for city, verifier in zip((small, large), verifiers, strict=True)
    ]
    for _ in range(ROUNDS):
        for found, one, verifier in zip(samples, measured, verifiers, strict=True):
            found.append(one.batch_us(verifier))
    return (
        Measured(
            f"verdict in a batch, {small.credentials:,} credentials, server CPU", "µs", tuple(samples[0])
        ),
        Measured(
            f"verdict in a batch, {large.credentials:,} credentials, server CPU", "µs", tuple(samples[1])
        ),
    )


def status_change(city: City, verifier: RunningVerifier, *, folder: Path) -> Measured:
    """Return the times from a change in Redis to its verdict at every worker, under load, milliseconds."""
    samples = []
    gates = [
        VerifierClient(verifier.address, gate_id=GATE_ID, bearer_key=city.gate_key) for _ in range(_GATES)
    ]
    try:
        with _load(city, verifier, folder):
            qr_text = city.code(1)
            for change in range(_CHANGES):
                colour = Colour.YELLOW if change % 2 == 0 else Colour.GREEN
                began = time.perf_counter()
                city.set_colour(1, colour)
                for gate in gates:
                    while gate.verify(qr_text).verdict is not Verdict[colour.name]:
                        if time.perf_counter() - began > _WAIT_S:
                            raise WrongAnswer("a status change did not arrive")
                samples.append((time.perf_counter() - began) * 1000)
                time.sleep(_CHANGE_EVERY_S)
    finally:
        for gate in gates:
            gate.close()
    return Measured(f"status change to verdict at {_GATES} connections, under load", "ms", tuple(samples))


def memory(verifier: RunningVerifier) -> Measured:
    """Return the memory of a verifier with all of its workers, MiB."""
    what = f"memory of {verifier.workers} workers and supervisor, {verifier.engine} engine"
    return Measured(what, "MiB", (pss_mib(verifier.process),))


@contextmanager
def _load(city: City, verifier: RunningVerifier, folder: Path) -> Iterator[None]:
    """Scan meanwhile, at a steady rate."""
    scan = pb.VerifyCodeRequest(qr_text=city.code(0), scan_id="0" * 32, gate_id=GATE_ID).SerializeToString()
    body = folder / "steady.body"
    body.write_bytes(b"\0" + len(scan).to_bytes(4, "big") + scan)
    command = ["h2load", "-D", "600", "-c", str(FEW.connections), "-m", str(FEW.streams), "-d", str(body)]
    command += ["--rps", str(_LOAD_PER_S // FEW.connections), "-H", "content-type: application/grpc"]
    command += ["-H", "te: trailers", "-H", f"authorization: Bearer {city.gate_key}"]
    command.append(f"http://{verifier.address}{_METHOD}")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as load:
        try:
            yield
        finally:
            load.kill()
