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

class Publication(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUBLICATION_UNSPECIFIED: _ClassVar[Publication]
    PUBLICATION_PUBLISHED: _ClassVar[Publication]
    PUBLICATION_PENDING: _ClassVar[Publication]
CREDENTIAL_STATE_UNSPECIFIED: CredentialState
CREDENTIAL_STATE_ACTIVE: CredentialState
CREDENTIAL_STATE_SUSPENDED: CredentialState
CREDENTIAL_STATE_REVOKED: CredentialState
PUBLICATION_UNSPECIFIED: Publication
PUBLICATION_PUBLISHED: Publication
PUBLICATION_PENDING: Publication

class IssueBundleRequest(_message.Message):
    __slots__ = ("credential_index", "window_count")
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    WINDOW_COUNT_FIELD_NUMBER: _ClassVar[int]
    credential_index: int
    window_count: int
    def __init__(self, credential_index: _Optional[int] = ..., window_count: _Optional[int] = ...) -> None: ...

class IssueBundleResponse(_message.Message):
    __slots__ = ("codes", "kind", "generation")
    CODES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    codes: _containers.RepeatedCompositeFieldContainer[SignedCode]
    kind: _verifier_pb2.CredentialKind
    generation: int
    def __init__(self, codes: _Optional[_Iterable[_Union[SignedCode, _Mapping]]] = ..., kind: _Optional[_Union[_verifier_pb2.CredentialKind, str]] = ..., generation: _Optional[int] = ...) -> None: ...

class SignedCode(_message.Message):
    __slots__ = ("qr_text", "not_before", "expires_at")
    QR_TEXT_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    qr_text: str
    not_before: int
    expires_at: int
    def __init__(self, qr_text: _Optional[str] = ..., not_before: _Optional[int] = ..., expires_at: _Optional[int] = ...) -> None: ...

class GetKeySetRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetKeySetResponse(_message.Message):
    __slots__ = ("signed_key_set",)
    SIGNED_KEY_SET_FIELD_NUMBER: _ClassVar[int]
    signed_key_set: bytes
    def __init__(self, signed_key_set: _Optional[bytes] = ...) -> None: ...

class EnrolHoldersRequest(_message.Message):
    __slots__ = ("holders",)
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    holders: _containers.RepeatedCompositeFieldContainer[NewHolder]
    def __init__(self, holders: _Optional[_Iterable[_Union[NewHolder, _Mapping]]] = ...) -> None: ...

class NewHolder(_message.Message):
    __slots__ = ("name", "document_type", "document_number", "region")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    name: str
    document_type: str
    document_number: str
    region: str
    def __init__(self, name: _Optional[str] = ..., document_type: _Optional[str] = ..., document_number: _Optional[str] = ..., region: _Optional[str] = ...) -> None: ...

class EnrolHoldersResponse(_message.Message):
    __slots__ = ("holder_ids",)
    HOLDER_IDS_FIELD_NUMBER: _ClassVar[int]
    holder_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, holder_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class IssueCredentialsRequest(_message.Message):
    __slots__ = ("credentials",)
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    credentials: _containers.RepeatedCompositeFieldContainer[NewCredential]
    def __init__(self, credentials: _Optional[_Iterable[_Union[NewCredential, _Mapping]]] = ...) -> None: ...

class NewCredential(_message.Message):
    __slots__ = ("holder_id", "kind")
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    holder_id: int
    kind: _verifier_pb2.CredentialKind
    def __init__(self, holder_id: _Optional[int] = ..., kind: _Optional[_Union[_verifier_pb2.CredentialKind, str]] = ...) -> None: ...

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
    __slots__ = ("credential_index", "holder_id", "masked_name", "kind", "generation", "state", "colour", "reason", "last_negative_test")
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    MASKED_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LAST_NEGATIVE_TEST_FIELD_NUMBER: _ClassVar[int]
    credential_index: int
    holder_id: int
    masked_name: str
    kind: _verifier_pb2.CredentialKind
    generation: int
    state: CredentialState
    colour: _verifier_pb2.Colour
    reason: int
    last_negative_test: int
    def __init__(self, credential_index: _Optional[int] = ..., holder_id: _Optional[int] = ..., masked_name: _Optional[str] = ..., kind: _Optional[_Union[_verifier_pb2.CredentialKind, str]] = ..., generation: _Optional[int] = ..., state: _Optional[_Union[CredentialState, str]] = ..., colour: _Optional[_Union[_verifier_pb2.Colour, str]] = ..., reason: _Optional[int] = ..., last_negative_test: _Optional[int] = ...) -> None: ...

class SetStatusesRequest(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[StatusChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[StatusChange, _Mapping]]] = ...) -> None: ...

class StatusChange(_message.Message):
    __slots__ = ("holder_id", "colour", "reason", "authority", "operator", "negative_test_at")
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_TEST_AT_FIELD_NUMBER: _ClassVar[int]
    holder_id: int
    colour: _verifier_pb2.Colour
    reason: int
    authority: str
    operator: str
    negative_test_at: int
    def __init__(self, holder_id: _Optional[int] = ..., colour: _Optional[_Union[_verifier_pb2.Colour, str]] = ..., reason: _Optional[int] = ..., authority: _Optional[str] = ..., operator: _Optional[str] = ..., negative_test_at: _Optional[int] = ...) -> None: ...

class SetStatusesResponse(_message.Message):
    __slots__ = ("publication",)
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    publication: Publication
    def __init__(self, publication: _Optional[_Union[Publication, str]] = ...) -> None: ...
