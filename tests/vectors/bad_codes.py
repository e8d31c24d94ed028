"""What must not authenticate, each by name with the error that it must meet.

Where something is wrong inside what the signature covers, it is signed correctly all the same, so that
the check itself is tested and not the signature before it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.vectors import raw_cbor as raw
from tests.vectors.edwards25519 import L
from tests.vectors.good_codes import (
    ALG_EDDSA,
    EXPIRES_AT,
    MAX_TIME,
    MAX_U32,
    NOT_BEFORE,
    NOW,
    claims,
    envelope,
    protected_header,
    qr_text,
    sign1,
    signature_input,
)
from tests.vectors.keys import ACTIVE, RETIRED, ROOT, STRANGER

Part = Literal["text", "base45", "envelope", "header", "claims", "key", "signature", "window"]

_VERDICTS = {
    "UnknownKey": "UNKNOWN_KEY",
    "BadSignature": "BAD_SIGNATURE",
    "NotYetValid": "NOT_YET_VALID",
    "Expired": "EXPIRED",
}


@dataclass(frozen=True, slots=True)
class BadCode:
    """What a scanner read, where its fault lies, and the error that authenticate() must raise at `now`.

    `beyond_cddl` marks faults that code_token.cddl cannot express: encodings of the same items, and
    relations between values.
    """

    name: str
    qr_text: bytes
    error: str
    part: Part
    beyond_cddl: bool = False
    now: int = NOW

    @property
    def verdict(self) -> str:
        """The name of the verdict that the error stands for."""
        return _VERDICTS.get(self.error, "MALFORMED")


def bad_codes() -> Iterator[BadCode]:
    """Make all of them."""
    yield from _texts()
    yield from _base45()
    yield from _envelopes()
    yield from _lying_lengths()
    yield from _headers()
    yield from _claims()
    yield from _times()
    yield from _statements()
    yield from _claims_encodings()
    yield from _keys_and_signatures()
    yield from _windows()


def _code(name: str, message: bytes, error: str, part: Part, *, beyond_cddl: bool = False) -> BadCode:
    return BadCode(name, qr_text(message).encode(), error, part, beyond_cddl)


# An ordinary code and its parts, to be spoilt one at a time.
_STATEMENT = raw.array(raw.integer(1), raw.integer(1_234_567), raw.integer(3))
_PAYLOAD = claims(EXPIRES_AT, NOT_BEFORE, _STATEMENT)
_PROTECTED = protected_header(ACTIVE)
_SIGNATURE = ACTIVE.sign(signature_input(_PROTECTED, _PAYLOAD))
_MESSAGE = envelope(_PROTECTED, _PAYLOAD, _SIGNATURE)
_QR_TEXT = qr_text(_MESSAGE).encode()
_KID = raw.byte_string(ACTIVE.key_id)
_ITEMS = (raw.byte_string(_PROTECTED), raw.mapping(), raw.byte_string(_PAYLOAD), raw.byte_string(_SIGNATURE))


def _texts() -> Iterator[BadCode]:
    body = _QR_TEXT[4:]
    for name, text in (
        ("empty", b""),
        ("prefix in lower case", b"gl1:" + body),
        ("prefix GL2, reserved", b"GL2:" + body),
        ("prefix HC1", b"HC1:" + body),
        ("prefix without its colon", b"GL1" + body),
        ("prefix cut short", b"GL1"),
        ("no prefix", body),
        ("space before the prefix", b" " + _QR_TEXT),
        ("byte order mark before the prefix", b"\xef\xbb\xbf" + _QR_TEXT),
        ("all in lower case", _QR_TEXT.lower()),
        ("UTF-16", _QR_TEXT.decode().encode("utf-16-le")),
        ("full-width letters", "ＧＬ１：".encode() + body),
        ("a link", b"HTTPS://EXAMPLE.ORG/GL1:" + body),
        ("somebody's web page", b"https://example.org/menu?table=7"),
        ("a visiting card", b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Example\r\nEND:VCARD\r\n"),
        ("a wireless network", b"WIFI:T:WPA;S:example;P:example;;"),
        ("a vaccination certificate of another system", b"HC1:" + raw.base45(bytes(range(200))).encode()),
        ("a payment code", b"BCD\n002\n1\nSCT\n\nExample\nXX00000000000000000000\nEUR1\n"),
        ("a product", b"4006381333931"),
        ("zero bytes", bytes(64)),
        ("random binary", bytes(byte * 167 % 256 for byte in range(256))),
        ("the message without Base45", _MESSAGE),
        ("513 characters", b"GL1:" + b"0" * 509),
        ("a good code and spaces up to 513 characters", _QR_TEXT.ljust(513)),
        ("10 000 characters", b"GL1:" + b"0" * 9_996),
    ):
        yield BadCode(name, text, "QrTextError", "text")


def _base45() -> Iterator[BadCode]:
    body = _QR_TEXT[4:]
    for name, text in (
        ("body in lower case", body.lower()),
        ("line feed after the code", body + b"\n"),
        ("carriage return after the code", body + b"\r\n"),
        ("a character outside the alphabet", body[:30] + b"!" + body[31:]),
        ("a letter beyond ASCII", body[:30] + "Ä".encode() + body[32:]),
        ("a zero byte", body[:30] + b"\0" + body[31:]),
        ("the prefix twice", b"GL1:" + body),
        ("the message without Base45, behind the prefix", _MESSAGE),
        ("length 3n + 1", body[: len(body) // 3 * 3] + b"0"),
        ("one character", b"0"),
        ("a triplet of 65 536", body[:30] + b"GGW" + body[33:]),
        ("the largest triplet", body[:30] + b":::" + body[33:]),
        ("a last pair of 256", body[: len(body) // 3 * 3] + b"V5"),
        ("the largest last pair", body[: len(body) // 3 * 3] + b"::"),
        ("a triplet of 65 536 and nothing else", b"GGW"),
    ):
        yield BadCode(name, b"GL1:" + text, "Base45Error", "base45")
    yield BadCode("the prefix alone", b"GL1:", "CoseError", "envelope")
    yield BadCode("512 characters of Base45", b"GL1:" + b"0" * 507, "CoseError", "envelope")


def _envelopes() -> Iterator[BadCode]:
    protected, unprotected, payload, signature = _ITEMS
    at_payload = len(_MESSAGE) - len(signature) - len(payload)
    for name, length, error in (
        ("cut after the tag", 1, "CoseError"),
        ("cut after the array head", 2, "CoseError"),
        ("cut inside the protected header", 8, "CoseError"),
        ("cut after the protected header", 2 + len(protected), "CoseError"),
        ("cut before the payload", at_payload, "CborError"),
        ("cut inside the head of the payload", at_payload + 1, "CborError"),
        ("cut inside the payload", at_payload + 9, "CborError"),
        ("cut before the signature", at_payload + len(payload), "CoseError"),
        ("cut inside the head of the signature", at_payload + len(payload) + 1, "CoseError"),
        ("last byte missing", len(_MESSAGE) - 1, "CoseError"),
    ):
        yield _code(name, _MESSAGE[:length], error, "envelope")
    four = raw.array(*_ITEMS)
    for name, message in (
        ("untagged", four),
        ("tag 17, COSE_Mac0", raw.tag(17, four)),
        ("tag 98, COSE_Sign", raw.tag(98, four)),
        ("tag 61, CWT, around it", raw.tag(61, _MESSAGE)),
        ("tag 18 twice", raw.tag(18, _MESSAGE)),
        ("tag 55799, self-described CBOR, around it", raw.tag(55_799, _MESSAGE)),
        ("tag 24, embedded CBOR", raw.tag(24, raw.byte_string(_MESSAGE))),
        ("a byte string", raw.byte_string(_MESSAGE)),
        ("three items", raw.tag(18, raw.array(*_ITEMS[:3]))),
        ("five items", raw.tag(18, raw.array(*_ITEMS, raw.NULL))),
        ("a map", raw.tag(18, raw.mapping(_ITEMS[:2], _ITEMS[2:]))),
        ("no items", raw.tag(18, raw.array())),
        ("CBOR null", raw.NULL),
        ("JSON", b'{"alg":"EdDSA","kid":"active"}'),
    ):
        yield _code(name, message, "CoseError", "envelope")
    for name, message in (
        ("tag not in its shortest form", raw.tag(18, four, width=1)),
        ("array head not in its shortest form", raw.tag(18, raw.array(*_ITEMS, width=1))),
        ("array of indefinite length", raw.tag(18, raw.indefinite(4, *_ITEMS))),
    ):
        yield _code(name, message, "CoseError", "envelope", beyond_cddl=True)
    yield _code("a byte after the code", _MESSAGE + b"\0", "CoseError", "envelope")
    yield _code("the code twice", _MESSAGE * 2, "CoseError", "envelope")

    def spoilt(at: int, item: bytes) -> bytes:
        return raw.tag(18, raw.array(*_ITEMS[:at], item, *_ITEMS[at + 1 :]))

    half = len(_PAYLOAD) // 2
    chunks = (raw.byte_string(_PAYLOAD[:half]), raw.byte_string(_PAYLOAD[half:]))
    for name, at, item, error in (
        ("protected header not in a byte string", 0, _PROTECTED, "CoseError"),
        ("protected header in a text string", 0, raw.text_string(_PROTECTED), "CoseError"),
        ("protected header null", 0, raw.NULL, "CoseError"),
        ("unprotected header null", 1, raw.NULL, "CoseError"),
        ("unprotected header an array", 1, raw.array(), "CoseError"),
        ("unprotected header in a byte string", 1, raw.byte_string(unprotected), "CoseError"),
        ("kid in the unprotected header, too", 1, raw.mapping((raw.integer(4), _KID)), "CoseError"),
        ("alg in the unprotected header, too", 1, raw.mapping(ALG_EDDSA), "CoseError"),
        (
            "something in the unprotected header",
            1,
            raw.mapping((raw.integer(-70_000), raw.NULL)),
            "CoseError",
        ),
        ("payload null, detached", 2, raw.NULL, "CborError"),
        ("payload not in a byte string", 2, _PAYLOAD, "CborError"),
        ("payload in a text string", 2, raw.text_string(_PAYLOAD), "CborError"),
        ("signature null", 3, raw.NULL, "CoseError"),
        ("signature in a text string", 3, raw.text_string(_SIGNATURE), "CoseError"),
        ("signature of 63 bytes", 3, raw.byte_string(_SIGNATURE[:63]), "CoseError"),
        ("signature of 65 bytes", 3, raw.byte_string(_SIGNATURE + b"\0"), "CoseError"),
        ("signature empty", 3, raw.byte_string(b""), "CoseError"),
        ("several signatures", 3, raw.array(raw.byte_string(_SIGNATURE)), "CoseError"),
    ):
        yield _code(name, spoilt(at, item), error, "envelope")
    for name, at, item, error in (
        ("protected header with a head too long", 0, raw.byte_string(_PROTECTED, width=1), "CoseError"),
        ("protected header in chunks", 0, raw.indefinite(2, raw.byte_string(_PROTECTED)), "CoseError"),
        ("unprotected header with a head too long", 1, raw.head(5, 0, width=1), "CoseError"),
        ("unprotected header of indefinite length", 1, raw.indefinite(5), "CoseError"),
        ("payload with a head too long", 2, raw.byte_string(_PAYLOAD, width=2), "CborError"),
        ("payload with a head of nine bytes", 2, raw.byte_string(_PAYLOAD, width=8), "CborError"),
        ("payload in chunks", 2, raw.indefinite(2, *chunks), "CborError"),
        ("signature with a head too long", 3, raw.byte_string(_SIGNATURE, width=2), "CoseError"),
        ("signature in chunks", 3, raw.indefinite(2, raw.byte_string(_SIGNATURE)), "CoseError"),
    ):
        yield _code(name, spoilt(at, item), error, "envelope", beyond_cddl=True)


def _lying_lengths() -> Iterator[BadCode]:
    start = raw.head(6, 18) + raw.head(4, 4)
    before_payload = start + _ITEMS[0] + _ITEMS[1]
    for name, message, error in (
        ("array that claims 2**32 - 1 items", raw.head(6, 18) + raw.head(4, MAX_U32), "CoseError"),
        ("array that claims 2**64 - 1 items", raw.head(6, 18) + raw.head(4, 2**64 - 1), "CoseError"),
        ("protected header that claims 2**63 bytes", start + raw.head(2, 2**63) + _PROTECTED, "CoseError"),
        ("payload that claims 2**63 bytes", before_payload + raw.head(2, 2**63) + _PAYLOAD, "CborError"),
        ("payload that claims 2**64 - 1 bytes", before_payload + raw.head(2, 2**64 - 1), "CborError"),
        ("payload that claims one byte too many", before_payload + raw.head(2, 200) + _PAYLOAD, "CborError"),
        ("payload with reserved additional information", before_payload + b"\x5c" + _PAYLOAD, "CborError"),
        ("a hundred nested arrays", b"\x81" * 100 + raw.NULL, "CoseError"),
        ("three hundred nested tags", b"\xd2" * 300 + raw.NULL, "CoseError"),
        ("nested arrays for a payload", before_payload + b"\x81" * 200, "CborError"),
    ):
        yield _code(name, message, error, "envelope")


def _headers() -> Iterator[BadCode]:
    kid = (raw.integer(4), _KID)

    def signed(protected: bytes) -> bytes:
        return sign1(_PAYLOAD, protected=protected)

    for name, protected in (
        ("alg ES256", raw.mapping((raw.integer(1), raw.integer(-7)), kid)),
        ("alg Ed25519 as RFC 9864 has it", raw.mapping((raw.integer(1), raw.integer(-19)), kid)),
        ("alg by name", raw.mapping((raw.integer(1), raw.text_string("EdDSA")), kid)),
        ("alg null", raw.mapping((raw.integer(1), raw.NULL), kid)),
        ("alg missing", raw.mapping(kid)),
        ("kid missing", raw.mapping(ALG_EDDSA)),
        ("no protected headers", raw.mapping()),
        ("protected header empty", b""),
        ("kid of 7 bytes", raw.mapping(ALG_EDDSA, (raw.integer(4), raw.byte_string(ACTIVE.key_id[:7])))),
        ("kid of 9 bytes", raw.mapping(ALG_EDDSA, (raw.integer(4), raw.byte_string(ACTIVE.key_id + b"\0")))),
        ("kid empty", raw.mapping(ALG_EDDSA, (raw.integer(4), raw.byte_string(b"")))),
        ("kid in text", raw.mapping(ALG_EDDSA, (raw.integer(4), raw.text_string(ACTIVE.key_id.hex()[:8])))),
        ("kid twice", raw.mapping(ALG_EDDSA, kid, kid)),
        ("alg twice", raw.mapping(ALG_EDDSA, ALG_EDDSA, kid)),
        ("a content type", raw.mapping(ALG_EDDSA, (raw.integer(3), raw.integer(60)), kid)),
        ("crit", raw.mapping(ALG_EDDSA, (raw.integer(2), raw.array(raw.integer(4))), kid)),
        ("an unknown header", raw.mapping(ALG_EDDSA, kid, (raw.integer(-70_000), raw.integer(0)))),
        ("an array for a header", raw.array(*ALG_EDDSA, *kid)),
        ("a byte after the header", raw.mapping(ALG_EDDSA, kid) + b"\0"),
    ):
        yield _code(name, signed(protected), "CoseError", "header")
    for name, protected in (
        ("headers in the other order", raw.mapping(kid, ALG_EDDSA)),
        ("header map of indefinite length", raw.indefinite(5, *ALG_EDDSA, *kid)),
        ("header map with a head too long", raw.mapping(ALG_EDDSA, kid, width=1)),
        ("alg with a label too long", raw.mapping((raw.integer(1, width=1), raw.integer(-8)), kid)),
        ("alg with a value too long", raw.mapping((raw.integer(1), raw.integer(-8, width=1)), kid)),
        ("kid with a label too long", raw.mapping(ALG_EDDSA, (raw.integer(4, width=2), _KID))),
        (
            "kid with a head too long",
            raw.mapping(ALG_EDDSA, (raw.integer(4), raw.byte_string(ACTIVE.key_id, width=1))),
        ),
    ):
        yield _code(name, signed(protected), "CoseError", "header", beyond_cddl=True)
    moved = raw.mapping(ALG_EDDSA)
    signature = ACTIVE.sign(signature_input(moved, _PAYLOAD))
    parts = (moved, _PAYLOAD, signature)
    yield _code(
        "kid in the unprotected header only",
        raw.tag(18, raw.array(raw.byte_string(moved), raw.mapping(kid), *map(raw.byte_string, parts[1:]))),
        "CoseError",
        "envelope",
    )


def _claims() -> Iterator[BadCode]:
    exp = (raw.integer(4), raw.integer(EXPIRES_AT))
    nbf = (raw.integer(5), raw.integer(NOT_BEFORE))
    statement = (raw.integer(-65_537), _STATEMENT)
    for name, payload in (
        ("payload empty", b""),
        ("payload null", raw.NULL),
        ("payload an array", raw.array(raw.integer(EXPIRES_AT), raw.integer(NOT_BEFORE), _STATEMENT)),
        ("payload in JSON", b'{"exp":1800000060,"nbf":1800000000}'),
        ("payload tagged as embedded CBOR", raw.tag(24, raw.byte_string(_PAYLOAD))),
        ("payload in a byte string of its own", raw.byte_string(_PAYLOAD)),
        ("no claims", raw.mapping()),
        ("exp missing", raw.mapping(nbf, statement)),
        ("nbf missing", raw.mapping(exp, statement)),
        ("statement missing", raw.mapping(exp, nbf)),
        ("exp twice, the second in place of nbf", raw.mapping(exp, exp, statement)),
        ("exp twice", raw.mapping(exp, exp, nbf, statement)),
        ("nbf twice", raw.mapping(exp, nbf, nbf, statement)),
        ("statement twice", raw.mapping(exp, nbf, statement, statement)),
        ("an issuer", raw.mapping((raw.integer(1), raw.text_string("x")), exp, nbf, statement)),
        ("iat in place of nbf", raw.mapping(exp, (raw.integer(6), nbf[1]), statement)),
        ("an unknown claim", raw.mapping(exp, nbf, statement, (raw.integer(-65_540), raw.NULL))),
        ("another label for the statement", raw.mapping(exp, nbf, (raw.integer(-65_538), _STATEMENT))),
        ("labels in text", raw.mapping((raw.text_string("exp"), exp[1]), nbf, statement)),
        ("a byte after the claims", _PAYLOAD + b"\0"),
        ("the claims twice", _PAYLOAD * 2),
        ("a map that claims 2**32 - 1 pairs", raw.head(5, MAX_U32) + _PAYLOAD[1:]),
        ("nested maps", b"\xa1\x04" * 60 + raw.NULL),
    ):
        yield _code(name, sign1(payload), "ClaimsError", "claims")
    for name, payload in (
        ("nbf before exp", raw.mapping(nbf, exp, statement)),
        ("statement first", raw.mapping(statement, exp, nbf)),
        ("claims map of indefinite length", raw.indefinite(5, *exp, *nbf, *statement)),
        ("claims map with a head too long", raw.mapping(exp, nbf, statement, width=1)),
    ):
        yield _code(name, sign1(payload), "ClaimsError", "claims", beyond_cddl=True)
    yield _code("cut inside the claims", sign1(_PAYLOAD[:-1]), "CborError", "claims")


def _times() -> Iterator[BadCode]:
    label = raw.integer(-65_537)

    def timed(expires_at: bytes, not_before: bytes) -> bytes:
        times = ((raw.integer(4), expires_at), (raw.integer(5), not_before))
        return sign1(raw.mapping(*times, (label, _STATEMENT)))

    exp, nbf = raw.integer(EXPIRES_AT), raw.integer(NOT_BEFORE)
    for name, item in (
        ("a float", b"\xfb" + struct.pack(">d", EXPIRES_AT)),
        ("a half float", bytes.fromhex("f97bff")),
        ("not a number", bytes.fromhex("f97e00")),
        ("infinite", bytes.fromhex("f97c00")),
        ("-1", raw.integer(-1)),
        ("negative", raw.integer(-EXPIRES_AT)),
        ("a big number", raw.tag(2, raw.byte_string(EXPIRES_AT.to_bytes(4, "big")))),
        ("a tagged time", raw.tag(1, raw.integer(EXPIRES_AT))),
        ("a date in text", raw.tag(0, raw.text_string("2027-01-15T08:01:00Z"))),
        ("text", raw.text_string("1800000060")),
        ("null", raw.NULL),
        ("true", b"\xf5"),
    ):
        yield _code(f"exp is {name}", timed(item, nbf), "CborError", "claims")
        yield _code(f"nbf is {name}", timed(exp, item), "CborError", "claims")
    for name, value in (("2**40", MAX_TIME + 1), ("2**63", 2**63), ("2**64 - 2", 2**64 - 2)):
        yield _code(f"exp is {name}", timed(raw.integer(value), nbf), "ClaimsError", "claims")
        later = raw.integer(value + 1)
        yield _code(f"nbf is {name}", timed(later, raw.integer(value)), "ClaimsError", "claims")
    for name, expires_at, not_before in (
        ("exp equals nbf", NOT_BEFORE, NOT_BEFORE),
        ("exp a second before nbf", NOT_BEFORE - 1, NOT_BEFORE),
        ("exp and nbf the wrong way round", NOT_BEFORE, EXPIRES_AT),
        ("exp and nbf zero", 0, 0),
    ):
        message = timed(raw.integer(expires_at), raw.integer(not_before))
        yield _code(name, message, "ClaimsError", "claims", beyond_cddl=True)


def _statements() -> Iterator[BadCode]:
    kind, index, generation = raw.integer(2), raw.integer(1_234_567), raw.integer(3)

    def stating(statement: bytes) -> bytes:
        return sign1(claims(EXPIRES_AT, NOT_BEFORE, statement))

    for name, statement, error in (
        ("kind 0", raw.array(raw.integer(0), index, generation), "ClaimsError"),
        ("kind 3", raw.array(raw.integer(3), index, generation), "ClaimsError"),
        ("kind 2**32", raw.array(raw.integer(2**32), index, generation), "ClaimsError"),
        ("kind -1", raw.array(raw.integer(-1), index, generation), "ClaimsError"),
        ("kind in text", raw.array(raw.text_string("1"), index, generation), "ClaimsError"),
        ("kind 1.0", raw.array(bytes.fromhex("f93c00"), index, generation), "ClaimsError"),
        ("kind true", raw.array(b"\xf5", index, generation), "ClaimsError"),
        ("kind null", raw.array(raw.NULL, index, generation), "ClaimsError"),
        ("credential_index 2**32", raw.array(kind, raw.integer(2**32), generation), "ClaimsError"),
        ("credential_index 2**64 - 1", raw.array(kind, raw.integer(2**64 - 1), generation), "ClaimsError"),
        ("credential_index -1", raw.array(kind, raw.integer(-1), generation), "CborError"),
        ("credential_index a float", raw.array(kind, bytes.fromhex("f93c00"), generation), "CborError"),
        ("credential_index in text", raw.array(kind, raw.text_string("1234567"), generation), "CborError"),
        ("credential_index a big number", raw.array(kind, raw.tag(2, b"\x41\x07"), generation), "CborError"),
        ("generation 2**32", raw.array(kind, index, raw.integer(2**32)), "ClaimsError"),
        ("generation -1", raw.array(kind, index, raw.integer(-1)), "CborError"),
        ("generation null", raw.array(kind, index, raw.NULL), "CborError"),
        ("statement empty", raw.array(), "ClaimsError"),
        ("statement of two items", raw.array(kind, index), "ClaimsError"),
        ("statement of five items", raw.array(kind, index, generation, b"\x61W", b"\x00"), "ClaimsError"),
        ("statement a map", raw.mapping((kind, index)), "ClaimsError"),
        ("statement null", raw.NULL, "ClaimsError"),
        ("statement in a byte string", raw.byte_string(_STATEMENT), "ClaimsError"),
        ("statement tagged as a set", raw.tag(258, _STATEMENT), "ClaimsError"),
        ("statement tagged as shareable", raw.tag(28, _STATEMENT), "ClaimsError"),
        ("statement a reference to itself", raw.tag(28, raw.array(raw.tag(29, b"\x00"))), "ClaimsError"),
        ("statement that claims 2**32 - 1 items", raw.head(4, MAX_U32) + _STATEMENT[1:], "ClaimsError"),
        ("statement of nested arrays", b"\x83" * 120 + kind, "ClaimsError"),
        ("statement that ends early", raw.head(4, 4) + _STATEMENT[1:], "CborError"),
    ):
        yield _code(name, stating(statement), error, "claims")
    for name, hint, error in (
        ("hint empty", raw.text_string(""), "ClaimsError"),
        ("hint of 33 bytes", raw.text_string("W" * 33), "ClaimsError"),
        ("hint of 11 characters in 33 bytes", raw.text_string("秀" * 11), "ClaimsError"),
        ("hint of 120 bytes", raw.text_string("W" * 120), "ClaimsError"),
        ("hint not UTF-8", raw.text_string(b"\xff\xfe"), "ClaimsError"),
        ("hint with an overlong zero", raw.text_string(b"W\xc0\x80"), "ClaimsError"),
        ("hint with half a surrogate pair", raw.text_string(b"\xed\xa0\x80"), "ClaimsError"),
        ("hint cut inside a character", raw.text_string("秀".encode()[:2]), "ClaimsError"),
        ("hint in bytes", raw.byte_string(b"W*"), "CborError"),
        ("hint null", raw.NULL, "CborError"),
        ("hint a number", raw.integer(7), "CborError"),
        ("hint an array", raw.array(raw.text_string("W*")), "CborError"),
        ("hint a regular expression", raw.tag(35, raw.text_string("(a+)+$")), "CborError"),
        ("hint that claims 2**63 bytes", raw.head(3, 2**63) + b"W*", "CborError"),
        ("hint that claims one byte too many", raw.head(3, 3) + b"W*", "CborError"),
    ):
        yield _code(name, stating(raw.array(kind, index, generation, hint)), error, "claims")


def _claims_encodings() -> Iterator[BadCode]:
    """The same claims in encodings that are not the deterministic one, correctly signed."""
    exp, nbf, label = raw.integer(EXPIRES_AT), raw.integer(NOT_BEFORE), raw.integer(-65_537)
    kind, index, generation = raw.integer(2), raw.integer(1_234_567), raw.integer(3)
    hint = raw.text_string("W*")

    def written(
        exp: bytes = exp,
        nbf: bytes = nbf,
        label: bytes = label,
        statement: bytes = _STATEMENT,
        four: bytes = b"\x04",
    ) -> bytes:
        return sign1(raw.mapping((four, exp), (b"\x05", nbf), (label, statement)))

    for name, message, error in (
        ("label of exp too long", written(four=raw.integer(4, width=1)), "ClaimsError"),
        ("exp in eight bytes", written(exp=raw.integer(EXPIRES_AT, width=8)), "CborError"),
        ("nbf in eight bytes", written(nbf=raw.integer(NOT_BEFORE, width=8)), "CborError"),
        ("nbf 23 in one byte", written(nbf=raw.integer(23, width=1)), "CborError"),
        ("nbf 255 in two bytes", written(nbf=raw.integer(255, width=2)), "CborError"),
        ("nbf 65 535 in four bytes", written(nbf=raw.integer(65_535, width=4)), "CborError"),
        ("nbf 0 in eight bytes", written(nbf=raw.integer(0, width=8)), "CborError"),
        ("label of the statement too long", written(label=raw.integer(-65_537, width=8)), "ClaimsError"),
        (
            "statement with a head too long",
            written(statement=raw.array(kind, index, generation, width=1)),
            "ClaimsError",
        ),
        (
            "statement of indefinite length",
            written(statement=raw.indefinite(4, kind, index, generation)),
            "ClaimsError",
        ),
        (
            "kind in one byte",
            written(statement=raw.array(raw.integer(2, width=1), index, generation)),
            "ClaimsError",
        ),
        (
            "credential_index in eight bytes",
            written(statement=raw.array(kind, raw.integer(1_234_567, width=8), generation)),
            "CborError",
        ),
        (
            "generation in one byte",
            written(statement=raw.array(kind, index, raw.integer(3, width=1))),
            "CborError",
        ),
        (
            "generation in four bytes",
            written(statement=raw.array(kind, index, raw.integer(3, width=4))),
            "CborError",
        ),
        (
            "hint with a head too long",
            written(statement=raw.array(kind, index, generation, raw.text_string("W*", width=1))),
            "CborError",
        ),
        (
            "hint in chunks",
            written(statement=raw.array(kind, index, generation, raw.indefinite(3, hint))),
            "CborError",
        ),
    ):
        yield _code(name, message, error, "claims", beyond_cddl=True)


def _keys_and_signatures() -> Iterator[BadCode]:
    yield _code("signed by a stranger", sign1(_PAYLOAD, key=STRANGER), "UnknownKey", "key")
    yield _code("signed by the root key", sign1(_PAYLOAD, key=ROOT), "UnknownKey", "key")
    zero_kid = raw.mapping(ALG_EDDSA, (raw.integer(4), raw.byte_string(bytes(8))))
    yield _code("kid of zeros", sign1(_PAYLOAD, protected=zero_kid), "UnknownKey", "key")

    other = claims(EXPIRES_AT, NOT_BEFORE, raw.array(raw.integer(1), raw.integer(7), raw.integer(3)))
    swapped = protected_header(RETIRED)
    r, s = _SIGNATURE[:32], int.from_bytes(_SIGNATURE[32:], "little")
    structure = signature_input(_PROTECTED, _PAYLOAD)
    for name, protected, payload, signature in (
        ("signed by a stranger under our kid", _PROTECTED, _PAYLOAD, STRANGER.sign(structure)),
        ("signed by another key of the key set", _PROTECTED, _PAYLOAD, RETIRED.sign(structure)),
        ("kid changed to another key of the key set", swapped, _PAYLOAD, _SIGNATURE),
        ("claims of another code", _PROTECTED, other, _SIGNATURE),
        (
            "window moved by a minute",
            _PROTECTED,
            claims(EXPIRES_AT + 60, NOT_BEFORE + 60, _STATEMENT),
            _SIGNATURE,
        ),
        ("claims that are no CBOR, not signed", _PROTECTED, b"\xff" * 27, _SIGNATURE),
        (
            "signed with external data",
            _PROTECTED,
            _PAYLOAD,
            ACTIVE.sign(signature_input(_PROTECTED, _PAYLOAD, b"x")),
        ),
        (
            "signed as part of a COSE_Sign",
            _PROTECTED,
            _PAYLOAD,
            ACTIVE.sign(signature_input(_PROTECTED, _PAYLOAD, context="Signature")),
        ),
        ("signed without the Sig_structure", _PROTECTED, _PAYLOAD, ACTIVE.sign(_PAYLOAD)),
        ("signed without the header", _PROTECTED, _PAYLOAD, ACTIVE.sign(signature_input(b"", _PAYLOAD))),
        ("signature with S + L", _PROTECTED, _PAYLOAD, r + (s + L).to_bytes(32, "little")),
        ("signature with S = 0", _PROTECTED, _PAYLOAD, r + bytes(32)),
        ("signature with R of small order", _PROTECTED, _PAYLOAD, b"\x01" + bytes(31) + _SIGNATURE[32:]),
        ("signature with the halves exchanged", _PROTECTED, _PAYLOAD, _SIGNATURE[32:] + r),
        ("signature of zeros", _PROTECTED, _PAYLOAD, bytes(64)),
        ("signature of ones", _PROTECTED, _PAYLOAD, b"\xff" * 64),
    ):
        yield _code(name, envelope(protected, payload, signature), "BadSignature", "signature")


def _windows() -> Iterator[BadCode]:
    text = _QR_TEXT
    for name, now, error in (
        ("a second before the window and the allowance", NOT_BEFORE - 31, "NotYetValid"),
        ("a phone four minutes fast", NOT_BEFORE - 240, "NotYetValid"),
        ("at the start of time", 0, "NotYetValid"),
        ("the second in which window and allowance end", EXPIRES_AT + 30, "Expired"),
        ("yesterday's screenshot", NOT_BEFORE + 86_400, "Expired"),
        ("at the end of time", MAX_TIME, "Expired"),
    ):
        yield BadCode(name, text, error, "window", now=now)
    year_2200 = 7_258_118_400
    later = qr_text(sign1(claims(year_2200 + 60, year_2200, _STATEMENT))).encode()
    yield BadCode("a code of the year 2200", later, "NotYetValid", "window")
    first = qr_text(sign1(claims(1, 0, _STATEMENT))).encode()
    yield BadCode("a code of 1970", first, "Expired", "window")
    longest = qr_text(sign1(claims(MAX_TIME, MAX_TIME - 1, _STATEMENT))).encode()
    yield BadCode("a code of the last second of all", longest, "NotYetValid", "window")
