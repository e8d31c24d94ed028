"""Failures to answer, as gRPC statuses, whatever engine sends them. A verdict is never one of these."""

from enum import IntEnum


class Status(IntEnum):
    """The gRPC status codes that we send; the numbers are those of gRPC."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class CallError(Exception):
    """There is no verdict. The message goes to the caller and carries no QR text and no credential."""

    def __init__(self, status: Status, message: str, *, retry_delay_ms: int | None = None) -> None:
        """With `retry_delay_ms` the caller is told when to ask again."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_delay_ms = retry_delay_ms


def too_big(max_bytes: int) -> CallError:
    """Return the refusal of a message that is over its limit."""
    return CallError(Status.RESOURCE_EXHAUSTED, f"expected a message of at most {max_bytes} bytes")
