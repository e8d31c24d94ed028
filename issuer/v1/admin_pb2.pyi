from verifier.v1 import verifier_pb2 as _verifier_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CredentialState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CREDENTIAL_STATE_UNSPECIFIED: _ClassVar[CredentialState]
    CREDENTIAL_STATE_ACTIVE: _ClassVar[CredentialState]
    CREDENTIAL_STATE_SUSPENDED: _ClassVar[CredentialState]
    CREDENTIAL_STATE_REVOKED: _ClassVar[CredentialState]
    CREDENTIAL_STATE_EXPIRED: _ClassVar[CredentialState]

class Publication(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUBLICATION_UNSPECIFIED: _ClassVar[Publication]
    PUBLICATION_PUBLISHED: _ClassVar[Publication]
    PUBLICATION_PENDING: _ClassVar[Publication]

class ChangeSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANGE_SOURCE_UNSPECIFIED: _ClassVar[ChangeSource]
    CHANGE_SOURCE_MANUAL: _ClassVar[ChangeSource]
    CHANGE_SOURCE_IMPORT: _ClassVar[ChangeSource]
    CHANGE_SOURCE_TEST: _ClassVar[ChangeSource]
    CHANGE_SOURCE_ENDED: _ClassVar[ChangeSource]
CREDENTIAL_STATE_UNSPECIFIED: CredentialState
CREDENTIAL_STATE_ACTIVE: CredentialState
CREDENTIAL_STATE_SUSPENDED: CredentialState
CREDENTIAL_STATE_REVOKED: CredentialState
CREDENTIAL_STATE_EXPIRED: CredentialState
PUBLICATION_UNSPECIFIED: Publication
PUBLICATION_PUBLISHED: Publication
PUBLICATION_PENDING: Publication
CHANGE_SOURCE_UNSPECIFIED: ChangeSource
CHANGE_SOURCE_MANUAL: ChangeSource
CHANGE_SOURCE_IMPORT: ChangeSource
CHANGE_SOURCE_TEST: ChangeSource
CHANGE_SOURCE_ENDED: ChangeSource

class EnrolHoldersRequest(_message.Message):
    __slots__ = ("holders",)
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    holders: _containers.RepeatedCompositeFieldContainer[NewHolder]
    def __init__(self, holders: _Optional[_Iterable[_Union[NewHolder, _Mapping]]] = ...) -> None: ...

class NewHolder(_message.Message):
    __slots__ = ("name", "document_type", "document_number", "region", "guardian_id", "external_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    GUARDIAN_ID_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    document_type: str
    document_number: str
    region: str
    guardian_id: int
    external_id: str
    def __init__(self, name: _Optional[str] = ..., document_type: _Optional[str] = ..., document_number: _Optional[str] = ..., region: _Optional[str] = ..., guardian_id: _Optional[int] = ..., external_id: _Optional[str] = ...) -> None: ...

class EnrolHoldersResponse(_message.Message):
    __slots__ = ("holder_ids",)
    HOLDER_IDS_FIELD_NUMBER: _ClassVar[int]
    holder_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, holder_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class GetHolderRequest(_message.Message):
    __slots__ = ("holder_id", "external_id", "reveal")
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    REVEAL_FIELD_NUMBER: _ClassVar[int]
    holder_id: int
    external_id: str
    reveal: bool
    def __init__(self, holder_id: _Optional[int] = ..., external_id: _Optional[str] = ..., reveal: _Optional[bool] = ...) -> None: ...

class GetHolderResponse(_message.Message):
    __slots__ = ("holder", "credentials", "status", "dependant_ids")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DEPENDANT_IDS_FIELD_NUMBER: _ClassVar[int]
    holder: Holder
    credentials: _containers.RepeatedCompositeFieldContainer[Credential]
    status: Status
    dependant_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, holder: _Optional[_Union[Holder, _Mapping]] = ..., credentials: _Optional[_Iterable[_Union[Credential, _Mapping]]] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., dependant_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Holder(_message.Message):
    __slots__ = ("holder_id", "name", "document_type", "document_last_four", "region", "guardian_id", "external_id", "enrolled_at", "erased_at")
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_LAST_FOUR_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    GUARDIAN_ID_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    ENROLLED_AT_FIELD_NUMBER: _ClassVar[int]
    ERASED_AT_FIELD_NUMBER: _ClassVar[int]
    holder_id: int
    name: str
    document_type: str
    document_last_four: str
    region: str
    guardian_id: int
    external_id: str
    enrolled_at: int
    erased_at: int
    def __init__(self, holder_id: _Optional[int] = ..., name: _Optional[str] = ..., document_type: _Optional[str] = ..., document_last_four: _Optional[str] = ..., region: _Optional[str] = ..., guardian_id: _Optional[int] = ..., external_id: _Optional[str] = ..., enrolled_at: _Optional[int] = ..., erased_at: _Optional[int] = ...) -> None: ...

class ListHoldersRequest(_message.Message):
    __slots__ = ("region", "guardian_id", "document_type", "document_number", "reveal", "page_size", "after_id")
    REGION_FIELD_NUMBER: _ClassVar[int]
    GUARDIAN_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    REVEAL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    AFTER_ID_FIELD_NUMBER: _ClassVar[int]
    region: str
    guardian_id: int
    document_type: str
    document_number: str
    reveal: bool
    page_size: int
    after_id: int
    def __init__(self, region: _Optional[str] = ..., guardian_id: _Optional[int] = ..., document_type: _Optional[str] = ..., document_number: _Optional[str] = ..., reveal: _Optional[bool] = ..., page_size: _Optional[int] = ..., after_id: _Optional[int] = ...) -> None: ...

class ListHoldersResponse(_message.Message):
    __slots__ = ("holders", "has_more")
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    holders: _containers.RepeatedCompositeFieldContainer[Holder]
    has_more: bool
    def __init__(self, holders: _Optional[_Iterable[_Union[Holder, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class EraseHolderRequest(_message.Message):
    __slots__ = ("holder_id",)
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    holder_id: int
    def __init__(self, holder_id: _Optional[int] = ...) -> None: ...

class EraseHolderResponse(_message.Message):
    __slots__ = ("revoked_credentials", "publication")
    REVOKED_CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    revoked_credentials: int
    publication: Publication
    def __init__(self, revoked_credentials: _Optional[int] = ..., publication: _Optional[_Union[Publication, str]] = ...) -> None: ...

class IssueCredentialsRequest(_message.Message):
    __slots__ = ("credentials",)
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    credentials: _containers.RepeatedCompositeFieldContainer[NewCredential]
    def __init__(self, credentials: _Optional[_Iterable[_Union[NewCredential, _Mapping]]] = ...) -> None: ...

class NewCredential(_message.Message):
    __slots__ = ("holder_id", "kind", "holder_external_id", "app", "valid_until", "external_id")
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    HOLDER_EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    holder_id: int
    kind: _verifier_pb2.CredentialKind
    holder_external_id: str
    app: str
    valid_until: int
    external_id: str
    def __init__(self, holder_id: _Optional[int] = ..., kind: _Optional[_Union[_verifier_pb2.CredentialKind, str]] = ..., holder_external_id: _Optional[str] = ..., app: _Optional[str] = ..., valid_until: _Optional[int] = ..., external_id: _Optional[str] = ...) -> None: ...

class IssueCredentialsResponse(_message.Message):
    __slots__ = ("credential_indices", "publication")
    CREDENTIAL_INDICES_FIELD_NUMBER: _ClassVar[int]
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    credential_indices: _containers.RepeatedScalarFieldContainer[int]
    publication: Publication
    def __init__(self, credential_indices: _Optional[_Iterable[int]] = ..., publication: _Optional[_Union[Publication, str]] = ...) -> None: ...

class ReplaceCredentialRequest(_message.Message):
    __slots__ = ("credential_index",)
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    credential_index: int
    def __init__(self, credential_index: _Optional[int] = ...) -> None: ...

class ReplaceCredentialResponse(_message.Message):
    __slots__ = ("generation", "publication")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    generation: int
    publication: Publication
    def __init__(self, generation: _Optional[int] = ..., publication: _Optional[_Union[Publication, str]] = ...) -> None: ...

class SuspendCredentialRequest(_message.Message):
    __slots__ = ("credential_index",)
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    credential_index: int
    def __init__(self, credential_index: _Optional[int] = ...) -> None: ...

class SuspendCredentialResponse(_message.Message):
    __slots__ = ("publication",)
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    publication: Publication
    def __init__(self, publication: _Optional[_Union[Publication, str]] = ...) -> None: ...

class ResumeCredentialRequest(_message.Message):
    __slots__ = ("credential_index",)
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    credential_index: int
    def __init__(self, credential_index: _Optional[int] = ...) -> None: ...

class ResumeCredentialResponse(_message.Message):
    __slots__ = ("publication",)
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    publication: Publication
    def __init__(self, publication: _Optional[_Union[Publication, str]] = ...) -> None: ...

class RevokeCredentialRequest(_message.Message):
    __slots__ = ("credential_index",)
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    credential_index: int
    def __init__(self, credential_index: _Optional[int] = ...) -> None: ...

class RevokeCredentialResponse(_message.Message):
    __slots__ = ("publication",)
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    publication: Publication
    def __init__(self, publication: _Optional[_Union[Publication, str]] = ...) -> None: ...

class GetCredentialRequest(_message.Message):
    __slots__ = ("credential_index",)
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    credential_index: int
    def __init__(self, credential_index: _Optional[int] = ...) -> None: ...

class GetCredentialResponse(_message.Message):
    __slots__ = ("credential", "masked_holder_name", "status")
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    MASKED_HOLDER_NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    credential: Credential
    masked_holder_name: str
    status: Status
    def __init__(self, credential: _Optional[_Union[Credential, _Mapping]] = ..., masked_holder_name: _Optional[str] = ..., status: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class Credential(_message.Message):
    __slots__ = ("credential_index", "holder_id", "kind", "generation", "state", "app", "issued_at", "valid_until", "external_id")
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    credential_index: int
    holder_id: int
    kind: _verifier_pb2.CredentialKind
    generation: int
    state: CredentialState
    app: str
    issued_at: int
    valid_until: int
    external_id: str
    def __init__(self, credential_index: _Optional[int] = ..., holder_id: _Optional[int] = ..., kind: _Optional[_Union[_verifier_pb2.CredentialKind, str]] = ..., generation: _Optional[int] = ..., state: _Optional[_Union[CredentialState, str]] = ..., app: _Optional[str] = ..., issued_at: _Optional[int] = ..., valid_until: _Optional[int] = ..., external_id: _Optional[str] = ...) -> None: ...

class ListCredentialsRequest(_message.Message):
    __slots__ = ("holder_id", "kind", "state", "page_size", "after_index")
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    AFTER_INDEX_FIELD_NUMBER: _ClassVar[int]
    holder_id: int
    kind: _verifier_pb2.CredentialKind
    state: CredentialState
    page_size: int
    after_index: int
    def __init__(self, holder_id: _Optional[int] = ..., kind: _Optional[_Union[_verifier_pb2.CredentialKind, str]] = ..., state: _Optional[_Union[CredentialState, str]] = ..., page_size: _Optional[int] = ..., after_index: _Optional[int] = ...) -> None: ...

class ListCredentialsResponse(_message.Message):
    __slots__ = ("credentials", "has_more")
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    credentials: _containers.RepeatedCompositeFieldContainer[Credential]
    has_more: bool
    def __init__(self, credentials: _Optional[_Iterable[_Union[Credential, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class SetStatusesRequest(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[StatusChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[StatusChange, _Mapping]]] = ...) -> None: ...

class StatusChange(_message.Message):
    __slots__ = ("holder_id", "colour", "reason", "authority", "negative_test_at", "evidence", "valid_until", "holder_external_id", "external_id")
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_TEST_AT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_FIELD_NUMBER: _ClassVar[int]
    HOLDER_EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    holder_id: int
    colour: _verifier_pb2.Colour
    reason: int
    authority: str
    negative_test_at: int
    evidence: str
    valid_until: int
    holder_external_id: str
    external_id: str
    def __init__(self, holder_id: _Optional[int] = ..., colour: _Optional[_Union[_verifier_pb2.Colour, str]] = ..., reason: _Optional[int] = ..., authority: _Optional[str] = ..., negative_test_at: _Optional[int] = ..., evidence: _Optional[str] = ..., valid_until: _Optional[int] = ..., holder_external_id: _Optional[str] = ..., external_id: _Optional[str] = ...) -> None: ...

class SetStatusesResponse(_message.Message):
    __slots__ = ("publication", "approval_id")
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    publication: Publication
    approval_id: int
    def __init__(self, publication: _Optional[_Union[Publication, str]] = ..., approval_id: _Optional[int] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ("holder_id",)
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    holder_id: int
    def __init__(self, holder_id: _Optional[int] = ...) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: Status
    def __init__(self, status: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("colour", "reason", "last_negative_test", "valid_until", "reason_text")
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LAST_NEGATIVE_TEST_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_FIELD_NUMBER: _ClassVar[int]
    REASON_TEXT_FIELD_NUMBER: _ClassVar[int]
    colour: _verifier_pb2.Colour
    reason: int
    last_negative_test: int
    valid_until: int
    reason_text: str
    def __init__(self, colour: _Optional[_Union[_verifier_pb2.Colour, str]] = ..., reason: _Optional[int] = ..., last_negative_test: _Optional[int] = ..., valid_until: _Optional[int] = ..., reason_text: _Optional[str] = ...) -> None: ...

class ListStatusChangesRequest(_message.Message):
    __slots__ = ("holder_id", "page_size", "before_seq")
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_SEQ_FIELD_NUMBER: _ClassVar[int]
    holder_id: int
    page_size: int
    before_seq: int
    def __init__(self, holder_id: _Optional[int] = ..., page_size: _Optional[int] = ..., before_seq: _Optional[int] = ...) -> None: ...

class ListStatusChangesResponse(_message.Message):
    __slots__ = ("changes", "has_more")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[StatusChangeEntry]
    has_more: bool
    def __init__(self, changes: _Optional[_Iterable[_Union[StatusChangeEntry, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class StatusChangeEntry(_message.Message):
    __slots__ = ("seq", "holder_id", "colour", "reason", "negative_test_at", "valid_until", "authority", "operator", "evidence", "source", "approval_id", "changed_at", "own_hash")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_TEST_AT_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    OWN_HASH_FIELD_NUMBER: _ClassVar[int]
    seq: int
    holder_id: int
    colour: _verifier_pb2.Colour
    reason: int
    negative_test_at: int
    valid_until: int
    authority: str
    operator: str
    evidence: str
    source: ChangeSource
    approval_id: int
    changed_at: int
    own_hash: bytes
    def __init__(self, seq: _Optional[int] = ..., holder_id: _Optional[int] = ..., colour: _Optional[_Union[_verifier_pb2.Colour, str]] = ..., reason: _Optional[int] = ..., negative_test_at: _Optional[int] = ..., valid_until: _Optional[int] = ..., authority: _Optional[str] = ..., operator: _Optional[str] = ..., evidence: _Optional[str] = ..., source: _Optional[_Union[ChangeSource, str]] = ..., approval_id: _Optional[int] = ..., changed_at: _Optional[int] = ..., own_hash: _Optional[bytes] = ...) -> None: ...

class VerifyHistoryRequest(_message.Message):
    __slots__ = ("expected_seq", "expected_hash")
    EXPECTED_SEQ_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_HASH_FIELD_NUMBER: _ClassVar[int]
    expected_seq: int
    expected_hash: bytes
    def __init__(self, expected_seq: _Optional[int] = ..., expected_hash: _Optional[bytes] = ...) -> None: ...

class VerifyHistoryResponse(_message.Message):
    __slots__ = ("verified", "total", "is_done", "broken_seq", "problem", "head_seq", "head_hash")
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    IS_DONE_FIELD_NUMBER: _ClassVar[int]
    BROKEN_SEQ_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    HEAD_SEQ_FIELD_NUMBER: _ClassVar[int]
    HEAD_HASH_FIELD_NUMBER: _ClassVar[int]
    verified: int
    total: int
    is_done: bool
    broken_seq: int
    problem: str
    head_seq: int
    head_hash: bytes
    def __init__(self, verified: _Optional[int] = ..., total: _Optional[int] = ..., is_done: _Optional[bool] = ..., broken_seq: _Optional[int] = ..., problem: _Optional[str] = ..., head_seq: _Optional[int] = ..., head_hash: _Optional[bytes] = ...) -> None: ...

class ListReasonsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListReasonsResponse(_message.Message):
    __slots__ = ("reasons",)
    REASONS_FIELD_NUMBER: _ClassVar[int]
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    def __init__(self, reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("code", "text", "colours")
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    COLOURS_FIELD_NUMBER: _ClassVar[int]
    code: int
    text: str
    colours: _containers.RepeatedScalarFieldContainer[_verifier_pb2.Colour]
    def __init__(self, code: _Optional[int] = ..., text: _Optional[str] = ..., colours: _Optional[_Iterable[_Union[_verifier_pb2.Colour, str]]] = ...) -> None: ...

class ImportHoldersRequest(_message.Message):
    __slots__ = ("rows", "guardian_external_ids")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    GUARDIAN_EXTERNAL_IDS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[NewHolder]
    guardian_external_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rows: _Optional[_Iterable[_Union[NewHolder, _Mapping]]] = ..., guardian_external_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ImportHoldersResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: ImportOutcome
    def __init__(self, outcome: _Optional[_Union[ImportOutcome, _Mapping]] = ...) -> None: ...

class ImportCredentialsRequest(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[NewCredential]
    def __init__(self, rows: _Optional[_Iterable[_Union[NewCredential, _Mapping]]] = ...) -> None: ...

class ImportCredentialsResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: ImportOutcome
    def __init__(self, outcome: _Optional[_Union[ImportOutcome, _Mapping]] = ...) -> None: ...

class RequestStatusImportRequest(_message.Message):
    __slots__ = ("file_sha256", "file_name", "green", "yellow", "red", "batch_sha256")
    FILE_SHA256_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    GREEN_FIELD_NUMBER: _ClassVar[int]
    YELLOW_FIELD_NUMBER: _ClassVar[int]
    RED_FIELD_NUMBER: _ClassVar[int]
    BATCH_SHA256_FIELD_NUMBER: _ClassVar[int]
    file_sha256: bytes
    file_name: str
    green: int
    yellow: int
    red: int
    batch_sha256: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, file_sha256: _Optional[bytes] = ..., file_name: _Optional[str] = ..., green: _Optional[int] = ..., yellow: _Optional[int] = ..., red: _Optional[int] = ..., batch_sha256: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RequestStatusImportResponse(_message.Message):
    __slots__ = ("approval_id", "is_approved")
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    IS_APPROVED_FIELD_NUMBER: _ClassVar[int]
    approval_id: int
    is_approved: bool
    def __init__(self, approval_id: _Optional[int] = ..., is_approved: _Optional[bool] = ...) -> None: ...

class ImportStatusesRequest(_message.Message):
    __slots__ = ("rows", "approval_id")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[StatusChange]
    approval_id: int
    def __init__(self, rows: _Optional[_Iterable[_Union[StatusChange, _Mapping]]] = ..., approval_id: _Optional[int] = ...) -> None: ...

class ImportStatusesResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: ImportOutcome
    def __init__(self, outcome: _Optional[_Union[ImportOutcome, _Mapping]] = ...) -> None: ...

class ImportTestsRequest(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[NegativeTest]
    def __init__(self, rows: _Optional[_Iterable[_Union[NegativeTest, _Mapping]]] = ...) -> None: ...

class NegativeTest(_message.Message):
    __slots__ = ("holder_id", "holder_external_id", "taken_at", "authority", "external_id")
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    HOLDER_EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    TAKEN_AT_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    holder_id: int
    holder_external_id: str
    taken_at: int
    authority: str
    external_id: str
    def __init__(self, holder_id: _Optional[int] = ..., holder_external_id: _Optional[str] = ..., taken_at: _Optional[int] = ..., authority: _Optional[str] = ..., external_id: _Optional[str] = ...) -> None: ...

class ImportTestsResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: ImportOutcome
    def __init__(self, outcome: _Optional[_Union[ImportOutcome, _Mapping]] = ...) -> None: ...

class ImportOutcome(_message.Message):
    __slots__ = ("ids", "known", "refused", "publication")
    IDS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    known: int
    refused: _containers.RepeatedCompositeFieldContainer[RefusedRow]
    publication: Publication
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., known: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[RefusedRow, _Mapping]]] = ..., publication: _Optional[_Union[Publication, str]] = ...) -> None: ...

class RefusedRow(_message.Message):
    __slots__ = ("position", "reason")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    position: int
    reason: str
    def __init__(self, position: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...
