"""Make different unary calls, or send different messages on lanes, from a process of its own.

    python -m loadtest.generator ADDRESS METHOD REQUESTS CALLS CONNECTIONS STREAMS KEY

REQUESTS is a file of serialized requests, taken in turn. A method whose name begins with Stream is a lane:
each stream of each connection is one call, which sends a message when the one before was answered. KEY is
the bearer key of a gate. A closed loop: it shows what a call costs the server, and nothing of what people
would wait. Prints the calls a second.
"""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import grpc.aio

_LENGTH_BYTES = 4
_TIMEOUT_S = 60


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
    """What to do; the fields are the arguments."""

    address: str
    method: str
    requests: Path
    calls: int
    connections: int
    streams: int  # a connection
    key: str

    def arguments(self) -> list[str]:
        """Return the command line."""
        return [str(getattr(self, one.name)) for one in fields(self)]


async def _generate(plan: Plan) -> float:
    """Carry the plan out and return the calls a second."""
    messages = itertools.cycle(read_messages(plan.requests))
    requests = itertools.islice(messages, plan.calls)
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(plan.address, options=options) for _ in range(plan.connections)]
    work = _work_on_lane if plan.method.rpartition("/")[2].startswith("Stream") else _work
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    began = time.perf_counter()
    streams = itertools.chain(*itertools.repeat(channels, plan.streams))
    await asyncio.gather(*(work(channel, plan, requests) for channel in streams))
    rate = plan.calls / (time.perf_counter() - began)
    await asyncio.gather(*(channel.close() for channel in channels))
    return rate


async def _work(channel: grpc.aio.Channel, plan: Plan, requests: Iterator[bytes]) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(plan.method)
    for request in requests:
        await call(request, timeout=_TIMEOUT_S, metadata=_metadata(plan))


async def _work_on_lane(channel: grpc.aio.Channel, plan: Plan, requests: Iterator[bytes]) -> None:
    answered = asyncio.Semaphore(1)

    async def send() -> AsyncIterator[bytes]:
        for request in requests:
            await answered.acquire()
            yield request

    call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(plan.method)
    async for _answer in call(send(), timeout=_TIMEOUT_S, metadata=_metadata(plan)):
        answered.release()


def _metadata(plan: Plan) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {plan.key}"),)


def main() -> None:
    """Generate."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # away from the server, on the first core
    address, method, requests, calls, connections, streams, key = sys.argv[1:]
    plan = Plan(address, method, Path(requests), int(calls), int(connections), int(streams), key)
    print(f"{asyncio.run(_generate(plan)):.1f}")


if __name__ == "__main__":
    main()
