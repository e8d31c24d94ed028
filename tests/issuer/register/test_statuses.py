"""Statuses: what changes them, what counts, who may change how much, and what ends by itself."""

from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from issuer.access.approvals import ApprovalKind, ApprovalState
from issuer.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RegisterUnavailable,
)
from issuer.register.allowances import (
    CONSENT_LIFE_S,
    HOUR_S,
    ImportConsent,
    OpenAllowance,
    Unlimited,
    WithoutConsent,
    changed_without_consent,
    open_consent,
)
from issuer.register.database import Database
from issuer.register.entries import ChangeSource, HolderStatus, RowsEntered, StatusChange
from issuer.register.history import Finding
from issuer.register.import_rows import RowRefused
from issuer.register.schema import credentials, outbox, status_changes, status_imports
from issuer.register.statuses import ISSUER_ITSELF, Statuses
from tests.issuer.register.people import (
    NOW,
    add_client,
    approved,
    enrol,
    erase,
    green,
    negative_test,
    red,
    request,
    yellow,
)
from verifier.wire.status_record import Colour


@pytest.fixture
def statuses(database: Database) -> Statuses:
    return Statuses(database=database)


def by_hand(
    statuses: Statuses,
    changes: Sequence[StatusChange],
    *,
    now: int = NOW,
    operator: str = "clerk",
    approval_id: int | None = None,
) -> int:
    return statuses.set(
        changes, operator=operator, source=ChangeSource.MANUAL, now=now, approval_id=approval_id
    )


def enter(
    statuses: Statuses,
    rows: Sequence[StatusChange | RowRefused],
    *,
    now: int = NOW,
    operator: str = "clerk",
    open_allowance: OpenAllowance = lambda _: Unlimited(),
) -> RowsEntered:
    return statuses.enter_rows(rows, operator=operator, now=now, open_allowance=open_allowance)


def alone(operator: str = "clerk", *, limit: int = 2, now: int = NOW) -> OpenAllowance:
    return lambda connection: WithoutConsent(connection, operator=operator, limit=limit, now=now)


def waiting(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.scalars(select(outbox.c.credential_index).order_by(outbox.c.seq)))


def credentials_of(database: Database, holder_id: int) -> list[int]:
    with database.read() as connection:
        query = select(credentials.c.credential_index).where(credentials.c.holder_id == holder_id)
        return list(connection.scalars(query))


def assert_history_verifies(statuses: Statuses) -> None:
    *_, last = statuses.verify_history()
    assert isinstance(last, Finding)
    assert last.problem == ""


# Changing


def test_a_holder_has_no_status_at_first(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    assert statuses.status(holder) == HolderStatus(Colour.NONE, 0, 0)


def test_nobody_has_no_status(statuses: Statuses) -> None:
    with pytest.raises(NotFound, match="there is no holder 4711"):
        statuses.status(4711)


def test_a_change_replaces_the_one_before_whole(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [yellow(holder, valid_until=NOW + 60, negative_test_min=7)])
    assert statuses.status(holder) == HolderStatus(Colour.YELLOW, 12, 7, NOW + 60)
    by_hand(statuses, [yellow(holder, reason=13)])
    assert statuses.status(holder) == HolderStatus(Colour.YELLOW, 13, 7, 0)


def test_changes_of_one_call_are_carried_out_in_their_order(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [green(holder), yellow(holder, valid_until=NOW + 9), green(holder), yellow(holder)])
    assert statuses.status(holder) == HolderStatus(Colour.YELLOW, 12, 0, 0)
    assert_history_verifies(statuses)


def test_a_change_puts_every_credential_of_the_holder_into_the_outbox_and_no_other(
    database: Database, statuses: Statuses
) -> None:
    _, second = enrol(database, 2)
    seq = by_hand(statuses, [yellow(second)])
    assert seq > 0
    assert waiting(database) == credentials_of(database, second)


def test_a_change_in_the_transaction_of_another_is_undone_with_it(
    database: Database, statuses: Statuses
) -> None:
    (holder,) = enrol(database)

    def change_and_fail() -> None:
        with database.write() as connection:
            statuses.set(
                [green(holder)],
                operator="clerk",
                source=ChangeSource.MANUAL,
                now=NOW,
                connection=connection,
            )
            raise InterruptedError

    with pytest.raises(InterruptedError):
        change_and_fail()
    assert statuses.status(holder).colour is Colour.NONE
    assert waiting(database) == []


def test_the_status_of_nobody_cannot_be_set_and_nothing_else_is(
    database: Database, statuses: Statuses
) -> None:
    (holder,) = enrol(database)
    with pytest.raises(NotFound, match=r"changes\[1\]\.holder_id: there is no holder 4711"):
        by_hand(statuses, [green(holder), green(4711)])
    assert statuses.status(holder).colour is Colour.NONE


def test_an_erased_holder_cannot_be_changed(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [yellow(holder)])
    erase(database, holder)
    with pytest.raises(FailedPrecondition, match=r"changes\[0\]\.holder_id: holder \d+ was erased"):
        by_hand(statuses, [green(holder)])
    assert statuses.status(holder).colour is Colour.YELLOW


@pytest.mark.parametrize("valid_until", [NOW - 1, NOW])
def test_a_change_that_has_ended_already_is_refused(
    database: Database, statuses: Statuses, valid_until: int
) -> None:
    (holder,) = enrol(database)
    with pytest.raises(InvalidArgument, match=r"changes\[0\]\.valid_until: expected Unix seconds in the fut"):
        by_hand(statuses, [yellow(holder, valid_until=valid_until)])


def test_a_change_that_ends_in_a_second_is_taken(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [yellow(holder, valid_until=NOW + 1)])
    assert statuses.status(holder).valid_until == NOW + 1


# Tests


def test_the_newest_test_counts_whatever_the_order_of_arrival(database: Database, statuses: Statuses) -> None:
    for number, order in enumerate(permutations([10, 20, 30])):
        (holder,) = enrol(database)
        for minute in order:
            row = negative_test(holder, minute, external_id=f"{number}-{minute}")
            statuses.enter_tests([row], operator="clerk", now=NOW)
        assert statuses.status(holder).last_negative_test_min == 30
    assert_history_verifies(statuses)


def test_a_test_leaves_colour_reason_and_end_as_they_are(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [yellow(holder, valid_until=NOW + 60)])
    statuses.enter_tests([negative_test(holder, 5, external_id="T1")], operator="lab", now=NOW)
    assert statuses.status(holder) == HolderStatus(Colour.YELLOW, 12, 5, NOW + 60)


def test_a_test_of_a_holder_without_colour_gives_none(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    statuses.enter_tests([negative_test(holder, 5, external_id="T1")], operator="lab", now=NOW)
    assert statuses.status(holder) == HolderStatus(Colour.NONE, 0, 5)
    assert_history_verifies(statuses)


@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_register_adds_changes_up_as_entries_say(
    database: Database, statuses: Statuses, data: st.DataObject
) -> None:
    ids = enrol(database, 2)
    change = st.builds(
        StatusChange,
        holder_id=st.sampled_from(ids),
        colour=st.sampled_from([Colour.NONE, Colour.GREEN, Colour.YELLOW]),
        reason=st.integers(0, 65_535),
        authority=st.just("CDC"),
        negative_test_min=st.integers(0, 2**32 - 1),
        valid_until=st.sampled_from([0, NOW + 1, NOW + 2]),
    )
    expected = dict.fromkeys(ids, HolderStatus(Colour.NONE, 0, 0))
    for one in data.draw(st.lists(change, max_size=8)):
        # A change without a colour is a test, which has nothing else.
        sound = (
            StatusChange(one.holder_id, one.colour, 0, "lab", one.negative_test_min)
            if not one.colour
            else one
        )
        by_hand(statuses, [sound])
        expected[sound.holder_id or 0] = expected[sound.holder_id or 0].after(sound)
    assert {holder: statuses.status(holder) for holder in ids} == expected


# Reading


def test_changes_are_listed_the_newest_first_page_by_page(database: Database, statuses: Statuses) -> None:
    first, second = enrol(database, 2)
    for change in (green(first), yellow(second), yellow(first), green(first)):
        by_hand(statuses, [change])
    page = statuses.changes_of(first, limit=2)
    assert [entry.seq for entry in page] == [4, 3]
    assert [entry.seq for entry in statuses.changes_of(first, limit=2, before_seq=3)] == [1]


def test_a_change_is_listed_as_it_was_made(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    approval_id = approved(database)
    change = red(holder, evidence="file 4", valid_until=NOW + 60, negative_test_min=3)
    by_hand(statuses, [change], approval_id=approval_id)
    (entry,) = statuses.changes_of(holder, limit=10)
    assert entry.change == change
    assert (entry.operator, entry.source, entry.changed_at) == ("clerk", ChangeSource.MANUAL, NOW)
    assert entry.approval_id == approval_id
    assert len(entry.own_hash) == 32


def test_nobody_has_no_changes(statuses: Statuses) -> None:
    with pytest.raises(NotFound):
        statuses.changes_of(4711, limit=10)


# Imports


def test_rows_are_entered_in_their_order(database: Database, statuses: Statuses) -> None:
    first, second = enrol(database, 2)
    rows = [
        green(None, holder_external_id=f"H{second}", external_id="D1"),
        yellow(first, external_id="D2"),
        yellow(None, holder_external_id=f"H{second}", external_id="D3"),
    ]
    entered = enter(statuses, rows)
    assert (list(entered.ids), entered.known, list(entered.refused)) == ([1, 2, 3], 0, [])
    assert statuses.status(second).colour is Colour.YELLOW
    assert sorted(waiting(database)) == sorted(
        credentials_of(database, first) + credentials_of(database, second)
    )
    assert_history_verifies(statuses)


def test_a_row_that_is_known_is_left_as_it_is(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    row = yellow(holder, external_id="D1", valid_until=NOW + 60)
    enter(statuses, [row])
    by_hand(statuses, [green(holder)])
    again = enter(statuses, [row], now=NOW + 61)  # its end has come meanwhile
    assert (list(again.ids), again.known, list(again.refused), again.outbox_seq) == ([1], 1, [], 0)
    assert statuses.status(holder).colour is Colour.GREEN


def test_a_row_twice_in_one_batch_is_entered_once(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    entered = enter(statuses, [yellow(holder, external_id="D1"), yellow(holder, external_id="D1")])
    assert (list(entered.ids), entered.known) == ([1, 1], 1)
    assert len(statuses.changes_of(holder, limit=10)) == 1


@pytest.mark.parametrize("is_same_batch", [True, False])
def test_an_external_id_of_another_change_is_refused(
    database: Database, statuses: Statuses, is_same_batch: bool
) -> None:
    first, second = enrol(database, 2)
    rows: list[StatusChange | RowRefused] = [
        yellow(first, external_id="D1"),
        yellow(second, external_id="D1"),
    ]
    batches = [rows] if is_same_batch else [rows[:1], rows[1:]]
    *_, entered = [enter(statuses, batch) for batch in batches]
    assert entered.refused[0][1] == "external_id: it is known, but for another change"
    assert statuses.status(second).colour is Colour.NONE


def test_a_decision_and_a_test_may_have_the_same_external_id(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    enter(statuses, [yellow(holder, external_id="1")])
    tests = [negative_test(holder, 5, external_id="1")]
    assert list(statuses.enter_tests(tests, operator="lab", now=NOW).ids) == [2]


def test_a_bad_row_holds_up_no_good_one(database: Database, statuses: Statuses) -> None:
    good, gone = enrol(database, 2)
    erase(database, gone)
    entered = enter(
        statuses,
        [
            RowRefused("colour: expected GREEN, YELLOW or RED, got 9"),
            green(4711, external_id="D1"),
            green(None, holder_external_id="nobody", external_id="D2"),
            green(gone, external_id="D3"),
            yellow(good, external_id="D4", valid_until=NOW),
            green(good, external_id="D5"),
        ],
    )
    assert list(entered.ids) == [0, 0, 0, 0, 0, 1]
    assert list(entered.refused) == [
        (0, "colour: expected GREEN, YELLOW or RED, got 9"),
        (1, "holder_id: there is no such holder"),
        (2, "holder_external_id: there is no such holder"),
        (3, "holder_id: the holder was erased"),
        (4, "valid_until: expected Unix seconds in the future"),
    ]


def test_a_row_of_a_holder_who_was_erased_since_is_still_known(
    database: Database, statuses: Statuses
) -> None:
    (holder,) = enrol(database)
    enter(statuses, [green(holder, external_id="D1")])
    erase(database, holder)
    assert enter(statuses, [green(holder, external_id="D1")]).known == 1


def test_a_batch_of_nothing_but_bad_rows_changes_nothing(database: Database, statuses: Statuses) -> None:
    entered = enter(statuses, [RowRefused("no")])
    assert (list(entered.ids), entered.outbox_seq) == ([0], 0)


# Who may do how much


def test_without_consent_no_red_is_set_or_entered(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    assert statuses.set_if_allowed([red(holder)], operator="clerk", now=NOW, open_allowance=alone()) is None
    entered = enter(statuses, [red(holder, external_id="D1")], open_allowance=alone())
    assert entered.refused[0][1].startswith("colour: RED needs the consent of a second person")
    assert statuses.status(holder).colour is Colour.NONE


@pytest.mark.parametrize(("count", "is_allowed"), [(1, True), (2, True), (3, False)])
def test_without_consent_the_limit_is_the_last_that_is_allowed(
    database: Database, statuses: Statuses, count: int, is_allowed: bool
) -> None:
    changes = [yellow(holder) for holder in enrol(database, count)]
    seq = statuses.set_if_allowed(changes, operator="clerk", now=NOW, open_allowance=alone(limit=2))
    assert (seq is not None) == is_allowed
    assert {statuses.status(change.holder_id or 0).colour for change in changes} == {
        Colour.YELLOW if is_allowed else Colour.NONE
    }


def test_splitting_a_change_does_not_help(database: Database, statuses: Statuses) -> None:
    first, second, third = enrol(database, 3)
    by_hand(statuses, [yellow(first)])
    entered = enter(statuses, [yellow(second, external_id="D1")], open_allowance=alone())
    assert list(entered.ids) == [2]
    seq = statuses.set_if_allowed([yellow(third)], operator="clerk", now=NOW, open_allowance=alone())
    assert seq is None
    entered = enter(statuses, [yellow(third, external_id="D2")], open_allowance=alone())
    assert entered.refused[0][1].startswith("more than 2 holders an hour need the consent of a second person")


def test_the_same_holder_counts_once(database: Database, statuses: Statuses) -> None:
    first, second = enrol(database, 2)
    by_hand(statuses, [yellow(first), green(first), yellow(first)])
    seq = statuses.set_if_allowed(
        [yellow(second), green(first)], operator="clerk", now=NOW, open_allowance=alone()
    )
    assert seq is not None


@pytest.mark.parametrize(("later_s", "counts"), [(HOUR_S - 1, True), (HOUR_S, False)])
def test_a_change_counts_for_an_hour(
    database: Database, statuses: Statuses, later_s: int, counts: bool
) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [yellow(holder)])
    with database.read() as connection:
        changed = changed_without_consent(connection, "clerk", since=NOW + later_s - HOUR_S)
    assert changed == ({holder} if counts else set())


def test_what_counts_is_ones_own_without_consent(database: Database, statuses: Statuses) -> None:
    ids = enrol(database, 5)
    by_hand(statuses, [yellow(ids[0])], operator="another clerk")
    by_hand(statuses, [yellow(ids[1])], approval_id=approved(database))
    statuses.enter_tests([negative_test(ids[2], 5, external_id="T1")], operator="clerk", now=NOW)
    enter(statuses, [yellow(ids[3], external_id="D1")])
    by_hand(statuses, [yellow(ids[4])])
    with database.read() as connection:
        assert changed_without_consent(connection, "clerk", since=NOW - 1) == {ids[3], ids[4]}


def test_rows_that_are_known_cost_nothing(database: Database, statuses: Statuses) -> None:
    rows = [yellow(holder, external_id=f"D{holder}") for holder in enrol(database, 2)]
    enter(statuses, rows, open_allowance=alone())
    again = enter(statuses, rows, open_allowance=alone())
    assert (again.known, list(again.refused)) == (2, [])


def consent(
    database: Database,
    *,
    green: int = 0,
    yellow: int = 0,
    red: int = 0,
    later_s: int = 0,
    is_for_batch: bool = True,
) -> OpenAllowance:
    """Return a consent that a second person gave to the clerk, as it is `later_s` later."""
    client_id, second = add_client(database, "clerk"), add_client(database, "second person")
    approval_id = request(
        database,
        client_id,
        kind=ApprovalKind.STATUS_IMPORT,
        state=ApprovalState.APPROVED,
        settled_by=second,
    )
    counts = {Colour.GREEN: green, Colour.YELLOW: yellow, Colour.RED: red}
    with database.write() as connection:
        open_consent(connection, approval_id=approval_id, file_sha256=bytes(32), counts=counts)
    return lambda connection: ImportConsent(
        connection,
        approval_id=approval_id,
        client_id=client_id,
        now=NOW + later_s,
        is_for_batch=is_for_batch,
    )


def left(database: Database) -> tuple[int, int, int]:
    with database.read() as connection:
        row = connection.execute(select(status_imports)).one()
        return row.green_left, row.yellow_left, row.red_left


def test_with_consent_reds_are_entered_and_taken_from_it(database: Database, statuses: Statuses) -> None:
    holder, other = enrol(database, 2)
    given = consent(database, green=1, red=2)
    entered = enter(
        statuses, [red(holder, external_id="D1"), green(other, external_id="D2")], open_allowance=given
    )
    assert list(entered.ids) == [1, 2]
    assert left(database) == (0, 0, 1)
    assert statuses.changes_of(holder, limit=1)[0].approval_id > 0


def test_what_a_consent_does_not_cover_is_refused(database: Database, statuses: Statuses) -> None:
    holders = enrol(database, 3)
    given = consent(database, red=1)
    rows = [
        red(holders[0], external_id="D1"),
        red(holders[1], external_id="D2"),
        yellow(holders[2], external_id="D3"),
    ]
    entered = enter(statuses, rows, open_allowance=given)
    assert [position for position, _ in entered.refused] == [1, 2]
    assert "covers no further change to RED" in entered.refused[0][1]
    assert "covers no further change to YELLOW" in entered.refused[1][1]
    assert left(database) == (0, 0, 0)


def test_known_and_refused_rows_take_nothing_from_a_consent(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    given = consent(database, red=2)
    rows = [red(holder, external_id="D1"), red(4711, external_id="D2")]
    enter(statuses, rows, open_allowance=given)
    enter(statuses, rows, open_allowance=given)
    assert left(database) == (0, 0, 1)


def test_a_consent_to_other_batches_covers_nothing(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    given = consent(database, red=1, is_for_batch=False)
    entered = enter(statuses, [red(holder, external_id="D1")], open_allowance=given)
    assert "the file was changed since it was asked for" in entered.refused[0][1]
    assert left(database) == (0, 0, 1)


def test_a_consent_can_be_used_for_a_week(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    given = consent(database, red=1, later_s=CONSENT_LIFE_S - 1)
    assert list(enter(statuses, [red(holder, external_id="D1")], open_allowance=given).ids) == [1]


@pytest.mark.parametrize("later_s", [CONSENT_LIFE_S, CONSENT_LIFE_S + 1])
def test_a_consent_that_is_older_is_none(database: Database, statuses: Statuses, later_s: int) -> None:
    given = consent(database, red=1, later_s=later_s)
    with pytest.raises(FailedPrecondition, match="is older than 7 days"):
        enter(statuses, [], open_allowance=given)


@pytest.mark.parametrize("state", [ApprovalState.PENDING, ApprovalState.REJECTED, ApprovalState.EXPIRED])
def test_a_consent_that_is_not_approved_is_none(
    database: Database, statuses: Statuses, state: ApprovalState
) -> None:
    client_id = add_client(database, "clerk")
    approval_id = request(database, client_id, kind=ApprovalKind.STATUS_IMPORT, state=state)
    with pytest.raises(FailedPrecondition, match=f"is {state.name}, expected APPROVED"):
        enter(
            statuses,
            [green(1, external_id="D1")],
            open_allowance=lambda c: ImportConsent(
                c, approval_id=approval_id, client_id=client_id, now=NOW, is_for_batch=True
            ),
        )


def test_a_consent_to_another_client_is_none(database: Database, statuses: Statuses) -> None:
    consent(database, green=1)
    another = add_client(database, "another clerk")
    with pytest.raises(PermissionDenied):
        enter(
            statuses,
            [],
            open_allowance=lambda c: ImportConsent(
                c, approval_id=1, client_id=another, now=NOW, is_for_batch=True
            ),
        )


def test_an_approval_of_something_else_is_no_consent(database: Database, statuses: Statuses) -> None:
    approval_id = approved(database)
    with pytest.raises(NotFound):
        enter(
            statuses,
            [],
            open_allowance=lambda c: ImportConsent(
                c, approval_id=approval_id, client_id=1, now=NOW, is_for_batch=True
            ),
        )


def test_the_database_refuses_a_red_by_hand_without_approval(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    with pytest.raises(RegisterUnavailable):
        by_hand(statuses, [red(holder)])
    assert statuses.status(holder).colour is Colour.NONE


def test_the_database_refuses_an_imported_red_without_approval(
    database: Database, statuses: Statuses
) -> None:
    (holder,) = enrol(database)
    with pytest.raises(RegisterUnavailable):
        enter(statuses, [red(holder, external_id="D1")])
    assert statuses.status(holder).colour is Colour.NONE


def test_the_database_refuses_a_red_whose_approval_is_still_pending(
    database: Database, statuses: Statuses
) -> None:
    (holder,) = enrol(database)
    pending = request(database, add_client(database, "clerk"))
    with pytest.raises(RegisterUnavailable):
        by_hand(statuses, [red(holder)], approval_id=pending)


def test_the_database_takes_a_red_that_a_second_person_approved(
    database: Database, statuses: Statuses
) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [red(holder)], approval_id=approved(database))
    assert statuses.status(holder).colour is Colour.RED


# Reds by hand


def test_reds_by_hand_are_counted_by_operator_for_an_hour(database: Database, statuses: Statuses) -> None:
    holders = enrol(database, 3)
    clerk, other = approved(database, "clerk"), approved(database, "other")
    by_hand(statuses, [red(holders[0]), red(holders[1]), yellow(holders[2])], approval_id=clerk)
    by_hand(statuses, [red(holders[2])], operator="other", approval_id=other, now=NOW + 10)
    assert statuses.reds_by_hand(since=NOW - 1) == {"clerk": 2, "other": 1}
    assert statuses.reds_by_hand(since=NOW) == {"other": 1}
    assert statuses.reds_by_hand(since=NOW + 10) == {}


def test_imported_reds_are_not_by_hand(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    enter(statuses, [red(holder, external_id="D1")], open_allowance=consent(database, red=1))
    assert statuses.reds_by_hand(since=NOW - 1) == {}


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("SELECT holder_id FROM status_changes WHERE operator = 'c' AND changed_at > 5 "
         "AND approval_id IS NULL AND source IN (1, 2)", "status_changes_without_consent"),
        ("SELECT operator, count(*) FROM status_changes WHERE changed_at > 5 "
         "AND source = 1 AND colour = 3 GROUP BY operator", "status_changes_reds_by_hand"),
        ("SELECT holder_id FROM holder_status WHERE valid_until <= 5 ORDER BY valid_until LIMIT 9",
         "holder_status_to_end"),
    ],
)  # fmt: skip
def test_what_is_asked_all_the_time_is_found_by_an_index(sqlite_url: str, name: str, index: str) -> None:
    database = Database.open(sqlite_url)
    with database.read() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {name}").all()
    database.close()
    assert index in str(plan)


# Ends


@pytest.mark.parametrize(("later_s", "is_ended"), [(59, False), (60, True), (61, True)])
def test_a_colour_ends_at_its_valid_until(
    database: Database, statuses: Statuses, later_s: int, is_ended: bool
) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [yellow(holder, valid_until=NOW + 60, negative_test_min=5)])
    count, seq = statuses.end_due(now=NOW + later_s, limit=10)
    assert (count, seq > 0) == (int(is_ended), is_ended)
    expected = HolderStatus(Colour.GREEN, 0, 5) if is_ended else HolderStatus(Colour.YELLOW, 12, 5, NOW + 60)
    assert statuses.status(holder) == expected


def test_an_end_is_a_change_of_the_issuers_own(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [red(holder, valid_until=NOW + 60)], approval_id=approved(database))
    statuses.end_due(now=NOW + 75, limit=10)
    newest = statuses.changes_of(holder, limit=10)[0]
    assert newest.change == StatusChange(holder, Colour.GREEN, 0, ISSUER_ITSELF)
    assert (newest.operator, newest.source) == (ISSUER_ITSELF, ChangeSource.ENDED)
    assert (newest.changed_at, newest.approval_id) == (NOW + 75, 0)
    assert_history_verifies(statuses)


def test_a_colour_that_was_renewed_does_not_end(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [yellow(holder, valid_until=NOW + 60)])
    by_hand(statuses, [yellow(holder, valid_until=NOW + 120)])
    assert statuses.end_due(now=NOW + 60, limit=10) == (0, 0)
    assert statuses.end_due(now=NOW + 120, limit=10)[0] == 1


def test_a_colour_without_an_end_does_not_end(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [yellow(holder, valid_until=NOW + 60)])
    by_hand(statuses, [yellow(holder)])
    assert statuses.next_end() is None
    assert statuses.end_due(now=NOW + 10**9, limit=10) == (0, 0)


def test_colours_end_in_bounded_batches_the_earliest_first(database: Database, statuses: Statuses) -> None:
    holders = enrol(database, 3)
    by_hand(statuses, [yellow(holder, valid_until=NOW + 60 - holder) for holder in holders])
    assert statuses.next_end() == NOW + 60 - holders[2]
    assert statuses.end_due(now=NOW + 60, limit=2)[0] == 2
    assert [statuses.status(holder).colour for holder in holders] == [
        Colour.YELLOW,
        Colour.GREEN,
        Colour.GREEN,
    ]
    assert statuses.end_due(now=NOW + 60, limit=2)[0] == 1
    assert statuses.end_due(now=NOW + 60, limit=2) == (0, 0)


def test_a_colour_of_an_erased_holder_ends_too(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [yellow(holder, valid_until=NOW + 60)])
    erase(database, holder)
    assert statuses.end_due(now=NOW + 60, limit=10)[0] == 1
    assert statuses.end_due(now=NOW + 60, limit=10) == (0, 0)


def test_an_end_publishes_the_credentials(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [yellow(holder, valid_until=NOW + 60)])
    before = len(waiting(database))
    statuses.end_due(now=NOW + 60, limit=10)
    assert waiting(database)[before:] == credentials_of(database, holder)


def test_entries_in_the_history_have_the_source_of_the_call(database: Database, statuses: Statuses) -> None:
    (holder,) = enrol(database)
    by_hand(statuses, [green(holder)])
    enter(statuses, [green(holder, external_id="D1")])
    statuses.enter_tests([negative_test(holder, 5, external_id="T1")], operator="lab", now=NOW)
    with database.read() as connection:
        sources = connection.scalars(select(status_changes.c.source).order_by(status_changes.c.seq)).all()
    assert sources == [ChangeSource.MANUAL, ChangeSource.IMPORT, ChangeSource.TEST]
