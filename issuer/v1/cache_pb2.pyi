from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class RebuildCacheRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RebuildCacheResponse(_message.Message):
    __slots__ = ("shards_done", "shards_total", "records", "is_done")
    SHARDS_DONE_FIELD_NUMBER: _ClassVar[int]
    SHARDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    IS_DONE_FIELD_NUMBER: _ClassVar[int]
    shards_done: int
    shards_total: int
    records: int
    is_done: bool
    def __init__(self, shards_done: _Optional[int] = ..., shards_total: _Optional[int] = ..., records: _Optional[int] = ..., is_done: _Optional[bool] = ...) -> None: ...

class CheckCacheRequest(_message.Message):
    __slots__ = ("repair",)
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    repair: bool
    def __init__(self, repair: _Optional[bool] = ...) -> None: ...

class CheckCacheResponse(_message.Message):
    __slots__ = ("shards_done", "shards_total", "differing_records", "differing_indices", "problems", "is_done", "is_repaired")
    SHARDS_DONE_FIELD_NUMBER: _ClassVar[int]
    SHARDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_RECORDS_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_INDICES_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    IS_DONE_FIELD_NUMBER: _ClassVar[int]
    IS_REPAIRED_FIELD_NUMBER: _ClassVar[int]
    shards_done: int
    shards_total: int
    differing_records: int
    differing_indices: _containers.RepeatedScalarFieldContainer[int]
    problems: _containers.RepeatedScalarFieldContainer[str]
    is_done: bool
    is_repaired: bool
    def __init__(self, shards_done: _Optional[int] = ..., shards_total: _Optional[int] = ..., differing_records: _Optional[int] = ..., differing_indices: _Optional[_Iterable[int]] = ..., problems: _Optional[_Iterable[str]] = ..., is_done: _Optional[bool] = ..., is_repaired: _Optional[bool] = ...) -> None: ...
