"""Spans of the calls of the ASGI application (verifier.tracing), from what it sends.

A call that is chosen has a `send` of its own, which sees how the call ends and what it is told; nothing else
of the application knows of it.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from verifier.envoy.asgi_types import Event, Send
from verifier.envoy.exchange import Exchange
from verifier.envoy.framing import PREFIX_BYTES
from verifier.span_attributes import call_attributes, is_fault, of_batch, of_scan
from verifier.tracing import Attributes, Parent, Tracing
from verifier.v1 import verifier_pb2 as pb

_TRACEPARENT = b"traceparent"
_STATUS = b"grpc-status"
# What a peer that has gone leaves: gRPC's CANCELLED.
_CANCELLED = 1


class TracedExchanges:
    """Tells of the calls that are chosen."""

    def __init__(self, tracing: Tracing, service: str) -> None:
        """`service` is the full name."""
        self._tracing = tracing
        self._describe: Mapping[str, tuple[str, Callable[[bytes], Attributes] | None]] = {
            f"/{service}/VerifyCode": (f"{service}/VerifyCode", _scan),
            f"/{service}/VerifyCodes": (f"{service}/VerifyCodes", _batch),
            f"/{service}/StreamVerify": (f"{service}/StreamVerify", None),
        }

    def watch(self, path: str, exchange: Exchange, send: Send) -> "Watch | None":
        """Return what watches a call that has come; None for one that is not told of."""
        known = self._describe.get(path)
        if known is None:
            return None
        traceparent = exchange.header(_TRACEPARENT)
        parent = self._tracing.choose(None if traceparent is None else traceparent.decode("latin-1"))
        return None if parent is None else Watch(self._tracing, *known, parent, send)


class Watch:
    """Watches one call."""

    def __init__(
        self,
        tracing: Tracing,
        name: str,
        describe: Callable[[bytes], Attributes] | None,
        parent: Parent,
        send: Send,
    ) -> None:
        """`describe` returns attributes from a response; without one, messages are counted."""
        self._tracing = tracing
        self._name = name
        self._describe = describe
        self._parent = parent
        self._send = send
        self._status = _CANCELLED
        self._response = b""
        self._messages = 0

    async def send(self, event: Event) -> None:
        """Send an event, and see what is in it."""
        for name, value in event.get("headers", ()):
            if name == _STATUS:
                self._status = int(value)
        if body := event.get("body"):
            if self._describe is None:
                self._messages += _count_frames(body)
            else:
                self._response = body
        await self._send(event)

    async def over(self, answering: Awaitable[None], exchange: Exchange) -> None:
        """Answer the call, and tell of it."""
        taken_up_ns = time.monotonic_ns()
        try:
            await answering
        finally:
            self._tell(exchange, exchange.taken_up_ns or taken_up_ns)

    def _tell(self, exchange: Exchange, taken_up_ns: int) -> None:
        described: dict[str, Any] = {}
        if self._describe is None:
            described = {"gatelight.messages": self._messages}
        elif self._response:
            described = dict(self._describe(self._response[PREFIX_BYTES:]))
        self._tracing.tell(
            self._name,
            self._parent,
            begun_ns=exchange.come_ns,
            attributes={
                **call_attributes(self._status, begun_ns=exchange.come_ns, taken_up_ns=taken_up_ns),
                **described,
            },
            has_failed=is_fault(self._status),
        )


def _scan(response: bytes) -> Attributes:
    return of_scan(pb.VerifyCodeResponse.FromString(response))


def _batch(response: bytes) -> Attributes:
    return of_batch(pb.VerifyCodesResponse.FromString(response))


def _count_frames(body: bytes) -> int:
    count = at = 0
    while at + PREFIX_BYTES <= len(body):
        at += PREFIX_BYTES + int.from_bytes(body[at + 1 : at + PREFIX_BYTES], "big")
        count += 1
    return count
