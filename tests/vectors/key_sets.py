"""Key sets: those that a verifier takes, and those that it must refuse, with why."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tests.vectors import raw_cbor as raw
from tests.vectors.good_codes import ALG_EDDSA, MAX_TIME, MAX_U32, GoodCode, envelope, signature_input
from tests.vectors.keys import ACTIVE, RETIRED, ROOT, STRANGER, KeyPair

ISSUED_AT = 1_799_900_000
EXPIRES_AT = ISSUED_AT + 7 * 86_400

_TYPE = (raw.integer(16), raw.text_string("application/gatelight-key-set+cose"))
_KID = (raw.integer(4), raw.byte_string(ROOT.key_id))
_PROTECTED = raw.mapping(ALG_EDDSA, _KID, _TYPE)
_TRUE, _ONE_AS_FLOAT = b"\xf5", bytes.fromhex("f93c00")


@dataclass(frozen=True, slots=True)
class GoodKeySet:
    """A key set, to be read with ROOT pinned."""

    name: str
    version: int = 1
    issued_at: int = ISSUED_AT
    expires_at: int = EXPIRES_AT
    keys: tuple[KeyPair, ...] = (ACTIVE, RETIRED)

    @property
    def signed(self) -> bytes:
        """The bytes in Redis."""
        payload = _payload(
            raw.integer(self.expires_at),
            raw.integer(self.issued_at),
            raw.integer(self.version),
            raw.array(*(_cose_key(key) for key in self.keys)),
        )
        return _signed(payload)


@dataclass(frozen=True, slots=True)
class BadKeySet:
    """Bytes that must not be taken for a key set with ROOT pinned."""

    name: str
    signed: bytes


def good_key_sets() -> Iterator[GoodKeySet]:
    """Make all of them."""
    yield GoodKeySet("of the vectors of codes")
    yield GoodKeySet("one key", keys=(ACTIVE,))
    yield GoodKeySet("32 keys", keys=tuple(KeyPair(f"number {number}") for number in range(32)))
    yield GoodKeySet("keys in the other order", keys=(RETIRED, ACTIVE))
    yield GoodKeySet("a version that fills 32 bits", version=MAX_U32)
    yield GoodKeySet("the shortest validity", issued_at=0, expires_at=1)
    yield GoodKeySet("the longest validity", issued_at=0, expires_at=MAX_TIME)


def bad_key_sets() -> Iterator[BadKeySet]:
    """Make all of them."""
    yield from _envelopes()
    yield from _headers()
    yield from _payloads()
    yield from _cose_keys()


def _cose_key(
    key: KeyPair,
    *,
    kty: bytes = b"\x01",
    key_id: bytes | None = None,
    alg: bytes = b"\x27",
    crv: bytes = b"\x06",
    x: bytes | None = None,
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    return raw.mapping(
        (raw.integer(1), kty),
        (raw.integer(2), raw.byte_string(key.key_id if key_id is None else key_id)),
        (raw.integer(3), alg),
        (raw.integer(-1), crv),
        (raw.integer(-2), raw.byte_string(key.public if x is None else x)),
        *more,
    )


_EXPIRES, _ISSUED, _VERSION = raw.integer(EXPIRES_AT), raw.integer(ISSUED_AT), raw.integer(1)
_KEYS = raw.array(_cose_key(ACTIVE), _cose_key(RETIRED))


def _payload(
    expires_at: bytes = _EXPIRES, issued_at: bytes = _ISSUED, version: bytes = _VERSION, keys: bytes = _KEYS
) -> bytes:
    return raw.mapping(
        (raw.integer(4), expires_at),
        (raw.integer(6), issued_at),
        (raw.integer(-65_538), version),
        (raw.integer(-65_539), keys),
    )


def _signed(payload: bytes, *, protected: bytes = _PROTECTED, signer: KeyPair = ROOT) -> bytes:
    return envelope(protected, payload, signer.sign(signature_input(protected, payload)))


def _envelopes() -> Iterator[BadKeySet]:
    good = _signed(_payload())
    untagged = good[1:]
    parts = (_PROTECTED, _payload(), good[-64:])
    yield BadKeySet("empty", b"")
    yield BadKeySet("text", b"gatelight:key_set")
    yield BadKeySet("untagged", untagged)
    yield BadKeySet("tag 98, COSE_Sign", raw.tag(98, untagged))
    yield BadKeySet("cut short", good[:-1])
    yield BadKeySet("a byte after it", good + b"\0")
    yield BadKeySet("over 4 096 bytes", good.ljust(4_097, b"\0"))
    yield BadKeySet("4 096 bytes and no key set", good.ljust(4_096, b"\0"))
    protected, payload, signature = map(raw.byte_string, parts)
    unprotected = raw.mapping(_KID)
    yield BadKeySet(
        "kid in the unprotected header, too",
        raw.tag(18, raw.array(protected, unprotected, payload, signature)),
    )
    yield BadKeySet("payload detached", raw.tag(18, raw.array(protected, raw.mapping(), raw.NULL, signature)))
    yield BadKeySet("signature of zeros", envelope(_PROTECTED, _payload(), bytes(64)))
    yield BadKeySet(
        "signature of another key set", envelope(_PROTECTED, _payload(version=b"\x02"), good[-64:])
    )


def _headers() -> Iterator[BadKeySet]:
    payload = _payload()
    stranger_kid = (raw.integer(4), raw.byte_string(STRANGER.key_id))
    other_type = (raw.integer(16), raw.text_string("application/gatelight-code+cose"))
    yield BadKeySet("signed by a stranger under the root's kid", _signed(payload, signer=STRANGER))
    yield BadKeySet(
        "signed by a stranger under its own kid",
        _signed(payload, protected=raw.mapping(ALG_EDDSA, stranger_kid, _TYPE), signer=STRANGER),
    )
    for name, protected in (
        ("kid of a stranger", raw.mapping(ALG_EDDSA, stranger_kid, _TYPE)),
        ("kid missing", raw.mapping(ALG_EDDSA, _TYPE)),
        ("type missing", raw.mapping(ALG_EDDSA, _KID)),
        ("another type", raw.mapping(ALG_EDDSA, _KID, other_type)),
        ("type a number", raw.mapping(ALG_EDDSA, _KID, (raw.integer(16), raw.integer(60)))),
        ("alg ES256", raw.mapping((raw.integer(1), raw.integer(-7)), _KID, _TYPE)),
        ("alg missing", raw.mapping(_KID, _TYPE)),
        ("crit", raw.mapping(ALG_EDDSA, (raw.integer(2), raw.array(raw.integer(16))), _KID, _TYPE)),
        ("headers in another order", raw.mapping(ALG_EDDSA, _TYPE, _KID)),
        ("no headers", raw.mapping()),
        ("header empty", b""),
    ):
        yield BadKeySet(name, _signed(payload, protected=protected))
    code = GoodCode("a code signed by the root", key=ROOT)
    yield BadKeySet("a code", code.qr_text.encode())
    yield BadKeySet("a payload of claims", _signed(raw.mapping((raw.integer(4), _EXPIRES))))


def _payloads() -> Iterator[BadKeySet]:
    expires, issued = (raw.integer(4), _EXPIRES), (raw.integer(6), _ISSUED)
    version, keys = (raw.integer(-65_538), _VERSION), (raw.integer(-65_539), _KEYS)
    bignum = raw.tag(2, raw.byte_string(b"\x01" + bytes(8)))
    cyclic = raw.tag(28, raw.array(raw.tag(29, b"\x00")))
    for name, payload in (
        ("payload empty", b""),
        ("payload null", raw.NULL),
        ("payload an array", raw.array(_EXPIRES, _ISSUED, _VERSION, _KEYS)),
        ("a byte after the payload", _payload() + b"\0"),
        ("expires_at missing", raw.mapping(issued, version, keys)),
        ("issued_at missing", raw.mapping(expires, version, keys)),
        ("version missing", raw.mapping(expires, issued, keys)),
        ("keys missing", raw.mapping(expires, issued, version)),
        ("an unknown label", raw.mapping(expires, issued, version, keys, (raw.integer(-65_540), raw.NULL))),
        ("version twice", raw.mapping(expires, issued, version, version, keys)),
        ("labels in another order", raw.mapping(issued, expires, version, keys)),
        ("map of indefinite length", raw.indefinite(5, *expires, *issued, *version, *keys)),
        ("map with a head too long", raw.mapping(expires, issued, version, keys, width=1)),
        ("version with a head too long", _payload(version=raw.integer(1, width=1))),
        ("version 0", _payload(version=raw.integer(0))),
        ("version -1", _payload(version=raw.integer(-1))),
        ("version in text", _payload(version=raw.text_string("1"))),
        ("version null", _payload(version=raw.NULL)),
        ("version 1.0", _payload(version=_ONE_AS_FLOAT)),
        ("version true", _payload(version=_TRUE)),
        ("version 2**32", _payload(version=raw.integer(2**32))),
        ("version a big number", _payload(version=bignum)),
        ("expires_at a float", _payload(expires_at=b"\xfb" + struct.pack(">d", EXPIRES_AT))),
        ("expires_at negative", _payload(expires_at=raw.integer(-1))),
        ("expires_at 2**40", _payload(expires_at=raw.integer(2**40))),
        ("expires_at true", _payload(expires_at=_TRUE, issued_at=raw.integer(0))),
        ("expires_at a date", _payload(expires_at=raw.tag(0, raw.text_string("2027-01-15T08:01:00Z")))),
        ("issued_at negative", _payload(issued_at=raw.integer(-1))),
        ("validity empty", _payload(issued_at=_EXPIRES)),
        ("validity the wrong way round", _payload(expires_at=_ISSUED, issued_at=_EXPIRES)),
        ("no keys", _payload(keys=raw.array())),
        ("33 keys", _payload(keys=raw.array(*(_cose_key(KeyPair(f"number {n}")) for n in range(33))))),
        ("a key twice", _payload(keys=raw.array(_cose_key(ACTIVE), _cose_key(ACTIVE)))),
        ("keys in a map", _payload(keys=raw.mapping((raw.integer(1), _cose_key(ACTIVE))))),
        ("keys that hold themselves", _payload(keys=cyclic)),
        ("keys that claim 2**32 - 1 items", _payload(keys=raw.head(4, MAX_U32))),
        ("a hundred nested arrays", b"\x81" * 100 + raw.NULL),
        ("a map with an array for a label", raw.mapping((raw.array(), raw.NULL))),
    ):
        yield BadKeySet(name, _signed(payload))


def _cose_keys() -> Iterator[BadKeySet]:
    private = (raw.integer(-4), raw.byte_string(ACTIVE.seed))
    for name, key in (
        ("key a byte string", raw.byte_string(ACTIVE.public)),
        ("key empty", raw.mapping()),
        ("key under another kid", _cose_key(ACTIVE, key_id=RETIRED.key_id)),
        ("kid of 7 bytes", _cose_key(ACTIVE, key_id=ACTIVE.key_id[:7])),
        ("key of 31 bytes", _cose_key(ACTIVE, x=ACTIVE.public[:31])),
        ("key of 33 bytes", _cose_key(ACTIVE, x=ACTIVE.public + b"\0")),
        ("kty EC2", _cose_key(ACTIVE, kty=raw.integer(2))),
        ("kty 1.0", _cose_key(ACTIVE, kty=_ONE_AS_FLOAT)),
        ("kty true", _cose_key(ACTIVE, kty=_TRUE)),
        ("crv X25519", _cose_key(ACTIVE, crv=raw.integer(4))),
        ("crv Ed448", _cose_key(ACTIVE, crv=raw.integer(7))),
        ("alg of the key ES256", _cose_key(ACTIVE, alg=raw.integer(-7))),
        ("private key in it", _cose_key(ACTIVE, more=(private,))),
    ):
        yield BadKeySet(name, _signed(_payload(keys=raw.array(key))))
