"""An Envoy with Python inside that does nothing: what the Envoy engine costs without a verifier.

    python -m loadtest.empty_envoy <port file>

Each message of any call is answered with an empty one. Runs until it is killed.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from loadtest.envoy_answers import answer_call, serve


def _empty(_message: bytes) -> bytes:
    return b""


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer one call."""
    if scope["type"] == "http":
        await answer_call(receive, send, _empty)


if __name__ == "__main__":
    serve("loadtest.empty_envoy:app", Path(sys.argv[1]))
