"""Codes whose signature was found right, by their whole QR text: a card or a second try costs no signature.

Only the signature is remembered. Whether its key is still in the key set, the window and the status are asked
at every scan. Nobody gets a text in here but who signs codes.

A code that is known is found in 0.6 microseconds, where its signature took 45; one that is not costs 0.25
more. So it pays from one repeated code in 180 on.
"""

from verifier.counters import Counter, Counters
from verifier.wire.code import Code
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet


class KnownCodes:
    """The last codes. Threads share it without a lock: at worst one forgets too soon."""

    def __init__(self, counters: Counters, *, most: int) -> None:
        """Keep up to `most` codes, and the last half of that many in any case; from 2 on."""
        self._counters = counters
        self._half = max(1, most // 2)
        self._newer: dict[bytes, tuple[bytes, VerifyingKey, Code]] = {}
        self._older: dict[bytes, tuple[bytes, VerifyingKey, Code]] = {}

    def find(self, qr_text: bytes, key_set: KeySet) -> Code | None:
        """Return the code, if it is known and the key set still has its key."""
        known = self._newer.get(qr_text) or self._older.get(qr_text)
        if known is None:
            return None
        key_id, key, code = known
        if key_set.keys.get(key_id) != key:
            return None
        self._counters.add(Counter.CACHE_HITS)
        return code

    def remember(self, qr_text: bytes, key_id: bytes, key: VerifyingKey, code: Code) -> None:
        """Keep a code whose signature was found right by that key."""
        if len(self._newer) >= self._half:
            self._older, self._newer = self._newer, {}
        self._newer[qr_text] = (key_id, key, code)
