"""Keep the key set current: read it from Redis and take a newer one that the root signed.

A key set that is older, unsigned, signed by a stranger or unreadable is refused, and the one that we
have stays; so it does while Redis is away. Whether it is still in force is asked at every scan.

The supervisor follows, and publishes the sets it has taken; each worker has KeySets of its own, to which it
offers them in their order, and so comes to the same opinion without believing anybody but the root.
"""

import dataclasses
from collections.abc import Callable, Sequence
from types import MappingProxyType

import structlog

from verifier.errors import NotReady, StatusMissing
from verifier.redis_connection import connect
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import KeySetError, KeySetOutdated
from verifier.wire.key_set import MAX_SIGNED_KEY_SET_BYTES, KeySet, read_key_set
from verifier.wire.status_store import KEY_SET_KEY

# How often to look: a revoked key is refused everywhere within seconds.
REFRESH_S = 1.0
_REPLY_TIMEOUT_S = 1.0
# Verifiers' clocks may be behind the issuer's; a set signed a moment ago must not be from the future.
_CLOCK_SKEW_S = 30

# An issuer that is ahead for a while signs one or two.
_KEPT_SETS = 4

_log = structlog.get_logger("verifier.key_set")


class KeySets:
    """The newest key set that was offered and found right."""

    def __init__(self, root: VerifyingKey) -> None:
        """Trust what `root` signed, and nothing else."""
        self._root = root
        # Newest first. Those behind it are for while it is from the future; they hold no key that it lacks.
        self._taken_sets: tuple[KeySet, ...] = ()
        self._signed: tuple[bytes, ...] = ()  # what they were read from
        self._refused: bytes | None = None  # the last that was looked at, and why it was refused
        self._refusal: KeySetError | None = None
        self._over: bytes | None = None  # the last that was over before it came
        self.refused = 0  # since the start; the same one again is not another

    @property
    def version(self) -> int:
        """The version of the newest one, 0 while there is none."""
        return self._taken_sets[0].version if self._taken_sets else 0

    @property
    def signed(self) -> Sequence[bytes]:
        """What was taken and is kept, oldest first: offered in this order, others come to know the same."""
        return self._signed[::-1]

    def offer(self, signed: bytes, now: int | None = None) -> bool:
        """Take a key set if it is newer than the one we have; tell whether it was taken.

        With `now`, Unix seconds, one that is over already is wrong: by it no gate would open, and an issuer
        whose clock is slow would close the city. Raises KeySetError for one that is wrong or older, each
        time; the same bytes are looked at once.
        """
        if signed in self._signed[:1]:  # also when nonsense was offered in between
            return False
        if signed == self._refused and self._refusal is not None:
            raise type(self._refusal)(*self._refusal.args)
        try:
            offered = self._newer(signed)
        except KeySetError as error:
            self._refused, self._refusal = signed, type(error)(*error.args)
            self.refused += 1
            raise
        if now is not None and now >= offered.expires_at:
            # Looked at again the next time: perhaps it is our clock that is wrong, and is set right.
            self._refused = None
            self._refusal = KeySetOutdated(f"key set {offered.version} was over before it came")
            self.refused += signed != self._over
            self._over = signed
            raise KeySetOutdated(*self._refusal.args)
        older = (_without_others(one, offered) for one in self._taken_sets[: _KEPT_SETS - 1])
        self._taken_sets = (offered, *older)
        self._signed = (signed, *self._signed[: _KEPT_SETS - 1])
        return True

    def _newer(self, signed: bytes) -> KeySet:
        offered = read_key_set(signed, self._root)
        if self._taken_sets and offered.version <= self._taken_sets[0].version:
            raise KeySetOutdated(
                f"expected a version above {self._taken_sets[0].version}, got {offered.version}"
            )
        return offered

    def expires_at(self, now: int) -> int | None:
        """Return when the key set in force at `now` ends, Unix seconds, or the newest where none is.

        None while there is none at all.
        """
        try:
            return self.in_force(now).expires_at
        except NotReady:
            return self._taken_sets[0].expires_at if self._taken_sets else None

    def starts_at(self, now: int) -> int | None:
        """Return when one is in force next, Unix seconds; None where one is at `now`, or none is to be."""
        try:
            self.in_force(now)
        except NotReady:
            starts = [one.issued_at - _CLOCK_SKEW_S for one in self._taken_sets]
            if starts and starts[0] > now:
                return min(start for start in starts if start > now)
        return None

    def in_force(self, now: int) -> KeySet:
        """Return the key set in force at `now`, Unix seconds; raises NotReady.

        The newest one is not in force yet where it was signed by an issuer whose clock is fast; but what it
        leaves out is gone at once: nobody waits for a clock to have a stolen key refused.
        """
        if not self._taken_sets:
            refusal = self._refusal
            raise NotReady("there is no key set yet" if refusal is None else f"no trusted key set: {refusal}")
        key_set = self._taken_sets[0]
        if now < key_set.issued_at - _CLOCK_SKEW_S:
            older = self._taken_sets[1:]
            key_set = next((one for one in older if now >= one.issued_at - _CLOCK_SKEW_S), key_set)
        if not key_set.issued_at - _CLOCK_SKEW_S <= now < key_set.expires_at:
            raise NotReady(f"key set {key_set.version} is not in force")
        return key_set


def _without_others(key_set: KeySet, newer: KeySet) -> KeySet:
    """Return a key set without the keys that a newer one lacks."""
    keys = {key_id: key for key_id, key in key_set.keys.items() if key_id in newer.keys}
    return dataclasses.replace(key_set, keys=MappingProxyType(keys))


class KeySetFollower:
    """Offers KeySets what Redis holds; a verifier.loop.Loop makes it look."""

    def __init__(
        self,
        *,
        redis_url: str,
        key_sets: KeySets,
        publish: Callable[[Sequence[bytes]], None] = lambda _: None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`publish` takes what KeySets keeps, oldest first, whenever that has changed.

        By `clock`, which returns Unix seconds, key sets are refused that are over when they come.
        """
        self._redis = connect(
            redis_url, reply_timeout_s=_REPLY_TIMEOUT_S, client_name="gatelight-key-set", key=KEY_SET_KEY
        )
        self._key_sets = key_sets
        self._publish = publish
        self._clock = clock
        self._is_unpublished = False  # what was taken last could not be published yet

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def refresh(self) -> None:
        """Read Redis once; raises redis.RedisError, StatusMissing, KeySetError, or what `publish` raises.

        The key set is then as it was, and what could not be published is tried again first.
        """
        self._publish_taken()
        # A byte more than a key set may have: enough to see that it is none, whatever lies there.
        signed = self._redis.getrange(KEY_SET_KEY, 0, MAX_SIGNED_KEY_SET_BYTES)
        if not isinstance(signed, bytes) or not signed:
            raise StatusMissing("Redis holds no key set: the issuer has not written it")
        now = None if self._clock is None else int(self._clock())
        if self._key_sets.offer(signed, now):
            self._is_unpublished = True
            self._publish_taken()

    def _publish_taken(self) -> None:
        if not self._is_unpublished:
            return
        self._publish(self._key_sets.signed)
        self._is_unpublished = False
        _log.info("key set taken", version=self._key_sets.version)
