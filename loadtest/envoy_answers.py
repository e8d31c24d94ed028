"""An Envoy with Python inside that answers each message by itself: for servers to measure by.

It has one thread of Envoy's, as a verifier's worker has.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from verifier.envoy.framing import Unframer, frame
from verifier.limits import MAX_BATCH_BYTES

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/grpc")],
    "trailers": True,
}
_END = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}

_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]


async def answer_call(receive: _Receive, send: _Send, answer: Callable[[bytes], bytes]) -> None:
    """Answer one call: each of its messages with what `answer` makes of it."""
    unframer = Unframer(MAX_BATCH_BYTES)
    has_begun, has_more = False, True
    while has_more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        has_more = event.get("more_body", False)
        answers = b"".join(frame(answer(message)) for message in unframer.feed(event["body"]))
        if not has_begun:
            await send(_START)
            has_begun = True
        if answers or not has_more:
            await send({"type": "http.response.body", "body": answers, "more_body": has_more})
    await send(_END)


def serve(app: str, port_file: Path) -> None:
    """Serve an ASGI application (module:name) until this process is killed, and Envoy with it."""
    asyncio.run(_serve(app, port_file))


async def _serve(app: str, port_file: Path) -> None:
    from pyvoy import PyvoyServer  # noqa: PLC0415 - not everywhere

    async with PyvoyServer(
        app,
        additional_envoy_args=["--concurrency", "1"],
        env={"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])},  # noqa: PTH109
    ) as server:
        port_file.write_text(f"{server.listener_port}\n")
        await asyncio.Event().wait()
