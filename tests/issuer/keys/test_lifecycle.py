from collections.abc import Sequence
from dataclasses import replace

import pytest

from issuer.keys.lifecycle import (
    Action,
    Activate,
    Key,
    KeyState,
    Prepare,
    PublishKeySet,
    Reason,
    Retire,
    Thresholds,
    is_overdue,
    signing_key,
    step,
    why_full,
)
from issuer.keys.next_steps import next_step
from verifier.wire import cose
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import MAX_KEYS, KeySet

DAY = 86_400
NOW = 1_800_000_000
THRESHOLDS = Thresholds()
LIFE, LEAD, SKEW = 7 * DAY, 3_600, 30


def key(number: int = 1, state: KeyState = KeyState.ACTIVE, **times: int) -> Key:
    public_key = number.to_bytes(32, "big")
    defaults = {"published_at": NOW, "activated_at": NOW if state is not KeyState.PREPARED else 0}
    return Key(cose.key_id(public_key), public_key, state, NOW, **{**defaults, **times})  # type: ignore[arg-type]


def prepared(number: int = 2, **times: int) -> Key:
    return key(number, KeyState.PREPARED, **times)


def key_set(*keys: Key, issued_at: int = NOW, life_s: int = 30 * DAY) -> KeySet:
    verifying = [VerifyingKey(one.public_key) for one in keys]
    return KeySet.of(version=1, issued_at=issued_at, expires_at=issued_at + life_s, keys=verifying)


def due(
    *keys: Key, now: int, published: Sequence[Key] | None = None, signed_at: int | None = None
) -> Sequence[Action]:
    """What is due, with a key set that is fresh unless `signed_at` says otherwise."""
    holds = [one for one in keys if one.state <= KeyState.ACTIVE] if published is None else published
    issued_at = now if signed_at is None else signed_at
    return step(keys, key_set(*holds, issued_at=issued_at), THRESHOLDS, now)


def test_nothing_is_due_in_the_first_half_of_a_life() -> None:
    assert due(key(), now=NOW + LIFE // 2 - 1) == []


@pytest.mark.parametrize("after_half_s", [0, 1, LIFE])
def test_a_successor_is_made_at_half_of_the_signing_keys_life(after_half_s: int) -> None:
    assert due(key(), now=NOW + LIFE // 2 + after_half_s) == [Prepare()]


def test_one_successor_is_enough() -> None:
    assert due(key(), prepared(), now=NOW + LIFE // 2) == []


def test_a_key_that_is_not_published_is_published() -> None:
    active, new = key(), prepared(published_at=0)
    (action,) = due(active, new, published=[active], now=NOW + 1)
    assert action == PublishKeySet([active.key_id, new.key_id], [Reason.LACKS_A_KEY])


@pytest.mark.parametrize(("offset_s", "is_due"), [(-1, False), (0, True), (1, True)])
def test_the_successor_signs_when_the_life_of_the_key_before_it_ends(offset_s: int, is_due: bool) -> None:
    active, new = key(last_expires_at=NOW + 2 * LIFE), prepared(published_at=NOW + LIFE // 2)
    assert (Activate(new.key_id) in due(active, new, now=NOW + LIFE + offset_s)) is is_due


@pytest.mark.parametrize(("offset_s", "is_due"), [(-1, False), (0, True), (1, True)])
def test_a_successor_that_was_published_late_waits_until_every_verifier_has_it(
    offset_s: int, is_due: bool
) -> None:
    active, new = key(last_expires_at=NOW + 2 * LIFE), prepared(published_at=NOW + LIFE)
    assert (Activate(new.key_id) in due(active, new, now=NOW + LIFE + LEAD + offset_s)) is is_due


def test_a_key_in_no_key_set_never_signs_however_old_the_other_is() -> None:
    active, new = key(), prepared(published_at=0)
    assert Activate(new.key_id) not in due(active, new, published=[active], now=NOW + 3 * LIFE)


def test_of_several_prepared_keys_the_one_published_first_signs() -> None:
    active = key(last_expires_at=NOW + 3 * LIFE)
    later, earlier = prepared(2, published_at=NOW + 20), prepared(3, published_at=NOW + 10)
    assert due(active, later, earlier, now=NOW + LIFE) == [Activate(earlier.key_id)]


def test_without_a_signing_key_the_prepared_one_signs_at_once() -> None:
    new = prepared(published_at=NOW)
    assert due(key(1, KeyState.REVOKED), new, now=NOW) == [Activate(new.key_id)]


def test_without_any_key_one_is_made_then_published_then_signs() -> None:
    revoked, new = key(1, KeyState.REVOKED), prepared(published_at=0)
    still_published = [revoked]
    without = PublishKeySet([], [Reason.HAS_A_KEY_TOO_MANY])
    assert due(revoked, published=still_published, now=NOW) == [Prepare(), without]
    reasons = [Reason.LACKS_A_KEY, Reason.HAS_A_KEY_TOO_MANY]
    publish = PublishKeySet([new.key_id], reasons)
    assert due(revoked, new, published=still_published, now=NOW) == [publish]
    assert due(revoked, replace(new, published_at=NOW), now=NOW) == [Activate(new.key_id)]


def test_a_revoked_key_leaves_the_key_set_before_anything_else_is_done() -> None:
    revoked = key(1, KeyState.REVOKED)
    other = key(2, activated_at=NOW - LIFE, last_expires_at=NOW + LIFE)
    actions = due(revoked, other, published=[revoked, other], now=NOW)
    assert actions == [PublishKeySet([other.key_id], [Reason.HAS_A_KEY_TOO_MANY]), Prepare()]


def test_while_no_key_is_in_force_the_key_set_with_nobodys_key_is_good() -> None:
    revoked, nobodys = key(1, KeyState.REVOKED), key(9)
    assert due(revoked, published=[nobodys], now=NOW) == [Prepare()]
    new = prepared(published_at=0)
    publish = PublishKeySet([new.key_id], [Reason.LACKS_A_KEY, Reason.HAS_A_KEY_TOO_MANY])
    assert due(revoked, new, published=[nobodys], now=NOW) == [publish]


@pytest.mark.parametrize("state", [KeyState.REVOKED, KeyState.RETIRED])
def test_a_superseded_key_never_signs_again(state: KeyState) -> None:
    superseded = key(1, activated_at=NOW - LIFE, last_expires_at=NOW + LIFE)
    ended, new = key(2, state), prepared(3, published_at=NOW)
    assert signing_key([superseded, ended]) is None
    assert due(superseded, ended, now=NOW) == [Prepare()]
    assert due(superseded, ended, new, now=NOW) == [Activate(new.key_id)]


def test_a_superseded_key_does_not_sign_for_a_lost_one() -> None:
    superseded = key(1, activated_at=NOW - LIFE, last_expires_at=NOW + LIFE)
    lost = replace(key(2, last_expires_at=NOW + LIFE), is_lost=True)
    assert signing_key([superseded, lost]) is None
    assert due(superseded, lost, now=NOW) == [Prepare()]


@pytest.mark.parametrize(
    ("count", "words"), [(MAX_KEYS - 1, ""), (MAX_KEYS, "cards of 31 keys are in force")]
)
def test_a_full_key_set_is_named_as_the_cause(count: int, words: str) -> None:
    keys = [key(number, activated_at=NOW + number) for number in range(count)]
    assert words in why_full(keys)
    assert bool(why_full(keys)) is bool(words)
    said = next_step(keys[-1], keys, key_set(*keys), THRESHOLDS, is_root_here=True)
    assert ("key set is full (32 keys)" in said and "--key-life-s" in said) is bool(words)


def test_the_key_activated_last_signs() -> None:
    earlier, later = key(1, activated_at=NOW), key(2, activated_at=NOW + 1)
    assert signing_key([later, earlier]) == signing_key([earlier, later]) == later


@pytest.mark.parametrize(("offset_s", "is_due"), [(-1, False), (0, True), (1, True)])
def test_a_key_is_retired_when_its_last_code_has_ended_for_every_verifier(
    offset_s: int, is_due: bool
) -> None:
    end = NOW + 1_000
    former, signing = key(1, last_expires_at=end), key(2, activated_at=NOW + 1)
    actions = due(former, signing, now=end + SKEW + offset_s)
    assert (Retire(former.key_id) in actions) is is_due


def test_a_key_leaves_the_key_set_when_it_is_retired() -> None:
    former, signing = key(1, last_expires_at=NOW), key(2, activated_at=NOW + 1)
    actions = due(former, signing, now=NOW + SKEW)
    assert actions == [
        Retire(former.key_id),
        PublishKeySet([signing.key_id], [Reason.HAS_A_KEY_TOO_MANY]),
    ]


def test_the_signing_key_is_never_retired() -> None:
    assert Retire(key().key_id) not in due(key(last_expires_at=1), now=NOW + 10 * LIFE)


@pytest.mark.parametrize(("offset_s", "is_due"), [(-1, False), (0, True), (1, True)])
def test_a_key_set_is_signed_anew_at_half_of_its_life(offset_s: int, is_due: bool) -> None:
    now = NOW + 15 * DAY + offset_s
    active = key(activated_at=now)
    expected = [PublishKeySet([active.key_id], [Reason.ENDS_SOON])] if is_due else []
    assert due(active, signed_at=NOW, now=now) == expected


@pytest.mark.parametrize(("ahead_s", "is_due"), [(SKEW, False), (SKEW + 1, True)])
def test_a_key_set_that_was_signed_while_the_clock_was_ahead_is_signed_anew(
    ahead_s: int, is_due: bool
) -> None:
    active = key()
    expected = [PublishKeySet([active.key_id], [Reason.BEGINS_LATER])] if is_due else []
    assert due(active, signed_at=NOW + ahead_s, now=NOW) == expected


def test_a_key_set_longer_than_is_configured_now_is_signed_anew_at_half_of_what_is_configured() -> None:
    active = key()
    thresholds = Thresholds(key_set_life_s=60)
    assert step([active], key_set(active), thresholds, NOW + 29) == []
    assert step([active], key_set(active), thresholds, NOW + 30) != []


@pytest.mark.parametrize(("count", "is_made"), [(MAX_KEYS - 1, True), (MAX_KEYS, False)])
def test_the_signing_key_is_kept_longer_rather_than_have_the_key_set_overflow(
    count: int, is_made: bool
) -> None:
    keys = [
        key(number, activated_at=NOW + number, last_expires_at=NOW + 180 * DAY) for number in range(count)
    ]
    assert (Prepare() in due(*keys, now=NOW + 2 * LIFE)) is is_made
    assert is_overdue(keys, THRESHOLDS, NOW + 2 * LIFE)


@pytest.mark.parametrize(("offset_s", "is_late"), [(-1, False), (0, True), (1, True)])
def test_a_signing_key_is_overdue_when_its_life_and_the_lead_are_over(offset_s: int, is_late: bool) -> None:
    assert is_overdue([key()], THRESHOLDS, NOW + LIFE + LEAD + offset_s) is is_late


def test_the_key_set_of_weekly_keys_and_half_yearly_cards_has_room_to_spare() -> None:
    in_force_at_once = -(-(180 * DAY + THRESHOLDS.slack_s + SKEW) // LIFE) + 1
    assert in_force_at_once + 1 < MAX_KEYS


@pytest.mark.parametrize(
    ("life_s", "lead_s", "slack_s"), [(10, 5, 1), (60, 7, 7), (3_600, 450, 450), (LIFE, 3_600, 600)]
)
def test_lead_and_slack_scale_with_life(life_s: int, lead_s: int, slack_s: int) -> None:
    thresholds = Thresholds(life_s=life_s)
    assert (thresholds.lead_s, thresholds.slack_s) == (lead_s, slack_s)
    assert thresholds.prepare_after_s + thresholds.lead_s <= life_s


def test_the_alarm_is_due_when_less_than_a_third_of_the_key_sets_life_is_left() -> None:
    assert THRESHOLDS.alarm_at(key_set(key())) == NOW + 20 * DAY
