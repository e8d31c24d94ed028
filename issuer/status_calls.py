"""Answer the calls about status: messages in, messages out.

Half of AdminServicer; holder_calls.py is the other half. Who may call what is said above each rpc in
admin.proto. What needs a second person becomes a request here, and is carried out here once it is
approved; how much a client may do without one is in register/allowances.py.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection

from issuer.access.approvals import ApprovalKind, ApprovalRequests, ApprovedRequest, CarriedOut, Executor
from issuer.access.roles import STAFF, Caller, Role
from issuer.admin_calls import AdminCalls
from issuer.answers import answers, answers_with_stream
from issuer.batch_sha256 import sha256_of_batch
from issuer.errors import InvalidArgument
from issuer.holder_calls import status_message
from issuer.import_answers import Backlog, outcome
from issuer.proto_enum import as_enum
from issuer.red_alarm import RedAlarm
from issuer.register.allowances import ImportConsent, OpenAllowance, WithoutConsent, open_consent
from issuer.register.entries import ChangeSource, StatusChange, StatusChangeEntry
from issuer.register.history import Finding, Progress
from issuer.register.statuses import Statuses
from issuer.requests import MAX_ID, holder_id, page_size
from issuer.status_requests import (
    StatusImport,
    read_expected_head,
    read_status_changes,
    read_status_import,
    read_status_rows,
    read_test_rows,
)
from issuer.v1 import admin_pb2 as pb
from verifier.wire.status_record import Colour

# An approver reads the summary on one screen.
_MAX_IDS_SHOWN = 10


class StatusCalls(AdminCalls):
    """What clerks call about status."""

    approvals: ApprovalRequests
    red_alarm: RedAlarm
    second_person_above: int

    @answers(Role.CLERK, target=lambda request: _holders_target(request.changes))
    def SetStatuses(self, request: pb.SetStatusesRequest, caller: Caller) -> pb.SetStatusesResponse:  # noqa: N802
        """Set the status of holders, or ask a second person to agree to it."""
        now = self._now()
        changes = read_status_changes(request, reasons=self.reasons, now=now)
        seq = self.statuses.set_if_allowed(
            changes, operator=caller.name, now=now, open_allowance=self._without_consent(caller, now)
        )
        if seq is not None:
            return pb.SetStatusesResponse(publication=self._publication(seq))
        approval_id = self.approvals.request(
            ApprovalKind.SET_STATUSES,
            request.SerializeToString(),
            summary=_summary(changes),
            caller=caller,
            now=now,
        )
        return pb.SetStatusesResponse(approval_id=approval_id)

    @answers(Role.CLERK, Role.APPROVER, Role.AUDITOR, target=lambda request: f"holder {request.holder_id}")
    def GetStatus(self, request: pb.GetStatusRequest, caller: Caller) -> pb.GetStatusResponse:  # noqa: N802, ARG002
        """Return the status of a holder."""
        status = self.statuses.status(holder_id(request.holder_id))
        return pb.GetStatusResponse(status=status_message(status, self.reasons))

    @answers(Role.CLERK, Role.APPROVER, Role.AUDITOR, target=lambda request: f"holder {request.holder_id}")
    def ListStatusChanges(  # noqa: N802
        self,
        request: pb.ListStatusChangesRequest,
        caller: Caller,  # noqa: ARG002
    ) -> pb.ListStatusChangesResponse:
        """Return a page of the changes of a holder's status."""
        limit = page_size(request.page_size)
        changes = self.statuses.changes_of(
            holder_id(request.holder_id), limit=limit + 1, before_seq=min(request.before_seq, MAX_ID)
        )
        return pb.ListStatusChangesResponse(
            changes=map(_entry, changes[:limit]), has_more=len(changes) > limit
        )

    @answers_with_stream(Role.AUDITOR)
    def VerifyHistory(  # noqa: N802
        self,
        request: pb.VerifyHistoryRequest,
        caller: Caller,  # noqa: ARG002
    ) -> Iterator[pb.VerifyHistoryResponse]:
        """Verify the history, telling how far it is."""
        expected_head = read_expected_head(request)
        for message in self.statuses.verify_history(expected_head=expected_head):
            yield _verification(message)

    @answers(*STAFF)
    def ListReasons(self, request: pb.ListReasonsRequest, caller: Caller) -> pb.ListReasonsResponse:  # noqa: N802, ARG002
        """Return the reasons that a colour may have."""
        return pb.ListReasonsResponse(
            reasons=[
                pb.Reason(code=reason.code, text=reason.text, colours=map(as_enum, sorted(reason.colours)))
                for reason in self.reasons
            ]
        )

    @answers(Role.CLERK, target=lambda request: f"{request.green + request.yellow + request.red} rows")
    def RequestStatusImport(  # noqa: N802
        self, request: pb.RequestStatusImportRequest, caller: Caller
    ) -> pb.RequestStatusImportResponse:
        """Say whether an import of statuses needs a second person; if so, ask for one, once."""
        now = self._now()
        wanted = read_status_import(request)
        # What tells one import from another; the name of the file does not.
        payload = pb.RequestStatusImportRequest(
            file_sha256=request.file_sha256,
            green=request.green,
            yellow=request.yellow,
            red=request.red,
            batch_sha256=wanted.batch_sha256,
        ).SerializeToString(deterministic=True)
        if not wanted.counts[Colour.RED] and self.statuses.may_change(
            sum(wanted.counts.values()), operator=caller.name, limit=self.second_person_above, now=now
        ):
            return pb.RequestStatusImportResponse()
        if not wanted.batch_sha256:
            raise InvalidArgument("batch_sha256", "expected the SHA-256 of each batch, got none")
        known = self.statuses.import_request(client_id=caller.client_id, payload=payload, now=now)
        if known is not None:
            return pb.RequestStatusImportResponse(
                approval_id=known.approval_id, is_approved=known.is_approved
            )
        approval_id = self.approvals.request(
            ApprovalKind.STATUS_IMPORT, payload, summary=_import_summary(wanted), caller=caller, now=now
        )
        return pb.RequestStatusImportResponse(approval_id=approval_id)

    @answers_with_stream(Role.CLERK, target=lambda _: "statuses of a file")
    def ImportStatuses(  # noqa: N802
        self, requests: Iterator[pb.ImportStatusesRequest], caller: Caller
    ) -> Iterator[pb.ImportStatusesResponse]:
        """Change statuses batch by batch."""
        backlog = Backlog(self.publisher)
        consented = _ConsentedBatches(self.statuses)
        for request in requests:
            now = self._now()
            entered = self.statuses.enter_rows(
                read_status_rows(request, reasons=self.reasons, now=now),
                operator=caller.name,
                now=now,
                open_allowance=self._allowance(request, consented, caller, now),
            )
            publication = backlog.publication(entered.outbox_seq, row_count=len(request.rows))
            yield pb.ImportStatusesResponse(outcome=outcome(entered, publication))

    @answers_with_stream(Role.CLERK, target=lambda _: "tests of a file")
    def ImportTests(  # noqa: N802
        self, requests: Iterator[pb.ImportTestsRequest], caller: Caller
    ) -> Iterator[pb.ImportTestsResponse]:
        """Enter negative tests batch by batch."""
        backlog = Backlog(self.publisher)
        for request in requests:
            now = self._now()
            entered = self.statuses.enter_tests(
                read_test_rows(request, now=now), operator=caller.name, now=now
            )
            publication = backlog.publication(entered.outbox_seq, row_count=len(request.rows))
            yield pb.ImportTestsResponse(outcome=outcome(entered, publication))

    def executors(self) -> Mapping[ApprovalKind, Executor]:
        """Return what carries out the requests of this servicer once they are approved."""
        return {
            ApprovalKind.SET_STATUSES: self.carry_out_set_statuses,
            ApprovalKind.STATUS_IMPORT: self.carry_out_status_import,
        }

    def carry_out_set_statuses(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        """Set the statuses that were asked for, if that is still possible; raises Refused."""
        changes = read_status_changes(
            pb.SetStatusesRequest.FromString(request.payload), reasons=self.reasons, now=request.now
        )
        seq = self.statuses.set(
            changes,
            operator=request.requested_by.name,
            source=ChangeSource.MANUAL,
            now=request.now,
            approval_id=request.approval_id,
            connection=connection,
        )

        def after_commit() -> Sequence[str]:
            self.red_alarm.refresh(request.now)
            if self._publication(seq) == pb.PUBLICATION_PENDING:
                return ["not in Redis yet: it gets there as soon as Redis answers"]
            return ["published"]

        return CarriedOut([f"changed: {_counts(changes)}"], after_commit)

    def carry_out_status_import(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        """Open the consent; the import itself is the clerk's."""
        wanted = pb.RequestStatusImportRequest.FromString(request.payload)
        open_consent(
            connection,
            approval_id=request.approval_id,
            file_sha256=wanted.file_sha256,
            counts={Colour.GREEN: wanted.green, Colour.YELLOW: wanted.yellow, Colour.RED: wanted.red},
        )
        return CarriedOut(["the import may begin: repeat the command that asked for it"])

    def _without_consent(self, caller: Caller, now: int) -> OpenAllowance:
        return lambda connection: WithoutConsent(
            connection, operator=caller.name, limit=self.second_person_above, now=now
        )

    def _allowance(
        self, request: pb.ImportStatusesRequest, consented: "_ConsentedBatches", caller: Caller, now: int
    ) -> OpenAllowance:
        if request.approval_id == 0:
            return self._without_consent(caller, now)
        approval_id = min(request.approval_id, MAX_ID)
        is_for_batch = consented.include(approval_id, request)
        return lambda connection: ImportConsent(
            connection,
            approval_id=approval_id,
            client_id=caller.client_id,
            now=now,
            is_for_batch=is_for_batch,
        )


class _ConsentedBatches:
    """The batches that the consent of one stream covers: read once, since there may be 100 000."""

    def __init__(self, statuses: Statuses) -> None:
        self._statuses = statuses
        self._approval_id = 0
        self._batches: frozenset[bytes] = frozenset()

    def include(self, approval_id: int, request: pb.ImportStatusesRequest) -> bool:
        """Tell whether a batch is one that was asked for with this request for consent."""
        if approval_id != self._approval_id:
            payload = self._statuses.import_payload(approval_id)
            asked_for = pb.RequestStatusImportRequest.FromString(payload)
            self._approval_id, self._batches = approval_id, frozenset(asked_for.batch_sha256)
        return sha256_of_batch(request) in self._batches


def _holders_target(changes: Sequence[pb.StatusChange]) -> str:
    return f"holder {changes[0].holder_id}" if len(changes) == 1 else f"{len(changes)} holders"


def _summary(changes: Sequence[StatusChange]) -> str:
    """Return what a second person is asked to agree to."""
    holder_ids = sorted({change.holder_id or 0 for change in changes})
    shown = ", ".join(map(str, holder_ids[:_MAX_IDS_SHOWN]))
    more = len(holder_ids) - _MAX_IDS_SHOWN
    which = f"holder{'s' if len(holder_ids) > 1 else ''} {shown}" + (f" and {more} more" if more > 0 else "")
    reasons = ", ".join(map(str, sorted({change.reason for change in changes if change.reason})))
    authorities = ", ".join(sorted({change.authority for change in changes}))
    return f"{_counts(changes)}; {which}; reason {reasons or 'none'}; decided by {authorities}"


def _import_summary(wanted: StatusImport) -> str:
    counts = ", ".join(f"{count} {colour.name}" for colour, count in wanted.counts.items() if count)
    return f"import of {counts} from {wanted.file_name}, SHA-256 {wanted.file_sha256.hex()}"


def _counts(changes: Sequence[StatusChange]) -> str:
    counts = Counter(change.colour for change in changes)
    return ", ".join(f"{counts[colour]} {colour.name}" for colour in sorted(counts))


def _entry(entry: StatusChangeEntry) -> pb.StatusChangeEntry:
    change = entry.change
    return pb.StatusChangeEntry(
        seq=entry.seq,
        holder_id=change.holder_id or 0,
        colour=as_enum(change.colour),
        reason=change.reason,
        negative_test_at=60 * change.negative_test_min,
        valid_until=change.valid_until,
        authority=change.authority,
        operator=entry.operator,
        evidence=change.evidence,
        source=as_enum(entry.source),
        approval_id=entry.approval_id,
        changed_at=entry.changed_at,
        own_hash=entry.own_hash,
    )


def _verification(message: Progress | Finding) -> pb.VerifyHistoryResponse:
    if isinstance(message, Progress):
        return pb.VerifyHistoryResponse(verified=message.verified, total=message.total)
    return pb.VerifyHistoryResponse(
        verified=message.verified,
        total=message.head.seq,
        is_done=True,
        broken_seq=message.broken_seq,
        problem=message.problem,
        head_seq=message.head.seq,
        head_hash=message.head.own_hash,
    )
