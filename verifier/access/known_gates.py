"""The gates of one gate list, ready to be looked up at a scan, each with the policy that holds. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from verifier.access.callers import Gate
from verifier.verdict import Policy
from verifier.wire.gate_list import GateList

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class KnownGates:
    """Gates by what they are known by."""

    version: int
    expires_at: int  # Unix seconds
    by_bearer_key: Mapping[bytes, Gate]  # by SHA-256
    by_certificate: Mapping[bytes, Gate]  # by SHA-256
    by_gate_id: Mapping[str, Gate]
    has_one_entry: bool  # whether any of them lets a code in once only

    @classmethod
    def of(cls, gate_list: GateList, own: Policy) -> "KnownGates":
        """Return the gates of a list at a verifier whose own policy is `own`."""
        policies = {name: stricter(own, policy) for name, policy in gate_list.groups.items()}
        gates = [(listed, Gate(listed.gate_id, policies[listed.group])) for listed in gate_list.gates]
        return cls(
            version=gate_list.version,
            expires_at=gate_list.expires_at,
            by_bearer_key={key: gate for listed, gate in gates for key in listed.bearer_key_sha256s},
            by_certificate={key: gate for listed, gate in gates for key in listed.certificate_sha256s},
            by_gate_id={gate.gate_id: gate for _, gate in gates},
            has_one_entry=any(policies[listed.group].is_one_entry for listed in gate_list.gates),
        )


def stricter(own: Policy, group: Policy) -> Policy:
    """Return the policy of a group's gates at a verifier: the lower of both ages, and the group's own rest.

    A verifier's operator can so refuse what is old everywhere, and open for nobody for whom the group would
    not.
    """
    return Policy(
        max_test_age_s=_lower(own.max_test_age_s, group.max_test_age_s),
        max_status_age_s=_lower(own.max_status_age_s, group.max_status_age_s),
        yellow_opens=group.yellow_opens,
        is_one_entry=own.is_one_entry or group.is_one_entry,
        paper_entry_s=group.paper_entry_s,
    )


def _lower(one: _Number | None, other: _Number | None) -> _Number | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
