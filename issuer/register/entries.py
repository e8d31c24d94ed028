"""What goes into the register and what comes out of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

_Entry = TypeVar("_Entry")


class CredentialStanding(IntEnum):
    """Where a credential stands in the register; the numbers are those of the protos.

    Status records have no EXPIRED: to verifiers it is REVOKED.
    """

    ACTIVE = 1
    SUSPENDED = 2
    REVOKED = 3
    EXPIRED = 4


class ChangeSource(IntEnum):
    """Where a change of status comes from; the numbers are those of the protos."""

    MANUAL = 1
    IMPORT = 2
    TEST = 3
    ENDED = 4


@dataclass(frozen=True, slots=True)
class NewHolder:
    """A person to enter into the register."""

    name: str
    document_type: str
    document_number: str
    region: str = ""
    guardian_id: int | None = None
    external_id: str | None = None
    guardian_external_id: str | None = None  # imports: instead of guardian_id


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential to issue."""

    holder_id: int | None
    kind: CredentialKind
    holder_external_id: str | None = None  # instead of holder_id
    app: str | None = None  # the name of a client
    valid_until: int | None = None  # Unix seconds
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class StatusChange:
    """One change of one holder's status."""

    holder_id: int | None
    colour: Colour  # NONE: the colour stays
    reason: int
    authority: str
    negative_test_min: int = 0  # Unix minutes; 0: nothing new about tests
    evidence: str = ""
    valid_until: int = 0  # Unix seconds; 0: it does not end by itself
    holder_external_id: str | None = None  # imports: instead of holder_id
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class StatusChangeEntry:
    """A change of status as the register has it."""

    seq: int  # its number in the history of all holders
    change: StatusChange
    operator: str  # the name of the client that entered it
    source: ChangeSource
    approval_id: int  # 0: no second person was needed
    changed_at: int  # Unix seconds
    own_hash: bytes


@dataclass(frozen=True, slots=True)
class HolderStatus:
    """The status of a holder, which every credential of the holder carries."""

    colour: Colour
    reason: int
    last_negative_test_min: int  # Unix minutes; 0: none known
    valid_until: int = 0  # Unix seconds; 0: the colour does not end by itself

    def after(self, change: StatusChange) -> "HolderStatus":
        """Return the status that follows. The newest test stays, whatever the order of arrival."""
        newest = max(self.last_negative_test_min, change.negative_test_min)
        if change.colour is Colour.NONE:
            return HolderStatus(self.colour, self.reason, newest, self.valid_until)
        return HolderStatus(change.colour, change.reason, newest, change.valid_until)


@dataclass(frozen=True, slots=True)
class CredentialEntry:
    """A credential with its holder's name and status."""

    credential_index: int
    holder_id: int
    name: str  # as given: mask it before showing it
    kind: CredentialKind
    generation: int
    state: CredentialStanding
    status: HolderStatus
    app_client_id: int | None
    app: str  # the name of that client; empty: none
    issued_at: int
    valid_until: int  # Unix seconds; 0: it does not expire
    external_id: str


@dataclass(frozen=True, slots=True)
class HolderEntry:
    """A holder as the register has it."""

    holder_id: int
    name: str  # as given: mask it before showing it; empty: erased
    document_type: str
    document_last_four: str
    region: str
    guardian_id: int | None
    external_id: str
    enrolled_at: int
    erased_at: int  # Unix seconds; 0: not erased


@dataclass(frozen=True, slots=True)
class Page(Generic[_Entry]):
    """Some of the entries of a list."""

    entries: Sequence[_Entry]
    has_more: bool  # whether there are more behind them


@dataclass(frozen=True, slots=True)
class HolderErased:
    """A holder that was erased."""

    revoked_credentials: int
    outbox_seq: int


@dataclass(frozen=True, slots=True)
class Issued:
    """Credentials that were issued."""

    credential_indices: Sequence[int]
    outbox_seq: int


@dataclass(frozen=True, slots=True)
class CredentialChanged:
    """A credential that was changed."""

    generation: int
    outbox_seq: int


@dataclass(frozen=True, slots=True)
class RowsEntered:
    """What came of a batch of an import; bad rows do not hold up good ones."""

    ids: Sequence[int]  # in the order of the rows; 0 for a row that was refused
    known: int  # how many were there before, by external_id
    refused: Sequence[tuple[int, str]]  # position and reason
    outbox_seq: int
