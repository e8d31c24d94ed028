"""Scans of every kind that a gate meets, each with the verdict that must come back.

The expected verdicts follow from how each scan is made, not from asking the verifier's code.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from issuer.key_store import KeyStore, SecretKeyStore, key_id_of
from issuer.signing import ROTATION_S, WINDOW_S, sign_code
from verifier.authenticate import CLOCK_SKEW_S
from verifier.verdict import Verdict
from verifier.wire import base45, cose
from verifier.wire.code import (
    PREFIX,
    Code,
    CredentialKind,
)
from verifier.wire.ed25519 import SIGNATURE_BYTES

# What people hold under scanners that is not a code of ours.
FOREIGN_QR_TEXTS = (
    b"",
    b"https://shop.example/p/4711?utm_source=poster",
    b"WIFI:T:WPA;S=guests;P=letmein;;",
    b"HC1:NCFOXN%TSMAHN-H1:O2B9%F8:7TSI4 YLD",
    b"BEGIN:VCARD\nVERSION:3.0\nN:Doe;Jane\nEND:VCARD",
    b"6901234567892",
    "支付码".encode(),
    "付款".encode("gb18030"),
    b"GL2:6BFOXN%TS3DH0YOJ58S S-W5HDC *M0II5XHC9B5G2",
)
_PROTECTED_BYTES = 13
_SAFE_AGE_S = 20


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A credential on the register, and the verdict on its current codes."""

    credential_index: int
    generation: int
    kind: CredentialKind
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Specimen:
    """One scan and the verdict that must come back."""

    kind: str
    qr_text: bytes
    verdict: Verdict


class Corpus:
    """Makes specimens from the codes of enrolled credentials."""

    def __init__(self, *, key: KeyStore, population: Sequence[Enrolled], rng: random.Random) -> None:
        """`key` is in the key set that verifiers have; the same `rng` makes the same specimens."""
        self._key = key
        self._stranger = SecretKeyStore(rng.randbytes(32))
        self._population = population
        self._rng = rng

    def code(self, enrolled: Enrolled, *, not_before: int) -> bytes:
        """Return the QR text of a code, whatever its window."""
        return self._sign(self._key, key_id_of(self._key), enrolled, not_before)

    def forged_code(self, enrolled: Enrolled, *, not_before: int) -> bytes:
        """Return the QR text of a code that names the right key and was signed with another."""
        return self._sign(self._stranger, key_id_of(self._key), enrolled, not_before)

    def specimens(self, count: int, *, now: int, mix: Mapping[str, int]) -> Iterator[Specimen]:
        """Return `count` specimens, good for a minute from `now` on, in the proportions of `mix`."""
        makers: Mapping[str, Callable[[int], Specimen]] = {
            "current": self._current,
            "expired": self._expired,
            "future": self._future,
            "replaced": self._replaced,
            "stranger": self._of_a_stranger,
            "forged": self._forged,
            "altered": self._altered,
            "damaged": self._damaged,
            "foreign": self._foreign,
            "garbage": self._garbage,
        }
        for kind in self._rng.choices(list(mix), weights=list(mix.values()), k=count):
            yield makers[kind](now)

    def _any(self) -> Enrolled:
        return self._rng.choice(self._population)

    def _fresh(self, now: int) -> bytes:
        return self.code(self._any(), not_before=now)

    def _current(self, now: int) -> Specimen:
        enrolled = self._any()
        age_s = self._rng.randrange(_SAFE_AGE_S)
        return Specimen("current", self.code(enrolled, not_before=now - age_s), enrolled.verdict)

    def _expired(self, now: int) -> Specimen:
        ago_s = WINDOW_S + CLOCK_SKEW_S + self._rng.randrange(1, 86_400)
        return Specimen("expired", self.code(self._any(), not_before=now - ago_s), Verdict.EXPIRED)

    def _future(self, now: int) -> Specimen:
        # Beyond the skew also at the end of the minute that specimens have to be good for.
        ahead_s = CLOCK_SKEW_S + 4 * ROTATION_S + self._rng.randrange(1, 86_400)
        return Specimen("future", self.code(self._any(), not_before=now + ahead_s), Verdict.NOT_YET_VALID)

    def _replaced(self, now: int) -> Specimen:
        enrolled = self._any()
        older = Enrolled(enrolled.credential_index, enrolled.generation + 1, enrolled.kind, enrolled.verdict)
        verdict = Verdict.NO_STATUS if enrolled.verdict is Verdict.NO_STATUS else Verdict.REPLACED
        return Specimen("replaced", self.code(older, not_before=now), verdict)

    def _of_a_stranger(self, now: int) -> Specimen:
        qr_text = self._sign(self._stranger, key_id_of(self._stranger), self._any(), now)
        return Specimen("stranger", qr_text, Verdict.UNKNOWN_KEY)

    def _forged(self, now: int) -> Specimen:
        return Specimen("forged", self.forged_code(self._any(), not_before=now), Verdict.BAD_SIGNATURE)

    def _altered(self, now: int) -> Specimen:
        """Flip one bit of the COSE message; where it lies tells what must come of it."""
        message = bytearray(base45.decode(self._fresh(now)[len(PREFIX) :]))
        at = self._rng.randrange(len(message))
        message[at] ^= 1 << self._rng.randrange(8)
        return Specimen("altered", PREFIX + base45.encode(bytes(message)), _verdict_on_change(message, at))

    def _damaged(self, now: int) -> Specimen:
        qr_text = self._fresh(now)
        damage = self._rng.choice((bytes.lower, lambda text: text[: self._rng.randrange(len(text))]))
        return Specimen("damaged", damage(qr_text), Verdict.MALFORMED)

    def _foreign(self, _now: int) -> Specimen:
        return Specimen("foreign", self._rng.choice(FOREIGN_QR_TEXTS), Verdict.MALFORMED)

    def _garbage(self, _now: int) -> Specimen:
        garbage = self._rng.randbytes(self._rng.randrange(600))
        prefix = self._rng.choice((b"", PREFIX, PREFIX + base45.encode(garbage[:200])))
        return Specimen("garbage", prefix + garbage, Verdict.MALFORMED)

    def _sign(self, key: KeyStore, key_id: bytes, enrolled: Enrolled, not_before: int) -> bytes:
        code = Code(
            kind=enrolled.kind,
            credential_index=enrolled.credential_index,
            generation=enrolled.generation,
            not_before=not_before,
            expires_at=not_before + WINDOW_S,
        )
        return sign_code(code, key=key, key_id=key_id)


def _verdict_on_change(message: bytes | bytearray, at: int) -> Verdict:
    """Return the verdict on a message of which the byte at `at` was changed (code_token.cddl)."""
    key_id_end = 2 + 1 + _PROTECTED_BYTES
    signature_at = len(message) - SIGNATURE_BYTES
    if key_id_end - cose.KEY_ID_BYTES <= at < key_id_end:
        return Verdict.UNKNOWN_KEY
    # One byte for the empty map, one or two for the head of the payload, two for that of the signature.
    payload_end = signature_at - 2
    payload_at = key_id_end + (2 if payload_end - key_id_end - 2 < 24 else 3)
    if payload_at <= at < payload_end or at >= signature_at:
        return Verdict.BAD_SIGNATURE
    return Verdict.MALFORMED


# Equal parts of everything, for correctness.
EVERYTHING = dict.fromkeys(
    (
        *("current", "expired", "future", "replaced", "stranger"),
        *("forged", "altered", "damaged", "foreign", "garbage"),
    ),
    1,
)
# A guess at a morning at a busy gate: nearly everybody is honest, some phones are wrong, some are cheats.
GATE = {"current": 94, "expired": 2, "future": 1, "replaced": 1, "forged": 1, "foreign": 1}
