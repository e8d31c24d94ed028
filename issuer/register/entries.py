"""What goes into the register and what comes out of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour, CredentialState


@dataclass(frozen=True, slots=True)
class NewHolder:
    """A person to enter into the register."""

    name: str
    document_type: str
    document_number: str
    region: str


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential to issue."""

    holder_id: int
    kind: CredentialKind


@dataclass(frozen=True, slots=True)
class StatusChange:
    """One change of one holder's status."""

    holder_id: int
    colour: Colour
    reason: int
    authority: str
    operator: str
    negative_test_min: int  # Unix minutes; 0: nothing new about tests


@dataclass(frozen=True, slots=True)
class HolderStatus:
    """The status of a holder, which every credential of the holder carries."""

    colour: Colour
    reason: int
    last_negative_test_min: int  # Unix minutes; 0: none known

    def after(self, change: StatusChange) -> "HolderStatus":
        """Return the status that follows. The newest test stays, whatever the order of arrival."""
        newest = max(self.last_negative_test_min, change.negative_test_min)
        return HolderStatus(change.colour, change.reason, newest)


@dataclass(frozen=True, slots=True)
class CredentialEntry:
    """A credential with its holder's name and status."""

    credential_index: int
    holder_id: int
    name: str  # as given: mask it before showing it
    kind: CredentialKind
    generation: int
    state: CredentialState
    status: HolderStatus


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
