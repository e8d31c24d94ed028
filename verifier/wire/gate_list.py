"""The gate list: which gates verifiers let in, and the policy of each group, signed by a signing key.

COSE_Sign1 (RFC 9052) over a deterministic CBOR map of CWT claims (RFC 8392) and three private ones:

    protected  {1: -8, 4: key_id of the signer, 16: "application/gatelight-gate-list+cose"}
    payload    {4: expires_at, 6: issued_at, -65538: version, -65540: [* group], -65541: [* gate]}
    group      [name, max_test_age_s / null, max_status_age_ms / null, yellow_opens, is_one_entry,
                paper_entry_s]                                 in order of the names
    gate       [gate_id, place of its group, SHA-256s of bearer keys, SHA-256s of certificates]
                                                               in order of the gate_ids; hashes joined

The law: items are never added, reordered or reused; anything else is a new type. A signing key of the key
set signs it and not the root: a gate is added any day, and the root lies in a safe. The type (RFC 9596) is
under the signature, so that no code passes for a gate list, and no gate list for a code.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import cbor2

from verifier.verdict import Policy
from verifier.wire import cose
from verifier.wire.code import MAX_TIME, MAX_U32
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import CborError, CoseError, GateListError, GateListNotTrusted

# 100 000 gates with the longest ids and two credentials each are 12 MB.
MAX_SIGNED_GATE_LIST_BYTES = 16 << 20
MAX_GATES = 100_000
MAX_GROUPS = 4_096
# Of one gate and kind: room to renew a credential, and a spare.
MAX_HASHES = 4
SHA256_BYTES = 32

# With a slash and the name of a lane behind it, a gate_id keeps within the 64 characters of a scan's.
_GATE_ID = re.compile(r"[A-Za-z0-9._-]{1,48}")
_GROUP_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TYPE = "application/gatelight-gate-list+cose"
_EXPIRES_AT, _ISSUED_AT, _VERSION, _GROUPS, _GATES = 4, 6, -65538, -65540, -65541


@dataclass(frozen=True, slots=True)
class ListedGate:
    """A gate, and what it is known by."""

    gate_id: str  # 1 to 48 letters, digits, hyphens, dots and underscores
    group: str
    bearer_key_sha256s: tuple[bytes, ...] = ()  # 0 to 4, of 32 bytes each
    certificate_sha256s: tuple[bytes, ...] = ()  # 0 to 4, of 32 bytes each


@dataclass(frozen=True, slots=True)
class GateList:
    """The gates that may ask, and the policy of each group of them."""

    version: int  # from 1 on; a higher one replaces a lower one
    issued_at: int  # Unix seconds
    expires_at: int  # Unix seconds
    groups: Mapping[str, Policy]  # by name: 1 to 64 letters, digits, hyphens, dots and underscores
    gates: Sequence[ListedGate]  # as read, in order of their gate_ids


def gate_list_to_sign(gate_list: GateList, key_id: bytes) -> tuple[bytes, bytes, bytes]:
    """Return protected header, payload and the bytes for the signing key `key_id` to sign.

    cose.assemble_sign1 makes the gate list of them. Groups and gates may come in any order. Raises
    GateListError for one that no verifier would take.
    """
    _check(gate_list)
    protected, payload = _protected_header(key_id), _encode(gate_list)
    to_sign = cose.sig_structure(protected, payload)
    # The signed list is longer than what is signed by a signature and some heads.
    if len(to_sign) + 128 > MAX_SIGNED_GATE_LIST_BYTES:
        raise GateListError(f"expected a gate list of at most {MAX_SIGNED_GATE_LIST_BYTES} bytes")
    return protected, payload, to_sign


def read_gate_list(signed: bytes, keys: Mapping[bytes, VerifyingKey]) -> tuple[GateList, bytes]:
    """Return the gate list that one of `keys` signed, and that key's key_id; raises GateListError.

    Nothing but the envelope is looked at before the signature is found right. The caller compares the
    version with the one it has, and the validity with its clock.
    """
    protected, payload, signature = _split(signed)
    for key_id, key in keys.items():
        if protected == _protected_header(key_id):
            if not key.verifies(signature, cose.sig_structure(protected, payload)):
                raise GateListNotTrusted("expected a signature by the key named")
            return _decode(payload), key_id
    raise GateListNotTrusted("expected a gate list signed by a key of the key set")


def read_verified_gate_list(signed: bytes) -> GateList:
    """Return the gate list in bytes that read_gate_list took before; raises GateListError.

    For the workers of a verifier, to whom their supervisor hands what it has read: the key may have left the
    key set since, and what was checked once is not checked again (a third of the time with 100 000 gates).
    """
    return _parse(_split(signed)[1])


def _protected_header(key_id: bytes) -> bytes:
    return cbor2.dumps({1: -8, 4: key_id, 16: _TYPE}, canonical=True)


def _split(signed: bytes) -> tuple[bytes, bytes, bytes]:
    if len(signed) > MAX_SIGNED_GATE_LIST_BYTES:
        raise GateListError(f"expected at most {MAX_SIGNED_GATE_LIST_BYTES} bytes, got {len(signed)}")
    try:
        return cose.split_sign1(signed)
    except (CborError, CoseError) as error:
        raise GateListError(str(error)) from None


def _encode(gate_list: GateList) -> bytes:
    names = sorted(gate_list.groups)
    places = {name: place for place, name in enumerate(names)}
    gates = sorted(gate_list.gates, key=lambda gate: gate.gate_id)
    return cbor2.dumps(
        {
            _EXPIRES_AT: gate_list.expires_at,
            _ISSUED_AT: gate_list.issued_at,
            _VERSION: gate_list.version,
            _GROUPS: [_encode_group(name, gate_list.groups[name]) for name in names],
            _GATES: [
                (
                    gate.gate_id,
                    places[gate.group],
                    b"".join(gate.bearer_key_sha256s),
                    b"".join(gate.certificate_sha256s),
                )
                for gate in gates
            ],
        },
        canonical=True,
    )


def _encode_group(name: str, policy: Policy) -> list[Any]:
    return [
        name,
        policy.max_test_age_s,
        None if policy.max_status_age_s is None else round(1_000 * policy.max_status_age_s),
        policy.yellow_opens,
        policy.is_one_entry,
        policy.paper_entry_s,
    ]


def _decode(payload: bytes) -> GateList:
    gate_list = _parse(payload)
    _check(gate_list)
    # Only the one encoding is taken. Python holds True, 1.0 and 1 for equal, and a repeated group is one in
    # a mapping: this comparison tells them apart.
    if _encode(gate_list) != payload:
        raise GateListError("expected a deterministically encoded payload")
    return gate_list


def _parse(payload: bytes) -> GateList:
    try:
        loaded = cbor2.loads(payload, max_depth=4, allow_indefinite=False, allow_duplicate_keys=False)
    except cbor2.CBORDecodeError as error:
        raise GateListError(f"expected CBOR, got {type(error).__name__}") from None
    match loaded:
        case {
            4: int(expires_at),
            6: int(issued_at),
            -65538: int(version),
            -65540: list(groups),
            -65541: list(gates),
        } if len(loaded) == 5:
            policies = dict(map(_decode_group, groups))
            names = list(policies)
            return GateList(
                version=int(version),
                issued_at=int(issued_at),
                expires_at=int(expires_at),
                groups=policies,
                gates=tuple(_decode_gate(gate, names) for gate in gates),
            )
        case _:
            raise GateListError("expected expires_at, issued_at, version, groups and gates")


def _decode_group(group: Any) -> tuple[str, Policy]:
    match group:
        case [
            str(name),
            (int() | None) as max_test_age_s,
            (int() | None) as max_status_age_ms,
            bool(yellow_opens),
            bool(is_one_entry),
            int(paper_entry_s),
        ]:
            return name, Policy(
                max_test_age_s=None if max_test_age_s is None else int(max_test_age_s),
                max_status_age_s=_seconds(max_status_age_ms),
                yellow_opens=yellow_opens,
                is_one_entry=is_one_entry,
                paper_entry_s=int(paper_entry_s),
            )
        case _:
            raise GateListError("expected a group of a name and a policy")


def _seconds(milliseconds: int | None) -> float | None:
    if milliseconds is None:
        return None
    if not 1 <= milliseconds <= MAX_U32:  # before it becomes a float, which an integer may be too long for
        raise GateListError("expected a max_status_age_ms from 1 to 2**32 - 1")
    return milliseconds / 1_000


def _decode_gate(gate: Any, names: Sequence[str]) -> ListedGate:
    match gate:
        case [str(gate_id), int(place), bytes(bearer_keys), bytes(certificates)] if 0 <= place < len(names):
            return ListedGate(gate_id, names[place], _cut(bearer_keys), _cut(certificates))
        case _:
            raise GateListError("expected a gate of a gate_id, a group's place and two strings of hashes")


def _cut(hashes: bytes) -> tuple[bytes, ...]:
    if len(hashes) == SHA256_BYTES:
        return (hashes,)
    return tuple(hashes[start : start + SHA256_BYTES] for start in range(0, len(hashes), SHA256_BYTES))


def _check(gate_list: GateList) -> None:
    if not 1 <= gate_list.version <= MAX_U32:
        raise GateListError("expected a version from 1 to 2**32 - 1")
    if not 0 <= gate_list.issued_at < gate_list.expires_at <= MAX_TIME:
        raise GateListError("expected 0 <= issued_at < expires_at < 2**40")
    if len(gate_list.groups) > MAX_GROUPS:
        raise GateListError(f"expected at most {MAX_GROUPS} groups, got {len(gate_list.groups)}")
    if len(gate_list.gates) > MAX_GATES:
        raise GateListError(f"expected at most {MAX_GATES} gates, got {len(gate_list.gates)}")
    for name, policy in gate_list.groups.items():
        if _GROUP_NAME.fullmatch(name) is None:
            raise GateListError(
                "expected a group name of 1 to 64 letters, digits, hyphens, dots, underscores"
            )
        _check_policy(policy)
    for gate in gate_list.gates:
        _check_gate(gate, gate_list.groups)
    if len({gate.gate_id for gate in gate_list.gates}) != len(gate_list.gates):
        raise GateListError("expected each gate once")
    _check_unique(gate.bearer_key_sha256s for gate in gate_list.gates)
    _check_unique(gate.certificate_sha256s for gate in gate_list.gates)


def _check_policy(policy: Policy) -> None:
    if policy.max_test_age_s is not None and not 1 <= policy.max_test_age_s <= MAX_U32:
        raise GateListError("expected a max_test_age_s from 1 to 2**32 - 1")
    if not 1 <= policy.paper_entry_s <= MAX_U32:
        raise GateListError("expected a paper_entry_s from 1 to 2**32 - 1")
    age_s = policy.max_status_age_s
    # Rounded once more on the way, a policy would not be the one that was decided on.
    if age_s is not None and not (
        0.001 <= age_s <= MAX_U32 / 1_000 and round(1_000 * age_s) / 1_000 == age_s
    ):
        raise GateListError("expected a max_status_age_s of 1 to 2**32 - 1 whole milliseconds")


def _check_gate(gate: ListedGate, groups: Mapping[str, Policy]) -> None:
    if _GATE_ID.fullmatch(gate.gate_id) is None:
        raise GateListError("expected a gate_id of 1 to 48 letters, digits, hyphens, dots, underscores")
    if gate.group not in groups:
        raise GateListError("expected a group of the list")
    for hashes in (gate.bearer_key_sha256s, gate.certificate_sha256s):
        if len(hashes) > MAX_HASHES or any(len(one) != SHA256_BYTES for one in hashes):
            raise GateListError(f"expected at most {MAX_HASHES} hashes of {SHA256_BYTES} bytes")


def _check_unique(hashes: Any) -> None:
    """Refuse a credential that is two gates': nobody could tell which of them asks."""
    every = list(chain.from_iterable(hashes))
    if len(set(every)) != len(every):
        raise GateListError("expected each credential at one gate")
