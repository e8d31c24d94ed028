import threading

import pytest
from sqlalchemy import event

from issuer.errors import FailedPrecondition
from issuer.keys.lifecycle import KeyState
from tests.issuer.keys.turning import NOW, Turning
from verifier.wire.code import CredentialKind

LIFE = 7 * 86_400


def last_expires_at(turning: Turning) -> int:
    return turning.key(turning.first_key_id).last_expires_at


def test_before_a_code_is_signed_the_register_knows_when_it_ends(turning: Turning) -> None:
    turning.turn()
    (code,) = turning.sign(CredentialKind.PAPER)
    assert last_expires_at(turning) == code.expires_at + turning.thresholds.slack_s


def test_the_register_is_asked_once_for_many_bundles(turning: Turning) -> None:
    turning.turn()
    written: list[str] = []
    event.listen(
        turning.database._writer, "before_cursor_execute", lambda *arguments: written.append(arguments[2])
    )
    for second in range(turning.thresholds.slack_s):
        turning.clock.now = NOW + second
        turning.sign(CredentialKind.PHONE, window_count=120, windows=slice(1))
    assert len([statement for statement in written if statement.startswith("UPDATE")]) == 1


def test_a_window_that_ends_beyond_what_was_noted_is_noted(turning: Turning) -> None:
    turning.turn()
    turning.sign(CredentialKind.PHONE)
    before = last_expires_at(turning)
    turning.clock.now += turning.thresholds.slack_s + 30
    (code,) = turning.sign(CredentialKind.PHONE)
    assert last_expires_at(turning) >= code.expires_at > before


def test_a_noted_end_is_never_taken_back(turning: Turning) -> None:
    turning.turn()
    turning.sign(CredentialKind.PAPER)
    before = last_expires_at(turning)
    turning.restart()
    turning.turn()
    turning.sign(CredentialKind.PHONE)
    assert last_expires_at(turning) == before


def test_threads_note_it_once_and_all_see_it(turning: Turning) -> None:
    turning.turn()
    signing = turning.ring.current(now=NOW)
    threads = [
        threading.Thread(target=turning.ring.reserve, args=(signing, NOW + end)) for end in range(60, 100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert last_expires_at(turning) >= NOW + 99


def test_nothing_is_signed_with_a_key_that_was_revoked_since(turning: Turning) -> None:
    turning.turn()
    signing = turning.ring.current(now=NOW)
    turning.revoke(signing.key_id)
    with pytest.raises(FailedPrecondition, match="ask again"):
        turning.ring.reserve(signing, NOW + 60)


@pytest.mark.parametrize(("offset_s", "is_signed"), [(-1, True), (0, False), (1, False)])
def test_nothing_is_signed_once_the_key_set_has_ended(
    turning: Turning, offset_s: int, is_signed: bool
) -> None:
    turning.turn()
    now = turning.key_set().expires_at + offset_s
    if is_signed:
        assert turning.ring.current(now=now).key_id == turning.first_key_id
    else:
        with pytest.raises(FailedPrecondition, match="expired"):
            turning.ring.current(now=now)


def test_a_ring_without_a_key_says_what_an_operator_has_to_do(turning: Turning) -> None:
    with pytest.raises(FailedPrecondition, match="import"):
        turning.ring.current(now=NOW)


def test_a_call_waits_for_a_successor_that_is_coming(turning: Turning) -> None:
    turning.turn()
    signing = turning.ring.current(now=NOW)
    turning.ring.turn(None, trusted=(), is_successor_coming=True)
    threading.Timer(0.05, turning.ring.turn, (signing,), {"trusted": ()}).start()
    assert turning.ring.current(now=NOW) == signing


def test_a_call_waits_no_longer_once_no_successor_has_come(turning: Turning) -> None:
    turning.ring.turn(None, trusted=(), is_successor_coming=True)
    threading.Timer(0.05, turning.ring.end_waiting).start()
    with pytest.raises(FailedPrecondition, match="import"):
        turning.ring.current(now=NOW)


def test_the_key_that_signed_before_is_there_for_a_request_that_is_asked_again(turning: Turning) -> None:
    turning.turn(at=NOW + LIFE // 2)
    turning.sign(CredentialKind.PAPER)
    turning.turn(at=NOW + LIFE)
    now = NOW + LIFE
    assert turning.ring.current(now=now).key_id != turning.first_key_id
    again = turning.ring.that_signed(turning.first_key_id, now=now)
    assert again.key_id == turning.first_key_id
    assert again.key_set == turning.key_set()


def test_a_key_that_was_revoked_signs_nothing_again(turning: Turning) -> None:
    turning.turn(at=NOW + LIFE // 2)
    turning.revoke(turning.first_key_id)
    turning.turn()
    assert turning.states()[turning.first_key_id] is KeyState.REVOKED
    again = turning.ring.that_signed(turning.first_key_id, now=NOW + LIFE // 2)
    assert again == turning.ring.current(now=NOW + LIFE // 2)
