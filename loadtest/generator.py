"""Make different unary calls, or send different messages on lanes, from a process of its own.

    python -m loadtest.generator ADDRESS METHOD REQUESTS CALLS CONNECTIONS STREAMS PER_S ANSWERS < KEY

REQUESTS is a file of serialized requests, taken in turn. A method whose name begins with Stream is a lane:
each stream of each connection is one call, and its messages are what is timed. ANSWERS is a file to which
some of the requests go, each with its answer behind it. KEY is the bearer key of a gate; it comes by standard
input, because other users of the machine can read arguments.

PER_S 0 is a closed loop, in which each stream sends when the one before was answered: it shows what a call
costs the server, and nothing of what people would wait. At another PER_S messages are sent when they are due,
whatever was answered, and their latency counts from that moment. It is Python: a message may be sent a
millisecond late, the timer's, and waits for its turn again when its answer is there; all of that counts.

Prints an Outcome as JSON.
"""

import asyncio
import itertools
import json
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Self

import grpc.aio

_LENGTH_BYTES = 4
_TIMEOUT_S = 60
# One answer of so many is kept; not a divisor of the requests, so that others come round each time.
_SAMPLED = 17
# So many that are late are sent before answers have their turn.
_LATE_TURN = 16


def write_messages(path: Path, messages: Iterable[bytes]) -> None:
    """Write messages, each behind its length."""
    path.write_bytes(b"".join(len(one).to_bytes(_LENGTH_BYTES, "big") + one for one in messages))


def read_messages(path: Path) -> list[bytes]:
    """Return the messages that write_messages wrote."""
    return list(_split(path.read_bytes()))


def _split(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(content[at:begin], "big")
        yield content[begin:at]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do; the fields are the arguments, but for the key."""

    address: str
    method: str
    requests: Path
    calls: int  # messages, on lanes
    connections: int
    streams: int  # a connection
    per_s: float  # 0: a closed loop
    answers: Path
    key: str = field(repr=False)

    def arguments(self) -> list[str]:
        """Return the command line."""
        return [str(getattr(self, one.name)) for one in fields(self) if one.name != "key"]

    @classmethod
    def read(cls, arguments: Sequence[str], key: str) -> Self:
        """Return what arguments() told."""
        address, method, requests, calls, connections, streams, per_s, answers = arguments
        counts = (int(calls), int(connections), int(streams))
        return cls(address, method, Path(requests), *counts, float(per_s), Path(answers), key)

    @property
    def is_lane(self) -> bool:
        """Whether the method is a stream of messages."""
        return self.method.rpartition("/")[2].startswith("Stream")


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    per_s: float = 0.0  # that was reached
    took_ms: list[float] = field(default_factory=list)  # of each call or message

    @classmethod
    def read(cls, printed: str) -> Self:
        """Return what main() printed."""
        return cls(**json.loads(printed))


class _Generator:
    """Carries a plan out."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = itertools.islice(itertools.cycle(read_messages(plan.requests)), plan.calls)
        self._metadata = (("authorization", f"Bearer {plan.key}"),)
        self._took_s: list[float] = []
        self._sampled: list[bytes] = []

    async def run(self) -> Outcome:
        plan = self._plan
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(plan.address, options=options) for _ in range(plan.connections)]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        began = time.perf_counter()
        streams = list(itertools.chain(*itertools.repeat(channels, plan.streams)))
        if plan.per_s:
            await (self._pace_lanes(streams) if plan.is_lane else self._pace_calls(streams))
        else:
            work = self._closed_lane if plan.is_lane else self._closed_calls
            await asyncio.gather(*(work(channel) for channel in streams))
        rate = plan.calls / (time.perf_counter() - began)
        await asyncio.gather(*(channel.close() for channel in channels))
        write_messages(plan.answers, self._sampled)
        return Outcome(rate, [round(took_s * 1000, 3) for took_s in self._took_s])

    async def _closed_calls(self, channel: grpc.aio.Channel) -> None:
        for request in self._requests:
            await self._call(channel, request, time.perf_counter())

    async def _closed_lane(self, channel: grpc.aio.Channel) -> None:
        answered = asyncio.Semaphore(1)

        async def source() -> AsyncIterator[tuple[float, bytes]]:
            for request in self._requests:
                await answered.acquire()
                yield time.perf_counter(), request

        await self._lane(channel, source(), answered)

    async def _pace_calls(self, streams: Sequence[grpc.aio.Channel]) -> None:
        async with asyncio.TaskGroup() as calls:
            channels = itertools.cycle(streams)
            async for due, request in self._as_due():
                calls.create_task(self._call(next(channels), request, due))

    async def _pace_lanes(self, streams: Sequence[grpc.aio.Channel]) -> None:
        queues: list[asyncio.Queue[tuple[float, bytes] | None]] = [asyncio.Queue() for _ in streams]

        async def source(
            queue: asyncio.Queue[tuple[float, bytes] | None],
        ) -> AsyncIterator[tuple[float, bytes]]:
            while (message := await queue.get()) is not None:
                yield message

        async with asyncio.TaskGroup() as lanes:
            for channel, queue in zip(streams, queues, strict=True):
                lanes.create_task(self._lane(channel, source(queue), asyncio.Semaphore()))
            turns = itertools.cycle(queues)
            async for message in self._as_due():
                next(turns).put_nowait(message)
            for queue in queues:
                queue.put_nowait(None)

    async def _as_due(self) -> AsyncIterator[tuple[float, bytes]]:
        """Give each request when it is due, with that moment."""
        began = time.perf_counter()
        for number, request in enumerate(self._requests):
            due = began + number / self._plan.per_s
            wait_s = due - time.perf_counter()
            if wait_s > 0 or number % _LATE_TURN == 0:
                await asyncio.sleep(max(0.0, wait_s))
            yield due, request

    async def _call(self, channel: grpc.aio.Channel, request: bytes, since: float) -> None:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(self._plan.method)
        answer = await call(request, timeout=_TIMEOUT_S, metadata=self._metadata)
        self._note(request, answer, since)

    async def _lane(
        self,
        channel: grpc.aio.Channel,
        source: AsyncIterator[tuple[float, bytes]],
        answered: asyncio.Semaphore,
    ) -> None:
        """Send what comes; answers come in the same order. Releases `answered` at each."""
        sent: deque[tuple[float, bytes]] = deque()

        async def send() -> AsyncIterator[bytes]:
            async for message in source:
                sent.append(message)
                yield message[1]

        call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(self._plan.method)
        async for answer in call(send(), timeout=_TIMEOUT_S, metadata=self._metadata):
            since, request = sent.popleft()
            self._note(request, answer, since)
            answered.release()

    def _note(self, request: bytes, answer: bytes, since: float) -> None:
        if len(self._took_s) % _SAMPLED == 0:
            self._sampled += (request, answer)
        self._took_s.append(time.perf_counter() - since)


def main() -> None:
    """Generate."""
    plan = Plan.read(sys.argv[1:], sys.stdin.read())
    # In a closed loop away from the server, which is on the first core. At a rate, the server has all cores.
    if not plan.per_s and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(json.dumps(asdict(asyncio.run(_Generator(plan).run()))))


if __name__ == "__main__":
    main()
