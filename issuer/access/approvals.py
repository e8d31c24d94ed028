"""Requests that a second person has to approve, and how an approval carries them out.

A request is stored as the bytes of what is to be done. Approving it marks it and carries it out in one
transaction: whoever reads the register sees both or neither. What must not be in a transaction (waiting
for Redis, signing thousands of bundles) is left to `after_commit`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from sqlalchemy import Connection

from issuer.access.roles import Caller


class ApprovalKind(IntEnum):
    """What is to be done; the numbers are in the register."""

    SET_STATUSES = 1  # admin_pb2.SetStatusesRequest
    STATUS_IMPORT = 2  # admin_pb2.RequestStatusImportRequest
    ADD_CLIENT = 3  # access_pb2.AddClientRequest
    REVOKE_CLIENT = 4  # access_pb2.RevokeClientRequest
    PREPARE_KEY = 5  # keys_pb2.PrepareKeyRequest
    ACTIVATE_KEY = 6  # keys_pb2.ActivateKeyRequest
    RETIRE_KEY = 7  # keys_pb2.RetireKeyRequest
    REVOKE_KEY = 8  # keys_pb2.RevokeKeyRequest
    DRILL_KEYS = 9  # keys_pb2.DrillKeysRequest
    IMPORT_KEY_SET = 10  # keys_pb2.ImportKeySetRequest


class ApprovalState(IntEnum):
    """Where a request stands; the numbers are those of the protos."""

    PENDING = 1
    APPROVED = 2
    REJECTED = 3
    EXPIRED = 4
    FAILED = 5


@dataclass(frozen=True, slots=True)
class ApprovedRequest:
    """A request that is being carried out."""

    approval_id: int
    payload: bytes
    requested_by: Caller
    now: int  # Unix seconds


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """What came of a request: lines for people, without names of holders."""

    outcome: Sequence[str]
    after_commit: Callable[[], Sequence[str]] | None = None  # what follows, and further lines


class Executor(Protocol):
    """Carries out the requests of one kind."""

    def __call__(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        """Do it in the transaction of the approval; raises Refused, which makes the request FAILED."""


class ApprovalRequests(Protocol):
    """What services need that ask for a second person."""

    def request(self, kind: ApprovalKind, payload: bytes, *, summary: str, caller: Caller, now: int) -> int:
        """Store a request and return its id; raises RegisterUnavailable."""
