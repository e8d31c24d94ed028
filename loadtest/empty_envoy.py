"""An Envoy with Python inside that does nothing: what the Envoy engine costs without a verifier.

    python -m loadtest.empty_envoy <port file>

Each message of any call is answered with an empty one, by one thread of Envoy's, as a verifier's
worker has. Runs until it is killed, and Envoy with it.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pyvoy import PyvoyServer

from verifier.envoy.framing import PREFIX_BYTES, Unframer, frame

_MAX_BYTES = 1 << 20
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/grpc")],
    "trailers": True,
}
_END = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer one call."""
    if scope["type"] != "http":
        return
    unframer = Unframer(_MAX_BYTES)
    has_begun, has_more = False, True
    while has_more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        has_more = event.get("more_body", False)
        answers = b"".join(frame(b"") for _message in unframer.feed(event["body"]))
        if not has_begun:
            await send(_START)
            has_begun = True
        if len(answers) >= PREFIX_BYTES or not has_more:
            await send({"type": "http.response.body", "body": answers, "more_body": has_more})
    await send(_END)


async def _serve(port_file: Path) -> None:
    async with PyvoyServer(
        "loadtest.empty_envoy:app",
        additional_envoy_args=["--concurrency", "1"],
        env={"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])},  # noqa: PTH109
    ) as server:
        port_file.write_text(f"{server.listener_port}\n")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
