"""The ring: the key that signs now, and the key set that verifiers have, in memory for the calls that sign.

Every call takes one `Signing` and uses nothing else, so it sees key and key set of one instant, however
often they are swapped meanwhile. Before a code is signed that ends later than any before, the register
notes its end: as long as that is to come, the key stays in the key set. So that this is not a write for
each bundle, it is noted some way ahead (Thresholds.slack_s).
"""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from issuer.errors import FailedPrecondition
from issuer.key_store import KeyStore
from issuer.register.keys import Keys
from verifier.wire.key_set import KeySet

# Keys that signed lately, so that a request that is asked again can be answered as before. Two rotations
# in ten minutes happen in drills alone.
_MAX_FORMER_KEYS = 4
# To make a key, publish it and activate it takes a quarter of a second; a busy machine takes longer.
_SUCCESSOR_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Signing:
    """What to sign with, and what verifiers check it against."""

    key: KeyStore
    key_id: bytes
    key_set: KeySet


class KeyRing:
    """Holds what signs. Threads share it; rotation alone turns it."""

    def __init__(self, *, keys: Keys, slack_s: int) -> None:
        """Begin without a key: rotation puts one in."""
        self._keys = keys
        self._slack_s = slack_s
        self._signing: Signing | None = None
        self._former: Mapping[bytes, Signing] = {}
        self._reserved: Mapping[bytes, int] = {}  # by key_id, Unix seconds, as the register has it
        self._is_successor_coming = False
        self._lock = threading.Lock()
        self._turned = threading.Condition()

    def current(self, *, now: int) -> Signing:
        """Return what signs at `now`, Unix seconds; raises FailedPrecondition.

        That is when no key is in force that verifiers know, or the key set has expired.
        """
        signing = self._signing or self._wait_for_successor()
        if signing is None:
            raise FailedPrecondition(
                "no signing key is in the published key set: an operator has to export the next key set, "
                "have the root sign it, and import it"
            )
        if now >= signing.key_set.expires_at:
            raise FailedPrecondition("the key set has expired: no verifier would take a code")
        return signing

    def that_signed(self, key_id: bytes, *, now: int) -> Signing:
        """Return what signed before under that name, while it is still in force; otherwise `current`."""
        current = self.current(now=now)
        former = self._former.get(key_id)
        if former is None or key_id not in current.key_set.keys:
            return current
        return Signing(former.key, former.key_id, current.key_set)

    def reserve(self, signing: Signing, expires_at: int) -> None:
        """Note, before it is signed, that a window of this key ends at `expires_at`, Unix seconds.

        Raises FailedPrecondition when the key has been taken out of force since, RegisterUnavailable when
        it cannot be noted: then nothing may be signed.
        """
        if expires_at <= self._reserved.get(signing.key_id, 0):
            return
        with self._lock:
            if expires_at <= self._reserved.get(signing.key_id, 0):
                return
            reserved = expires_at + self._slack_s
            if not self._keys.reserve(signing.key_id, reserved):
                raise FailedPrecondition("the signing key has just been taken out of force: ask again")
            self._reserved = {**self._reserved, signing.key_id: reserved}

    def turn(
        self, signing: Signing | None, *, trusted: Collection[bytes], is_successor_coming: bool = False
    ) -> None:
        """Sign with this from now on; `trusted` are the key_ids in force, former ones among them.

        With `is_successor_coming` calls wait a moment for the next turn instead of being refused.
        """
        before = self._signing
        with self._turned, self._lock:
            former = {key_id: one for key_id, one in self._former.items() if key_id in trusted}
            if before is not None and before.key_id in trusted:
                former[before.key_id] = before
            self._former = dict(list(former.items())[-_MAX_FORMER_KEYS:])
            self._reserved = {key_id: end for key_id, end in self._reserved.items() if key_id in trusted}
            self._signing = signing
            self._is_successor_coming = is_successor_coming
            self._turned.notify_all()

    def end_waiting(self) -> None:
        """Let calls wait no longer: no successor has come."""
        with self._turned:
            self._is_successor_coming = False
            self._turned.notify_all()

    def _wait_for_successor(self) -> Signing | None:
        with self._turned:
            self._turned.wait_for(
                lambda: self._signing is not None or not self._is_successor_coming, _SUCCESSOR_WAIT_S
            )
            return self._signing
