"""What a verdict costs a server: unary, in batches and on streams, on each engine, against empty calls.

Limit and subjects take turns over several rounds, each server with all of its processes on the first core
and the generator on the last. Supervisor and journal count: the CPU is that of everything that was started.
"""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_sign_open

from loadtest import empty_server
from loadtest.bench.h2 import Burst, send
from loadtest.bench.measured import Measured, cpu_us, on_core
from loadtest.bench.running import RunningVerifier, WrongAnswer, last_core
from loadtest.city import GATE_ID, City
from loadtest.generator import Plan, write_messages
from loadtest.process_tree import cpu_s, tree
from loadtest.processes import ServerProcess
from verifier.v1 import verifier_pb2 as pb
from verifier.wire.code import code_sig_structure, decode_qr_text

ROUNDS = 5
BATCH = 100
_SERVICE = "/verifier.v1.VerifierService/"
_BATCHES = 50  # different ones
_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Shape:
    """How a load comes in."""

    name: str
    connections: int
    streams: int  # on each
    calls: int  # so many that making the connections counts little


FEW = Shape("64 streams on 8 connections", 8, 8, 6_000)
MANY = Shape("500 connections", 500, 1, 12_000)
_BATCHES_SHAPE = Shape("batches", 8, 2, 100)
_LANES = Shape("lanes", 8, 8, 6_000)


class Calls:
    """The measurements, on verifiers that run already."""

    def __init__(self, city: City, verifiers: Sequence[RunningVerifier], *, folder: Path) -> None:
        """`verifiers` have one worker each, and are of different engines."""
        self._city = city
        self._verifiers = verifiers
        self._folder = folder
        scans = [self._scan(index) for index in self._indices(_BATCHES * BATCH)]
        self._batches = [
            pb.VerifyCodesRequest(scans=scans[start : start + BATCH]).SerializeToString()
            for start in range(0, len(scans), BATCH)
        ]
        self._lane_messages = [pb.StreamVerifyRequest(scan=scan).SerializeToString() for scan in scans]

    def unary(self) -> Mapping[tuple[str, str], Measured]:
        """Return server CPU of a call, µs, by engine ("empty": grpcio's empty call) and shape."""
        samples: dict[tuple[str, str], list[float]] = {}
        scan = self._scan(0).SerializeToString()
        with self._empty_server("grpcio") as (empty, address):
            for _ in range(ROUNDS):
                for shape in (FEW, MANY):
                    cost = self._burst_us(empty, address, shape, empty_server.METHOD, b"")
                    samples.setdefault(("empty", shape.name), []).append(cost)
                    for verifier in self._verifiers:
                        before = verifier.green_scans()
                        method = f"{_SERVICE}VerifyCode"
                        cost = self._burst_us(verifier.process, verifier.address, shape, method, scan)
                        _require_scans(verifier, before, shape.calls)
                        samples.setdefault((verifier.engine, shape.name), []).append(cost)
        return {
            (engine, shape): Measured(_unary_name(engine, shape), "µs", tuple(found))
            for (engine, shape), found in samples.items()
        }

    def libraries(self) -> tuple[Measured, Measured]:
        """Return CPU of a verify call of PyNaCl and of OpenSSL, µs."""
        signed = decode_qr_text(self._city.code(0))
        message = code_sig_structure(signed.key_id, signed.payload)
        public_key = self._city.public_key
        openssl = Ed25519PublicKey.from_public_bytes(public_key)
        calls: Sequence[Callable[[], object]] = (
            lambda: crypto_sign_open(signed.signature + message, public_key),
            lambda: openssl.verify(signed.signature, message),
        )
        samples: tuple[list[float], list[float]] = ([], [])
        with on_core(0, psutil.Process()):
            for _ in range(ROUNDS):
                for found, call in zip(samples, calls, strict=True):
                    found.append(cpu_us(call))
        return (
            Measured("PyNaCl verify, CPU", "µs", tuple(samples[0])),
            Measured("OpenSSL verify, CPU", "µs", tuple(samples[1])),
        )

    def batches(self) -> Mapping[str, Measured]:
        """Return server CPU of a code in a batch of 100, µs, by engine."""
        samples: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for verifier in self._verifiers:
                samples.setdefault(verifier.engine, []).append(self.batch_us(verifier))
        return {
            engine: Measured(
                f"verdict in a batch of {BATCH}, {engine} engine, server CPU", "µs", tuple(found)
            )
            for engine, found in samples.items()
        }

    def batch_us(self, verifier: RunningVerifier) -> float:
        """Return server CPU of a code in a batch of 100, µs, measured once."""
        before = verifier.green_scans()
        cost = self._generated_us(
            verifier.process, verifier.address, _BATCHES_SHAPE, f"{_SERVICE}VerifyCodes", self._batches
        )
        _require_scans(verifier, before, _BATCHES_SHAPE.calls * BATCH)
        return cost / BATCH

    def lanes(self) -> Mapping[str, Measured]:
        """Return server CPU of a message on a stream, µs, by engine; "empty ..." answers nothing."""
        samples: dict[str, list[float]] = {}
        with ExitStack() as stack:
            empty = {
                verifier.engine: stack.enter_context(self._empty_server(verifier.engine))
                for verifier in self._verifiers
            }
            for _ in range(ROUNDS):
                for verifier in self._verifiers:
                    server, address = empty[verifier.engine]
                    cost = self._generated_us(server, address, _LANES, empty_server.LANE_METHOD, [b""])
                    samples.setdefault(f"empty {verifier.engine}", []).append(cost)
                    before = verifier.green_scans()
                    method = f"{_SERVICE}StreamVerify"
                    cost = self._generated_us(
                        verifier.process, verifier.address, _LANES, method, self._lane_messages
                    )
                    _require_scans(verifier, before, _LANES.calls)
                    samples.setdefault(verifier.engine, []).append(cost)
        return {
            engine: Measured(f"message on a stream, {engine} engine, server CPU", "µs", tuple(found))
            for engine, found in samples.items()
        }

    def _indices(self, count: int) -> Sequence[int]:
        # All over the city, so that what memory costs shows.
        return random.Random(1).sample(range(self._city.credentials), count)

    def _scan(self, credential_index: int) -> pb.VerifyCodeRequest:
        qr_text = self._city.code(credential_index)
        return pb.VerifyCodeRequest(qr_text=qr_text, scan_id=f"{credential_index:032}", gate_id=GATE_ID)

    def _burst_us(
        self, server: ServerProcess, address: str, shape: Shape, method: str, message: bytes
    ) -> float:
        """Make the same call again and again from h2load; return the server CPU of one, microseconds."""
        key = self._city.gate_key
        burst = Burst(method, message, shape.calls, shape.connections, shape.streams, key)
        with on_core(0, *tree(server)):
            before = cpu_s(server)
            send(burst, address, folder=self._folder, core=last_core())
            return (cpu_s(server) - before) / shape.calls * 1e6

    def _generated_us(
        self, server: ServerProcess, address: str, shape: Shape, method: str, requests: Sequence[bytes]
    ) -> float:
        """Make different calls, or send them on lanes; return the server CPU of one, microseconds."""
        requests_file = self._folder / "requests"
        write_messages(requests_file, requests)
        plan = Plan(
            address, method, requests_file, shape.calls, shape.connections, shape.streams, self._city.gate_key
        )
        with on_core(0, *tree(server)):
            before = cpu_s(server)
            command = [sys.executable, "-m", "loadtest.generator", *plan.arguments()]
            subprocess.run(command, check=True, timeout=_TIMEOUT_S, stdout=subprocess.DEVNULL)
            return (cpu_s(server) - before) / shape.calls * 1e6

    @contextmanager
    def _empty_server(self, engine: str) -> Iterator[tuple[ServerProcess, str]]:
        port_file = self._folder / f"empty-{engine}.port"
        port_file.unlink(missing_ok=True)
        module = {"grpcio": "loadtest.empty_server", "envoy": "loadtest.empty_envoy"}[engine]
        command = [sys.executable, "-m", module, str(port_file)]
        with ServerProcess(f"empty-{engine}", command, folder=self._folder) as server:
            yield server, f"127.0.0.1:{server.wait_for_file(port_file)}"


def _require_scans(verifier: RunningVerifier, before: int, expected: int) -> None:
    answered = verifier.green_scans() - before
    if answered != expected:
        raise WrongAnswer(f"expected {expected} scans to be answered GREEN, got {answered}")


def _unary_name(engine: str, shape: str) -> str:
    what = "empty grpcio call" if engine == "empty" else f"unary verdict, {engine} engine"
    return f"{what}, {shape}, server CPU"
