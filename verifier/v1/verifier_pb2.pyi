from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_GREEN: _ClassVar[Verdict]
    VERDICT_YELLOW: _ClassVar[Verdict]
    VERDICT_RED: _ClassVar[Verdict]
    VERDICT_MALFORMED: _ClassVar[Verdict]
    VERDICT_UNKNOWN_KEY: _ClassVar[Verdict]
    VERDICT_BAD_SIGNATURE: _ClassVar[Verdict]
    VERDICT_NOT_YET_VALID: _ClassVar[Verdict]
    VERDICT_EXPIRED: _ClassVar[Verdict]
    VERDICT_REPLACED: _ClassVar[Verdict]
    VERDICT_SUSPENDED: _ClassVar[Verdict]
    VERDICT_REVOKED: _ClassVar[Verdict]
    VERDICT_NO_STATUS: _ClassVar[Verdict]
    VERDICT_TEST_TOO_OLD: _ClassVar[Verdict]
    VERDICT_STATUS_TOO_OLD: _ClassVar[Verdict]
    VERDICT_ALREADY_USED: _ClassVar[Verdict]

class CredentialKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CREDENTIAL_KIND_UNSPECIFIED: _ClassVar[CredentialKind]
    CREDENTIAL_KIND_PHONE: _ClassVar[CredentialKind]
    CREDENTIAL_KIND_PAPER: _ClassVar[CredentialKind]

class Colour(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COLOUR_UNSPECIFIED: _ClassVar[Colour]
    COLOUR_GREEN: _ClassVar[Colour]
    COLOUR_YELLOW: _ClassVar[Colour]
    COLOUR_RED: _ClassVar[Colour]

class EntryScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENTRY_SCOPE_UNSPECIFIED: _ClassVar[EntryScope]
    ENTRY_SCOPE_ALL: _ClassVar[EntryScope]
    ENTRY_SCOPE_VERIFIER: _ClassVar[EntryScope]
VERDICT_UNSPECIFIED: Verdict
VERDICT_GREEN: Verdict
VERDICT_YELLOW: Verdict
VERDICT_RED: Verdict
VERDICT_MALFORMED: Verdict
VERDICT_UNKNOWN_KEY: Verdict
VERDICT_BAD_SIGNATURE: Verdict
VERDICT_NOT_YET_VALID: Verdict
VERDICT_EXPIRED: Verdict
VERDICT_REPLACED: Verdict
VERDICT_SUSPENDED: Verdict
VERDICT_REVOKED: Verdict
VERDICT_NO_STATUS: Verdict
VERDICT_TEST_TOO_OLD: Verdict
VERDICT_STATUS_TOO_OLD: Verdict
VERDICT_ALREADY_USED: Verdict
CREDENTIAL_KIND_UNSPECIFIED: CredentialKind
CREDENTIAL_KIND_PHONE: CredentialKind
CREDENTIAL_KIND_PAPER: CredentialKind
COLOUR_UNSPECIFIED: Colour
COLOUR_GREEN: Colour
COLOUR_YELLOW: Colour
COLOUR_RED: Colour
ENTRY_SCOPE_UNSPECIFIED: EntryScope
ENTRY_SCOPE_ALL: EntryScope
ENTRY_SCOPE_VERIFIER: EntryScope

class VerifyCodeRequest(_message.Message):
    __slots__ = ("qr_text", "scan_id", "gate_id")
    QR_TEXT_FIELD_NUMBER: _ClassVar[int]
    SCAN_ID_FIELD_NUMBER: _ClassVar[int]
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    qr_text: bytes
    scan_id: str
    gate_id: str
    def __init__(self, qr_text: _Optional[bytes] = ..., scan_id: _Optional[str] = ..., gate_id: _Optional[str] = ...) -> None: ...

class VerifyCodeResponse(_message.Message):
    __slots__ = ("scan_id", "verdict", "colour", "colour_reason", "last_negative_test", "kind", "hint", "code_age_s", "status_age_ms", "verified_at_ms", "entry_scope")
    SCAN_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    COLOUR_REASON_FIELD_NUMBER: _ClassVar[int]
    LAST_NEGATIVE_TEST_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    CODE_AGE_S_FIELD_NUMBER: _ClassVar[int]
    STATUS_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    ENTRY_SCOPE_FIELD_NUMBER: _ClassVar[int]
    scan_id: str
    verdict: Verdict
    colour: Colour
    colour_reason: int
    last_negative_test: int
    kind: CredentialKind
    hint: str
    code_age_s: int
    status_age_ms: int
    verified_at_ms: int
    entry_scope: EntryScope
    def __init__(self, scan_id: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., colour: _Optional[_Union[Colour, str]] = ..., colour_reason: _Optional[int] = ..., last_negative_test: _Optional[int] = ..., kind: _Optional[_Union[CredentialKind, str]] = ..., hint: _Optional[str] = ..., code_age_s: _Optional[int] = ..., status_age_ms: _Optional[int] = ..., verified_at_ms: _Optional[int] = ..., entry_scope: _Optional[_Union[EntryScope, str]] = ...) -> None: ...

class VerifyCodesRequest(_message.Message):
    __slots__ = ("scans",)
    SCANS_FIELD_NUMBER: _ClassVar[int]
    scans: _containers.RepeatedCompositeFieldContainer[VerifyCodeRequest]
    def __init__(self, scans: _Optional[_Iterable[_Union[VerifyCodeRequest, _Mapping]]] = ...) -> None: ...

class VerifyCodesResponse(_message.Message):
    __slots__ = ("verdicts",)
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    verdicts: _containers.RepeatedCompositeFieldContainer[VerifyCodeResponse]
    def __init__(self, verdicts: _Optional[_Iterable[_Union[VerifyCodeResponse, _Mapping]]] = ...) -> None: ...

class StreamVerifyRequest(_message.Message):
    __slots__ = ("scan",)
    SCAN_FIELD_NUMBER: _ClassVar[int]
    scan: VerifyCodeRequest
    def __init__(self, scan: _Optional[_Union[VerifyCodeRequest, _Mapping]] = ...) -> None: ...

class StreamVerifyResponse(_message.Message):
    __slots__ = ("verdict",)
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    verdict: VerifyCodeResponse
    def __init__(self, verdict: _Optional[_Union[VerifyCodeResponse, _Mapping]] = ...) -> None: ...
