"""Gate lists: those that a verifier takes, and those that it must refuse, with why."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.vectors import raw_cbor as raw
from tests.vectors.good_codes import ALG_EDDSA, MAX_TIME, MAX_U32, GoodCode, envelope, signature_input
from tests.vectors.keys import ACTIVE, RETIRED, ROOT, STRANGER, KeyPair

ISSUED_AT = 1_799_900_000
EXPIRES_AT = ISSUED_AT + 30 * 86_400

_TYPE = (raw.integer(16), raw.text_string("application/gatelight-gate-list+cose"))
_TRUE, _FALSE, _ONE_AS_FLOAT = b"\xf5", b"\xf4", bytes.fromhex("f93c00")
_HASHES = tuple(bytes([number]) * 32 for number in range(1, 6))


@dataclass(frozen=True, slots=True)
class Group:
    """A group and its policy; times as they are written."""

    name: str = "all"
    max_test_age_s: int | None = None
    max_status_age_ms: int | None = None
    yellow_opens: bool = False
    is_one_entry: bool = False
    paper_entry_s: int = 900

    @property
    def encoded(self) -> bytes:
        """The group in the payload."""
        ages = [
            raw.NULL if age is None else raw.integer(age)
            for age in (self.max_test_age_s, self.max_status_age_ms)
        ]
        flags = [_TRUE if flag else _FALSE for flag in (self.yellow_opens, self.is_one_entry)]
        return raw.array(raw.text_string(self.name), *ages, *flags, raw.integer(self.paper_entry_s))


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate, with the place of its group."""

    gate_id: str
    place: int = 0
    bearer_keys: tuple[bytes, ...] = ()
    certificates: tuple[bytes, ...] = ()

    @property
    def encoded(self) -> bytes:
        """The gate in the payload."""
        hashes = (raw.byte_string(b"".join(kind)) for kind in (self.bearer_keys, self.certificates))
        return raw.array(raw.text_string(self.gate_id), raw.integer(self.place), *hashes)


@dataclass(frozen=True, slots=True)
class GoodGateList:
    """A gate list, to be read with ACTIVE and RETIRED in the key set."""

    name: str
    version: int = 1
    issued_at: int = ISSUED_AT
    expires_at: int = EXPIRES_AT
    groups: tuple[Group, ...] = (Group(),)
    gates: tuple[Gate, ...] = (Gate("north", 0, _HASHES[:1]),)
    key: KeyPair = ACTIVE

    @property
    def signed(self) -> bytes:
        """The bytes in Redis."""
        payload = _payload(
            raw.integer(self.expires_at),
            raw.integer(self.issued_at),
            raw.integer(self.version),
            raw.array(*(group.encoded for group in self.groups)),
            raw.array(*(gate.encoded for gate in self.gates)),
        )
        return _signed(payload, signer=self.key)


@dataclass(frozen=True, slots=True)
class BadGateList:
    """Bytes that must not be taken for a gate list with ACTIVE and RETIRED in the key set."""

    name: str
    signed: bytes


def good_gate_lists() -> Iterator[GoodGateList]:
    """Make all of them."""
    yield GoodGateList("one gate in a group that asks nothing")
    yield GoodGateList("signed by the other key", key=RETIRED)
    yield GoodGateList("no groups and no gates", groups=(), gates=())
    yield GoodGateList("a group without gates", gates=())
    yield GoodGateList("a gate without credentials", gates=(Gate("north"),))
    yield GoodGateList("a version that fills 32 bits", version=MAX_U32)
    yield GoodGateList("the shortest validity", issued_at=0, expires_at=1)
    yield GoodGateList("the longest validity", issued_at=0, expires_at=MAX_TIME)
    yield GoodGateList(
        "every policy",
        groups=(
            Group("Clinic_2", max_test_age_s=1, max_status_age_ms=1),
            Group("market", yellow_opens=True),
            Group("school.north-3", 172_800, 30_500, is_one_entry=True, paper_entry_s=60),
            Group("z" * 64, MAX_U32, MAX_U32, True, True, MAX_U32),
        ),
        gates=(
            Gate("A.b-C_9", 3, _HASHES[:2]),
            Gate("hub", 0, _HASHES[2:3], _HASHES[:1]),
            Gate("x" * 48, 1, (), _HASHES[1:5]),
        ),
    )


def bad_gate_lists() -> Iterator[BadGateList]:
    """Make all of them."""
    yield from _envelopes()
    yield from _payloads()
    yield from _groups()
    yield from _gates()


_EXPIRES, _ISSUED, _VERSION = raw.integer(EXPIRES_AT), raw.integer(ISSUED_AT), raw.integer(1)
_GROUP, _GATE = Group().encoded, Gate("north", 0, _HASHES[:1]).encoded
_GROUPS, _GATES = raw.array(_GROUP), raw.array(_GATE)


def _protected(key: KeyPair, kind: tuple[bytes, bytes] = _TYPE) -> bytes:
    return raw.mapping(ALG_EDDSA, (raw.integer(4), raw.byte_string(key.key_id)), kind)


def _payload(
    expires_at: bytes = _EXPIRES,
    issued_at: bytes = _ISSUED,
    version: bytes = _VERSION,
    groups: bytes = _GROUPS,
    gates: bytes = _GATES,
) -> bytes:
    return raw.mapping(
        (raw.integer(4), expires_at),
        (raw.integer(6), issued_at),
        (raw.integer(-65_538), version),
        (raw.integer(-65_540), groups),
        (raw.integer(-65_541), gates),
    )


def _signed(payload: bytes, *, protected: bytes | None = None, signer: KeyPair = ACTIVE) -> bytes:
    protected = _protected(signer) if protected is None else protected
    return envelope(protected, payload, signer.sign(signature_input(protected, payload)))


def _envelopes() -> Iterator[BadGateList]:
    payload = _payload()
    good = _signed(payload)
    key_set_type = (raw.integer(16), raw.text_string("application/gatelight-key-set+cose"))
    yield BadGateList("empty", b"")
    yield BadGateList("text", b"gatelight:gates")
    yield BadGateList("untagged", good[1:])
    yield BadGateList("cut short", good[:-1])
    yield BadGateList("a byte after it", good + b"\0")
    yield BadGateList("signature of zeros", envelope(_protected(ACTIVE), payload, bytes(64)))
    yield BadGateList(
        "signature of another list", envelope(_protected(ACTIVE), _payload(version=b"\x02"), good[-64:])
    )
    yield BadGateList("signed by a stranger", _signed(payload, signer=STRANGER))
    yield BadGateList(
        "signed by a stranger under a known kid",
        _signed(payload, protected=_protected(ACTIVE), signer=STRANGER),
    )
    yield BadGateList("signed by the root", _signed(payload, signer=ROOT))
    yield BadGateList(
        "signed by one key under the kid of the other", _signed(payload, protected=_protected(RETIRED))
    )
    yield BadGateList("the type of a key set", _signed(payload, protected=_protected(ACTIVE, key_set_type)))
    kid = (raw.integer(4), raw.byte_string(ACTIVE.key_id))
    yield BadGateList("no type", _signed(payload, protected=raw.mapping(ALG_EDDSA, kid)))
    yield BadGateList(
        "headers in another order", _signed(payload, protected=raw.mapping(kid, ALG_EDDSA, _TYPE))
    )
    yield BadGateList("a code", GoodCode("a code").qr_text.encode())


def _payloads() -> Iterator[BadGateList]:
    expires, issued = (raw.integer(4), _EXPIRES), (raw.integer(6), _ISSUED)
    version = (raw.integer(-65_538), _VERSION)
    groups, gates = (raw.integer(-65_540), _GROUPS), (raw.integer(-65_541), _GATES)
    cyclic = raw.tag(28, raw.array(raw.tag(29, b"\x00")))
    for name, payload in (
        ("payload empty", b""),
        ("payload null", raw.NULL),
        ("a byte after the payload", _payload() + b"\0"),
        ("gates missing", raw.mapping(expires, issued, version, groups)),
        ("groups missing", raw.mapping(expires, issued, version, gates)),
        ("labels in another order", raw.mapping(issued, expires, version, groups, gates)),
        (
            "an unknown label",
            raw.mapping(expires, issued, version, groups, gates, (raw.integer(-65_542), _GATES)),
        ),
        ("map of indefinite length", raw.indefinite(5, *expires, *issued, *version, *groups, *gates)),
        ("version with a head too long", _payload(version=raw.integer(1, width=1))),
        ("version 0", _payload(version=raw.integer(0))),
        ("version 1.0", _payload(version=_ONE_AS_FLOAT)),
        ("version true", _payload(version=_TRUE)),
        ("version 2**32", _payload(version=raw.integer(2**32))),
        ("validity empty", _payload(issued_at=_EXPIRES)),
        ("expires_at 2**40", _payload(expires_at=raw.integer(2**40))),
        ("issued_at negative", _payload(issued_at=raw.integer(-1))),
        ("gates a map", _payload(gates=raw.mapping((raw.integer(1), _GATE)))),
        ("gates that hold themselves", _payload(gates=cyclic)),
        ("gates that claim 2**32 - 1 items", _payload(gates=raw.head(4, MAX_U32))),
        ("a hundred nested arrays", b"\x81" * 100 + raw.NULL),
    ):
        yield BadGateList(name, _signed(payload))


def _groups() -> Iterator[BadGateList]:
    big = raw.tag(2, raw.byte_string(b"\x01" + bytes(200)))
    name, flags, rest = raw.text_string("all"), (_FALSE, _FALSE), raw.integer(900)
    for what, groups in (
        ("a group a text", [name]),
        ("a group with an item more", [raw.array(name, raw.NULL, raw.NULL, *flags, rest, raw.NULL)]),
        ("a group with an item less", [raw.array(name, raw.NULL, raw.NULL, *flags)]),
        ("a group twice", [_GROUP, _GROUP]),
        ("groups in another order", [_GROUP, Group("a").encoded]),
        ("a group without a name", [Group("").encoded]),
        ("a group with a space", [Group("a b").encoded]),
        ("a group with a line break", [Group("all\n").encoded]),
        ("a group of 65 letters", [Group("a" * 65).encoded]),
        ("max_test_age_s 0", [Group(max_test_age_s=0).encoded]),
        ("max_test_age_s 2**32", [Group(max_test_age_s=2**32).encoded]),
        ("max_test_age_s true", [raw.array(name, _TRUE, raw.NULL, *flags, rest)]),
        ("max_test_age_s a float", [raw.array(name, _ONE_AS_FLOAT, raw.NULL, *flags, rest)]),
        ("max_status_age_ms 0", [Group(max_status_age_ms=0).encoded]),
        ("max_status_age_ms negative", [Group(max_status_age_ms=-1).encoded]),
        ("max_status_age_ms a float", [raw.array(name, raw.NULL, _ONE_AS_FLOAT, *flags, rest)]),
        ("max_status_age_ms a number of 201 bytes", [raw.array(name, raw.NULL, big, *flags, rest)]),
        ("yellow_opens 1", [raw.array(name, raw.NULL, raw.NULL, b"\x01", _FALSE, rest)]),
        ("is_one_entry null", [raw.array(name, raw.NULL, raw.NULL, _FALSE, raw.NULL, rest)]),
        ("paper_entry_s 0", [Group(paper_entry_s=0).encoded]),
        ("paper_entry_s null", [raw.array(name, raw.NULL, raw.NULL, *flags, raw.NULL)]),
    ):
        yield BadGateList(what, _signed(_payload(groups=raw.array(*groups))))


def _gates() -> Iterator[BadGateList]:
    one, other = Gate("a", 0, _HASHES[:1]), Gate("b", 0, _HASHES[:1])
    name, none = raw.text_string("north"), raw.byte_string(b"")
    for what, gates in (
        ("a gate a text", [name]),
        ("a gate with an item more", [raw.array(name, b"\x00", none, none, none)]),
        ("a gate_id of bytes", [raw.array(raw.byte_string(b"north"), b"\x00", none, none)]),
        ("a gate_id that is no UTF-8", [raw.array(raw.text_string(b"\xff"), b"\x00", none, none)]),
        ("a gate without a name", [Gate("").encoded]),
        ("a gate_id with a slash", [Gate("north/1").encoded]),
        ("a gate_id of 49 letters", [Gate("a" * 49).encoded]),
        ("a group that is not there", [Gate("north", 1).encoded]),
        ("the group before the first", [Gate("north", -1).encoded]),
        ("a group true", [raw.array(name, _TRUE, none, none)]),
        ("a group false", [raw.array(name, _FALSE, none, none)]),
        ("gates in another order", [Gate("b").encoded, Gate("a").encoded]),
        ("a gate twice", [one.encoded, one.encoded]),
        ("a bearer key of two gates", [one.encoded, other.encoded]),
        ("a certificate of one gate twice", [Gate("a", 0, (), _HASHES[:1] * 2).encoded]),
        ("a hash of 31 bytes", [Gate("a", 0, (_HASHES[0][:31],)).encoded]),
        ("a hash of 33 bytes", [Gate("a", 0, (), (_HASHES[0] + b"\0",)).encoded]),
        ("five keys", [Gate("a", 0, _HASHES).encoded]),
    ):
        yield BadGateList(what, _signed(_payload(gates=raw.array(*gates))))
