from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KeyState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KEY_STATE_UNSPECIFIED: _ClassVar[KeyState]
    KEY_STATE_PREPARED: _ClassVar[KeyState]
    KEY_STATE_ACTIVE: _ClassVar[KeyState]
    KEY_STATE_RETIRED: _ClassVar[KeyState]
    KEY_STATE_REVOKED: _ClassVar[KeyState]
KEY_STATE_UNSPECIFIED: KeyState
KEY_STATE_PREPARED: KeyState
KEY_STATE_ACTIVE: KeyState
KEY_STATE_RETIRED: KeyState
KEY_STATE_REVOKED: KeyState

class ListKeysRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListKeysResponse(_message.Message):
    __slots__ = ("keys", "key_set")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    KEY_SET_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[SigningKey]
    key_set: KeySetStanding
    def __init__(self, keys: _Optional[_Iterable[_Union[SigningKey, _Mapping]]] = ..., key_set: _Optional[_Union[KeySetStanding, _Mapping]] = ...) -> None: ...

class SigningKey(_message.Message):
    __slots__ = ("key_id", "state", "is_signing", "is_published", "created_at", "published_at", "activated_at", "ended_at", "last_expires_at", "next_step")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IS_SIGNING_FIELD_NUMBER: _ClassVar[int]
    IS_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_FIELD_NUMBER: _ClassVar[int]
    ACTIVATED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    key_id: bytes
    state: KeyState
    is_signing: bool
    is_published: bool
    created_at: int
    published_at: int
    activated_at: int
    ended_at: int
    last_expires_at: int
    next_step: str
    def __init__(self, key_id: _Optional[bytes] = ..., state: _Optional[_Union[KeyState, str]] = ..., is_signing: _Optional[bool] = ..., is_published: _Optional[bool] = ..., created_at: _Optional[int] = ..., published_at: _Optional[int] = ..., activated_at: _Optional[int] = ..., ended_at: _Optional[int] = ..., last_expires_at: _Optional[int] = ..., next_step: _Optional[str] = ...) -> None: ...

class KeySetStanding(_message.Message):
    __slots__ = ("version", "issued_at", "expires_at", "is_root_here", "is_stale")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    IS_ROOT_HERE_FIELD_NUMBER: _ClassVar[int]
    IS_STALE_FIELD_NUMBER: _ClassVar[int]
    version: int
    issued_at: int
    expires_at: int
    is_root_here: bool
    is_stale: bool
    def __init__(self, version: _Optional[int] = ..., issued_at: _Optional[int] = ..., expires_at: _Optional[int] = ..., is_root_here: _Optional[bool] = ..., is_stale: _Optional[bool] = ...) -> None: ...

class PrepareKeyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PrepareKeyResponse(_message.Message):
    __slots__ = ("approval_id",)
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    approval_id: int
    def __init__(self, approval_id: _Optional[int] = ...) -> None: ...

class ActivateKeyRequest(_message.Message):
    __slots__ = ("key_id",)
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    key_id: bytes
    def __init__(self, key_id: _Optional[bytes] = ...) -> None: ...

class ActivateKeyResponse(_message.Message):
    __slots__ = ("approval_id",)
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    approval_id: int
    def __init__(self, approval_id: _Optional[int] = ...) -> None: ...

class RetireKeyRequest(_message.Message):
    __slots__ = ("key_id",)
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    key_id: bytes
    def __init__(self, key_id: _Optional[bytes] = ...) -> None: ...

class RetireKeyResponse(_message.Message):
    __slots__ = ("approval_id",)
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    approval_id: int
    def __init__(self, approval_id: _Optional[int] = ...) -> None: ...

class RevokeKeyRequest(_message.Message):
    __slots__ = ("key_id",)
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    key_id: bytes
    def __init__(self, key_id: _Optional[bytes] = ...) -> None: ...

class RevokeKeyResponse(_message.Message):
    __slots__ = ("approval_id",)
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    approval_id: int
    def __init__(self, approval_id: _Optional[int] = ...) -> None: ...

class DrillKeysRequest(_message.Message):
    __slots__ = ("bundle_count",)
    BUNDLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    bundle_count: int
    def __init__(self, bundle_count: _Optional[int] = ...) -> None: ...

class DrillKeysResponse(_message.Message):
    __slots__ = ("approval_id",)
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    approval_id: int
    def __init__(self, approval_id: _Optional[int] = ...) -> None: ...

class ExportKeySetRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExportKeySetResponse(_message.Message):
    __slots__ = ("payload",)
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    def __init__(self, payload: _Optional[bytes] = ...) -> None: ...

class ImportKeySetRequest(_message.Message):
    __slots__ = ("signed_key_set",)
    SIGNED_KEY_SET_FIELD_NUMBER: _ClassVar[int]
    signed_key_set: bytes
    def __init__(self, signed_key_set: _Optional[bytes] = ...) -> None: ...

class ImportKeySetResponse(_message.Message):
    __slots__ = ("approval_id",)
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    approval_id: int
    def __init__(self, approval_id: _Optional[int] = ...) -> None: ...
