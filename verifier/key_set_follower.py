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

from verifier.errors import NotReady
from verifier.redis_connection import connect
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import KeySetError
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
        self._refusal: str | None = None

    @property
    def version(self) -> int:
        """The version of the newest one, 0 while there is none."""
        return self._taken_sets[0].version if self._taken_sets else 0

    @property
    def signed(self) -> Sequence[bytes]:
        """What was taken and is kept, oldest first: offered in this order, others come to know the same."""
        return self._signed[::-1]

    def offer(self, signed: bytes) -> bool:
        """Take a key set if it is newer than the one we have; tell whether it was taken.

        Raises KeySetError for one that is wrong or older, each time. The same bytes are looked at once.
        """
        if signed in self._signed[:1]:  # also when nonsense was offered in between
            return False
        if signed != self._refused:
            self._refused, self._refusal = signed, self._take(signed)
        if self._refusal is not None:
            raise KeySetError(self._refusal)
        return True

    def _take(self, signed: bytes) -> str | None:
        """Take a key set, or return why it is refused."""
        try:
            offered = read_key_set(signed, self._root)
        except KeySetError as error:
            return str(error)
        if self._taken_sets and offered.version <= self._taken_sets[0].version:
            return f"expected a version above {self._taken_sets[0].version}, got {offered.version}"
        older = (_without_others(one, offered) for one in self._taken_sets[: _KEPT_SETS - 1])
        self._taken_sets = (offered, *older)
        self._signed = (signed, *self._signed[: _KEPT_SETS - 1])
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
    ) -> None:
        """`publish` takes what KeySets keeps, oldest first, whenever that has changed."""
        self._redis = connect(redis_url, reply_timeout_s=_REPLY_TIMEOUT_S, client_name="gatelight-key-set")
        self._key_sets = key_sets
        self._publish = publish

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def refresh(self) -> None:
        """Read Redis once; raises redis.RedisError or KeySetError, the key set being as it was."""
        # A byte more than a key set may have: enough to see that it is none, whatever lies there.
        signed = self._redis.getrange(KEY_SET_KEY, 0, MAX_SIGNED_KEY_SET_BYTES)
        if isinstance(signed, bytes) and signed and self._key_sets.offer(signed):
            self._publish(self._key_sets.signed)
            _log.info("key set taken", version=self._key_sets.version)
