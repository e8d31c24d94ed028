from verifier.v1 import scan_log_pb2 as _scan_log_pb2
from verifier.v1 import verifier_pb2 as _verifier_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SearchScansRequest(_message.Message):
    __slots__ = ("gate_id", "from_ms", "to_ms", "credential_index", "page_size", "page_token", "verdict")
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    TO_MS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    gate_id: str
    from_ms: int
    to_ms: int
    credential_index: int
    page_size: int
    page_token: str
    verdict: _verifier_pb2.Verdict
    def __init__(self, gate_id: _Optional[str] = ..., from_ms: _Optional[int] = ..., to_ms: _Optional[int] = ..., credential_index: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., verdict: _Optional[_Union[_verifier_pb2.Verdict, str]] = ...) -> None: ...

class SearchScansResponse(_message.Message):
    __slots__ = ("scans", "next_page_token")
    SCANS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    scans: _containers.RepeatedCompositeFieldContainer[_scan_log_pb2.ScanLogEntry]
    next_page_token: str
    def __init__(self, scans: _Optional[_Iterable[_Union[_scan_log_pb2.ScanLogEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetScanStatsRequest(_message.Message):
    __slots__ = ("gate_id", "from_ms", "to_ms", "page_size", "page_token")
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    TO_MS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gate_id: str
    from_ms: int
    to_ms: int
    page_size: int
    page_token: str
    def __init__(self, gate_id: _Optional[str] = ..., from_ms: _Optional[int] = ..., to_ms: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetScanStatsResponse(_message.Message):
    __slots__ = ("stats", "next_page_token")
    STATS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    stats: _containers.RepeatedCompositeFieldContainer[ScanStats]
    next_page_token: str
    def __init__(self, stats: _Optional[_Iterable[_Union[ScanStats, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ScanStats(_message.Message):
    __slots__ = ("gate_id", "quarter_at", "people", "verdicts", "colours")
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    QUARTER_AT_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    COLOURS_FIELD_NUMBER: _ClassVar[int]
    gate_id: str
    quarter_at: int
    people: int
    verdicts: _containers.RepeatedCompositeFieldContainer[VerdictCount]
    colours: _containers.RepeatedCompositeFieldContainer[ColourCount]
    def __init__(self, gate_id: _Optional[str] = ..., quarter_at: _Optional[int] = ..., people: _Optional[int] = ..., verdicts: _Optional[_Iterable[_Union[VerdictCount, _Mapping]]] = ..., colours: _Optional[_Iterable[_Union[ColourCount, _Mapping]]] = ...) -> None: ...

class VerdictCount(_message.Message):
    __slots__ = ("verdict", "scans")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SCANS_FIELD_NUMBER: _ClassVar[int]
    verdict: _verifier_pb2.Verdict
    scans: int
    def __init__(self, verdict: _Optional[_Union[_verifier_pb2.Verdict, str]] = ..., scans: _Optional[int] = ...) -> None: ...

class ColourCount(_message.Message):
    __slots__ = ("colour", "scans")
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    SCANS_FIELD_NUMBER: _ClassVar[int]
    colour: _verifier_pb2.Colour
    scans: int
    def __init__(self, colour: _Optional[_Union[_verifier_pb2.Colour, str]] = ..., scans: _Optional[int] = ...) -> None: ...

class ListSuspectsRequest(_message.Message):
    __slots__ = ("from_ms", "credential_index", "page_size", "before_seq")
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_SEQ_FIELD_NUMBER: _ClassVar[int]
    from_ms: int
    credential_index: int
    page_size: int
    before_seq: int
    def __init__(self, from_ms: _Optional[int] = ..., credential_index: _Optional[int] = ..., page_size: _Optional[int] = ..., before_seq: _Optional[int] = ...) -> None: ...

class ListSuspectsResponse(_message.Message):
    __slots__ = ("suspects", "has_more")
    SUSPECTS_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    suspects: _containers.RepeatedCompositeFieldContainer[Suspect]
    has_more: bool
    def __init__(self, suspects: _Optional[_Iterable[_Union[Suspect, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class Suspect(_message.Message):
    __slots__ = ("seq", "credential_index", "kind", "first_gate_id", "first_at_ms", "second_gate_id", "second_at_ms")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FIRST_GATE_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_AT_MS_FIELD_NUMBER: _ClassVar[int]
    SECOND_GATE_ID_FIELD_NUMBER: _ClassVar[int]
    SECOND_AT_MS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    credential_index: int
    kind: _verifier_pb2.CredentialKind
    first_gate_id: str
    first_at_ms: int
    second_gate_id: str
    second_at_ms: int
    def __init__(self, seq: _Optional[int] = ..., credential_index: _Optional[int] = ..., kind: _Optional[_Union[_verifier_pb2.CredentialKind, str]] = ..., first_gate_id: _Optional[str] = ..., first_at_ms: _Optional[int] = ..., second_gate_id: _Optional[str] = ..., second_at_ms: _Optional[int] = ...) -> None: ...

class PurgeScansRequest(_message.Message):
    __slots__ = ("retention_days", "is_dry_run")
    RETENTION_DAYS_FIELD_NUMBER: _ClassVar[int]
    IS_DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    retention_days: int
    is_dry_run: bool
    def __init__(self, retention_days: _Optional[int] = ..., is_dry_run: _Optional[bool] = ...) -> None: ...

class PurgeScansResponse(_message.Message):
    __slots__ = ("purge",)
    PURGE_FIELD_NUMBER: _ClassVar[int]
    purge: Purge
    def __init__(self, purge: _Optional[_Union[Purge, _Mapping]] = ...) -> None: ...

class ListPurgesRequest(_message.Message):
    __slots__ = ("page_size", "before_seq")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_SEQ_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    before_seq: int
    def __init__(self, page_size: _Optional[int] = ..., before_seq: _Optional[int] = ...) -> None: ...

class ListPurgesResponse(_message.Message):
    __slots__ = ("purges", "has_more")
    PURGES_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    purges: _containers.RepeatedCompositeFieldContainer[Purge]
    has_more: bool
    def __init__(self, purges: _Optional[_Iterable[_Union[Purge, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...

class Purge(_message.Message):
    __slots__ = ("seq", "purged_at", "before_ms", "scans", "suspects")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    PURGED_AT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    SCANS_FIELD_NUMBER: _ClassVar[int]
    SUSPECTS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    purged_at: int
    before_ms: int
    scans: int
    suspects: int
    def __init__(self, seq: _Optional[int] = ..., purged_at: _Optional[int] = ..., before_ms: _Optional[int] = ..., scans: _Optional[int] = ..., suspects: _Optional[int] = ...) -> None: ...
