"""Two rotations and more, walked through with codes of every age: no valid code is ever refused."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from issuer.keys.lifecycle import Thresholds
from issuer.signing import MAX_WINDOWS, IssuedCode
from tests.issuer.keys.turning import NOW, Turning
from verifier.authenticate import CLOCK_SKEW_S, authenticate
from verifier.wire.code import CredentialKind, decode_qr_text
from verifier.wire.key_set import KeySet

DAY = 86_400
PHONE, PAPER = CredentialKind.PHONE, CredentialKind.PAPER
# The first windows of a bundle, some in the middle, and the last ones of a day.
SOME_WINDOWS = slice(0, None, MAX_WINDOWS // 4)


@dataclass(frozen=True, slots=True)
class Walk:
    """What is walked through."""

    thresholds: Thresholds
    until_s: int
    pace_s: int
    bundles: Sequence[tuple[CredentialKind, int, slice]]


WALKS = {
    "weekly keys, bundles of a day": Walk(
        Thresholds(), 16 * DAY, 18 * 3_600, [(PHONE, MAX_WINDOWS, SOME_WINDOWS)]
    ),
    "weekly keys, cards of half a year": Walk(Thresholds(), 195 * DAY, 6 * DAY, [(PAPER, 1, slice(None))]),
    "keys of a minute": Walk(Thresholds(life_s=60), 200, 2, [(PHONE, 2, slice(None))]),
}


class Walker:
    """Signs, turns and verifies at one time after another."""

    def __init__(self, turning: Turning, walk: Walk) -> None:
        self.turning = turning
        self.walk = walk
        self.codes: list[tuple[IssuedCode, bytes]] = []  # with the key of each
        self.key_sets: list[tuple[int, KeySet]] = []  # since when each is published
        self.verified: Counter[bytes] = Counter()  # codes by key
        # A code that a key set takes once is taken until its window ends, so it is asked again at its ends
        # alone.
        self.taken: set[tuple[bytes, int]] = set()

    def go(self) -> None:
        moments = {NOW + offset for offset in range(0, self.walk.until_s, self.walk.pace_s)}
        done: set[int] = set()
        while moments - done:
            now = min(moments - done)
            done.add(now)
            self.step(now)
            boundaries = self.boundaries()
            moments |= {at for at in boundaries if now < at < NOW + self.walk.until_s}

    def boundaries(self) -> set[int]:
        """Before, on and after the next boundaries, as far as the register tells them."""
        thresholds, key_set = self.turning.thresholds, self.turning.key_set()
        at = {thresholds.resign_at(key_set)}
        for key in self.turning.keys.all():
            at |= {
                key.activated_at + thresholds.prepare_after_s,
                key.activated_at + thresholds.life_s,
                key.published_at + thresholds.lead_s,
                key.last_expires_at + thresholds.skew_s,
            }
        return {boundary + offset for boundary in at for offset in (-1, 0, 1)}

    def step(self, now: int) -> None:
        self.turning.clock.now = now
        if self.key_sets:
            self.sign()  # with the key of the moment before: rotation turns a little later than time does
        self.turning.turn()
        if not self.key_sets or self.key_sets[-1][1].version != self.turning.key_set().version:
            self.key_sets.append((now, self.turning.key_set()))
        self.sign()
        self.verify(self.key_sets[-1][1], now)
        self.verify(self.key_set_at(now - self.turning.thresholds.lead_s), now)
        self.codes = [one for one in self.codes if now < one[0].expires_at + CLOCK_SKEW_S]

    def sign(self) -> None:
        for kind, window_count, windows in self.walk.bundles:
            for code in self.turning.sign(kind, window_count=window_count, windows=windows):
                self.codes.append((code, decode_qr_text(code.qr_text).key_id))

    def key_set_at(self, now: int) -> KeySet:
        """What a verifier has that has not looked since."""
        return next((one for since, one in reversed(self.key_sets) if since <= now), self.key_sets[0][1])

    def verify(self, key_set: KeySet, now: int) -> None:
        assert key_set.issued_at <= now < key_set.expires_at
        for code, key_id in self.codes:
            from_start_s, to_end_s = now - code.not_before, code.expires_at - now
            if not (from_start_s >= -CLOCK_SKEW_S and to_end_s > -CLOCK_SKEW_S):
                continue
            is_at_an_end = from_start_s <= 1 or to_end_s <= 1
            if is_at_an_end or (code.qr_text, key_set.version) not in self.taken:
                authenticate(code.qr_text, key_set, now)  # raises when it is refused
                self.taken.add((code.qr_text, key_set.version))
            self.verified[key_id] += 1


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_no_valid_code_is_refused(start_turning: Callable[..., Turning], walk: Walk) -> None:
    walker = Walker(start_turning(thresholds=walk.thresholds), walk)
    walker.go()
    assert len(walker.verified) >= 3, "expected two rotations"
    assert all(count > 10 for count in walker.verified.values())
    retired = [key for key in walker.turning.keys.all() if key.ended_at]
    assert retired, "expected a key to be retired within the walk"
    assert all(key.key_id not in walker.turning.key_set().keys for key in retired)
    assert all(len(key_set.keys) <= 32 for _, key_set in walker.key_sets)
