"""Rows of files as the messages of the import calls.

What cannot be put into a message is refused here, by column; all else is for the issuer to judge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from issuer.cli.columns import Columns
from issuer.cli.import_errors import BadRow
from issuer.cli.moments import read_moment
from issuer.v1 import admin_pb2 as pb

_COLOURS: dict[str, Any] = {"GREEN": 1, "YELLOW": 2, "RED": 3}  # verifier.v1.Colour
_KINDS: dict[str, Any] = {"PHONE": 1, "PAPER": 2}  # verifier.v1.CredentialKind
_MAX_U64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class RowKind:
    """One kind of import."""

    name: str  # of one row, for people
    columns: Columns
    new_request: Callable[[], Any]
    add: Callable[
        [Any, Sequence[str]], None
    ]  # puts values, as Columns.names, into the request; raises BadRow
    method: str  # of the AdminService


def _add_holder(request: pb.ImportHoldersRequest, values: Sequence[str]) -> None:
    external_id, name, document_type, document_number, region, guardian_id, guardian_external_id = values
    guardian = _number("guardian_id", guardian_id) if guardian_id else 0
    request.rows.add(
        name=name,
        document_type=document_type,
        document_number=document_number,
        region=region,
        guardian_id=guardian,
        external_id=external_id,
    )
    # One entry for each row, or none at all.
    named = request.guardian_external_ids
    if guardian_external_id or named:
        named.extend([""] * (len(request.rows) - 1 - len(named)))
        named.append(guardian_external_id)


def _add_credential(request: pb.ImportCredentialsRequest, values: Sequence[str]) -> None:
    external_id, kind, holder_id, holder_external_id, app, valid_until = values
    request.rows.add(
        external_id=external_id,
        kind=_one_of("kind", kind, _KINDS),
        holder_id=_number("holder_id", holder_id) if holder_id else 0,
        holder_external_id=holder_external_id,
        app=app,
        valid_until=_moment("valid_until", valid_until) if valid_until else 0,
    )


def _add_status(request: pb.ImportStatusesRequest, values: Sequence[str]) -> None:
    external_id, colour, authority, holder_id, holder_external_id, reason, evidence, until, test = values
    request.rows.add(
        external_id=external_id,
        colour=_one_of("colour", colour, _COLOURS),
        authority=authority,
        holder_id=_number("holder_id", holder_id) if holder_id else 0,
        holder_external_id=holder_external_id,
        reason=_number("reason", reason, 0xFFFF) if reason else 0,
        evidence=evidence,
        valid_until=_moment("valid_until", until) if until else 0,
        negative_test_at=_moment("negative_test_at", test) if test else 0,
    )


def _add_test(request: pb.ImportTestsRequest, values: Sequence[str]) -> None:
    external_id, taken_at, authority, holder_id, holder_external_id = values
    request.rows.add(
        external_id=external_id,
        taken_at=_moment("taken_at", taken_at),
        authority=authority,
        holder_id=_number("holder_id", holder_id) if holder_id else 0,
        holder_external_id=holder_external_id,
    )


_HOLDER = ("holder_id", "holder_external_id")

HOLDERS = RowKind(
    "holder",
    Columns(
        ("external_id", "name", "document_type", "document_number"),
        ("region", "guardian_id", "guardian_external_id"),
    ),
    pb.ImportHoldersRequest,
    _add_holder,
    "ImportHolders",
)
CREDENTIALS = RowKind(
    "credential",
    Columns(("external_id", "kind"), ("app", "valid_until"), one_of=_HOLDER),
    pb.ImportCredentialsRequest,
    _add_credential,
    "ImportCredentials",
)
STATUSES = RowKind(
    "status change",
    Columns(
        ("external_id", "colour", "authority"),
        ("reason", "evidence", "valid_until", "negative_test_at"),
        one_of=_HOLDER,
    ),
    pb.ImportStatusesRequest,
    _add_status,
    "ImportStatuses",
)
TESTS = RowKind(
    "negative test",
    Columns(("external_id", "taken_at", "authority"), one_of=_HOLDER),
    pb.ImportTestsRequest,
    _add_test,
    "ImportTests",
)


def add_row(kind: RowKind, request: Any, values: Sequence[str]) -> None:
    """Put the values of a row into a request; raises BadRow, and leaves the request as it was."""
    before = len(request.rows)
    try:
        kind.add(request, values)
    except BadRow:
        raise
    except (ValueError, TypeError):  # half a surrogate pair is text to JSON, and none to a message
        del request.rows[before:]
        raise BadRow("not Unicode") from None


def _number(column: str, text: str, maximum: int = _MAX_U64) -> int:
    # str.isdecimal takes the digits of all scripts, and so does int.
    text = text.strip()
    if not text.isdecimal() or len(text) > 20 or int(text) > maximum:
        raise BadRow(f"{column}: expected a whole number, {maximum} at most")
    return int(text)


def _moment(column: str, text: str) -> int:
    try:
        return read_moment(text.strip())
    except ValueError as error:
        raise BadRow(f"{column}: {error}") from None


def _one_of(column: str, text: str, known: dict[str, Any]) -> Any:
    found = known.get(text) or known.get(text.strip().upper())
    if found is None:
        *others, last = known
        raise BadRow(f"{column}: expected {', '.join(others)} or {last}")
    return found
