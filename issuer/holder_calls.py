"""Answer the calls about holders and credentials: messages in, messages out.

Half of AdminServicer; the other half, and the constructor, are in status_calls.py and admin_servicer.py.
Who may call what is said above each rpc in admin.proto. Names leave here masked, unless a clerk asks for
them; then the record of calls says whose were shown.
"""

from collections.abc import Iterator, Sequence

from issuer.access.calls import Calls
from issuer.access.roles import Caller, Role
from issuer.admin_calls import AdminCalls
from issuer.answers import Gatekeeper, answers, answers_with_stream
from issuer.errors import PermissionDenied, TooMany
from issuer.import_answers import Backlog, outcome
from issuer.masking import mask_name
from issuer.proto_enum import as_enum
from issuer.reasons import Reasons
from issuer.register.allowances import HOUR_S
from issuer.register.credentials import Credentials
from issuer.register.entries import CredentialEntry, HolderEntry, HolderStatus
from issuer.register.holders import Holders
from issuer.requests import (
    credential_index,
    holder_by,
    holder_id,
    kind,
    page_size,
    read_credential_rows,
    read_document,
    read_holder_rows,
    read_list,
    read_new_credential,
    read_new_holder,
    region,
    standing,
)
from issuer.v1 import admin_pb2 as pb

# What takes a holder's code out of force. The record of calls has them under these names.
_HARSH = tuple(f"AdminService/{name}" for name in ("SuspendCredential", "RevokeCredential", "EraseHolder"))
# Also where every change of status needs two persons, a lost phone or two have to be suspended.
_ALWAYS_ALLOWED = 3


def _holder_target(request: pb.GetHolderRequest) -> str:
    which = f"holder {request.holder_id}" if request.holder_id else "holder by external_id"
    return f"{which}, revealed" if request.reveal else which


def _holders_target(request: pb.ListHoldersRequest) -> str:
    by_document = " by document" if request.document_type or request.document_number else ""
    of_guardian = f" of guardian {request.guardian_id}" if request.guardian_id else ""
    return (
        f"holders{by_document}{of_guardian} after {request.after_id}{', revealed' if request.reveal else ''}"
    )


def _credentials_target(request: pb.ListCredentialsRequest) -> str:
    of_holder = f" of holder {request.holder_id}" if request.holder_id else ""
    return f"credentials{of_holder} after {request.after_index}"


class HolderCalls(AdminCalls):
    """What clerks call about holders and credentials."""

    gatekeeper: Gatekeeper
    holders: Holders
    credentials: Credentials
    calls: Calls
    second_person_above: int

    @answers(Role.CLERK, target=lambda request: f"{len(request.holders)} holders")
    def EnrolHolders(self, request: pb.EnrolHoldersRequest, caller: Caller) -> pb.EnrolHoldersResponse:  # noqa: N802, ARG002
        """Enter holders into the register."""
        new = read_list(request.holders, "holders", read_new_holder)
        return pb.EnrolHoldersResponse(holder_ids=self.holders.enrol(new, now=self._now()))

    @answers(Role.CLERK, Role.APPROVER, Role.AUDITOR, target=_holder_target)
    def GetHolder(self, request: pb.GetHolderRequest, caller: Caller) -> pb.GetHolderResponse:  # noqa: N802
        """Return a holder with credentials, status and dependants."""
        if request.reveal:
            _require_clerk(caller, "revealing a name")
        its_id, external_id = holder_by(
            request.holder_id, request.external_id, id_field="holder_id", external_id_field="external_id"
        )
        entry = self.holders.holder(holder_id=its_id, external_id=external_id)
        if request.reveal and its_id is None:
            self._record_revealed("GetHolder", caller, [entry])
        return pb.GetHolderResponse(
            holder=_holder(entry, reveal=request.reveal),
            credentials=map(_credential, self.credentials.of_holder(entry.holder_id)),
            status=status_message(self.statuses.status(entry.holder_id), self.reasons),
            dependant_ids=self.holders.dependants(entry.holder_id),
        )

    @answers(Role.CLERK, Role.AUDITOR, target=_holders_target)
    def ListHolders(self, request: pb.ListHoldersRequest, caller: Caller) -> pb.ListHoldersResponse:  # noqa: N802
        """Return a page of holders."""
        document = None
        if request.document_type or request.document_number:
            _require_clerk(caller, "finding a document")
            document = read_document(request.document_type, request.document_number)
        if request.reveal:
            _require_clerk(caller, "revealing names")
        page = self.holders.page(
            limit=page_size(request.page_size),
            after_id=request.after_id and holder_id(request.after_id, "after_id"),
            region=region(request.region),
            guardian_id=request.guardian_id and holder_id(request.guardian_id, "guardian_id"),
            document=document,
        )
        if request.reveal:
            self._record_revealed("ListHolders", caller, page.entries)
        return pb.ListHoldersResponse(
            holders=(_holder(entry, reveal=request.reveal) for entry in page.entries), has_more=page.has_more
        )

    @answers(Role.CLERK, target=lambda request: f"holder {request.holder_id}")
    def EraseHolder(self, request: pb.EraseHolderRequest, caller: Caller) -> pb.EraseHolderResponse:  # noqa: N802
        """Erase a holder."""
        self._require_few(caller)
        erased = self.holders.erase(holder_id(request.holder_id), now=self._now())
        return pb.EraseHolderResponse(
            revoked_credentials=erased.revoked_credentials, publication=self._publication(erased.outbox_seq)
        )

    @answers(Role.CLERK, target=lambda request: f"{len(request.credentials)} credentials")
    def IssueCredentials(  # noqa: N802
        self,
        request: pb.IssueCredentialsRequest,
        caller: Caller,  # noqa: ARG002
    ) -> pb.IssueCredentialsResponse:
        """Issue credentials."""
        new = read_list(request.credentials, "credentials", read_new_credential)
        issued = self.credentials.issue(new, now=self._now())
        return pb.IssueCredentialsResponse(
            credential_indices=issued.credential_indices, publication=self._publication(issued.outbox_seq)
        )

    @answers(Role.CLERK, target=lambda request: f"credential {request.credential_index}")
    def ReplaceCredential(  # noqa: N802
        self,
        request: pb.ReplaceCredentialRequest,
        caller: Caller,  # noqa: ARG002
    ) -> pb.ReplaceCredentialResponse:
        """Give a credential its next generation."""
        changed = self.credentials.replace(credential_index(request.credential_index))
        return pb.ReplaceCredentialResponse(
            generation=changed.generation, publication=self._publication(changed.outbox_seq)
        )

    @answers(Role.CLERK, target=lambda request: f"credential {request.credential_index}")
    def SuspendCredential(  # noqa: N802
        self,
        request: pb.SuspendCredentialRequest,
        caller: Caller,
    ) -> pb.SuspendCredentialResponse:
        """Suspend a credential."""
        self._require_few(caller)
        changed = self.credentials.suspend(credential_index(request.credential_index))
        return pb.SuspendCredentialResponse(publication=self._publication(changed.outbox_seq))

    @answers(Role.CLERK, target=lambda request: f"credential {request.credential_index}")
    def ResumeCredential(  # noqa: N802
        self,
        request: pb.ResumeCredentialRequest,
        caller: Caller,  # noqa: ARG002
    ) -> pb.ResumeCredentialResponse:
        """Make a credential active again."""
        changed = self.credentials.resume(credential_index(request.credential_index))
        return pb.ResumeCredentialResponse(publication=self._publication(changed.outbox_seq))

    @answers(Role.CLERK, target=lambda request: f"credential {request.credential_index}")
    def RevokeCredential(  # noqa: N802
        self,
        request: pb.RevokeCredentialRequest,
        caller: Caller,
    ) -> pb.RevokeCredentialResponse:
        """Revoke a credential for good."""
        self._require_few(caller)
        changed = self.credentials.revoke(credential_index(request.credential_index))
        return pb.RevokeCredentialResponse(publication=self._publication(changed.outbox_seq))

    @answers(
        Role.CLERK,
        Role.APPROVER,
        Role.AUDITOR,
        target=lambda request: f"credential {request.credential_index}",
    )
    def GetCredential(self, request: pb.GetCredentialRequest, caller: Caller) -> pb.GetCredentialResponse:  # noqa: N802, ARG002
        """Return a credential as a clerk sees it."""
        entry = self.credentials.entry(credential_index(request.credential_index))
        return pb.GetCredentialResponse(
            credential=_credential(entry),
            masked_holder_name=mask_name(entry.name),
            status=status_message(entry.status, self.reasons),
        )

    @answers(Role.CLERK, Role.AUDITOR, target=_credentials_target)
    def ListCredentials(  # noqa: N802
        self,
        request: pb.ListCredentialsRequest,
        caller: Caller,  # noqa: ARG002
    ) -> pb.ListCredentialsResponse:
        """Return a page of credentials."""
        page = self.credentials.page(
            limit=page_size(request.page_size),
            after_index=request.after_index,
            holder_id=request.holder_id and holder_id(request.holder_id),
            kind=kind(request.kind) if request.kind else None,
            state=standing(request.state) if request.state else None,
        )
        return pb.ListCredentialsResponse(credentials=map(_credential, page.entries), has_more=page.has_more)

    @answers_with_stream(Role.CLERK, target=lambda _: "holders of a file")
    def ImportHolders(  # noqa: N802
        self,
        requests: Iterator[pb.ImportHoldersRequest],
        caller: Caller,  # noqa: ARG002
    ) -> Iterator[pb.ImportHoldersResponse]:
        """Enter holders batch by batch."""
        for request in requests:
            entered = self.holders.enter_rows(read_holder_rows(request), now=self._now())
            yield pb.ImportHoldersResponse(outcome=outcome(entered, pb.PUBLICATION_UNSPECIFIED))

    @answers_with_stream(Role.CLERK, target=lambda _: "credentials of a file")
    def ImportCredentials(  # noqa: N802
        self,
        requests: Iterator[pb.ImportCredentialsRequest],
        caller: Caller,  # noqa: ARG002
    ) -> Iterator[pb.ImportCredentialsResponse]:
        """Issue credentials batch by batch."""
        backlog = Backlog(self.publisher)
        for request in requests:
            entered = self.credentials.enter_rows(read_credential_rows(request), now=self._now())
            publication = backlog.publication(entered.outbox_seq, row_count=len(request.rows))
            yield pb.ImportCredentialsResponse(outcome=outcome(entered, publication))

    def _require_few(self, caller: Caller) -> None:
        """Hold one client to a number an hour of what takes codes out of force; raises TooMany.

        Calls under way at the same time are not counted: as many as there are threads may go beyond it.
        """
        now, limit = self._now(), max(_ALWAYS_ALLOWED, self.second_person_above)
        moments = self.calls.moments(
            client_id=caller.client_id, methods=_HARSH, since=now - HOUR_S, limit=limit
        )
        if len(moments) >= limit:
            raise TooMany(
                f"you suspended, revoked and erased {limit} times within the last hour, which is the most "
                "for one client: have another clerk do it, or do it later",
                retry_after_s=moments[-1] + HOUR_S - now,
            )

    def _record_revealed(self, method: str, caller: Caller, entries: Sequence[HolderEntry]) -> None:
        """Record whose names are about to be shown, which nobody knew when the call began."""
        if entries:
            ids = [entry.holder_id for entry in entries]
            which = f"holder {ids[0]}" if len(ids) == 1 else f"{len(ids)} holders, {ids[0]} to {ids[-1]}"
            seq = self.gatekeeper.begin(caller, method=f"AdminService/{method}", target=f"{which}, revealed")
            self.gatekeeper.end(seq, outcome="OK")


def status_message(status: HolderStatus, reasons: Reasons) -> pb.Status:
    """Return the status of a holder as a message."""
    return pb.Status(
        colour=as_enum(status.colour),
        reason=status.reason,
        last_negative_test=60 * status.last_negative_test_min,
        valid_until=status.valid_until,
        reason_text=reasons.text(status.reason),
    )


def _require_clerk(caller: Caller, what: str) -> None:
    if Role.CLERK not in caller.roles:
        raise PermissionDenied(f"{what} needs the role clerk")


def _holder(entry: HolderEntry, *, reveal: bool) -> pb.Holder:
    return pb.Holder(
        holder_id=entry.holder_id,
        name=entry.name if reveal else mask_name(entry.name),
        document_type=entry.document_type,
        document_last_four=entry.document_last_four,
        region=entry.region,
        guardian_id=entry.guardian_id or 0,
        external_id=entry.external_id,
        enrolled_at=entry.enrolled_at,
        erased_at=entry.erased_at,
    )


def _credential(entry: CredentialEntry) -> pb.Credential:
    return pb.Credential(
        credential_index=entry.credential_index,
        holder_id=entry.holder_id,
        kind=as_enum(entry.kind),
        generation=entry.generation,
        state=as_enum(entry.state),
        app=entry.app,
        issued_at=entry.issued_at,
        valid_until=entry.valid_until,
        external_id=entry.external_id,
    )
