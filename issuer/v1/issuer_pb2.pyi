from verifier.v1 import verifier_pb2 as _verifier_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BundleRefusalReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUNDLE_REFUSAL_REASON_UNSPECIFIED: _ClassVar[BundleRefusalReason]
    BUNDLE_REFUSAL_REASON_NOT_FOUND: _ClassVar[BundleRefusalReason]
    BUNDLE_REFUSAL_REASON_NOT_ACTIVE: _ClassVar[BundleRefusalReason]
    BUNDLE_REFUSAL_REASON_RATE_LIMITED: _ClassVar[BundleRefusalReason]
BUNDLE_REFUSAL_REASON_UNSPECIFIED: BundleRefusalReason
BUNDLE_REFUSAL_REASON_NOT_FOUND: BundleRefusalReason
BUNDLE_REFUSAL_REASON_NOT_ACTIVE: BundleRefusalReason
BUNDLE_REFUSAL_REASON_RATE_LIMITED: BundleRefusalReason

class IssueBundleRequest(_message.Message):
    __slots__ = ("credential_index", "window_count", "idempotency_key")
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    WINDOW_COUNT_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    credential_index: int
    window_count: int
    idempotency_key: str
    def __init__(self, credential_index: _Optional[int] = ..., window_count: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class IssueBundleResponse(_message.Message):
    __slots__ = ("codes", "kind", "generation", "refresh_after")
    CODES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REFRESH_AFTER_FIELD_NUMBER: _ClassVar[int]
    codes: _containers.RepeatedCompositeFieldContainer[SignedCode]
    kind: _verifier_pb2.CredentialKind
    generation: int
    refresh_after: int
    def __init__(self, codes: _Optional[_Iterable[_Union[SignedCode, _Mapping]]] = ..., kind: _Optional[_Union[_verifier_pb2.CredentialKind, str]] = ..., generation: _Optional[int] = ..., refresh_after: _Optional[int] = ...) -> None: ...

class SignedCode(_message.Message):
    __slots__ = ("qr_text", "not_before", "expires_at")
    QR_TEXT_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    qr_text: str
    not_before: int
    expires_at: int
    def __init__(self, qr_text: _Optional[str] = ..., not_before: _Optional[int] = ..., expires_at: _Optional[int] = ...) -> None: ...

class IssueBundlesRequest(_message.Message):
    __slots__ = ("credential_indices", "window_count", "idempotency_key", "with_dependants")
    CREDENTIAL_INDICES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_COUNT_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    WITH_DEPENDANTS_FIELD_NUMBER: _ClassVar[int]
    credential_indices: _containers.RepeatedScalarFieldContainer[int]
    window_count: int
    idempotency_key: str
    with_dependants: bool
    def __init__(self, credential_indices: _Optional[_Iterable[int]] = ..., window_count: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., with_dependants: _Optional[bool] = ...) -> None: ...

class IssueBundlesResponse(_message.Message):
    __slots__ = ("credential_index", "bundle", "refusal")
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    credential_index: int
    bundle: IssueBundleResponse
    refusal: BundleRefusal
    def __init__(self, credential_index: _Optional[int] = ..., bundle: _Optional[_Union[IssueBundleResponse, _Mapping]] = ..., refusal: _Optional[_Union[BundleRefusal, _Mapping]] = ...) -> None: ...

class BundleRefusal(_message.Message):
    __slots__ = ("reason", "retry_after_s")
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    reason: BundleRefusalReason
    retry_after_s: int
    def __init__(self, reason: _Optional[_Union[BundleRefusalReason, str]] = ..., retry_after_s: _Optional[int] = ...) -> None: ...

class GetKeySetRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetKeySetResponse(_message.Message):
    __slots__ = ("signed_key_set",)
    SIGNED_KEY_SET_FIELD_NUMBER: _ClassVar[int]
    signed_key_set: bytes
    def __init__(self, signed_key_set: _Optional[bytes] = ...) -> None: ...
