"""One gRPC call as ASGI has it: what came in its headers, its messages, and its end.

The first event of a response reaches the peer with the second only, and everything that is sent at once goes
out at once: a unary call is answered by three events after the work is done.
"""

import asyncio
import time
from collections.abc import Awaitable

from verifier.access.callers import Credentials
from verifier.call_error import CallError, Status, too_big
from verifier.envoy.asgi_types import Event, Receive, Scope, Send
from verifier.envoy.framing import ENCODINGS, IDENTITY, PREFIX_BYTES, BrokenFrame, frame, read_timeout_s
from verifier.envoy.trailers import OK, RESPONSE_HEADERS, end_of

_ANYBODY = Credentials()
_HASH = b"Hash="
_GRPC = b"application/grpc"
_GRPC_VARIANTS = (_GRPC + b"+", _GRPC + b";")
_START: Event = {
    "type": "http.response.start",
    "status": 200,
    "headers": RESPONSE_HEADERS,
    "trailers": True,
}
_NOTHING_MORE: Event = {"type": "http.response.body", "body": b"", "more_body": False}
_DONE: Event = {"type": "http.response.trailers", "headers": OK}


class Gone(Exception):
    """Whoever called is not there any more."""


class Exchange:
    """A call: a request that comes and a response that goes."""

    __slots__ = (
        "_has_begun",
        "_headers",
        "_receive",
        "_send",
        "come_ns",
        "deadline_s",
        "encoding",
        "taken_up_ns",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, come_ns: int = 0) -> None:
        """What is asked for is read by check(); `come_ns` is when the call came, on the monotonic clock."""
        self.come_ns = come_ns
        self.taken_up_ns = 0  # when work began on a call that had waited for its turn, likewise
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self._send = send
        self._has_begun = False
        self.deadline_s: float | None = None  # on the monotonic clock
        self.encoding = self._headers.get(b"grpc-encoding", IDENTITY)

    def check(self) -> None:
        """Read what the headers ask for; raises CallError where it cannot be had."""
        if self.encoding not in ENCODINGS:
            raise CallError(Status.UNIMPLEMENTED, "grpc-encoding: expected identity, gzip or deflate")
        timeout = self._headers.get(b"grpc-timeout")
        if timeout is not None:
            self.deadline_s = time.monotonic() + read_timeout_s(timeout)

    @property
    def is_grpc(self) -> bool:
        """Tell whether the content is gRPC's; gRPC-Web has become so before it comes here."""
        content = self._headers.get(b"content-type", b"")
        return content == _GRPC or content.startswith(_GRPC_VARIANTS)

    @property
    def is_late(self) -> bool:
        """Tell whether the deadline has passed."""
        return self.deadline_s is not None and time.monotonic() >= self.deadline_s

    def header(self, name: bytes) -> bytes | None:
        """Return a header of the request."""
        return self._headers.get(name)

    def credentials(self, scope: Scope) -> Credentials:
        """Return what the caller shows."""
        headers = self._headers
        certificate = headers.get(b"x-forwarded-client-cert")
        if b"authorization" not in headers and certificate is None:
            return _ANYBODY
        values = tuple(
            value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"
        )
        return Credentials(values, None if certificate is None else _certificate_sha256(certificate))

    async def body(self, max_message_bytes: int) -> bytes:
        """Return the whole body of a call that has one message; raises Gone, or CallError where it is longer.

        Of a short message Envoy gives it whole: see the buffer filter in verifier.envoy.bootstrap.
        """
        body, has_more = self.read(await self._receive())
        if not has_more:
            return body  # what is too long of one piece, only_message() tells
        whole = bytearray(body)
        while has_more:
            rest, has_more = self.read(await self._receive())
            whole += rest
            if len(whole) > PREFIX_BYTES + max_message_bytes:
                refusal = too_big(max_message_bytes)
                raise BrokenFrame(refusal.status, refusal.message)
        return bytes(whole)

    async def body_within(self, seconds: float, max_message_bytes: int) -> bytes:
        """Return the same of a peer that may be slow; raises CallError also when it takes longer."""
        try:
            async with asyncio.timeout(seconds):
                return await self.body(max_message_bytes)
        except TimeoutError:
            raise CallError(Status.DEADLINE_EXCEEDED, "the message did not come to its end in time") from None

    def receive(self) -> Awaitable[Event]:
        """Ask for what comes next on a stream; see read()."""
        return self._receive()

    @staticmethod
    def read(event: Event) -> tuple[bytes, bool]:
        """Return some bytes of the body, and whether there are more to come; raises Gone."""
        if event["type"] == "http.disconnect":
            raise Gone
        return event["body"], event.get("more_body", False)

    async def is_gone(self) -> bool:
        """Tell whether the caller has gone; only after the whole body was received."""
        kind: str = (await self._receive())["type"]
        return kind == "http.disconnect"

    async def answer(self, message: bytes) -> None:
        """Answer a unary call."""
        send = self._send
        await send(_START)
        await send({"type": "http.response.body", "body": frame(message), "more_body": False})
        await send(_DONE)

    async def send(self, frames: bytes) -> None:
        """Send messages of a stream, in their frames, when the peer takes them."""
        if not self._has_begun:
            self._has_begun = True
            await self._send(_START)
        await self._send({"type": "http.response.body", "body": frames, "more_body": True})

    async def end(self, error: CallError | None = None) -> None:
        """End a stream, or, with an error and before anything else was sent, any call."""
        if not self._has_begun:
            ending = OK if error is None else end_of(error)
            await self._send({**_START, "headers": RESPONSE_HEADERS + ending, "trailers": False})
            await self._send(_NOTHING_MORE)
            return
        await self._send(_NOTHING_MORE)
        await self._send(_DONE if error is None else {**_DONE, "headers": end_of(error)})


def _certificate_sha256(header: bytes) -> bytes | None:
    """Return the SHA-256 of the client's certificate, from Envoy's x-forwarded-client-cert.

    Envoy writes the header anew for each request: `Hash=` and 64 hexadecimal digits, with nothing of the
    certificate's own text in it.
    """
    for part in header.split(b";"):
        if part.startswith(_HASH):
            try:
                return bytes.fromhex(part[len(_HASH) :].decode("ascii"))
            except ValueError:
                return None
    return None
