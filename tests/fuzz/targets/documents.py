"""Key sets and gate lists: the bytes as Redis has them, and payloads that the right key signs."""

from types import MappingProxyType

import cbor2

from tests.fuzz.keys import KEY_SET, NOW, ROOT, SIGNING, STRANGER
from tests.fuzz.target import Input, Target, only, piece
from verifier.access.gate_lists import GateLists
from verifier.access.known_gates import KnownGates
from verifier.errors import NotReady
from verifier.host import key_set_document
from verifier.key_set_follower import KeySets
from verifier.verdict import Policy
from verifier.wire import cose
from verifier.wire.errors import CborError, CoseError, GateListError, KeySetError
from verifier.wire.gate_list import (
    GateList,
    ListedGate,
    gate_list_to_sign,
    read_gate_list,
    read_verified_gate_list,
)
from verifier.wire.key_set import KeySet, decode_payload, encode_payload, key_set_to_sign, read_key_set

KEY_SET_BYTES, KEY_SET_PAYLOAD, GATES_BYTES, GATES_PAYLOAD, PROTECTED, OFFERS, PACKED = range(7)
_KEYS = MappingProxyType({SIGNING.key_id: SIGNING.public})
_KEY_SET_HEADER = key_set_to_sign(KEY_SET, ROOT.public)[0]
_GROUPS = {"all": Policy(), "school": Policy(3_600, 1.5, is_one_entry=True, paper_entry_s=60)}
_GATES = (
    ListedGate("north-3", "school", (bytes(32), bytes([1]) * 32)),
    ListedGate("south", "all", (), (bytes([2]) * 32,)),
)
_GATE_LIST = GateList(7, NOW, NOW + 2_592_000, _GROUPS, _GATES)
_GATES_HEADER = gate_list_to_sign(_GATE_LIST, SIGNING.key_id)[0]


def run(content: bytes) -> None:
    """Read one."""
    given = Input(content)
    (
        lambda: _key_set(given.rest()),
        lambda: _key_set_payload(given.rest()),
        lambda: _gates(given.rest()),
        lambda: _gates_payload(given.rest()),
        lambda: _protected(given),
        lambda: _offers(given),
        lambda: _packed(given.rest()),
    )[given.number() % 7]()


def _key_set(signed: bytes) -> KeySet | None:
    with only(KeySetError):
        key_set = read_key_set(signed, ROOT.public)
        protected, payload, _ = cose.split_sign1(signed)
        assert ROOT.sign1(protected, payload) == signed, "taken, and not signed by the root"
        assert protected == _KEY_SET_HEADER
        assert encode_payload(key_set) == payload
        assert all(cose.key_id(key.public_key) == key_id for key_id, key in key_set.keys.items())
        return key_set
    return None


def _key_set_payload(payload: bytes) -> None:
    key_set = None
    with only(KeySetError):
        key_set = decode_payload(payload)
    signed = ROOT.sign1(_KEY_SET_HEADER, payload)
    taken = _key_set(signed)
    if len(signed) <= 4_096:
        assert taken == key_set


def _gates(signed: bytes) -> GateList | None:
    with only(GateListError):
        gate_list, key_id = read_gate_list(signed, _KEYS)
        protected, payload, _ = cose.split_sign1(signed)
        assert key_id == SIGNING.key_id
        assert SIGNING.sign1(protected, payload) == signed, "taken, and not signed by the key"
        assert protected == _GATES_HEADER
        assert gate_list_to_sign(gate_list, SIGNING.key_id)[1] == payload
        assert read_verified_gate_list(signed) == gate_list
        known = KnownGates.of(gate_list, Policy())
        assert len(known.by_gate_id) == len(gate_list.gates)
        return gate_list
    return None


def _gates_payload(payload: bytes) -> None:
    _gates(SIGNING.sign1(_GATES_HEADER, payload))
    with only(GateListError):
        read_verified_gate_list(STRANGER.sign1(_GATES_HEADER, payload))


def _protected(given: Input) -> None:
    """A header that the right key signed is no other document's, whatever it says."""
    protected, payload = given.piece(), given.rest()
    assert _key_set(ROOT.sign1(protected, payload)) is None or protected == _KEY_SET_HEADER
    assert _gates(SIGNING.sign1(protected, payload)) is None or protected == _GATES_HEADER
    with only(CborError, CoseError):
        message = cose.assemble_sign1(protected, payload, bytes(64))
        assert cose.split_sign1(message) == (protected, payload, bytes(64))


def _offers(given: Input) -> None:
    """Versions go up, and what a newer key set leaves out is gone at once."""
    key_sets, gate_lists = KeySets(ROOT.public), GateLists()
    highest = 0
    for _ in range(8):
        if given.is_at_end:
            return
        version, issued_at, valid_s = given.number(1), NOW + given.number(1) - 128, given.number(1)
        keys = [key.public for key in (SIGNING, STRANGER) if given.number() & 1]
        with only(KeySetError):
            key_set = KeySet.of(
                version=version, issued_at=issued_at, expires_at=issued_at + valid_s, keys=keys
            )
            signed = ROOT.sign1(*key_set_to_sign(key_set, ROOT.public)[:2])
            if key_sets.offer(signed):
                assert version > highest
                highest = version
        assert key_sets.version == highest
        with only(NotReady):
            in_force = key_sets.in_force(NOW)
            assert in_force.issued_at - 30 <= NOW < in_force.expires_at
            newest = read_key_set(key_sets.signed[-1], ROOT.public)
            assert set(in_force.keys) <= set(newest.keys)
            with only(GateListError):
                was = gate_lists.newest
                offered = GateList(version, issued_at, issued_at + valid_s, _GROUPS, ())
                is_taken = gate_lists.offer(
                    SIGNING.sign1(*gate_list_to_sign(offered, SIGNING.key_id)[:2]), in_force.keys
                )
                assert not is_taken or SIGNING.key_id in in_force.keys
                assert not is_taken or was is None or version > was.version


def _packed(document: bytes) -> None:
    sets = key_set_document.unpack(document)
    assert document.startswith(key_set_document.pack(sets))
    assert key_set_document.unpack(key_set_document.pack(sets)) == sets


def seeds() -> list[bytes]:
    """Return some of each."""
    signed = ROOT.sign1(*key_set_to_sign(KEY_SET, ROOT.public)[:2])
    gates = SIGNING.sign1(*gate_list_to_sign(_GATE_LIST, SIGNING.key_id)[:2])
    odd: list[object] = [
        {4: cbor2.CBORTag(2, b"\1"), 6: 1, -65538: 1, -65539: []},
        {4: 1.0, 6: True, -65538: None, -65539: [{}]},
        {4: 2, 6: 1, -65538: 1, -65540: [["a", None, None, True, False, 1]], -65541: [["g", 0, b"", b""]]},
        cbor2.CBORTag(35, "("),
        cbor2.CBORTag(30, [1, 0]),
        cbor2.CBORTag(0, "2026-01-01"),
        cbor2.CBORTag(4, [10**6, 1]),
    ]
    return [
        bytes([KEY_SET_BYTES]) + signed,
        bytes([KEY_SET_PAYLOAD]) + encode_payload(KEY_SET),
        bytes([GATES_BYTES]) + gates,
        bytes([GATES_PAYLOAD]) + cose.split_sign1(gates)[1],
        bytes([PROTECTED]) + piece(_KEY_SET_HEADER) + encode_payload(KEY_SET),
        bytes([PROTECTED]) + piece(_GATES_HEADER) + cose.split_sign1(gates)[1],
        bytes([OFFERS]) + bytes([1, 128, 60, 1, 1, 2, 255, 60, 1, 0, 2, 128, 60, 1, 1, 9, 128, 9, 0, 1]),
        bytes([PACKED]) + key_set_document.pack([signed, b"", b"x"]),
        *(bytes([KEY_SET_PAYLOAD]) + cbor2.dumps(one) for one in odd),
        *(bytes([GATES_PAYLOAD]) + cbor2.dumps(one) for one in odd),
    ]


TARGET = Target(
    "documents",
    run,
    seeds,
    max_bytes=2_048,
    words=(
        b"\x3a\x00\x01\x00\x01",
        b"\x3a\x00\x01\x00\x02",
        b"\x3a\x00\x01\x00\x03",
        b"\x3a\x00\x01\x00\x04",
        b"\xd2\x84",
        b"\xd8\x23",
        b"\xd8\x1c",
        b"\xd8\x1d",
        b"\xc2",
        b"\xf9\x7e\x00",
    ),
)
