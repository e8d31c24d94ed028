"""What stands beside the calls of a verifier, in memory: who calls, which codes were used, the scan log."""

from collections.abc import Sequence

from verifier.access.callers import Caller, Credentials, Gate
from verifier.call_error import CallError, Status
from verifier.service import Answer
from verifier.v1 import scan_log_pb2
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Policy, Verdict
from verifier.wire.scan_log import read_frames


class AnyGate:
    """A gatekeeper who takes every gate at its word, and each for a caller."""

    shown_gate_id: str | None = None

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.seen: list[Credentials] = []
        self.refusal: CallError | None = None

    @property
    def may_be_one_entry(self) -> bool:
        return self.policy.is_one_entry

    def identify(self, credentials: Credentials) -> Caller:
        self.seen.append(credentials)
        if self.refusal is not None:
            raise self.refusal
        return self

    def gate(self, gate_id: str) -> Gate:
        if not gate_id:
            raise CallError(Status.INVALID_ARGUMENT, "gate_id: expected 1 to 64 characters")
        if gate_id == "another":
            raise CallError(Status.PERMISSION_DENIED, "gate_id: this credential is another gate's")
        return Gate(gate_id, self.policy)


class MemoryEntries:
    """Lets each code in once, whatever its window."""

    def __init__(self) -> None:
        self.claims: dict[bytes, str] = {}

    def settle(
        self, answer: Answer, *, code_hash: bytes, scan_id: str, gate: Gate
    ) -> tuple[Verdict, pb.EntryScope]:
        assert answer.verdict is Verdict.GREEN
        claim = f"{scan_id}@{gate.gate_id}"
        is_first = self.claims.setdefault(code_hash, claim) == claim
        return (Verdict.GREEN if is_first else Verdict.ALREADY_USED), pb.ENTRY_SCOPE_ALL


class MemoryJournal:
    """Keeps what was written, one item a write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def append(self, frames: bytes) -> None:
        self.writes.append(frames)

    def entries(self) -> Sequence[scan_log_pb2.ScanLogEntry]:
        """Return what is in all writes, in order."""
        return [
            scan_log_pb2.ScanLogEntry.FromString(entry) for _, entry in read_frames(b"".join(self.writes))
        ]
