"""Codes that authenticate: the smallest, the largest, and every boundary between."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.vectors import raw_cbor as raw
from tests.vectors.keys import ACTIVE, RETIRED, KeyPair

# An ordinary window, and an ordinary moment in it: January 2027.
NOT_BEFORE = 1_800_000_000
EXPIRES_AT = NOT_BEFORE + 60
NOW = NOT_BEFORE + 10
# Codes of long windows are issued like this: half a year, in January 2027.
PAPER_EXPIRES_AT = NOT_BEFORE + 180 * 86_400

PHONE, PAPER = 1, 2
MAX_U32 = 2**32 - 1
MAX_TIME = 2**40 - 1
# Where the head of a CBOR integer grows.
WIDTH_BOUNDARIES = (0, 23, 24, 255, 256, 65_535, 65_536, MAX_U32)

ALG_EDDSA = (raw.integer(1), raw.integer(-8))


@dataclass(frozen=True, slots=True)
class GoodCode:
    """A code, what it says, and a time in its window."""

    name: str
    kind: int = PHONE
    credential_index: int = 1_234_567
    generation: int = 3
    not_before: int = NOT_BEFORE
    expires_at: int = EXPIRES_AT
    hint: str = ""
    now: int = NOW
    key: KeyPair = ACTIVE

    @property
    def qr_text(self) -> str:
        """What the QR holds."""
        hint = (raw.text_string(self.hint),) if self.hint else ()
        numbers = (self.kind, self.credential_index, self.generation)
        statement = raw.array(*(raw.integer(number) for number in numbers), *hint)
        return qr_text(sign1(claims(self.expires_at, self.not_before, statement), key=self.key))


def claims(expires_at: int, not_before: int, statement: bytes) -> bytes:
    """Return a payload as it should be."""
    return raw.mapping(
        (raw.integer(4), raw.integer(expires_at)),
        (raw.integer(5), raw.integer(not_before)),
        (raw.integer(-65_537), statement),
    )


def protected_header(key: KeyPair) -> bytes:
    """Return the protected header, as it should be, of a code signed by `key`."""
    return raw.mapping(ALG_EDDSA, (raw.integer(4), raw.byte_string(key.key_id)))


def signature_input(protected: bytes, payload: bytes, aad: bytes = b"", context: str = "Signature1") -> bytes:
    """Return the Sig_structure of RFC 9052, section 4.4."""
    parts = (raw.byte_string(part) for part in (protected, aad, payload))
    return raw.array(raw.text_string(context), *parts)


def sign1(payload: bytes, *, key: KeyPair = ACTIVE, protected: bytes | None = None) -> bytes:
    """Return the tagged COSE_Sign1 of any payload, correctly signed, under any protected header."""
    protected = protected_header(key) if protected is None else protected
    return envelope(protected, payload, key.sign(signature_input(protected, payload)))


def envelope(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """Return a tagged COSE_Sign1 as it should be, of any content."""
    content = (
        raw.byte_string(protected),
        raw.mapping(),
        raw.byte_string(payload),
        raw.byte_string(signature),
    )
    return raw.tag(18, raw.array(*content))


def qr_text(message: bytes) -> str:
    """Return the QR text of any message."""
    return "GL1:" + raw.base45(message)


def good_codes() -> Iterator[GoodCode]:
    """Make all of them."""
    yield GoodCode("phone, ordinary")
    yield GoodCode("phone, signed by a key that is retired but still in the key set", key=RETIRED)
    yield GoodCode("phone, smallest", credential_index=0, generation=0, not_before=0, expires_at=1, now=0)
    yield GoodCode(
        "phone, largest",
        credential_index=MAX_U32,
        generation=MAX_U32,
        not_before=MAX_TIME - 1,
        expires_at=MAX_TIME,
        now=MAX_TIME - 1,
    )
    yield GoodCode("phone, with a hint", hint="王*秀")
    yield _paper("paper, without a hint", "")
    yield _paper("paper, with a Chinese hint", "王*秀")
    yield _paper("paper, with a hint of one byte", "W")
    yield _paper("paper, with a hint of 23 bytes", "W" * 23)
    yield _paper("paper, with a hint of 24 bytes", "W" * 24)
    yield _paper("paper, with a hint of 32 bytes", "W" * 32)
    yield _paper("paper, with a hint of 32 bytes in 12 characters", "欧阳*" + "秀" * 7 + "**")
    yield _paper("paper, with a hint beyond the basic plane", "𠮷*")
    yield GoodCode(
        "paper, largest",
        kind=PAPER,
        credential_index=MAX_U32,
        generation=MAX_U32,
        not_before=MAX_TIME - 1,
        expires_at=MAX_TIME,
        hint="W" * 32,
        now=MAX_TIME - 1,
    )
    for value in WIDTH_BOUNDARIES:
        yield GoodCode(f"credential_index {value}", credential_index=value)
        yield GoodCode(f"generation {value}", generation=value)
        yield GoodCode(f"not_before {value}", not_before=value, expires_at=value + 60, now=value)
        if value:
            yield GoodCode(f"expires_at {value}", not_before=value - 1, expires_at=value, now=value - 1)
    yield GoodCode("expires_at 2**32", not_before=MAX_U32, expires_at=2**32, now=MAX_U32)
    for name, now in (
        ("first second of the window", NOT_BEFORE),
        ("last second of the window", EXPIRES_AT - 1),
        ("first second with the allowance for skew", NOT_BEFORE - 30),
        ("last second with the allowance for skew", EXPIRES_AT + 29),
    ):
        yield GoodCode(name, now=now)


def _paper(name: str, hint: str) -> GoodCode:
    return GoodCode(name, kind=PAPER, expires_at=PAPER_EXPIRES_AT, hint=hint)
