from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from issuer.errors import FailedPrecondition, KeyFileError
from issuer.key_file import Purpose, write_key_file
from issuer.keys.lifecycle import KeyState
from issuer.register import keys as rows
from tests.issuer.keys.turning import NOW, PASSPHRASE, Turning
from verifier.wire.code import CredentialKind
from verifier.wire.key_set import MAX_KEYS

DAY = 86_400
LIFE = 7 * DAY
HALF = LIFE // 2


def metric(name: str) -> float:
    found = REGISTRY.get_sample_value(f"gatelight_issuer_{name}")
    assert found is not None
    return found


def test_a_fresh_issuer_signs_with_its_first_key(turning: Turning) -> None:
    turning.turn()
    assert turning.ring.current(now=NOW).key_id == turning.first_key_id


def test_a_successor_is_made_published_and_brought_to_redis_in_one_turn(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    (new,) = turning.in_state(KeyState.PREPARED)
    assert set(turning.key_set().keys) == {turning.first_key_id, new}
    assert turning.key(new).published_at == NOW + HALF
    assert turning.redis.asked
    assert turning.ring.current(now=NOW + HALF).key_set == turning.key_set()


def test_the_successor_signs_at_the_end_of_the_first_keys_life(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    (new,) = turning.in_state(KeyState.PREPARED)
    turning.sign(CredentialKind.PAPER)
    turning.turn(at=NOW + LIFE)
    assert turning.ring.current(now=NOW + LIFE).key_id == new
    assert turning.states()[turning.first_key_id] is KeyState.ACTIVE


def test_versions_only_ever_grow(turning: Turning) -> None:
    versions = []
    for half_lives in range(1, 6):
        turning.turn(at=NOW + half_lives * HALF)
        versions.append(turning.key_set().version)
    assert versions == sorted(versions)
    assert versions[0] > 1


def test_a_register_from_a_backup_goes_on_above_every_version_before(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    assert turning.key_set().version >= NOW


def test_a_restarted_issuer_signs_with_the_key_that_signed_before(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    turning.turn(at=NOW + LIFE)
    signing = turning.ring.current(now=NOW + LIFE).key_id
    turning.restart()
    turning.turn()
    assert turning.ring.current(now=NOW + LIFE).key_id == signing


def test_the_private_keys_of_ended_keys_are_deleted(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    turning.turn(at=NOW + LIFE)
    assert not turning.folder.signing_key(turning.first_key_id).exists()
    assert turning.states()[turning.first_key_id] is KeyState.RETIRED
    assert turning.folder.signing_key(turning.signing_key_id()).exists()


def test_a_key_whose_codes_are_in_force_keeps_its_file(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    turning.sign(CredentialKind.PAPER)
    turning.turn(at=NOW + LIFE)
    assert turning.folder.signing_key(turning.first_key_id).exists()


def test_a_file_without_a_row_is_deleted_at_the_next_start(turning: Turning) -> None:
    stranger = turning.folder.signing_key(b"stranger")
    write_key_file(stranger, bytes(32), purpose=Purpose.SIGNING, passphrase=PASSPHRASE)
    turning.turn()
    assert not stranger.exists()
    assert turning.folder.signing_key(turning.first_key_id).exists()


def test_a_file_that_another_thread_is_about_to_enter_is_left_alone(turning: Turning) -> None:
    turning.turn()
    stranger = turning.folder.signing_key(b"stranger")
    write_key_file(stranger, bytes(32), purpose=Purpose.SIGNING, passphrase=PASSPHRASE)
    turning.turn()
    assert stranger.exists()


def test_a_key_that_was_made_but_not_published_before_a_crash_is_published(turning: Turning) -> None:
    with turning.database.write() as connection:
        made = turning.rotation.make_key(connection, now=NOW)
    turning.restart()
    turning.turn()
    assert made in turning.key_set().keys


def test_when_the_signing_key_is_revoked_the_prepared_one_signs_at_once(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    (prepared,) = turning.in_state(KeyState.PREPARED)
    turning.revoke(turning.first_key_id)
    turning.turn()
    assert turning.ring.current(now=NOW + HALF).key_id == prepared
    assert turning.first_key_id not in turning.key_set().keys


def test_when_the_only_key_is_revoked_another_is_made_published_and_signs(turning: Turning) -> None:
    turning.revoke(turning.first_key_id)
    turning.turn()
    signing = turning.ring.current(now=NOW)
    assert signing.key_id != turning.first_key_id
    assert list(turning.key_set().keys) == [signing.key_id]
    assert not turning.folder.signing_key(turning.first_key_id).exists()


def test_a_turn_with_nothing_to_do_changes_nothing(turning: Turning) -> None:
    turning.turn()
    before = turning.keys.all(), turning.keys.newest_key_set()
    turning.turn(at=NOW + HALF - 1)
    assert (turning.keys.all(), turning.keys.newest_key_set()) == before


def test_the_key_set_is_signed_anew_ahead_of_its_end(turning: Turning) -> None:
    turning.turn(at=NOW + 15 * DAY)
    assert turning.key_set().issued_at == NOW + 15 * DAY
    assert turning.key_set().expires_at == NOW + 45 * DAY


def test_two_activated_in_one_second_have_an_order(turning: Turning) -> None:
    made = []
    with turning.database.write() as connection:
        for _ in range(2):
            made.append(turning.rotation.make_key(connection, now=NOW))
            rows.activate_key(connection, made[-1], now=NOW)
    assert turning.signing_key_id() == made[-1]


def test_a_key_that_is_not_prepared_is_not_activated(turning: Turning) -> None:
    turning.revoke(turning.first_key_id)
    with turning.database.write() as connection:
        assert not rows.activate_key(connection, turning.first_key_id, now=NOW)
    assert turning.states()[turning.first_key_id] is KeyState.REVOKED


@pytest.mark.parametrize("offset_s", [-1, 0])
def test_a_key_is_not_retired_while_a_reserved_window_is_to_come(turning: Turning, offset_s: int) -> None:
    turning.keys.reserve(turning.first_key_id, NOW + 100)
    with turning.database.write() as connection:
        is_done = rows.retire_key(connection, turning.first_key_id, skew_s=30, now=NOW + 130 + offset_s)
    assert is_done is (offset_s == 0)


def test_without_room_in_the_key_set_the_signing_key_goes_on(start_turning: Callable[..., Turning]) -> None:
    turning = start_turning()
    with turning.database.write() as connection:
        made = [turning.rotation.make_key(connection, now=NOW) for _ in range(MAX_KEYS - 1)]
        for key_id in made:
            rows.activate_key(connection, key_id, now=NOW)
    for key in turning.keys.all():
        turning.keys.reserve(key.key_id, NOW + 180 * DAY)
    turning.turn(at=NOW + 2 * LIFE)
    assert len(turning.key_set().keys) == MAX_KEYS
    assert turning.ring.current(now=NOW + 2 * LIFE).key_id == made[-1]
    assert metric("signing_key_is_overdue") == 1


# The root key is elsewhere


@pytest.fixture
def rootless(start_turning: Callable[..., Turning]) -> Turning:
    """A rotation without the root's private key."""
    return start_turning(is_root_here=False)


def test_without_the_root_a_key_is_made_and_waits_for_import(rootless: Turning) -> None:
    rootless.turn(at=NOW + 2 * LIFE)
    (prepared,) = rootless.in_state(KeyState.PREPARED)
    assert prepared not in rootless.key_set().keys
    assert rootless.ring.current(now=NOW + 2 * LIFE).key_id == rootless.first_key_id
    assert metric("key_set_is_stale") == 1


def test_an_imported_key_signs_once_every_verifier_has_it(rootless: Turning) -> None:
    rootless.turn(at=NOW + 2 * LIFE)
    rootless.import_key_set()
    rootless.turn()
    assert rootless.signing_key_id() == rootless.first_key_id
    (prepared,) = rootless.in_state(KeyState.PREPARED)
    rootless.turn(at=NOW + 2 * LIFE + rootless.thresholds.lead_s)
    assert rootless.signing_key_id() == prepared


def test_without_root_and_key_nothing_is_signed_until_an_import(rootless: Turning) -> None:
    rootless.revoke(rootless.first_key_id)
    rootless.turn()
    with pytest.raises(FailedPrecondition, match="export"):
        rootless.ring.current(now=NOW)
    rootless.import_key_set()
    rootless.turn()
    assert rootless.ring.current(now=NOW).key_id in rootless.key_set().keys


# What goes wrong


def test_a_key_that_cannot_be_opened_signs_nothing_and_does_not_hold_up_a_revocation(
    turning: Turning,
) -> None:
    turning.turn(at=NOW + HALF)
    (prepared,) = turning.in_state(KeyState.PREPARED)
    turning.folder.signing_key(turning.first_key_id).write_text("nonsense")
    turning.restart()
    turning.revoke(prepared)
    with pytest.raises(KeyFileError):
        turning.turn()
    assert prepared not in turning.key_set().keys
    with pytest.raises(FailedPrecondition):
        turning.ring.current(now=turning.clock.now)


def test_a_prepared_key_that_cannot_be_opened_leaves_the_former_signing_and_is_told(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    (prepared,) = turning.in_state(KeyState.PREPARED)
    turning.restart()
    turning.turn()
    turning.folder.signing_key(prepared).write_text("nonsense")
    with pytest.raises(KeyFileError, match=prepared.hex()):
        turning.turn(at=NOW + 2 * LIFE)
    assert turning.ring.current(now=NOW + 2 * LIFE).key_id == turning.first_key_id
    assert metric("signing_key_is_overdue") == 1


def test_a_file_with_another_key_than_its_name_says_is_refused(turning: Turning) -> None:
    path = turning.folder.signing_key(turning.first_key_id)
    path.unlink()
    write_key_file(path, bytes(32), purpose=Purpose.SIGNING, passphrase=PASSPHRASE)
    with pytest.raises(KeyFileError, match="another key"):
        turning.turn()


def test_a_key_that_redis_never_held_waits_and_the_former_goes_on(turning: Turning) -> None:
    turning.redis.answers = False
    turning.turn(at=NOW + HALF)
    turning.turn(at=NOW + 2 * LIFE)
    assert turning.ring.current(now=turning.clock.now).key_id == turning.first_key_id


@pytest.mark.parametrize(("offset_s", "is_activated"), [(-1, False), (0, True), (1, True)])
def test_it_signs_once_redis_has_held_it_for_a_while(
    turning: Turning, offset_s: int, is_activated: bool
) -> None:
    turning.redis.answers = False
    turning.turn(at=NOW + HALF)
    turning.redis.answers = True
    turning.turn(at=NOW + 2 * LIFE)
    turning.turn(at=NOW + 2 * LIFE + 5 + offset_s)
    assert (turning.signing_key_id() != turning.first_key_id) is is_activated


def test_in_an_emergency_nobody_waits_for_redis(turning: Turning) -> None:
    turning.redis.answers = False
    turning.revoke(turning.first_key_id)
    turning.turn()
    assert turning.ring.current(now=NOW).key_id != turning.first_key_id


# Metrics


@pytest.mark.parametrize(("age_days", "left"), [(0, 1.0), (12, 0.6)])
def test_the_share_of_the_key_sets_life_that_is_left_is_measured(
    turning: Turning, age_days: int, left: float
) -> None:
    turning.turn(at=NOW + age_days * DAY)
    published = turning.key_set()
    expected = (published.expires_at - turning.clock.now) / (30 * DAY)
    assert metric("key_set_life_left_ratio") == pytest.approx(expected)
    assert metric("key_set_expires_at") == published.expires_at


@pytest.mark.parametrize(("offset_s", "alarms"), [(-1, 0), (0, 1), (1, 1)])
def test_one_line_is_logged_when_less_than_a_third_of_the_key_sets_life_is_left(
    rootless: Turning, monkeypatch: pytest.MonkeyPatch, offset_s: int, alarms: int
) -> None:
    lines: list[str] = []
    monkeypatch.setattr("issuer.keys.rotation._log.warning", lambda line, **_: lines.append(line))
    for _ in range(3):
        rootless.turn(at=NOW + 20 * DAY + offset_s)
    assert len([line for line in lines if "ends soon" in line]) == alarms
