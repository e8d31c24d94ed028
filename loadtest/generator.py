"""Make unary calls as fast as they are answered, from a process of its own.

    python -m loadtest.generator ADDRESS METHOD REQUESTS CALLS CONNECTIONS STREAMS ANSWERS

REQUESTS is a file of serialized requests, taken in turn; ANSWERS takes the serialized answers of the
first time around, for the benchmark to check. A closed loop: it shows what a call costs the server, and
nothing of what people would wait. Prints the calls a second.
"""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import grpc.aio

_LENGTH_BYTES = 4
_TIMEOUT_S = 30


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
    answers: Path

    def arguments(self) -> list[str]:
        """Return the command line."""
        return [str(getattr(self, one.name)) for one in fields(self)]


async def _generate(plan: Plan) -> float:
    """Carry the plan out and return the calls a second."""
    requests = read_messages(plan.requests)
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(plan.address, options=options) for _ in range(plan.connections)]
    answers = [b""] * len(requests)
    numbers = iter(range(plan.calls))

    async def work(channel: grpc.aio.Channel) -> None:
        call: Callable[..., Awaitable[bytes]] = channel.unary_unary(plan.method)
        for number in numbers:
            answer = await call(requests[number % len(requests)], timeout=_TIMEOUT_S)
            if number < len(requests):
                answers[number] = answer

    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    began = time.perf_counter()
    await asyncio.gather(
        *(work(channel) for channel in itertools.chain(*itertools.repeat(channels, plan.streams)))
    )
    rate = plan.calls / (time.perf_counter() - began)
    await asyncio.gather(*(channel.close() for channel in channels))
    write_messages(plan.answers, answers)
    return rate


def main() -> None:
    """Generate."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # away from the server, on the first core
    address, method, requests, calls, connections, streams, answers = sys.argv[1:]
    plan = Plan(address, method, Path(requests), int(calls), int(connections), int(streams), Path(answers))
    print(f"{asyncio.run(_generate(plan)):.1f}")


if __name__ == "__main__":
    main()
