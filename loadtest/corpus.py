"""Scans of every kind, signed with a key that verifiers know: good for hours, and without an issuer."""

import random
from collections.abc import Iterator, Mapping

from issuer.key_store import KeyStore, SecretKeyStore, key_id_of
from issuer.signing import WINDOW_S, sign_code
from loadtest.corpus_file import Scan
from loadtest.specimens import Enrolled, Population, Specimens
from verifier.authenticate import CLOCK_SKEW_S
from verifier.verdict import Verdict
from verifier.wire.code import Code, encode_claims

__all__ = ["Corpus", "Enrolled"]

# Codes are that old at most when they are first shown.
_SAFE_AGE_S = 20
# What a verifier's clock and ours may differ by, beside the skew that is allowed to codes.
_CLOCKS_DIFFER_S = 30
_DAY_S = 86_400


class Corpus:
    """Makes scans with a signing key that verifiers know."""

    def __init__(
        self,
        *,
        key: KeyStore,
        population: Population,
        rng: random.Random,
        groups: Mapping[Verdict, Population] | None = None,
    ) -> None:
        """`key` is in the key set that verifiers have; the same `rng` makes the same scans.

        `groups` as in Specimens.
        """
        self._key, self._key_id = key, key_id_of(key)
        self._stranger = SecretKeyStore(rng.randbytes(32))
        self._population, self._groups = population, groups
        self._rng = rng

    def code(self, enrolled: Enrolled, *, not_before: int) -> bytes:
        """Return the QR text of a code as the issuer makes them, whatever its window."""
        return self._sign(self._key, enrolled, not_before)

    def forged_code(self, enrolled: Enrolled, *, not_before: int) -> bytes:
        """Return the QR text of a code that names the right key and was signed with another."""
        return self._sign(self._stranger, enrolled, not_before)

    def specimens(self, count: int, *, now: int, mix: Mapping[str, int]) -> Iterator[Scan]:
        """Return `count` scans, good for a minute from `now` on, in the proportions of `mix`."""
        return self.scans(count, mix=mix, good_from=now, good_until=now + WINDOW_S)

    def scans(self, count: int, *, mix: Mapping[str, int], good_from: int, good_until: int) -> Iterator[Scan]:
        """Return `count` scans, good from one time to the other, Unix seconds, in the proportions of `mix`.

        Codes have windows as long as that takes. Raises NobodyLikeThat.
        """
        source = _KeySource(self._key, self._population, self._rng, good_from, good_until)
        specimens = Specimens(
            source,
            population=self._population,
            groups=self._groups,
            stranger=self._stranger,
            rng=self._rng,
        )
        return specimens.make(count, mix)

    def _sign(self, key: KeyStore, enrolled: Enrolled, not_before: int) -> bytes:
        return sign_code(
            _code(enrolled, enrolled.generation, not_before, not_before + WINDOW_S),
            key=key,
            key_id=self._key_id,
        )


class _KeySource:
    """Codes of a key that we have, with windows for good_from <= now < good_until, Unix seconds."""

    def __init__(
        self, key: KeyStore, population: Population, rng: random.Random, good_from: int, good_until: int
    ) -> None:
        self._key, self._key_id = key, key_id_of(key)
        self._population = population
        self._rng = rng
        self._good_from, self._good_until = good_from, good_until

    def current(self, enrolled: Enrolled) -> bytes:
        return self._sign(self._current(enrolled, enrolled.generation))

    def claims(self, enrolled: Enrolled) -> tuple[bytes, bytes]:
        return self._key_id, encode_claims(self._current(enrolled, enrolled.generation))

    def expired(self, enrolled: Enrolled) -> bytes:
        ago_s = CLOCK_SKEW_S + _CLOCKS_DIFFER_S + self._rng.randrange(_DAY_S)
        expires_at = self._good_from - ago_s
        return self._sign(_code(enrolled, enrolled.generation, expires_at - WINDOW_S, expires_at))

    def future(self, enrolled: Enrolled) -> bytes:
        ahead_s = CLOCK_SKEW_S + _CLOCKS_DIFFER_S + self._rng.randrange(_DAY_S)
        not_before = self._good_until + ahead_s
        return self._sign(_code(enrolled, enrolled.generation, not_before, not_before + WINDOW_S))

    def replaced(self) -> tuple[bytes, Verdict]:
        enrolled = self._rng.choice(self._population)
        code = self._current(enrolled, enrolled.generation - 1 or enrolled.generation + 1)
        verdict = Verdict.NO_STATUS if enrolled.verdict is Verdict.NO_STATUS else Verdict.REPLACED
        return self._sign(code), verdict

    def _current(self, enrolled: Enrolled, generation: int) -> Code:
        not_before = self._good_from - self._rng.randrange(_SAFE_AGE_S)
        return _code(enrolled, generation, not_before, max(not_before + WINDOW_S, self._good_until))

    def _sign(self, code: Code) -> bytes:
        return sign_code(code, key=self._key, key_id=self._key_id)


def _code(enrolled: Enrolled, generation: int, not_before: int, expires_at: int) -> Code:
    return Code(enrolled.kind, enrolled.credential_index, generation, not_before, expires_at)
