"""Scans of every kind that a gate meets, each with the verdict that must come back.

The expected verdicts follow from how each scan is made, not from asking the verifier's code. Where codes of
ours come from is a source's business: from a key that we have (corpus.py), or from bundles that an issuer
signed (corpus_issuer.py).
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import Protocol

from issuer.key_store import KeyStore, key_id_of
from loadtest.corpus_file import Scan, random_stride
from loadtest.mix import share_out
from verifier.verdict import Verdict
from verifier.wire import base45, cose
from verifier.wire.code import PREFIX, CredentialKind, SignedCode, code_sig_structure, encode_qr_text
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
_OF_WHOM = {
    "green": Verdict.GREEN,
    "yellow": Verdict.YELLOW,
    "red": Verdict.RED,
    "suspended": Verdict.SUSPENDED,
    "revoked": Verdict.REVOKED,
    "unheard-of": Verdict.NO_STATUS,
}


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A credential on the register, and the verdict on its current codes."""

    credential_index: int
    generation: int
    kind: CredentialKind
    verdict: Verdict


class Population(Protocol):
    """Enrolled credentials by number: a list, or a rule that gives them."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, number: int, /) -> Enrolled:
        """Return one, 0 to len() - 1."""


class NobodyLikeThat(Exception):
    """A mix asks for codes of people whom there are none of; the message is for people."""


class Source(Protocol):
    """Gives codes whose verdicts hold for a stated time."""

    def current(self, enrolled: Enrolled) -> bytes:
        """Return the QR text of a code that is current all the time."""

    def claims(self, enrolled: Enrolled) -> tuple[bytes, bytes]:
        """Return the key_id that a current code names, and its payload."""

    def expired(self, enrolled: Enrolled) -> bytes:
        """Return the QR text of a code that has expired, also by a clock that is half a minute behind."""

    def future(self, enrolled: Enrolled) -> bytes:
        """Return the QR text of a code that is not valid yet, also by a clock half a minute ahead."""

    def replaced(self) -> tuple[bytes, Verdict]:
        """Return the QR text of a current code of an earlier generation, and the verdict on it."""


class _Deal:
    """Gives one of a population after the other, nobody twice before all others came.

    Goes by a stride, as a walk does, since a city of millions is nowhere kept to be shuffled.
    """

    def __init__(self, population: Population, rng: random.Random) -> None:
        self._population, self._rng = population, rng
        self._at, self._stride = 0, 0

    def next(self) -> Enrolled:
        """Return the next one; raises ValueError where there is nobody."""
        count = len(self._population)
        if not self._stride:
            self._at, self._stride = self._rng.randrange(count), random_stride(count, self._rng)
        self._at = (self._at + self._stride) % count
        return self._population[self._at]


class Specimens:
    """Makes scans of every kind from the codes of a source."""

    def __init__(
        self,
        source: Source,
        *,
        population: Population,
        groups: Mapping[Verdict, Population] | None = None,
        stranger: KeyStore,
        rng: random.Random,
    ) -> None:
        """`groups` are the population by verdict, for those who need not look at everybody to know.

        `stranger` is a key that no verifier has.
        """
        self._source = source
        self._population = population
        self._groups = groups
        self._stranger, self._stranger_id = stranger, key_id_of(stranger)
        self._rng = rng
        self._everybody = _Deal(population, rng)
        self._deals: dict[Verdict, _Deal] = {}
        self._makers: Mapping[str, Callable[[], Scan]] = {
            **{kind: partial(self._current_of, kind) for kind in _OF_WHOM},
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

    def make(self, count: int, mix: Mapping[str, int]) -> Iterator[Scan]:
        """Return `count` scans in the proportions of `mix`, in any order; raises NobodyLikeThat."""
        for kind, verdict in _OF_WHOM.items():
            if mix.get(kind) and not self._group(verdict):
                raise NobodyLikeThat(f"the mix has {kind} codes, and nobody here is {verdict.name}")
        shares = share_out(mix, count)
        kinds = list(chain.from_iterable(repeat(kind, share) for kind, share in shares.items()))
        self._rng.shuffle(kinds)
        return (self._makers[kind]() for kind in kinds)

    def _any(self) -> Enrolled:
        return self._everybody.next()

    def _group(self, verdict: Verdict) -> Population:
        if self._groups is None:
            self._groups = _by_verdict(self._population)
        return self._groups.get(verdict, ())

    def _current_of(self, kind: str) -> Scan:
        verdict = _OF_WHOM[kind]
        deal = self._deals.get(verdict)
        if deal is None:
            deal = self._deals[verdict] = _Deal(self._group(verdict), self._rng)
        return Scan(self._source.current(deal.next()), verdict, kind)

    def _current(self) -> Scan:
        enrolled = self._any()
        return Scan(self._source.current(enrolled), enrolled.verdict, "current")

    def _expired(self) -> Scan:
        return Scan(self._source.expired(self._any()), Verdict.EXPIRED, "expired")

    def _future(self) -> Scan:
        return Scan(self._source.future(self._any()), Verdict.NOT_YET_VALID, "future")

    def _replaced(self) -> Scan:
        return Scan(*self._source.replaced(), "replaced")

    def _of_a_stranger(self) -> Scan:
        _, payload = self._source.claims(self._any())
        return Scan(self._sign_as_stranger(self._stranger_id, payload), Verdict.UNKNOWN_KEY, "stranger")

    def _forged(self) -> Scan:
        key_id, payload = self._source.claims(self._any())
        return Scan(self._sign_as_stranger(key_id, payload), Verdict.BAD_SIGNATURE, "forged")

    def _sign_as_stranger(self, key_id: bytes, payload: bytes) -> bytes:
        signature = self._stranger.sign(code_sig_structure(key_id, payload))
        return encode_qr_text(SignedCode(key_id, payload, signature))

    def _altered(self) -> Scan:
        """Flip one bit of the COSE message; where it lies tells what must come of it."""
        message = bytearray(base45.decode(self._source.current(self._any())[len(PREFIX) :]))
        at = self._rng.randrange(len(message))
        message[at] ^= 1 << self._rng.randrange(8)
        return Scan(PREFIX + base45.encode(bytes(message)), _verdict_on_change(message, at), "altered")

    def _damaged(self) -> Scan:
        qr_text = self._source.current(self._any())
        damage = self._rng.choice((bytes.lower, lambda text: text[: self._rng.randrange(len(text))]))
        return Scan(damage(qr_text), Verdict.MALFORMED, "damaged")

    def _foreign(self) -> Scan:
        return Scan(self._rng.choice(FOREIGN_QR_TEXTS), Verdict.MALFORMED, "foreign")

    def _garbage(self) -> Scan:
        garbage = self._rng.randbytes(self._rng.randrange(600))
        prefix = self._rng.choice((b"", PREFIX, PREFIX + base45.encode(garbage[:200])))
        return Scan(prefix + garbage, Verdict.MALFORMED, "garbage")


def _by_verdict(population: Population) -> Mapping[Verdict, Population]:
    """Return who gets each verdict."""
    found: dict[Verdict, list[Enrolled]] = {}
    for number in range(len(population)):
        found.setdefault(population[number].verdict, []).append(population[number])
    return found


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
