"""What a city shows at its gates, sent to servers: each load is checked, and tells what it cost them.

While cost is measured, a server with all of its processes is on the first core and the generator on the last.
Supervisor and journal count: the CPU is that of everything that was started. At full speed, and at a rate,
they share the machine.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest import empty_server
from loadtest.bench.answers import (
    BATCH,
    LANE,
    UNARY,
    WrongAnswer,
    require_empty,
    require_green,
    require_green_answers,
)
from loadtest.bench.h2 import Burst, Done, Paced, send, send_paced, sending
from loadtest.bench.measured import first_core, last_core, on_core
from loadtest.bench.messages import BATCH_SCANS, Messages
from loadtest.bench.running import RunningVerifier, Server
from loadtest.city import City
from loadtest.generator import Outcome, Plan, read_messages, write_messages
from loadtest.process_tree import cpu_s, tree
from loadtest.processes import ProcessError

_TIMEOUT_S = 60
_LEAST_OF_LOAD = 0.5
_PREFIX_BYTES = 5  # gRPC's, of each message


@dataclass(frozen=True, slots=True)
class Shape:
    """How a load comes in."""

    name: str
    connections: int
    streams: int  # on each
    calls: int  # so many that making the connections counts little


FEW = Shape("64 streams on 8 connections", 8, 8, 4_000)
MANY = Shape("500 connections", 500, 1, 20_000)
# At a rate, no call should have to wait for another one's answer: so many under way on a connection.
_PACED_STREAMS = 32
_BATCH_SHAPE = Shape("batches", 8, 2, 100)
_LANES_SHAPE = Shape("64 lanes on 8 connections", 8, 8, 4_000)


@dataclass(frozen=True, slots=True)
class Throughput:
    """What a server gives, the generator on the same machine."""

    per_s: float  # scans
    cpu_us: float  # of the server, a scan


def require_data(done: Done, answer_bytes: range) -> None:
    """Raise WrongAnswer unless so many bytes came as calls with answers of `answer_bytes` give."""
    least, most = (done.calls * (_PREFIX_BYTES + size) for size in (answer_bytes[0], answer_bytes[-1]))
    if not least <= done.data_bytes <= most:
        raise WrongAnswer(
            f"{done.calls} calls: expected {least} to {most} bytes of answers, got {done.data_bytes}"
        )


class Loads:
    """The loads of one city."""

    def __init__(self, city: City, *, folder: Path) -> None:
        self._key = city.gate_key
        self._messages = Messages(city)
        self._folder = folder

    def unary_us(self, server: Server, shape: Shape) -> float:
        """Return the CPU of a unary verdict, µs."""
        burst = self._burst(shape)
        with on_core(first_core(), *tree(server.process)):
            return self._unary(server, burst, core=last_core()).cpu_us

    def batch_us(self, server: Server, *, calls: int = _BATCH_SHAPE.calls) -> float:
        """Return the CPU of a verdict in a batch, µs, from so many batches."""
        shape = replace(_BATCH_SHAPE, calls=calls)
        with self._checked(server, BATCH, self._messages.batches[0], calls * BATCH_SCANS):
            return self._generated_us(server, BATCH, self._messages.batches, shape) / BATCH_SCANS

    def lane_us(self, server: Server) -> float:
        """Return the CPU of a verdict on a lane, µs."""
        with self._checked(server, LANE, self._messages.lane[0], _LANES_SHAPE.calls):
            return self._generated_us(server, LANE, self._messages.lane, _LANES_SHAPE)

    def empty_us(self, server: Server, shape: Shape) -> float:
        """Return the CPU of a call of an empty server, µs."""
        burst = Burst(empty_server.METHOD, b"", shape.calls, shape.connections, shape.streams, self._key)
        require_empty(server.address, burst.method)
        with on_core(first_core(), *tree(server.process)):
            before = cpu_s(server.process)
            done = send(burst, server.address, folder=self._folder, core=last_core())
            took_us = (cpu_s(server.process) - before) / shape.calls * 1e6
        require_data(done, range(1))
        return took_us

    def empty_lane_us(self, server: Server) -> float:
        """Return the CPU of a message on a stream of an empty server, µs."""
        require_empty(server.address, empty_server.LANE_METHOD)
        return self._generated_us(server, empty_server.LANE_METHOD, [b""], _LANES_SHAPE)

    def unary_throughput(self, server: Server, calls: int) -> Throughput:
        """Return what 500 connections get that send again when they are answered."""
        return self._unary(server, self._burst(MANY, calls), core=None)

    def unary_paced(self, server: Server, *, per_s: float, calls: int) -> Paced:
        """Return how long 500 connections wait at a rate; `calls` is a multiple of 500."""
        burst = self._burst(MANY, calls, streams=_PACED_STREAMS)
        with self._checked(server, UNARY, self._messages.scan, calls):
            return send_paced(burst, server.address, folder=self._folder, per_s=per_s)

    @contextmanager
    def unary_meanwhile(
        self, server: RunningVerifier, *, per_s: float, beside: Callable[[], int]
    ) -> Iterator[None]:
        """Scan meanwhile, at a steady rate.

        Raises ProcessError unless half of it or more was answered, without the scans that `beside` counts.
        """
        answered, others, began = server.verdicts().total(), beside(), time.perf_counter()
        with sending(self._burst(FEW), server.address, folder=self._folder, per_s=per_s):
            yield
            due = per_s * (time.perf_counter() - began)
            answered, others = server.verdicts().total() - answered, beside() - others
        if answered - others < _LEAST_OF_LOAD * due:
            raise ProcessError(f"of {due:.0f} scans under way meanwhile {answered - others} were answered")

    def batches_generated(self, server: Server, *, calls: int, per_s: float = 0.0) -> Outcome:
        """Return what came of batches, at a rate or (0) as fast as they are answered."""
        with self._checked(server, BATCH, self._messages.batches[0], calls * BATCH_SCANS):
            return self._generate(
                server, BATCH, self._messages.batches, _BATCH_SHAPE, calls=calls, per_s=per_s
            )

    def lanes_generated(self, server: Server, *, calls: int, per_s: float = 0.0) -> Outcome:
        """Return what came of messages on lanes, at a rate or (0) as fast as they are answered."""
        with self._checked(server, LANE, self._messages.lane[0], calls):
            return self._generate(server, LANE, self._messages.lane, _LANES_SHAPE, calls=calls, per_s=per_s)

    @contextmanager
    def _checked(self, server: Server, method: str, request: bytes, scans: int) -> Iterator[set[int]]:
        """Raise WrongAnswer unless one request before, all scans of the load, and one behind it are right.

        At the end the bytes of the two answers are in what it yields.
        """
        sizes = {require_green(server.address, method, request, key=self._key)}
        with server.answering(scans):
            yield sizes
        sizes.add(require_green(server.address, method, request, key=self._key))

    def _unary(self, server: Server, burst: Burst, *, core: int | None) -> Throughput:
        """Send a burst of one scan again and again, from `core` or from anywhere; raises WrongAnswer."""
        with self._checked(server, UNARY, burst.message, burst.calls) as sizes:
            before = cpu_s(server.process)
            done = send(burst, server.address, folder=self._folder, core=core)
            took_s = cpu_s(server.process) - before
        if not server.is_counting:
            # The age of the code grows meanwhile, and with it its varint.
            require_data(done, range(min(sizes), max(sizes) + 1))
        return Throughput(done.calls / done.seconds, took_s / done.calls * 1e6)

    def _burst(self, shape: Shape, calls: int = 0, *, streams: int = 0) -> Burst:
        sizes = (calls or shape.calls, shape.connections, streams or shape.streams)
        return Burst(UNARY, self._messages.scan, *sizes, self._key)

    def _generated_us(self, server: Server, method: str, requests: Sequence[bytes], shape: Shape) -> float:
        """Make different calls, or send them on lanes."""
        with on_core(first_core(), *tree(server.process)):
            before = cpu_s(server.process)
            self._generate(server, method, requests, shape, calls=shape.calls)
            return (cpu_s(server.process) - before) / shape.calls * 1e6

    def _generate(
        self,
        server: Server,
        method: str,
        requests: Sequence[bytes],
        shape: Shape,
        *,
        calls: int,
        per_s: float = 0.0,
    ) -> Outcome:
        requests_file, answers_file = self._folder / "requests", self._folder / "answers"
        write_messages(requests_file, requests)
        sizes = (calls, shape.connections, shape.streams)
        plan = Plan(server.address, method, requests_file, *sizes, per_s, answers_file, self._key)
        command = [sys.executable, "-m", "loadtest.generator", *plan.arguments()]
        ran = subprocess.run(
            command, check=False, timeout=_TIMEOUT_S, capture_output=True, text=True, input=plan.key
        )
        if ran.returncode != 0:
            raise ProcessError(f"the generator ended with {ran.returncode}:\n{ran.stderr[-600:]}")
        if method != empty_server.LANE_METHOD:
            require_green_answers(method, read_messages(answers_file))
        return Outcome.read(ran.stdout)
