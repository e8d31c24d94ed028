"""Roles, and the client that calls."""

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """What a client may do; the numbers are those of the protos."""

    APP = 1
    CLERK = 2
    APPROVER = 3
    OPERATOR = 4
    AUDITOR = 5


STAFF = (Role.CLERK, Role.APPROVER, Role.OPERATOR, Role.AUDITOR)


@dataclass(frozen=True, slots=True)
class Caller:
    """The client that makes a call, authenticated."""

    client_id: int
    name: str
    roles: frozenset[Role]
