import errno
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from issuer.errors import FailedPrecondition, KeyFileError
from issuer.key_file import Purpose, write_key_file
from issuer.keys.lifecycle import KeyState, Thresholds
from issuer.register import keys as rows
from tests.issuer.keys.turning import NOW, PASSPHRASE, Turning
from verifier.authenticate import authenticate
from verifier.wire.code import CredentialKind
from verifier.wire.errors import UnknownKey
from verifier.wire.key_set import MAX_KEYS

DAY = 86_400
LIFE = 7 * DAY
HALF = LIFE // 2


def metric(name: str) -> float:
    found = REGISTRY.get_sample_value(f"gatelight_issuer_{name}")
    assert found is not None
    return found


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    """What rotation warns of."""
    told: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(
        "issuer.keys.rotation._log.warning", lambda line, **details: told.append((line, details))
    )
    return told


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


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


def test_a_file_without_a_row_stays(turning: Turning) -> None:
    stranger = turning.folder.signing_key(b"stranger")
    write_key_file(stranger, bytes(32), purpose=Purpose.SIGNING, passphrase=PASSPHRASE)
    turning.turn()
    turning.restart()
    turning.turn()
    assert stranger.exists()


def test_where_the_file_of_the_signing_key_is_gone_another_signs_and_its_codes_stay_in_force(
    turning: Turning,
) -> None:
    turning.turn()
    turning.sign(CredentialKind.PAPER)
    turning.folder.signing_key(turning.first_key_id).unlink()
    turning.restart()
    turning.turn()
    signing = turning.ring.current(now=NOW)
    assert signing.key_id != turning.first_key_id
    assert set(turning.key_set().keys) == {turning.first_key_id, signing.key_id}


def test_where_the_file_of_the_signing_key_is_gone_the_prepared_one_signs_at_once(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    (prepared,) = turning.in_state(KeyState.PREPARED)
    turning.folder.signing_key(turning.first_key_id).unlink()
    turning.restart()
    turning.turn()
    assert turning.ring.current(now=NOW + HALF).key_id == prepared


def test_a_prepared_key_whose_file_is_gone_is_not_waited_for(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    (lost,) = turning.in_state(KeyState.PREPARED)
    turning.folder.signing_key(lost).unlink()
    turning.restart()
    turning.turn()
    turning.turn(at=NOW + LIFE)
    assert turning.signing_key_id() not in (lost, turning.first_key_id)


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


def test_a_prepared_key_that_cannot_be_opened_leaves_the_former_signing_and_another_follows(
    turning: Turning, warnings: list[tuple[str, dict[str, object]]]
) -> None:
    turning.turn(at=NOW + HALF)
    (prepared,) = turning.in_state(KeyState.PREPARED)
    turning.restart()
    turning.turn()
    turning.folder.signing_key(prepared).write_text("nonsense")
    turning.turn(at=NOW + 2 * LIFE)
    assert turning.ring.current(now=NOW + 2 * LIFE).key_id == turning.first_key_id
    assert metric("signing_key_is_overdue") == 1
    assert f"gatelight-issuer key revoke {prepared.hex()}" in [told.get("advice") for _, told in warnings]
    turning.turn(at=NOW + 2 * LIFE + turning.thresholds.lead_s)
    (other,) = set(turning.states()) - {prepared, turning.first_key_id}
    assert turning.signing_key_id() == other


def test_in_an_emergency_a_prepared_key_that_cannot_be_opened_holds_nothing_up(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    (prepared,) = turning.in_state(KeyState.PREPARED)
    turning.restart()
    turning.folder.signing_key(prepared).write_text("nonsense")
    turning.revoke(turning.first_key_id)
    turning.turn()
    assert turning.ring.current(now=NOW + HALF).key_id not in (prepared, turning.first_key_id)


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


@pytest.mark.parametrize("is_lost", [False, True])
def test_when_the_newest_key_is_gone_a_superseded_one_does_not_sign_again(
    turning: Turning, is_lost: bool
) -> None:
    turning.turn(at=NOW + HALF)
    turning.sign(CredentialKind.PAPER)
    turning.turn(at=NOW + LIFE)
    newest = turning.signing_key_id()
    turning.sign(CredentialKind.PAPER)
    if is_lost:
        turning.folder.signing_key(newest).unlink()
        turning.restart()
    else:
        turning.revoke(newest)
    turning.turn()
    signing = turning.ring.current(now=NOW + LIFE)
    assert signing.key_id not in (newest, turning.first_key_id)
    assert {signing.key_id, turning.first_key_id} <= set(turning.key_set().keys)


def test_with_the_root_elsewhere_a_superseded_key_does_not_sign_again_either(rootless: Turning) -> None:
    with rootless.database.write() as connection:
        newest = rootless.rotation.make_key(connection, now=NOW)
        rows.activate_key(connection, newest, now=NOW)
    rootless.keys.reserve(rootless.first_key_id, NOW + DAY)
    rootless.revoke(newest)
    rootless.turn()
    with pytest.raises(FailedPrecondition):
        rootless.ring.current(now=NOW)
    rootless.import_key_set()
    rootless.turn()
    assert rootless.ring.current(now=NOW).key_id not in (newest, rootless.first_key_id)


def test_a_revocation_takes_effect_though_no_file_can_be_written_and_a_real_key_follows(
    turning: Turning, monkeypatch: pytest.MonkeyPatch
) -> None:
    turning.turn()
    (code,) = turning.sign(CredentialKind.PHONE)
    turning.revoke(turning.first_key_id)
    with monkeypatch.context() as full_disk:
        full_disk.setattr("issuer.keys.rotation.write_key_file", no_space)
        for _ in range(2):
            with pytest.raises(KeyFileError, match="No space"):
                turning.turn()
    without = turning.key_set()
    with pytest.raises(UnknownKey):
        authenticate(code.qr_text, without, NOW)
    with pytest.raises(FailedPrecondition):
        turning.ring.current(now=NOW)
    asked = turning.redis.asked
    turning.turn()
    signing = turning.ring.current(now=NOW)
    assert list(turning.key_set().keys) == [signing.key_id]
    assert turning.key_set().version == without.version + 1
    assert turning.redis.asked > asked


# The clock leaps


def test_after_a_leap_of_the_clock_no_key_is_retired_and_its_file_stays(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    turning.keys.reserve(turning.first_key_id, NOW + LIFE + DAY)
    turning.turn(at=NOW + LIFE)
    turning.clock.leap(2 * DAY)
    turning.turn()
    assert turning.states()[turning.first_key_id] is KeyState.ACTIVE
    assert turning.folder.signing_key(turning.first_key_id).exists()


@pytest.mark.parametrize(("offset_s", "is_done"), [(-1, False), (0, True), (1, True)])
def test_once_the_clock_has_been_steady_what_is_due_is_done(
    turning: Turning, offset_s: int, is_done: bool
) -> None:
    turning.turn()
    turning.clock.leap(HALF)
    turning.turn()
    assert not turning.in_state(KeyState.PREPARED)
    turning.turn(at=turning.clock.now + 300 + offset_s)
    assert bool(turning.in_state(KeyState.PREPARED)) is is_done


def test_after_a_leap_of_the_clock_no_other_key_signs(turning: Turning) -> None:
    turning.turn(at=NOW + HALF)
    turning.clock.leap(HALF)
    turning.turn()
    assert turning.signing_key_id() == turning.first_key_id


def test_whatever_the_clock_says_a_revoked_key_leaves_and_another_signs(turning: Turning) -> None:
    turning.turn()
    turning.clock.leap(DAY)
    turning.revoke(turning.first_key_id)
    turning.turn()
    signing = turning.ring.current(now=turning.clock.now)
    assert list(turning.key_set().keys) == [signing.key_id] != [turning.first_key_id]


# Warnings


def test_that_the_key_set_is_full_is_named_as_the_cause(
    start_turning: Callable[..., Turning], warnings: list[tuple[str, dict[str, object]]]
) -> None:
    turning = start_turning()
    with turning.database.write() as connection:
        for _ in range(MAX_KEYS - 1):
            made = turning.rotation.make_key(connection, now=NOW)
            rows.activate_key(connection, made, now=NOW)
    for key in turning.keys.all():
        turning.keys.reserve(key.key_id, NOW + 180 * DAY)
    turning.turn(at=NOW + 2 * LIFE)
    (late,) = [told for line, told in warnings if "should have been replaced" in line]
    assert late["cause"] == "the key set is full (32 keys), because cards of 31 keys are in force"
    assert "--key-life-s" in str(late["advice"])


@pytest.mark.parametrize(("life_s", "is_warned"), [(536_275, True), (536_276, False), (7 * DAY, False)])
def test_a_life_with_which_cards_fill_the_key_set_is_warned_of_at_the_start(
    start_turning: Callable[..., Turning],
    warnings: list[tuple[str, dict[str, object]]],
    life_s: int,
    is_warned: bool,
) -> None:
    turning = start_turning(thresholds=Thresholds(life_s=life_s))
    turning.rotation.start()
    turning.rotation.stop()
    found = [told for line, told in warnings if "will fill the key set" in line]
    assert bool(found) is is_warned
    assert all("at least 7 days" in str(told["advice"]) for told in found)


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
