from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GatePolicy(_message.Message):
    __slots__ = ("max_test_age_s", "max_status_age_ms", "yellow_opens", "is_one_entry", "paper_entry_s")
    MAX_TEST_AGE_S_FIELD_NUMBER: _ClassVar[int]
    MAX_STATUS_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    YELLOW_OPENS_FIELD_NUMBER: _ClassVar[int]
    IS_ONE_ENTRY_FIELD_NUMBER: _ClassVar[int]
    PAPER_ENTRY_S_FIELD_NUMBER: _ClassVar[int]
    max_test_age_s: int
    max_status_age_ms: int
    yellow_opens: bool
    is_one_entry: bool
    paper_entry_s: int
    def __init__(self, max_test_age_s: _Optional[int] = ..., max_status_age_ms: _Optional[int] = ..., yellow_opens: _Optional[bool] = ..., is_one_entry: _Optional[bool] = ..., paper_entry_s: _Optional[int] = ...) -> None: ...

class GateGroup(_message.Message):
    __slots__ = ("name", "policy", "gates")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    name: str
    policy: GatePolicy
    gates: int
    def __init__(self, name: _Optional[str] = ..., policy: _Optional[_Union[GatePolicy, _Mapping]] = ..., gates: _Optional[int] = ...) -> None: ...

class GateCredential(_message.Message):
    __slots__ = ("bearer_key_sha256", "certificate_sha256")
    BEARER_KEY_SHA256_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    bearer_key_sha256: bytes
    certificate_sha256: bytes
    def __init__(self, bearer_key_sha256: _Optional[bytes] = ..., certificate_sha256: _Optional[bytes] = ...) -> None: ...

class Gate(_message.Message):
    __slots__ = ("gate_id", "group", "credentials", "added_at")
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    ADDED_AT_FIELD_NUMBER: _ClassVar[int]
    gate_id: str
    group: str
    credentials: _containers.RepeatedCompositeFieldContainer[GateCredential]
    added_at: int
    def __init__(self, gate_id: _Optional[str] = ..., group: _Optional[str] = ..., credentials: _Optional[_Iterable[_Union[GateCredential, _Mapping]]] = ..., added_at: _Optional[int] = ...) -> None: ...

class AddGroupRequest(_message.Message):
    __slots__ = ("name", "policy")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    name: str
    policy: GatePolicy
    def __init__(self, name: _Optional[str] = ..., policy: _Optional[_Union[GatePolicy, _Mapping]] = ...) -> None: ...

class AddGroupResponse(_message.Message):
    __slots__ = ("is_published",)
    IS_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    is_published: bool
    def __init__(self, is_published: _Optional[bool] = ...) -> None: ...

class SetGroupPolicyRequest(_message.Message):
    __slots__ = ("name", "policy")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    name: str
    policy: GatePolicy
    def __init__(self, name: _Optional[str] = ..., policy: _Optional[_Union[GatePolicy, _Mapping]] = ...) -> None: ...

class SetGroupPolicyResponse(_message.Message):
    __slots__ = ("is_published",)
    IS_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    is_published: bool
    def __init__(self, is_published: _Optional[bool] = ...) -> None: ...

class RemoveGroupRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemoveGroupResponse(_message.Message):
    __slots__ = ("is_published",)
    IS_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    is_published: bool
    def __init__(self, is_published: _Optional[bool] = ...) -> None: ...

class ListGroupsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListGroupsResponse(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[GateGroup]
    def __init__(self, groups: _Optional[_Iterable[_Union[GateGroup, _Mapping]]] = ...) -> None: ...

class AddGateRequest(_message.Message):
    __slots__ = ("gate_id", "group", "credential")
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    gate_id: str
    group: str
    credential: GateCredential
    def __init__(self, gate_id: _Optional[str] = ..., group: _Optional[str] = ..., credential: _Optional[_Union[GateCredential, _Mapping]] = ...) -> None: ...

class AddGateResponse(_message.Message):
    __slots__ = ("is_published",)
    IS_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    is_published: bool
    def __init__(self, is_published: _Optional[bool] = ...) -> None: ...

class AddGateCredentialRequest(_message.Message):
    __slots__ = ("gate_id", "credential")
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    gate_id: str
    credential: GateCredential
    def __init__(self, gate_id: _Optional[str] = ..., credential: _Optional[_Union[GateCredential, _Mapping]] = ...) -> None: ...

class AddGateCredentialResponse(_message.Message):
    __slots__ = ("is_published",)
    IS_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    is_published: bool
    def __init__(self, is_published: _Optional[bool] = ...) -> None: ...

class RemoveGateCredentialRequest(_message.Message):
    __slots__ = ("gate_id", "credential")
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    gate_id: str
    credential: GateCredential
    def __init__(self, gate_id: _Optional[str] = ..., credential: _Optional[_Union[GateCredential, _Mapping]] = ...) -> None: ...

class RemoveGateCredentialResponse(_message.Message):
    __slots__ = ("is_published",)
    IS_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    is_published: bool
    def __init__(self, is_published: _Optional[bool] = ...) -> None: ...

class MoveGateRequest(_message.Message):
    __slots__ = ("gate_id", "group")
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    gate_id: str
    group: str
    def __init__(self, gate_id: _Optional[str] = ..., group: _Optional[str] = ...) -> None: ...

class MoveGateResponse(_message.Message):
    __slots__ = ("is_published",)
    IS_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    is_published: bool
    def __init__(self, is_published: _Optional[bool] = ...) -> None: ...

class RemoveGateRequest(_message.Message):
    __slots__ = ("gate_id",)
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    gate_id: str
    def __init__(self, gate_id: _Optional[str] = ...) -> None: ...

class RemoveGateResponse(_message.Message):
    __slots__ = ("is_published",)
    IS_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    is_published: bool
    def __init__(self, is_published: _Optional[bool] = ...) -> None: ...

class ListGatesRequest(_message.Message):
    __slots__ = ("group", "page_size", "after_gate_id", "gate_id", "credential")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    AFTER_GATE_ID_FIELD_NUMBER: _ClassVar[int]
    GATE_ID_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    group: str
    page_size: int
    after_gate_id: str
    gate_id: str
    credential: GateCredential
    def __init__(self, group: _Optional[str] = ..., page_size: _Optional[int] = ..., after_gate_id: _Optional[str] = ..., gate_id: _Optional[str] = ..., credential: _Optional[_Union[GateCredential, _Mapping]] = ...) -> None: ...

class ListGatesResponse(_message.Message):
    __slots__ = ("gates", "has_more")
    GATES_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    gates: _containers.RepeatedCompositeFieldContainer[Gate]
    has_more: bool
    def __init__(self, gates: _Optional[_Iterable[_Union[Gate, _Mapping]]] = ..., has_more: _Optional[bool] = ...) -> None: ...
