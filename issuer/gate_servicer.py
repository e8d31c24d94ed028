"""What operators do to gates and their groups. A change is signed and on its way before the call returns."""

import re
from collections.abc import Callable
from typing import Any

from issuer.access.roles import Caller, Role
from issuer.answers import Gatekeeper, answers
from issuer.errors import InvalidArgument
from issuer.gate_list import GateListSigner
from issuer.register.gates import GateCredential, GateEntry, Gates, GroupEntry
from issuer.requests import gate_id, is_gate_id, page_size, sha256
from issuer.v1 import gates_pb2 as pb
from issuer.v1.gates_pb2_grpc import GateServiceServicer
from verifier.verdict import DEFAULT_PAPER_ENTRY_S, Policy

# As verifier/wire/gate_list.py has them, which has the last word when a list is signed.
_GROUP_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _gate_target(request: Any) -> str:
    # What is no name of a gate could be anything, and does not belong into the record.
    return f"gate {request.gate_id}" if is_gate_id(request.gate_id) else ""


def _group_target(request: Any) -> str:
    return f"group {request.name}" if _GROUP_NAME.fullmatch(request.name) else ""


class GateServicer(GateServiceServicer):
    """Gates, their credentials, and the policies of their groups."""

    def __init__(
        self,
        *,
        gates: Gates,
        gate_list: GateListSigner,
        gatekeeper: Gatekeeper,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives Unix seconds."""
        self._gates = gates
        self._gate_list = gate_list
        self._gatekeeper = gatekeeper
        self._clock = clock

    @property
    def gatekeeper(self) -> Gatekeeper:
        """Who lets callers in."""
        return self._gatekeeper

    @answers(Role.OPERATOR, target=_group_target)
    def AddGroup(self, request: pb.AddGroupRequest, _caller: Caller) -> pb.AddGroupResponse:  # noqa: N802
        """Add a group."""
        self._gates.add_group(_group_name(request.name), _read_policy(request.policy), now=self._now())
        return pb.AddGroupResponse(is_published=self._gate_list.publish_change())

    @answers(Role.OPERATOR, target=_group_target)
    def SetGroupPolicy(  # noqa: N802
        self, request: pb.SetGroupPolicyRequest, _caller: Caller
    ) -> pb.SetGroupPolicyResponse:
        """Replace the policy of a group."""
        self._gates.set_policy(_group_name(request.name), _read_policy(request.policy), now=self._now())
        return pb.SetGroupPolicyResponse(is_published=self._gate_list.publish_change())

    @answers(Role.OPERATOR, target=_group_target)
    def RemoveGroup(self, request: pb.RemoveGroupRequest, _caller: Caller) -> pb.RemoveGroupResponse:  # noqa: N802
        """Remove a group."""
        self._gates.remove_group(_group_name(request.name), now=self._now())
        return pb.RemoveGroupResponse(is_published=self._gate_list.publish_change())

    @answers(Role.OPERATOR, Role.AUDITOR)
    def ListGroups(self, _request: pb.ListGroupsRequest, _caller: Caller) -> pb.ListGroupsResponse:  # noqa: N802
        """Return all groups."""
        return pb.ListGroupsResponse(groups=[_group(entry) for entry in self._gates.groups()])

    @answers(Role.OPERATOR, target=_gate_target)
    def AddGate(self, request: pb.AddGateRequest, _caller: Caller) -> pb.AddGateResponse:  # noqa: N802
        """Add a gate with its first credential."""
        self._gates.add(
            gate_id(request.gate_id),
            _group_name(request.group, "group"),
            _read_credential(request.credential),
            now=self._now(),
        )
        return pb.AddGateResponse(is_published=self._gate_list.publish_change())

    @answers(Role.OPERATOR, target=_gate_target)
    def AddGateCredential(  # noqa: N802
        self, request: pb.AddGateCredentialRequest, _caller: Caller
    ) -> pb.AddGateCredentialResponse:
        """Give a gate a further credential."""
        self._gates.add_credential(
            gate_id(request.gate_id), _read_credential(request.credential), now=self._now()
        )
        return pb.AddGateCredentialResponse(is_published=self._gate_list.publish_change())

    @answers(Role.OPERATOR, target=_gate_target)
    def RemoveGateCredential(  # noqa: N802
        self, request: pb.RemoveGateCredentialRequest, _caller: Caller
    ) -> pb.RemoveGateCredentialResponse:
        """Take a credential from a gate."""
        self._gates.remove_credential(
            gate_id(request.gate_id), _read_credential(request.credential), now=self._now()
        )
        return pb.RemoveGateCredentialResponse(is_published=self._gate_list.publish_change())

    @answers(Role.OPERATOR, target=_gate_target)
    def MoveGate(self, request: pb.MoveGateRequest, _caller: Caller) -> pb.MoveGateResponse:  # noqa: N802
        """Put a gate into another group."""
        self._gates.move(gate_id(request.gate_id), _group_name(request.group, "group"), now=self._now())
        return pb.MoveGateResponse(is_published=self._gate_list.publish_change())

    @answers(Role.OPERATOR, target=_gate_target)
    def RemoveGate(self, request: pb.RemoveGateRequest, _caller: Caller) -> pb.RemoveGateResponse:  # noqa: N802
        """Remove a gate."""
        self._gates.remove(gate_id(request.gate_id), now=self._now())
        return pb.RemoveGateResponse(is_published=self._gate_list.publish_change())

    @answers(Role.OPERATOR, Role.AUDITOR)
    def ListGates(self, request: pb.ListGatesRequest, _caller: Caller) -> pb.ListGatesResponse:  # noqa: N802
        """Return a page of gates."""
        entries, has_more = self._gates.page(
            group=_group_name(request.group, "group") if request.group else "",
            page_size=page_size(request.page_size),
            after_gate_id=gate_id(request.after_gate_id, "after_gate_id") if request.after_gate_id else "",
            gate_id=gate_id(request.gate_id) if request.gate_id else "",
            credential=_read_credential(request.credential) if request.HasField("credential") else None,
        )
        return pb.ListGatesResponse(gates=[_gate(entry) for entry in entries], has_more=has_more)

    def _now(self) -> int:
        return int(self._clock())


def _group_name(name: str, field: str = "name") -> str:
    if _GROUP_NAME.fullmatch(name) is None:
        raise InvalidArgument(
            field, "expected 1 to 64 characters: letters, digits, hyphens, dots, underscores"
        )
    return name


def _read_policy(policy: pb.GatePolicy) -> Policy:
    for field in ("max_test_age_s", "max_status_age_ms"):
        if policy.HasField(field) and not getattr(policy, field):
            raise InvalidArgument(f"policy.{field}", "expected 1 or more, or nothing at all")
    return Policy(
        max_test_age_s=policy.max_test_age_s if policy.HasField("max_test_age_s") else None,
        max_status_age_s=policy.max_status_age_ms / 1_000 if policy.HasField("max_status_age_ms") else None,
        yellow_opens=policy.yellow_opens,
        is_one_entry=policy.is_one_entry,
        paper_entry_s=policy.paper_entry_s or DEFAULT_PAPER_ENTRY_S,
    )


def _read_credential(credential: pb.GateCredential) -> GateCredential:
    known_by = credential.WhichOneof("known_by")
    if known_by is None:
        raise InvalidArgument("credential.known_by", "expected bearer_key_sha256 or certificate_sha256")
    its_sha256 = sha256(getattr(credential, known_by), f"credential.{known_by}")
    return GateCredential(its_sha256, is_certificate=known_by == "certificate_sha256")


def _group(entry: GroupEntry) -> pb.GateGroup:
    policy = pb.GatePolicy(
        yellow_opens=entry.policy.yellow_opens,
        is_one_entry=entry.policy.is_one_entry,
        paper_entry_s=entry.policy.paper_entry_s,
    )
    if entry.policy.max_test_age_s is not None:
        policy.max_test_age_s = entry.policy.max_test_age_s
    if entry.policy.max_status_age_s is not None:
        policy.max_status_age_ms = round(1_000 * entry.policy.max_status_age_s)
    return pb.GateGroup(name=entry.name, policy=policy, gates=entry.gates)


def _gate(entry: GateEntry) -> pb.Gate:
    return pb.Gate(
        gate_id=entry.gate_id,
        group=entry.group,
        credentials=[_credential(credential) for credential in entry.credentials],
        added_at=entry.added_at,
    )


def _credential(credential: GateCredential) -> pb.GateCredential:
    if credential.is_certificate:
        return pb.GateCredential(certificate_sha256=credential.sha256)
    return pb.GateCredential(bearer_key_sha256=credential.sha256)
