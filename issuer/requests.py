"""Requests about holders and credentials, checked field by field and turned into what the register takes.

The checks themselves are public: other requests have fields of the same kinds. Every function raises
InvalidArgument, which names the field as the request has it; those that read the rows of an import give a
RowRefused in the place of a row that is wrong.

A row of an import has some microseconds here, so each check first asks the question that nearly every
value answers at once.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from issuer.documents import normalise
from issuer.errors import InvalidArgument
from issuer.register.entries import CredentialStanding, NewCredential, NewHolder
from issuer.register.import_rows import RowRefused
from issuer.v1 import admin_pb2 as pb
from verifier.wire.code import CredentialKind

MAX_LIST = 1_000
MAX_EXTERNAL_ID = 64
DEFAULT_PAGE = 100
# SQLite has no larger ids, and ours begin at 1.
MAX_ID = 2**63 - 1
# The end of the year 9999, behind which no calendar of ours goes.
MAX_TIME = 253_402_300_799

_SHA256_BYTES = 32
_MAX_NAME = 200
_MAX_DOCUMENT_TYPE = 32
_MAX_DOCUMENT_NUMBER = 64
_MAX_REGION = 64
_MAX_APP = 64
# Line breaks and terminal escapes in a name would end up on a clerk's screen.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Some names need joiners, which are format characters. What turns the writing around makes the next columns
# of a clerk's screen read as something else, and no name needs it.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# As verifier/wire/gate_list.py has it, which has the last word when a list is signed.
_GATE_ID = re.compile(r"[A-Za-z0-9._-]{1,48}")

_Item = TypeVar("_Item")
_New = TypeVar("_New")


# Checks of single fields


def text(
    value: str, field: str, max_characters: int, *, is_required: bool = True, is_name: bool = False
) -> str:
    """Return a text without control characters, 1 to `max_characters` long, or empty if it may be.

    Nor has it characters that cannot be seen (format characters), which a holder's name may have.
    """
    if len(value) > max_characters:
        raise InvalidArgument(field, f"expected at most {max_characters} characters, got {len(value)}")
    if is_required and (not value or value.isspace()):
        raise InvalidArgument(field, f"expected 1 to {max_characters} characters, got none")
    # What is printable has none of the forbidden; what is not may be a space or a letter too new for us.
    if not value.isprintable():
        categories = {unicodedata.category(one) for one in value}
        if not _FORBIDDEN_CATEGORIES.isdisjoint(categories) or not _BIDI_CONTROLS.isdisjoint(value):
            raise InvalidArgument(field, "expected no control characters")
        if "Cf" in categories and not is_name:
            raise InvalidArgument(field, "expected no invisible characters")
    return value


def bounded(items: Sequence[_Item], field: str) -> Sequence[_Item]:
    """Return a list of 1 to 1 000 entries."""
    if not 1 <= len(items) <= MAX_LIST:
        raise InvalidArgument(field, f"expected 1 to {MAX_LIST} entries, got {len(items)}")
    return items


def holder_id(value: int, field: str = "holder_id") -> int:
    """Return an id that a holder can have."""
    if not 1 <= value <= MAX_ID:
        raise InvalidArgument(field, "expected the id of a holder, from 1 on")
    return value


def holder_by(
    id_given: int, external_id_given: str, *, id_field: str, external_id_field: str
) -> tuple[int | None, str | None]:
    """Return id or external_id of a holder, of which a request has to give one; the other is None."""
    if id_given and external_id_given:
        raise InvalidArgument(id_field, f"expected this or {external_id_field}, got both")
    if external_id_given:
        return None, text(external_id_given, external_id_field, MAX_EXTERNAL_ID)
    return holder_id(id_given, id_field), None


def external_id(value: str, field: str = "external_id", *, is_required: bool = False) -> str | None:
    """Return an id in the system that an entry comes from; None: none given."""
    return text(value, field, MAX_EXTERNAL_ID, is_required=is_required) or None


def credential_index(value: int, field: str = "credential_index") -> int:
    """Return an index that a credential can have."""
    if value == 0:
        raise InvalidArgument(field, "expected 1 to 4294967295, got 0")
    return value


def sha256(value: bytes, field: str) -> bytes:
    """Return a hash that has the length of a SHA-256."""
    if len(value) != _SHA256_BYTES:
        raise InvalidArgument(field, f"expected {_SHA256_BYTES} bytes, got {len(value)}")
    return value


def is_gate_id(value: str) -> bool:
    """Tell whether a gate may be called so; its lanes are not gates of their own."""
    return _GATE_ID.fullmatch(value) is not None


def gate_id(value: str, field: str = "gate_id") -> str:
    """Return a name that a gate may have."""
    if not is_gate_id(value):
        raise InvalidArgument(
            field, "expected 1 to 48 characters: letters, digits, hyphens, dots, underscores"
        )
    return value


def page_size(value: int) -> int:
    """Return how many entries are asked for."""
    if value > MAX_LIST:
        raise InvalidArgument("page_size", f"expected 1 to {MAX_LIST}, got {value}")
    return value or DEFAULT_PAGE


def valid_until(value: int, field: str = "valid_until") -> int | None:
    """Return when something ends by itself, Unix seconds; None: never.

    That it lies in the future is the register's to check: a row of an import that was in time stays known.
    """
    if not 0 <= value <= MAX_TIME:
        raise InvalidArgument(field, f"expected Unix seconds up to {MAX_TIME}, or 0 for never")
    return value or None


def kind(value: int, field: str = "kind") -> CredentialKind:
    """Return a kind of credential."""
    try:
        return CredentialKind(value)
    except ValueError:
        raise InvalidArgument(field, f"expected PHONE or PAPER, got {value}") from None


def standing(value: int, field: str = "state") -> CredentialStanding:
    """Return a state of credentials."""
    try:
        return CredentialStanding(value)
    except ValueError:
        raise InvalidArgument(field, f"expected a state of credentials, got {value}") from None


# Lists and rows


def read_list(items: Sequence[_Item], field: str, read: Callable[[_Item], _New]) -> Sequence[_New]:
    """Return what `read` makes of 1 to 1 000 entries; what it raises names the entry: `holders[3].name`."""
    new: list[_New] = []
    try:
        for item in bounded(items, field):
            new.append(read(item))  # noqa: PERF401 - the length tells which entry is refused
    except InvalidArgument as refusal:
        if refusal.field == field:
            raise
        raise InvalidArgument(f"{field}[{len(new)}].{refusal.field}", refusal.problem) from None
    return new


def read_rows(items: Sequence[_Item], read: Callable[[_Item], _New]) -> Sequence[_New | RowRefused]:
    """Return what `read` makes of 1 to 1 000 rows of an import, RowRefused in the place of a wrong one."""
    rows: list[_New | RowRefused] = []
    for item in bounded(items, "rows"):
        try:
            rows.append(read(item))
        except InvalidArgument as refusal:
            rows.append(RowRefused(str(refusal)))
    return rows


def read_new_holder(holder: pb.NewHolder) -> NewHolder:
    """Return a holder to enter."""
    return _new_holder(holder, is_row=False)


def read_holder_rows(request: pb.ImportHoldersRequest) -> Sequence[NewHolder | RowRefused]:
    """Return the rows of a batch."""
    guardians = request.guardian_external_ids
    if not guardians:
        return read_rows(request.rows, partial(_new_holder, is_row=True))
    if len(guardians) != len(request.rows):
        raise InvalidArgument(
            "guardian_external_ids",
            f"expected {len(request.rows)} as there are rows, or none, got {len(guardians)}",
        )
    return read_rows(
        list(zip(request.rows, guardians, strict=True)),
        lambda row: _new_holder(row[0], guardian_external_id=row[1], is_row=True),
    )


def read_new_credential(credential: pb.NewCredential) -> NewCredential:
    """Return a credential to issue."""
    return _new_credential(credential, is_row=False)


def read_credential_rows(request: pb.ImportCredentialsRequest) -> Sequence[NewCredential | RowRefused]:
    """Return the rows of a batch."""
    return read_rows(request.rows, partial(_new_credential, is_row=True))


def read_document(document_type: str, document_number: str) -> tuple[str, str]:
    """Return type and number of a document; both are required."""
    number = text(document_number, "document_number", _MAX_DOCUMENT_NUMBER)
    if not normalise(number):
        raise InvalidArgument("document_number", "expected letters or digits")
    return text(document_type, "document_type", _MAX_DOCUMENT_TYPE), number


def region(value: str) -> str:
    """Return where a holder is registered; may be empty."""
    return text(value, "region", _MAX_REGION, is_required=False)


def _new_holder(holder: pb.NewHolder, *, is_row: bool, guardian_external_id: str = "") -> NewHolder:
    guardian_id = holder.guardian_id
    if guardian_id and guardian_external_id:
        raise InvalidArgument("guardian_id", "expected this or guardian_external_id, got both")
    document_type, document_number = read_document(holder.document_type, holder.document_number)
    return NewHolder(
        name=text(holder.name, "name", _MAX_NAME, is_name=True),
        document_type=document_type,
        document_number=document_number,
        region=region(holder.region),
        guardian_id=holder_id(guardian_id, "guardian_id") if guardian_id else None,
        external_id=external_id(holder.external_id, is_required=is_row),
        guardian_external_id=external_id(guardian_external_id, "guardian_external_id"),
    )


def _new_credential(credential: pb.NewCredential, *, is_row: bool) -> NewCredential:
    its_holder_id, holder_external_id = holder_by(
        credential.holder_id,
        credential.holder_external_id,
        id_field="holder_id",
        external_id_field="holder_external_id",
    )
    return NewCredential(
        holder_id=its_holder_id,
        kind=kind(credential.kind),
        holder_external_id=holder_external_id,
        app=text(credential.app, "app", _MAX_APP, is_required=False) or None,
        valid_until=valid_until(credential.valid_until),
        external_id=external_id(credential.external_id, is_required=is_row),
    )
