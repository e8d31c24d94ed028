"""Adapt gRPC calls to the issuer: messages in, messages out, and each error to its status code.

The one place where the issuer's no becomes a status code. What we did not foresee becomes INTERNAL with
a text that says nothing; gRPC's own handling would send the exception's text, and a name with it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import grpc
import structlog

from issuer.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Refused,
    RegisterUnavailable,
)
from issuer.key_store import KeyStore
from issuer.masking import mask_name
from issuer.publisher import Publisher
from issuer.register.entries import CredentialEntry
from issuer.register.keys import Keys
from issuer.register.register import Register
from issuer.requests import (
    read_credential_index,
    read_new_credentials,
    read_new_holders,
    read_status_changes,
    read_window_count,
)
from issuer.signing import Credential, IssuedCode, sign_bundle
from issuer.v1 import issuer_pb2 as pb
from issuer.v1.issuer_pb2_grpc import AdminServiceServicer, IssuerServiceServicer
from verifier.logs import where_raised
from verifier.wire.code import CredentialKind
from verifier.wire.key_set import KeySet
from verifier.wire.status_record import CredentialState

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Servicer = TypeVar("_Servicer")

_STATUS_CODES: dict[type[Exception], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    RegisterUnavailable: grpc.StatusCode.UNAVAILABLE,
}

_log = structlog.get_logger("issuer")


def _answers(
    method: Callable[[_Servicer, _Request], _Response],
) -> Callable[[_Servicer, _Request, grpc.ServicerContext], _Response]:
    """Turn a method that returns or raises into one that answers a call."""

    @functools.wraps(method)
    def answer(servicer: _Servicer, request: _Request, context: grpc.ServicerContext) -> _Response:
        try:
            return method(servicer, request)
        except Exception as error:  # noqa: BLE001 - gRPC would send the text of what we did not foresee
            _abort(context, method.__name__, error)

    return answer


def _abort(context: grpc.ServicerContext, call: str, error: Exception) -> NoReturn:
    code = _STATUS_CODES.get(type(error), grpc.StatusCode.INTERNAL)
    if not isinstance(error, Refused):
        _log.error("call failed", call=call, error=type(error).__name__, where=where_raised(error))
    is_foreseen = code is not grpc.StatusCode.INTERNAL
    context.abort(code, str(error) if is_foreseen else "the issuer failed; its log says where")


class IssuerServicer(IssuerServiceServicer):
    """What apps and verifiers call."""

    def __init__(
        self, *, register: Register, keys: Keys, key: KeyStore, key_set: KeySet, clock: Callable[[], float]
    ) -> None:
        """Sign with `key`, of which `key_set` is published; `clock` gives Unix seconds."""
        self._register = register
        self._keys = keys
        self._key = key
        self._key_set = key_set
        self._clock = clock

    @_answers
    def IssueBundle(self, request: pb.IssueBundleRequest) -> pb.IssueBundleResponse:  # noqa: N802
        """Sign the codes of a credential for consecutive windows."""
        window_count = read_window_count(request.window_count)
        entry = self._register.credential(read_credential_index(request.credential_index))
        if entry.kind is CredentialKind.PAPER and window_count != 1:
            raise InvalidArgument("window_count", f"expected 1 for a PAPER credential, got {window_count}")
        if entry.state is not CredentialState.ACTIVE:
            raise FailedPrecondition(f"credential {entry.credential_index} is {entry.state.name}")
        now = int(self._clock())
        if now >= self._key_set.expires_at:
            raise FailedPrecondition("the key set has expired: no verifier would take a code")
        codes = sign_bundle(
            Credential(entry.kind, entry.credential_index, entry.generation, hint=mask_name(entry.name)),
            window_count=window_count,
            key=self._key,
            key_set=self._key_set,
            now=now,
        )
        return _bundle(entry, codes)

    @_answers
    def GetKeySet(self, request: pb.GetKeySetRequest) -> pb.GetKeySetResponse:  # noqa: N802, ARG002
        """Return the published key set."""
        return pb.GetKeySetResponse(signed_key_set=self._keys.newest_key_set())


class AdminServicer(AdminServiceServicer):
    """What the staff of the issuer call."""

    def __init__(self, *, register: Register, publisher: Publisher, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._register = register
        self._publisher = publisher
        self._clock = clock

    @_answers
    def EnrolHolders(self, request: pb.EnrolHoldersRequest) -> pb.EnrolHoldersResponse:  # noqa: N802
        """Enter holders into the register."""
        holder_ids = self._register.enrol_holders(read_new_holders(request), now=self._now())
        return pb.EnrolHoldersResponse(holder_ids=holder_ids)

    @_answers
    def IssueCredentials(self, request: pb.IssueCredentialsRequest) -> pb.IssueCredentialsResponse:  # noqa: N802
        """Issue credentials."""
        issued = self._register.issue_credentials(read_new_credentials(request), now=self._now())
        return pb.IssueCredentialsResponse(
            credential_indices=issued.credential_indices, publication=self._publication(issued.outbox_seq)
        )

    @_answers
    def ReplaceCredential(self, request: pb.ReplaceCredentialRequest) -> pb.ReplaceCredentialResponse:  # noqa: N802
        """Give a credential its next generation."""
        changed = self._register.replace_credential(read_credential_index(request.credential_index))
        return pb.ReplaceCredentialResponse(
            generation=changed.generation, publication=self._publication(changed.outbox_seq)
        )

    @_answers
    def SuspendCredential(self, request: pb.SuspendCredentialRequest) -> pb.SuspendCredentialResponse:  # noqa: N802
        """Suspend a credential."""
        changed = self._register.suspend_credential(read_credential_index(request.credential_index))
        return pb.SuspendCredentialResponse(publication=self._publication(changed.outbox_seq))

    @_answers
    def ResumeCredential(self, request: pb.ResumeCredentialRequest) -> pb.ResumeCredentialResponse:  # noqa: N802
        """Make a suspended credential active again."""
        changed = self._register.resume_credential(read_credential_index(request.credential_index))
        return pb.ResumeCredentialResponse(publication=self._publication(changed.outbox_seq))

    @_answers
    def RevokeCredential(self, request: pb.RevokeCredentialRequest) -> pb.RevokeCredentialResponse:  # noqa: N802
        """Revoke a credential for good."""
        changed = self._register.revoke_credential(read_credential_index(request.credential_index))
        return pb.RevokeCredentialResponse(publication=self._publication(changed.outbox_seq))

    @_answers
    def GetCredential(self, request: pb.GetCredentialRequest) -> pb.GetCredentialResponse:  # noqa: N802
        """Return a credential as a clerk sees it."""
        entry = self._register.credential(read_credential_index(request.credential_index))
        return pb.GetCredentialResponse(
            credential_index=entry.credential_index,
            holder_id=entry.holder_id,
            masked_name=mask_name(entry.name),
            kind=_as_enum(entry.kind),
            generation=entry.generation,
            state=_as_enum(entry.state),
            colour=_as_enum(entry.status.colour),
            reason=entry.status.reason,
            last_negative_test=60 * entry.status.last_negative_test_min,
        )

    @_answers
    def SetStatuses(self, request: pb.SetStatusesRequest) -> pb.SetStatusesResponse:  # noqa: N802
        """Set the status of holders."""
        now = self._now()
        seq = self._register.set_statuses(read_status_changes(request, now=now), now=now)
        return pb.SetStatusesResponse(publication=self._publication(seq))

    def _now(self) -> int:
        return int(self._clock())

    def _publication(self, seq: int) -> pb.Publication:
        is_published = self._publisher.wait_until_published(seq)
        return pb.PUBLICATION_PUBLISHED if is_published else pb.PUBLICATION_PENDING


def _bundle(entry: CredentialEntry, codes: Sequence[IssuedCode]) -> pb.IssueBundleResponse:
    return pb.IssueBundleResponse(
        codes=[
            pb.SignedCode(
                qr_text=code.qr_text.decode(), not_before=code.not_before, expires_at=code.expires_at
            )
            for code in codes
        ],
        kind=_as_enum(entry.kind),
        generation=entry.generation,
    )


def _as_enum(value: int) -> Any:
    """Return the protobuf value; the numbers of the wire formats are those of the protos."""
    return int(value)
