"""The life of signing keys, as one pure function of what is known and the time.

    PREPARED   made and, once a key set with it is signed, published; signs nothing yet
    ACTIVE     trusted; the newest signs, codes of the others are still in force
    RETIRED    its last code is out of force
    REVOKED    taken out of force at once, from any state

PREPARED and ACTIVE keys belong into the key set. A rotation refuses no valid code, because a key signs
only when it was in the key set for `lead_s`, and stays there until its last code has ended.

A key that was superseded never signs again. When the newest is revoked or its file is gone, no key signs
until a newer one does: the PREPARED one, or one that is made at once. Whoever got at the key that signs may
have got at the one before it as well, and that one's codes would be refused with it.

A key that is in no published key set is never activated, not even when no other key is left: every code
of it would be refused at the gates, and a printed card cannot be called back. Until the root has signed
a key set with it, bundles are refused and phones ask again. With the root on the machine that takes
milliseconds, since making, publishing and activating follow each other.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from verifier.authenticate import CLOCK_SKEW_S
from verifier.wire.key_set import MAX_KEYS, KeySet

DEFAULT_LIFE_S = 7 * 86_400
# Without anybody's hand a verifier goes on this long after its issuer has died.
DEFAULT_KEY_SET_LIFE_S = 30 * 86_400

# Verifiers look each second, and Redis may be away for a while: an hour covers a restart of everything.
# Keys of minutes, as in drills, have no hour; five seconds are several looks.
_MAX_LEAD_S, _MIN_LEAD_S, _LEADS_IN_A_LIFE = 3_600, 5, 8
# How far ahead the end of the last window is noted. It keeps a key in the key set that much longer, and
# the register from a write for each bundle.
_MAX_SLACK_S, _SLACKS_IN_A_LIFE = 600, 8


class KeyState(IntEnum):
    """Where a signing key stands; the numbers are those of the protos."""

    PREPARED = 1
    ACTIVE = 2
    RETIRED = 3
    REVOKED = 4


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a signing key. Times are Unix seconds; 0: it did not happen."""

    key_id: bytes
    public_key: bytes
    state: KeyState
    created_at: int
    published_at: int = 0  # first in a key set that the root signed
    activated_at: int = 0
    ended_at: int = 0  # retired or revoked
    last_expires_at: int = 0  # the end of the last window that it may have signed
    is_lost: bool = False  # its private key is gone: it signs no more, and its codes stay in force


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When things happen to keys, in seconds."""

    life_s: int = DEFAULT_LIFE_S  # how long a key signs
    key_set_life_s: int = DEFAULT_KEY_SET_LIFE_S
    skew_s: int = CLOCK_SKEW_S  # verifiers take a code that much longer

    @property
    def prepare_after_s(self) -> int:
        """The age of the signing key at which its successor is made: half of its life."""
        return self.life_s // 2

    @property
    def lead_s(self) -> int:
        """How long a key is published, at least, before it signs, so that every verifier has it."""
        return min(_MAX_LEAD_S, max(_MIN_LEAD_S, self.life_s // _LEADS_IN_A_LIFE))

    @property
    def slack_s(self) -> int:
        """How far beyond what is asked the end of the last window is noted."""
        return min(_MAX_SLACK_S, self.life_s // _SLACKS_IN_A_LIFE)

    def resign_at(self, key_set: KeySet) -> int:
        """Return when the root should sign the next key set, Unix seconds: at half of its life."""
        return key_set.issued_at + min(key_set.expires_at - key_set.issued_at, self.key_set_life_s) // 2

    def alarm_at(self, key_set: KeySet) -> int:
        """Return from when on less than a third of its life is left, Unix seconds: somebody has to know."""
        return key_set.expires_at - (key_set.expires_at - key_set.issued_at) // 3


class Reason(StrEnum):
    """Why another key set should be signed."""

    LACKS_A_KEY = "it lacks a key"
    HAS_A_KEY_TOO_MANY = "it has a key that is out of force"
    ENDS_SOON = "more than half of its life is over"
    BEGINS_LATER = "it begins in the future"  # the clock was ahead when it was signed


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make a key."""


@dataclass(frozen=True, slots=True)
class Activate:
    """Sign with this key from now on."""

    key_id: bytes


@dataclass(frozen=True, slots=True)
class Retire:
    """Take this key out of force: its last code has ended."""

    key_id: bytes


@dataclass(frozen=True, slots=True)
class PublishKeySet:
    """Have the root sign a key set with these keys, and publish it."""

    key_ids: Sequence[bytes]
    reasons: Sequence[Reason]


Action = Prepare | Activate | Retire | PublishKeySet


def step(keys: Sequence[Key], key_set: KeySet, thresholds: Thresholds, now: int) -> Sequence[Action]:
    """Return what is due at `now`, Unix seconds, in the order in which it has to be done.

    `key_set` is the newest one that the root signed. Do all of it, read the keys again and step again until
    nothing is due: a key that is made here is published by the next step, and so on. What is due stays due
    until it is done.

    What takes a key out of force comes first; a key that cannot be made must not hold that up.
    """
    retired = [key.key_id for key in keys if is_retirable(key, keys, thresholds, now)]
    keys = [replace(key, state=KeyState.RETIRED) if key.key_id in retired else key for key in keys]
    trusted = [key for key in keys if is_trusted(key)]
    signing = signing_key(keys)
    actions: list[Action] = [Retire(key_id) for key_id in retired]

    # 1. Publish what is in force, and nothing else. Without any key in force: make one first, and publish
    #    whether that was possible or not.
    reasons = stale_reasons(keys, key_set, thresholds, now)
    publish = [PublishKeySet([key.key_id for key in trusted], reasons)] if reasons else []
    if not trusted:
        return [*actions, Prepare(), *publish]
    actions += publish

    # 2. Change over when the signing key has had its life, or at once when there is none.
    prepared = [key for key in trusted if key.state is KeyState.PREPARED and not key.is_lost]
    ready = [key for key in prepared if key.key_id in key_set.keys]
    if signing is not None:
        if now < signing.activated_at + thresholds.life_s:
            ready = []
        ready = [key for key in ready if now >= key.published_at + thresholds.lead_s]
    if ready:
        actions.append(Activate(min(ready, key=_by_age).key_id))

    # 3. Make the successor ahead. Where the key set is full the signing key is kept longer instead.
    is_due = signing is None or now >= signing.activated_at + thresholds.prepare_after_s
    if is_due and not prepared and not is_full(trusted):
        actions.append(Prepare())
    return actions


def signing_key(keys: Collection[Key]) -> Key | None:
    """Return the key that signs: of all keys there ever were, the one activated last, if it is ACTIVE.

    None when that one is revoked or lost: those before it have been superseded, and never sign again.
    """
    activated = [key for key in keys if key.activated_at]
    newest = max(activated, key=lambda key: key.activated_at, default=None)
    return newest if newest and newest.state is KeyState.ACTIVE and not newest.is_lost else None


def is_trusted(key: Key) -> bool:
    """Tell whether a key belongs into the key set."""
    return key.state in (KeyState.PREPARED, KeyState.ACTIVE)


def is_retirable(key: Key, keys: Collection[Key], thresholds: Thresholds, now: int) -> bool:
    """Tell whether a key signs no more and every code of it has ended, for verifiers' clocks too."""
    return (
        key.state is KeyState.ACTIVE
        and key != signing_key(keys)
        and now >= key.last_expires_at + thresholds.skew_s
    )


def is_overdue(keys: Collection[Key], thresholds: Thresholds, now: int) -> bool:
    """Tell whether the signing key should have been replaced by now, or there is none."""
    signing = signing_key(keys)
    return signing is None or now >= signing.activated_at + thresholds.life_s + thresholds.lead_s


def is_full(keys: Collection[Key]) -> bool:
    """Tell whether the key set has no place for another key."""
    return sum(map(is_trusted, keys)) >= MAX_KEYS


def why_full(keys: Collection[Key]) -> str:
    """Return in words why there is no place for another key; empty when there is one."""
    if not is_full(keys):
        return ""
    signing = signing_key(keys)
    former = sum(key.state is KeyState.ACTIVE and key != signing for key in keys)
    return f"the key set is full ({MAX_KEYS} keys), because cards of {former} keys are in force"


def stale_reasons(
    keys: Collection[Key], key_set: KeySet, thresholds: Thresholds, now: int
) -> Sequence[Reason]:
    """Return why another key set should be signed, `keys` being all on the register.

    While none is in force there is a key set all the same, with a key that nobody has (Rotation): it lacks
    nothing, and has a key too many only when that is one that ended.
    """
    wanted = {key.key_id for key in keys if is_trusted(key)}
    ended = {key.key_id for key in keys if not is_trusted(key)}
    unwanted = key_set.keys.keys() - wanted if wanted else key_set.keys.keys() & ended
    return [
        reason
        for reason, holds in (
            (Reason.LACKS_A_KEY, not wanted <= key_set.keys.keys()),
            (Reason.HAS_A_KEY_TOO_MANY, bool(unwanted)),
            (Reason.ENDS_SOON, now >= thresholds.resign_at(key_set)),
            (Reason.BEGINS_LATER, now < key_set.issued_at - thresholds.skew_s),
        )
        if holds
    ]


def _by_age(key: Key) -> tuple[int, int, bytes]:
    return key.published_at, key.created_at, key.key_id
