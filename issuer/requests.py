"""Requests as they come over the wire, checked field by field and turned into what the register takes.

Every function raises InvalidArgument, which names the field as the request has it.
"""

import unicodedata
from collections.abc import Sequence
from typing import TypeVar

from issuer.documents import normalise
from issuer.errors import InvalidArgument
from issuer.register.entries import NewCredential, NewHolder, StatusChange
from issuer.signing import MAX_WINDOWS
from issuer.v1 import issuer_pb2 as pb
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

MAX_LIST = 1_000

_MAX_NAME = 200
_MAX_DOCUMENT_TYPE = 32
_MAX_DOCUMENT_NUMBER = 64
_MAX_REGION = 64
_MAX_AUTHORITY = 64
_MAX_REASON = 0xFFFF
# SQLite has no larger ids, and ours begin at 1.
_MAX_HOLDER_ID = 2**63 - 1
# Line breaks and terminal escapes in a name would end up on a clerk's screen.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

_Item = TypeVar("_Item")


def read_new_holders(request: pb.EnrolHoldersRequest) -> Sequence[NewHolder]:
    """Return the holders to enter."""
    return [
        _read_new_holder(holder, f"holders[{number}]")
        for number, holder in enumerate(_bounded(request.holders, "holders"))
    ]


def read_new_credentials(request: pb.IssueCredentialsRequest) -> Sequence[NewCredential]:
    """Return the credentials to issue."""
    return [
        NewCredential(
            _holder_id(credential.holder_id, f"credentials[{number}].holder_id"),
            _kind(credential.kind, f"credentials[{number}].kind"),
        )
        for number, credential in enumerate(_bounded(request.credentials, "credentials"))
    ]


def read_status_changes(request: pb.SetStatusesRequest, *, now: int) -> Sequence[StatusChange]:
    """Return the changes to carry out; `now` is Unix seconds."""
    return [
        _read_status_change(change, f"changes[{number}]", now)
        for number, change in enumerate(_bounded(request.changes, "changes"))
    ]


def read_credential_index(credential_index: int) -> int:
    """Return a credential_index that can exist."""
    if credential_index == 0:
        raise InvalidArgument("credential_index", "expected 1 to 4294967295, got 0")
    return credential_index


def read_window_count(window_count: int) -> int:
    """Return how many windows are asked for."""
    if window_count > MAX_WINDOWS:
        raise InvalidArgument("window_count", f"expected 1 to {MAX_WINDOWS}, got {window_count}")
    return window_count or 1


def _read_new_holder(holder: pb.NewHolder, field: str) -> NewHolder:
    document_type = _text(holder.document_type, f"{field}.document_type", _MAX_DOCUMENT_TYPE)
    document_number = _text(holder.document_number, f"{field}.document_number", _MAX_DOCUMENT_NUMBER)
    if not normalise(document_number):
        raise InvalidArgument(f"{field}.document_number", "expected letters or digits")
    return NewHolder(
        name=_text(holder.name, f"{field}.name", _MAX_NAME),
        document_type=document_type,
        document_number=document_number,
        region=_text(holder.region, f"{field}.region", _MAX_REGION, is_required=False),
    )


def _read_status_change(change: pb.StatusChange, field: str, now: int) -> StatusChange:
    colour = _colour(change.colour, f"{field}.colour")
    if change.reason > _MAX_REASON:
        raise InvalidArgument(f"{field}.reason", f"expected 0 to {_MAX_REASON}, got {change.reason}")
    if change.reason == 0 and colour is not Colour.GREEN:
        raise InvalidArgument(f"{field}.reason", f"expected a reason for {colour.name}, got none")
    if not 0 <= change.negative_test_at <= now:
        raise InvalidArgument(f"{field}.negative_test_at", "expected Unix seconds that are not in the future")
    return StatusChange(
        holder_id=_holder_id(change.holder_id, f"{field}.holder_id"),
        colour=colour,
        reason=change.reason,
        authority=_text(change.authority, f"{field}.authority", _MAX_AUTHORITY),
        operator=_text(change.operator, f"{field}.operator", _MAX_AUTHORITY),
        negative_test_min=change.negative_test_at // 60,
    )


def _bounded(items: Sequence[_Item], field: str) -> Sequence[_Item]:
    if not 1 <= len(items) <= MAX_LIST:
        raise InvalidArgument(field, f"expected 1 to {MAX_LIST} entries, got {len(items)}")
    return items


def _text(value: str, field: str, max_characters: int, *, is_required: bool = True) -> str:
    if len(value) > max_characters:
        raise InvalidArgument(field, f"expected at most {max_characters} characters, got {len(value)}")
    if is_required and not value.strip():
        raise InvalidArgument(field, f"expected 1 to {max_characters} characters, got none")
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in value):
        raise InvalidArgument(field, "expected no control characters")
    return value


def _holder_id(value: int, field: str) -> int:
    if not 1 <= value <= _MAX_HOLDER_ID:
        raise InvalidArgument(field, "expected the id of a holder, from 1 on")
    return value


def _kind(value: int, field: str) -> CredentialKind:
    try:
        return CredentialKind(value)
    except ValueError:
        raise InvalidArgument(field, f"expected PHONE or PAPER, got {value}") from None


def _colour(value: int, field: str) -> Colour:
    if value not in (Colour.GREEN, Colour.YELLOW, Colour.RED):
        raise InvalidArgument(field, f"expected GREEN, YELLOW or RED, got {value}")
    return Colour(value)
