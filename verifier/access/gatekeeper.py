"""The gatekeeper of a worker: knows gates by bearer key, by certificate, or, where no credential is asked
for, by what they call themselves.

A caller looks itself up again whenever the gate list has changed: a gate that is taken from the list is
refused at its next scan, also on a stream that has been open all day, and a new policy holds at once.
Nothing here says which of the keys or names exist, and no message carries one.
"""

import time
from collections.abc import Callable

from verifier.access.callers import Caller, Credentials, Gate
from verifier.access.known_gates import KnownGates
from verifier.bearer import hash_key, read_authorization
from verifier.call_error import CallError, Status
from verifier.host.worker_config import GateAuth
from verifier.limits import MAX_ID_CHARACTERS
from verifier.verdict import Policy
from verifier.wire.gate_list import read_verified_gate_list


class ListGatekeeper:
    """A verifier.access.callers.Gatekeeper on the gate list. Threads share it: it takes no lock."""

    def __init__(
        self, *, gate_auth: GateAuth, policy: Policy, clock: Callable[[], float] = time.time
    ) -> None:
        """`policy` is the verifier's own, `clock` returns Unix seconds."""
        self._gate_auth = gate_auth
        self._policy = policy
        self._clock = clock
        self.gates: KnownGates | None = None  # replaced whole when there is a newer list

    def take(self, signed: bytes) -> None:
        """Go by a gate list that the supervisor took; raises GateListError, and goes by the old one then."""
        self.gates = KnownGates.of(read_verified_gate_list(signed), self._policy)

    def not_ready(self) -> str | None:
        """Return why no gate can be known at all; None where gates are. For health."""
        if self._gate_auth is GateAuth.NONE:
            return None
        try:
            self.in_force()
        except CallError as error:
            return error.message
        return None

    def in_force(self) -> KnownGates:
        """Return the gates of the list in force; raises CallError (UNAVAILABLE)."""
        gates = self.gates
        if gates is None:
            raise CallError(Status.UNAVAILABLE, "there is no gate list yet")
        if self._clock() >= gates.expires_at:
            raise CallError(Status.UNAVAILABLE, f"gate list {gates.version} is not in force")
        return gates

    def identify(self, credentials: Credentials) -> Caller:
        """Return who calls; raises CallError (UNAUTHENTICATED, or UNAVAILABLE without a gate list)."""
        if self._gate_auth is GateAuth.NONE:
            return _Anybody(self, self._policy)
        self.in_force()  # first: what cannot be looked up is not unknown
        if self._gate_auth is GateAuth.CERTIFICATE:
            return _Listed(self, credentials.certificate_sha256, is_certificate=True)
        key = read_authorization(credentials.authorization)
        return _Listed(self, None if key is None else hash_key(key), is_certificate=False)


class _Listed:
    """Whoever showed a credential: one gate of the list, with its lanes."""

    __slots__ = ("_gates", "_is_certificate", "_keeper", "_own", "_sha256")

    def __init__(self, keeper: ListGatekeeper, sha256: bytes | None, *, is_certificate: bool) -> None:
        self._keeper = keeper
        self._sha256 = sha256
        self._is_certificate = is_certificate
        self._gates = keeper.in_force()
        self._own = self._look_up(self._gates)

    @property
    def shown_gate_id(self) -> str | None:
        return self._own.gate_id

    @property
    def may_be_one_entry(self) -> bool:
        gates = self._keeper.gates
        own = self._own
        if gates is not self._gates and gates is not None:
            own = self._find(gates) or own  # gate() says it where there is none any more
        return own.policy.is_one_entry

    def gate(self, gate_id: str) -> Gate:
        gates = self._keeper.in_force()
        if gates is not self._gates:
            self._own = self._look_up(gates)
            self._gates = gates
        own = self._own
        if not gate_id or gate_id == own.gate_id:
            return own
        name, _, lane = gate_id.partition("/")
        if name != own.gate_id or not lane or "/" in lane:
            raise CallError(
                Status.PERMISSION_DENIED, "gate_id: expected the credential's own, or one of its lanes"
            )
        return Gate(gate_id, own.policy)

    def _look_up(self, gates: KnownGates) -> Gate:
        own = self._find(gates)
        if own is None:
            raise CallError(
                Status.UNAUTHENTICATED,
                "no gate is known by this certificate, or none was shown"
                if self._is_certificate
                else "no gate is known by this bearer key, or none was given",
            )
        return own

    def _find(self, gates: KnownGates) -> Gate | None:
        if self._sha256 is None:
            return None
        return (gates.by_certificate if self._is_certificate else gates.by_bearer_key).get(self._sha256)


class _Anybody:
    """Whoever calls where no credential is asked for: the gate that it says it is."""

    __slots__ = ("_keeper", "_policy")

    def __init__(self, keeper: ListGatekeeper, policy: Policy) -> None:
        self._keeper = keeper
        self._policy = policy

    @property
    def shown_gate_id(self) -> str | None:
        return None

    @property
    def may_be_one_entry(self) -> bool:
        gates = self._keeper.gates
        return self._policy.is_one_entry or (gates is not None and gates.has_one_entry)

    def gate(self, gate_id: str) -> Gate:
        if not gate_id:
            raise CallError(Status.INVALID_ARGUMENT, f"gate_id: expected 1 to {MAX_ID_CHARACTERS} characters")
        gates = self._keeper.gates
        if gates is None:
            return Gate(gate_id, self._policy)
        listed = gates.by_gate_id.get(gate_id) or gates.by_gate_id.get(gate_id.partition("/")[0])
        if listed is None:
            return Gate(gate_id, self._policy)
        # A gate with a policy is not opened on another one because its list ran out.
        self._keeper.in_force()
        return listed if listed.gate_id == gate_id else Gate(gate_id, listed.policy)
