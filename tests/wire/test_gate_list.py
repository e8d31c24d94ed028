"""The gate list: what a signing key signed is read, and nothing else is ever taken for it."""

import os
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors.files import KEY_SET, read
from tests.vectors.keys import ACTIVE, RETIRED, KeyPair
from verifier.verdict import Policy
from verifier.wire import cose
from verifier.wire.errors import GateListError
from verifier.wire.gate_list import (
    MAX_SIGNED_GATE_LIST_BYTES,
    GateList,
    ListedGate,
    gate_list_to_sign,
    read_gate_list,
    read_verified_gate_list,
)

GOOD = read("gate_lists.json")["good"]
BAD = read("gate_lists.json")["bad"]
KEYS = KEY_SET.keys
NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
ONE = GateList(1, 1_000, 2_000, {"all": Policy()}, (ListedGate("north", "all", (bytes(32),)),))


def _signed(gate_list: GateList, key: KeyPair = ACTIVE) -> bytes:
    protected, payload, to_sign = gate_list_to_sign(gate_list, key.key_id)
    return cose.assemble_sign1(protected, payload, key.sign(to_sign))


def _gate_list(vector: dict[str, Any]) -> GateList:
    groups = {}
    for group in vector["groups"]:
        fields = dict(group)
        name, age_ms = fields.pop("name"), fields.pop("max_status_age_ms")
        groups[name] = Policy(**fields, max_status_age_s=None if age_ms is None else age_ms / 1_000)
    gates = [
        ListedGate(
            gate["gate_id"],
            gate["group"],
            tuple(map(bytes.fromhex, gate["bearer_key_sha256s"])),
            tuple(map(bytes.fromhex, gate["certificate_sha256s"])),
        )
        for gate in vector["gates"]
    ]
    return GateList(vector["version"], vector["issued_at"], vector["expires_at"], groups, tuple(gates))


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])
def test_a_good_gate_list_is_read(vector: dict[str, Any]) -> None:
    signed = bytes.fromhex(vector["signed"])
    assert read_gate_list(signed, KEYS) == (_gate_list(vector), bytes.fromhex(vector["key_id"]))
    assert read_verified_gate_list(signed) == _gate_list(vector)


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])
def test_our_encoder_writes_the_same_gate_list_as_the_independent_one(vector: dict[str, Any]) -> None:
    key = next(key for key in (ACTIVE, RETIRED) if key.key_id.hex() == vector["key_id"])
    assert _signed(_gate_list(vector), key).hex() == vector["signed"]


@pytest.mark.parametrize("vector", BAD, ids=lambda vector: vector["name"])
def test_a_bad_gate_list_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(GateListError):
        read_gate_list(bytes.fromhex(vector["signed"]), KEYS)


_HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=24, unique=True)
_U32 = st.integers(1, 2**32 - 1)
_POLICIES = st.builds(
    Policy,
    max_test_age_s=st.none() | _U32,
    max_status_age_s=st.none() | _U32.map(lambda age_ms: age_ms / 1_000),
    yellow_opens=st.booleans(),
    is_one_entry=st.booleans(),
    paper_entry_s=_U32,
)


@st.composite
def _gate_lists(draw: st.DrawFn) -> GateList:
    groups = draw(st.dictionaries(st.text(NAMES, min_size=1, max_size=64), _POLICIES, min_size=1, max_size=4))
    gate_ids = draw(st.lists(st.text(NAMES, min_size=1, max_size=48), max_size=6, unique=True))
    keys, certificates = draw(_HASHES), draw(_HASHES)
    gates = [
        ListedGate(
            gate_id,
            draw(st.sampled_from(sorted(groups))),
            tuple(keys[4 * number : 4 * number + draw(st.integers(0, 4))]),
            tuple(certificates[4 * number : 4 * number + draw(st.integers(0, 4))]),
        )
        for number, gate_id in enumerate(gate_ids)
    ]
    issued_at = draw(st.integers(0, 2**39 - 1))
    return GateList(draw(_U32), issued_at, issued_at + draw(st.integers(1, 2**39)), groups, gates)


@given(_gate_lists())
def test_a_gate_list_is_read_as_it_was_signed(gate_list: GateList) -> None:
    read_back, key_id = read_gate_list(_signed(gate_list), KEYS)
    in_order = tuple(sorted(gate_list.gates, key=lambda gate: gate.gate_id))
    assert read_back == replace(gate_list, gates=in_order)
    assert key_id == ACTIVE.key_id


@settings(max_examples=30)
@given(_gate_lists(), st.randoms())
def test_the_order_in_which_gates_and_groups_come_changes_no_byte(gate_list: GateList, random: Any) -> None:
    gates, groups = list(gate_list.gates), list(gate_list.groups.items())
    random.shuffle(gates)
    random.shuffle(groups)
    assert _signed(replace(gate_list, gates=gates, groups=dict(groups))) == _signed(gate_list)


def test_no_byte_can_be_changed() -> None:
    signed = _signed(ONE)
    for at in range(len(signed)):
        for flip in (0x01, 0x20, 0x80):
            with pytest.raises(GateListError):
                read_gate_list(signed[:at] + bytes([signed[at] ^ flip]) + signed[at + 1 :], KEYS)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_end_in_the_one_error(content: bytes) -> None:
    protected, _, _ = gate_list_to_sign(ONE, ACTIVE.key_id)
    for signed in (
        content,
        cose.assemble_sign1(protected, content, ACTIVE.sign(cose.sig_structure(protected, content))),
    ):
        with pytest.raises(GateListError):
            read_gate_list(signed, KEYS)


@settings(max_examples=20)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4), st.lists))
def test_a_signed_payload_of_any_shape_ends_in_the_one_error(item: Any) -> None:
    protected, _, _ = gate_list_to_sign(ONE, ACTIVE.key_id)
    whole = {4: 2_000, 6: 1_000, -65538: 1, -65540: [], -65541: []}
    for label in whole:
        payload = cbor2.dumps({**whole, label: [item]}, canonical=True)
        signed = cose.assemble_sign1(protected, payload, ACTIVE.sign(cose.sig_structure(protected, payload)))
        with pytest.raises(GateListError):
            read_gate_list(signed, KEYS)


def test_a_list_by_a_key_that_left_the_key_set_is_refused() -> None:
    with pytest.raises(GateListError, match="a key of the key set"):
        read_gate_list(_signed(ONE), {RETIRED.key_id: KEYS[RETIRED.key_id]})
    with pytest.raises(GateListError):
        read_gate_list(_signed(ONE), {})


def test_16_mib_are_looked_at_and_one_byte_more_is_not() -> None:
    with pytest.raises(GateListError, match="the end of the message"):
        read_gate_list(_signed(ONE).ljust(MAX_SIGNED_GATE_LIST_BYTES, b"\0"), KEYS)
    with pytest.raises(GateListError, match="at most 16777216 bytes, got 16777217"):
        read_gate_list(_signed(ONE).ljust(MAX_SIGNED_GATE_LIST_BYTES + 1, b"\0"), KEYS)


def test_10_000_gates_with_two_credentials_take_a_tenth_of_the_room() -> None:
    gates = [
        ListedGate(f"{number:048}", "all", (os.urandom(32),), (os.urandom(32),)) for number in range(10_000)
    ]
    signed = _signed(replace(ONE, gates=gates))
    assert len(signed) < MAX_SIGNED_GATE_LIST_BYTES / 10
    assert read_gate_list(signed, KEYS)[0].gates == tuple(gates)


NORTH = ListedGate("north", "all")


@pytest.mark.parametrize(
    "gate_list",
    [
        replace(ONE, version=0),
        replace(ONE, expires_at=1_000),
        replace(ONE, groups={}),
        replace(ONE, groups={"all": Policy(), "a b": Policy()}),
        replace(ONE, groups={"all": Policy(max_test_age_s=0)}),
        replace(ONE, groups={"all": Policy(max_status_age_s=float("nan"))}),
        replace(ONE, groups={"all": Policy(max_status_age_s=float("inf"))}),
        replace(ONE, groups={"all": Policy(max_status_age_s=0.0004)}),
        replace(ONE, groups={"all": Policy(max_status_age_s=1.23456)}),
        replace(ONE, groups={"all": Policy(paper_entry_s=0)}),
        replace(ONE, gates=[NORTH, NORTH]),
        replace(ONE, gates=[ListedGate("north/1", "all")]),
        replace(ONE, gates=[ListedGate("north", "all", (b"short",))]),
        replace(ONE, gates=[ListedGate("a", "all", (bytes(32),)), ListedGate("b", "all", (bytes(32),))]),
        replace(ONE, gates=[NORTH] * 100_001),
    ],
    ids=lambda _: "",
)
def test_a_gate_list_that_no_verifier_would_take_is_not_signed(gate_list: GateList) -> None:
    with pytest.raises(GateListError):
        gate_list_to_sign(gate_list, ACTIVE.key_id)
