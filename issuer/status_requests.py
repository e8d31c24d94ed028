"""Requests about status, checked field by field and turned into what the register takes.

As in requests.py: every function raises InvalidArgument, which names the field as the request has it, and
those that read the rows of an import give a RowRefused in the place of a row that is wrong. That a
valid_until lies in the future is the register's to check: a row that was entered in time stays known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from issuer.errors import InvalidArgument
from issuer.reasons import Reasons
from issuer.register.entries import StatusChange
from issuer.register.history import Head
from issuer.register.import_rows import RowRefused
from issuer.requests import (
    MAX_ID,
    MAX_TIME,
    external_id,
    holder_by,
    holder_id,
    read_list,
    read_rows,
    sha256,
    text,
)
from issuer.v1 import admin_pb2 as pb
from verifier.wire.status_record import Colour

_MAX_AUTHORITY = 64
_MAX_EVIDENCE = 128
_MAX_FILE_NAME = 128
# A hundred million rows; 3.4 MB of the 4 MiB that a message may have.
_MAX_BATCHES = 100_000

_COLOURS = {int(colour): colour for colour in (Colour.GREEN, Colour.YELLOW, Colour.RED)}


@dataclass(frozen=True, slots=True)
class StatusImport:
    """An import that is to be consented to."""

    file_sha256: bytes
    file_name: str
    counts: Mapping[Colour, int]  # how many rows turn holders to each colour
    batch_sha256: Sequence[bytes]  # of each batch (issuer/batch_sha256.py)


def read_status_changes(
    request: pb.SetStatusesRequest, *, reasons: Reasons, now: int
) -> Sequence[StatusChange]:
    """Return the changes to carry out; `now` is Unix seconds."""

    def read(change: pb.StatusChange) -> StatusChange:
        if change.holder_external_id or change.external_id:
            field = "holder_external_id" if change.holder_external_id else "external_id"
            raise InvalidArgument(field, "expected none: it is for imports")
        its_id = holder_id(change.holder_id)
        return _read_change(change, reasons=reasons, now=now, its_holder_id=its_id)

    return read_list(request.changes, "changes", read)


def read_status_rows(
    request: pb.ImportStatusesRequest, *, reasons: Reasons, now: int
) -> Sequence[StatusChange | RowRefused]:
    """Return the rows of a batch."""

    def read(row: pb.StatusChange) -> StatusChange:
        its_id, holder_external_id = _holder_of(row)
        its_external_id = external_id(row.external_id, is_required=True)
        return _read_change(
            row,
            reasons=reasons,
            now=now,
            its_holder_id=its_id,
            holder_external_id=holder_external_id,
            its_external_id=its_external_id,
        )

    return read_rows(request.rows, read)


def read_test_rows(request: pb.ImportTestsRequest, *, now: int) -> Sequence[StatusChange | RowRefused]:
    """Return the rows of a batch, as changes that leave the colour as it is."""

    def read(row: pb.NegativeTest) -> StatusChange:
        its_id, holder_external_id = _holder_of(row)
        # Minute 0 means that no test is known.
        if not 60 <= row.taken_at <= now:
            raise InvalidArgument("taken_at", "expected Unix seconds that are not in the future")
        return StatusChange(
            holder_id=its_id,
            colour=Colour.NONE,
            reason=0,
            authority=text(row.authority, "authority", _MAX_AUTHORITY),
            negative_test_min=row.taken_at // 60,
            holder_external_id=holder_external_id,
            external_id=external_id(row.external_id, is_required=True),
        )

    return read_rows(request.rows, read)


def read_status_import(request: pb.RequestStatusImportRequest) -> StatusImport:
    """Return what is to be consented to."""
    counts = {Colour.GREEN: request.green, Colour.YELLOW: request.yellow, Colour.RED: request.red}
    for colour, count in counts.items():
        if count > MAX_ID:
            raise InvalidArgument(colour.name.lower(), f"expected 0 to {MAX_ID}, got {count}")
    batches = request.batch_sha256
    if len(batches) > _MAX_BATCHES:
        raise InvalidArgument("batch_sha256", f"expected at most {_MAX_BATCHES} entries, got {len(batches)}")
    return StatusImport(
        file_sha256=sha256(request.file_sha256, "file_sha256"),
        file_name=text(request.file_name, "file_name", _MAX_FILE_NAME),
        counts=counts,
        batch_sha256=[sha256(one, f"batch_sha256[{place}]") for place, one in enumerate(batches)],
    )


def read_expected_head(request: pb.VerifyHistoryRequest) -> Head | None:
    """Return the head that was noted earlier; None: none was."""
    if request.expected_seq == 0 and not request.expected_hash:
        return None
    if not 1 <= request.expected_seq <= MAX_ID:
        raise InvalidArgument("expected_seq", "expected the seq of a change, from 1 on")
    return Head(request.expected_seq, sha256(request.expected_hash, "expected_hash"))


def _read_change(
    change: pb.StatusChange,
    *,
    reasons: Reasons,
    now: int,
    its_holder_id: int | None,
    holder_external_id: str | None = None,
    its_external_id: str | None = None,
) -> StatusChange:
    colour = _COLOURS.get(change.colour)
    if colour is None:
        raise InvalidArgument("colour", f"expected GREEN, YELLOW or RED, got {change.colour}")
    if problem := reasons.check(change.reason, colour):
        raise InvalidArgument("reason", problem)
    if not 0 <= change.negative_test_at <= now:
        raise InvalidArgument("negative_test_at", "expected Unix seconds that are not in the future")
    if not 0 <= change.valid_until <= MAX_TIME:
        raise InvalidArgument("valid_until", "expected Unix seconds in the future, or 0 for no end")
    if change.valid_until and colour is Colour.GREEN:
        raise InvalidArgument("valid_until", "expected none: GREEN does not end by itself")
    return StatusChange(
        holder_id=its_holder_id,
        colour=colour,
        reason=change.reason,
        authority=text(change.authority, "authority", _MAX_AUTHORITY),
        negative_test_min=change.negative_test_at // 60,
        evidence=text(change.evidence, "evidence", _MAX_EVIDENCE, is_required=False),
        valid_until=change.valid_until,
        holder_external_id=holder_external_id,
        external_id=its_external_id,
    )


def _holder_of(row: pb.StatusChange | pb.NegativeTest) -> tuple[int | None, str | None]:
    return holder_by(
        row.holder_id, row.holder_external_id, id_field="holder_id", external_id_field="holder_external_id"
    )
