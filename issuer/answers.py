"""Turn methods that return or raise into ones that answer a call: who may, what is recorded, what is said.

The one place where the issuer's no becomes a status code. What we did not foresee becomes INTERNAL with
a text that says nothing; gRPC's own handling would send the exception's text, and a name with it.

A servicer's method takes the request (for imports, the iterator of requests) and the Caller:

    @answers(Role.CLERK, target=lambda request: f"holder {request.holder_id}")
    def GetHolder(self, request: pb.GetHolderRequest, caller: Caller) -> pb.GetHolderResponse: ...
"""

import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, NoReturn, Protocol, TypeVar

import grpc
import structlog
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from issuer.access.roles import Caller, Role
from issuer.errors import (
    CacheUnavailable,
    FailedPrecondition,
    ForeignCache,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Refused,
    RegisterRefused,
    RegisterUnavailable,
    TooMany,
    Unauthenticated,
)
from verifier.logs import where_raised

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_IsRecorded = bool | Callable[[Caller], bool]

_STATUS_CODES: dict[type[Exception], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    TooMany: grpc.StatusCode.RESOURCE_EXHAUSTED,
    RegisterRefused: grpc.StatusCode.FAILED_PRECONDITION,  # before its base: trying again will not help
    RegisterUnavailable: grpc.StatusCode.UNAVAILABLE,
    CacheUnavailable: grpc.StatusCode.UNAVAILABLE,
    ForeignCache: grpc.StatusCode.FAILED_PRECONDITION,
}

# gRPC drops a call whose trailing metadata is over 8 KiB, and the reason with it.
_MAX_MESSAGE_CHARACTERS = 500

# Where a client goes away while we wait for its next request, gRPC sometimes says first that there are no
# more requests, and that the call was cancelled once its own thread gets to run: 0.1 ms to 5 ms later, on a
# busy machine. An import takes longer than this by far.
_CANCELLATION_FOLLOWS_S = 0.1

_log = structlog.get_logger("issuer")


class Gatekeeper(Protocol):
    """Knows the clients, and keeps the record of their calls."""

    def authenticate(self, context: grpc.ServicerContext) -> Caller:
        """Return who calls; raises Unauthenticated, TooMany or RegisterUnavailable."""

    def begin(self, caller: Caller, *, method: str, target: str) -> int:
        """Record that a call begins, before anything is done; return its seq. Raises RegisterUnavailable."""

    def end(self, seq: int, *, outcome: str) -> None:
        """Record how the call ended, by the name of its status code; raises RegisterUnavailable."""


class Guarded(Protocol):
    """A servicer whose methods are decorated with `answers`."""

    @property
    def gatekeeper(self) -> Gatekeeper:
        """Who lets callers in."""


def answers(
    *roles: Role,
    target: Callable[[Any], str] = lambda _: "",
    is_recorded: _IsRecorded = True,
    is_long: bool = False,
) -> Callable[
    [Callable[Concatenate[Any, _Request, Caller, ...], _Response]],
    Callable[[Any, _Request, grpc.ServicerContext], _Response],
]:
    """Make a method answer unary calls of clients that have one of `roles`.

    `target` says for the record what the call is about, without a name or a document number. It is asked
    once it is known who calls. `is_recorded` says whether calls are recorded, or whose. A method that
    `is_long` takes a third argument, which tells whether the client still waits: it may end halfway.
    """

    def decorate(
        method: Callable[Concatenate[Any, _Request, Caller, ...], _Response],
    ) -> Callable[[Any, _Request, grpc.ServicerContext], _Response]:
        @functools.wraps(method)
        def answer(servicer: Guarded, request: _Request, context: grpc.ServicerContext) -> _Response:
            call = _Call(servicer, method, context, is_recorded=is_recorded)
            further = (context.is_active,) if is_long else ()
            try:
                response = method(servicer, request, call.begin(roles, request, target), *further)
            except Exception as error:  # noqa: BLE001 - gRPC would send the text of what we did not foresee
                call.fail(error)
            if is_long and not context.is_active():
                call.end(grpc.StatusCode.CANCELLED)
            else:
                call.succeed()
            return response

        return answer

    return decorate


def answers_with_stream(
    *roles: Role,
    target: Callable[[Any], str] = lambda _: "",
    is_recorded: _IsRecorded = True,
) -> Callable[
    [Callable[[Any, _Request, Caller], Iterator[_Response]]],
    Callable[[Any, _Request, grpc.ServicerContext], Iterator[_Response]],
]:
    """Make a method that yields answer calls with a stream; see `answers`.

    A client that goes away ends the method where it stands: at a `yield`, or where it takes the next request.
    What the method did until then stays done; nothing that must not end halfway spans a `yield`.

    Where the requests are a stream, who calls is asked again for each of them: an import may last for hours,
    and whoever is revoked during it writes no further batch.
    """

    def decorate(
        method: Callable[[Any, _Request, Caller], Iterator[_Response]],
    ) -> Callable[[Any, _Request, grpc.ServicerContext], Iterator[_Response]]:
        @functools.wraps(method)
        def answer(
            servicer: Guarded, request: _Request, context: grpc.ServicerContext
        ) -> Iterator[_Response]:
            call = _Call(servicer, method, context, is_recorded=is_recorded)
            try:
                caller = call.begin(roles, request, target)
                yield from method(servicer, call.each_known(request), caller)
            except GeneratorExit:
                call.end(grpc.StatusCode.CANCELLED)
                raise
            except Exception as error:
                if isinstance(error, grpc.RpcError) and not context.is_active():
                    call.end(grpc.StatusCode.CANCELLED)  # gRPC's own, from the iterator of requests
                    raise
                call.fail(error)
            if isinstance(request, Iterator) and call.was_given_up():
                call.end(grpc.StatusCode.CANCELLED)
            else:
                call.succeed()

        return answer

    return decorate


class _Call:
    """One call, from authentication to its outcome."""

    def __init__(
        self,
        servicer: Guarded,
        method: Callable[..., Any],
        context: grpc.ServicerContext,
        *,
        is_recorded: _IsRecorded,
    ) -> None:
        self._gatekeeper = servicer.gatekeeper
        self._method = f"{type(servicer).__name__.removesuffix('Servicer')}Service/{method.__name__}"
        self._context = context
        self._is_recorded = is_recorded
        self._seq: int | None = None

    def begin(self, roles: tuple[Role, ...], request: Any, target: Callable[[Any], str]) -> Caller:
        caller = self._gatekeeper.authenticate(self._context)
        is_recorded = self._is_recorded
        if is_recorded if isinstance(is_recorded, bool) else is_recorded(caller):
            self._seq = self._gatekeeper.begin(caller, method=self._method, target=target(request))
        if not caller.roles.intersection(roles):
            needed = " or ".join(role.name.lower() for role in roles)
            raise PermissionDenied(f"this needs the role {needed}")
        return caller

    def each_known(self, request: Any) -> Any:
        """Return a request as it is, or a stream of them that ends when its client is revoked."""
        return self._still_known(request) if isinstance(request, Iterator) else request

    def was_given_up(self) -> bool:
        """Return whether the requests ended because the client went away; waits until that is known."""
        gone = threading.Event()
        return not self._context.add_callback(gone.set) or gone.wait(_CANCELLATION_FOLLOWS_S)

    def succeed(self) -> None:
        self.end(grpc.StatusCode.OK)

    def fail(self, error: Exception) -> NoReturn:
        code = _status_code(error)
        if not isinstance(error, Refused):
            _log.error(
                "call failed", call=self._method, error=type(error).__name__, where=where_raised(error)
            )
        self.end(code)
        is_foreseen = code is not grpc.StatusCode.INTERNAL
        message = str(error) if is_foreseen else "the issuer failed; its log says where"
        if isinstance(error, TooMany):
            self._context.set_trailing_metadata(retry_advice(error))
        self._context.abort(code, message[:_MAX_MESSAGE_CHARACTERS])

    def _still_known(self, requests: Iterator[Any]) -> Iterator[Any]:
        for request in requests:
            self._gatekeeper.authenticate(self._context)
            yield request

    def end(self, code: grpc.StatusCode) -> None:
        """Record the outcome. If that fails the call ends as it did all the same: what is done is done."""
        if self._seq is None:
            return
        try:
            self._gatekeeper.end(self._seq, outcome=code.name)
        except Exception as error:  # noqa: BLE001 - as above
            _log.error(
                "the outcome of a call could not be recorded",
                call=self._method,
                outcome=code.name,
                error=type(error).__name__,
            )


def _status_code(error: Exception) -> grpc.StatusCode:
    for kind, code in _STATUS_CODES.items():
        if isinstance(error, kind):
            return code
    return grpc.StatusCode.INTERNAL


def retry_advice(error: TooMany) -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata that says when to ask again."""
    detail = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=error.retry_after_s))
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message=str(error))
    status.details.add().Pack(detail)
    return (("grpc-status-details-bin", status.SerializeToString()),)
