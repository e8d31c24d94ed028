"""Which gate list holds, of those that were offered. The supervisor of a verifier decides it for all workers.

A list is taken when a signing key of the key set in force signed it and its version is above the one we
have. Once the signer of ours has left the key set, any sound list replaces it, whatever its version: whoever
stole a key could have signed the highest version there is. Until one comes, ours stays: a key that is retired
in good order takes no gate with it.

What was taken is kept on the disk (verifier/host/kept_state.py), so a verifier that starts anew takes nothing
older either. One without such a folder, or with nothing in it, takes any list that has not expired: who can
write to Redis then may bring back, for up to 30 days, a gate that was removed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from verifier.wire.ed25519 import SIGNATURE_BYTES, VerifyingKey
from verifier.wire.errors import GateListOutdated
from verifier.wire.gate_list import read_gate_list


@dataclass(frozen=True, slots=True)
class TakenList:
    """What is kept of a gate list. The gates themselves are for the workers (verifier.access.known_gates)."""

    version: int
    issued_at: int  # Unix seconds
    expires_at: int  # Unix seconds
    gates: int
    key_id: bytes  # of its signer
    signature: bytes

    def is_in_force(self, now: int) -> bool:
        """Tell whether it holds at `now`, Unix seconds.

        It holds from when it is taken, also where the issuer's clock is fast: a credential that it leaves
        out is refused at once.
        """
        return now < self.expires_at


class GateLists:
    """The newest gate list that was offered and found right."""

    def __init__(self) -> None:
        """There is none yet."""
        self.newest: TakenList | None = None

    def offer(self, signed: bytes, keys: Mapping[bytes, VerifyingKey]) -> bool:
        """Take a gate list if it replaces the one we have; tell whether it was taken.

        `keys` are those of the key set in force, by key_id. False for the one we have; raises GateListError
        for one that is wrong, older, or signed by none of them.
        """
        mine = self.newest
        signature = signed[-SIGNATURE_BYTES:]
        if mine is not None and signature == mine.signature:
            return False
        gate_list, key_id = read_gate_list(signed, keys)
        if mine is not None and mine.key_id in keys and gate_list.version <= mine.version:
            raise GateListOutdated(f"expected a version above {mine.version}, got {gate_list.version}")
        self.newest = TakenList(
            version=gate_list.version,
            issued_at=gate_list.issued_at,
            expires_at=gate_list.expires_at,
            gates=len(gate_list.gates),
            key_id=key_id,
            signature=signature,
        )
        return True

    def in_force(self, now: int) -> TakenList | None:
        """Return what is known of the gate list in force at `now`, Unix seconds; None where there is none."""
        return self.newest if self.newest is not None and self.newest.is_in_force(now) else None
