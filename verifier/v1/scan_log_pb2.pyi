from verifier.v1 import verifier_pb2 as _verifier_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ScanLogEntry(_message.Message):
    __slots__ = ("scan_id", "gate_id", "verified_at_ms", "credential_index", "kind", "not_before", "expires_at", "verdict", "colour", "status_age_ms", "code_hash")
    SCAN_ID_FIELD_NUMBER: _ClassVar[int]
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    STATUS_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    CODE_HASH_FIELD_NUMBER: _ClassVar[int]
    scan_id: str
    gate_id: str
    verified_at_ms: int
    credential_index: int
    kind: _verifier_pb2.CredentialKind
    not_before: int
    expires_at: int
    verdict: _verifier_pb2.Verdict
    colour: _verifier_pb2.Colour
    status_age_ms: int
    code_hash: bytes
    def __init__(self, scan_id: _Optional[str] = ..., gate_id: _Optional[str] = ..., verified_at_ms: _Optional[int] = ..., credential_index: _Optional[int] = ..., kind: _Optional[_Union[_verifier_pb2.CredentialKind, str]] = ..., not_before: _Optional[int] = ..., expires_at: _Optional[int] = ..., verdict: _Optional[_Union[_verifier_pb2.Verdict, str]] = ..., colour: _Optional[_Union[_verifier_pb2.Colour, str]] = ..., status_age_ms: _Optional[int] = ..., code_hash: _Optional[bytes] = ...) -> None: ...
