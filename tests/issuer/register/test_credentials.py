"""Credentials on a real register, SQLite and PostgreSQL."""

from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import pytest
from sqlalchemy import insert, update

from issuer.documents import DocumentHasher
from issuer.errors import FailedPrecondition, InvalidArgument, NotFound
from issuer.register.credentials import Credentials
from issuer.register.database import Database
from issuer.register.entries import (
    CredentialEntry,
    CredentialStanding,
    HolderStatus,
    NewCredential,
    NewHolder,
)
from issuer.register.holders import Holders
from issuer.register.import_rows import RowRefused
from issuer.register.outbox import FeedPosition, Outbox
from issuer.register.schema import clients, holder_status
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, unpack

NOW = 1_800_000_000
NOBODY = 999
PHONE, PAPER = CredentialKind.PHONE, CredentialKind.PAPER
NONE = HolderStatus(Colour.NONE, 0, 0)


@pytest.fixture
def holders(database: Database) -> Holders:
    """The holders of a new register."""
    return Holders(database=database, documents=DocumentHasher(b"the document key of these tests."))


@pytest.fixture
def credentials(database: Database) -> Credentials:
    """Its credentials."""
    return Credentials(database=database)


def enrol(holders: Holders, number: int = 1, **changed: Any) -> int:
    new = NewHolder("王小秀", "ID", f"E{number}", "朝阳", external_id=f"person-{number}", **changed)
    return holders.enrol([new], now=NOW)[0]


def issue(credentials: Credentials, holder_id: int, kind: CredentialKind = PHONE, **changed: Any) -> int:
    return credentials.issue([NewCredential(holder_id, kind, **changed)], now=NOW).credential_indices[0]


def add_client(database: Database, name: str, *, roles: str = "APP", revoked_at: int | None = None) -> int:
    values = {
        "name": name,
        "roles": roles,
        "bearer_key_sha256": name.encode(),
        "added_at": NOW,
        "revoked_at": revoked_at,
    }
    with database.write() as connection:
        return int(connection.execute(insert(clients).values(values).returning(clients.c.id)).scalar_one())


def set_status(database: Database, holder_id: int, colour: Colour, **changed: int) -> None:
    values = {"reason": 0, "last_negative_test_min": 0, **changed}
    with database.write() as connection:
        connection.execute(insert(holder_status).values(holder_id=holder_id, colour=int(colour), **values))


def published(outbox: Outbox) -> dict[int, StatusRecord]:
    """Return what waits to be published, and empty the outbox."""
    batch = outbox.next_batch(10_000)
    if batch.row_count:
        outbox.settle(batch.last_seq, {0: FeedPosition("e", "1-1")})
    return {index: unpack(record) for index, record in batch.updates}


# Issuing


def test_indices_are_dense_from_one(credentials: Credentials, holders: Holders) -> None:
    ids = [enrol(holders, number) for number in range(3)]
    new = [NewCredential(holder_id, PHONE) for holder_id in ids]
    assert list(credentials.issue(new, now=NOW).credential_indices) == [1, 2, 3]
    with pytest.raises(NotFound):
        credentials.issue([*new, NewCredential(NOBODY, PHONE)], now=NOW)
    assert list(credentials.issue(new, now=NOW).credential_indices) == [4, 5, 6]


def test_a_new_credential_is_active_in_its_first_generation_and_has_no_colour(
    credentials: Credentials, holders: Holders, outbox: Outbox
) -> None:
    holder_id = enrol(holders)
    issued = credentials.issue([NewCredential(holder_id, PAPER)], now=NOW)
    assert credentials.entry(1) == CredentialEntry(
        credential_index=1,
        holder_id=holder_id,
        name="王小秀",
        kind=PAPER,
        generation=1,
        state=CredentialStanding.ACTIVE,
        status=NONE,
        app_client_id=None,
        app="",
        issued_at=NOW,
        valid_until=0,
        external_id="",
    )
    assert outbox.last_seq() == issued.outbox_seq
    assert published(outbox) == {1: StatusRecord(Colour.NONE, CredentialState.ACTIVE, 1)}


def test_a_new_credential_takes_over_the_status_of_its_holder(
    credentials: Credentials, holders: Holders, database: Database, outbox: Outbox
) -> None:
    holder_id = enrol(holders)
    set_status(database, holder_id, Colour.RED, reason=31, last_negative_test_min=500, valid_until=NOW + 60)
    index = issue(credentials, holder_id)
    assert credentials.entry(index).status == HolderStatus(Colour.RED, 31, 500, NOW + 60)
    assert published(outbox) == {index: StatusRecord(Colour.RED, CredentialState.ACTIVE, 1, 31, 500)}


def test_a_holder_may_be_named_by_external_id(credentials: Credentials, holders: Holders) -> None:
    enrol(holders, 1)
    holder_id = enrol(holders, 2)
    new = NewCredential(None, PHONE, holder_external_id="person-2")
    (index,) = credentials.issue([new], now=NOW).credential_indices
    assert credentials.entry(index).holder_id == holder_id


def test_an_unknown_holder_is_named_with_its_place(credentials: Credentials, holders: Holders) -> None:
    known = NewCredential(enrol(holders), PHONE)
    with pytest.raises(NotFound, match=r"^credentials\[1\].holder_id: there is no holder 999$"):
        credentials.issue([known, NewCredential(NOBODY, PHONE)], now=NOW)
    with pytest.raises(NotFound, match=r"^credentials\[0\].holder_external_id: no holder has it$"):
        credentials.issue([NewCredential(None, PHONE, holder_external_id="person-9")], now=NOW)


def test_one_who_was_erased_gets_no_credential(credentials: Credentials, holders: Holders) -> None:
    holder_id = enrol(holders)
    holders.erase(holder_id, now=NOW)
    with pytest.raises(FailedPrecondition, match=r"^credentials\[0\].holder_id: holder 1 was erased$"):
        issue(credentials, holder_id)
    by_external_id = NewCredential(None, PHONE, holder_external_id="person-1")
    with pytest.raises(
        FailedPrecondition, match=r"^credentials\[0\].holder_external_id: holder 1 was erased$"
    ):
        credentials.issue([by_external_id], now=NOW)


def test_a_credential_may_belong_to_an_app(
    credentials: Credentials, holders: Holders, database: Database
) -> None:
    client_id = add_client(database, "city-app")
    entry = credentials.entry(issue(credentials, enrol(holders), app="city-app"))
    assert (entry.app, entry.app_client_id) == ("city-app", client_id)


def test_an_app_has_to_exist(credentials: Credentials, holders: Holders) -> None:
    with pytest.raises(NotFound, match=r"^credentials\[0\].app: there is no client city-app$"):
        issue(credentials, enrol(holders), app="city-app")


def test_a_client_of_the_staff_is_no_app(
    credentials: Credentials, holders: Holders, database: Database
) -> None:
    add_client(database, "clerk", roles="AUDITOR,CLERK")
    with pytest.raises(FailedPrecondition, match=r"^credentials\[0\].app: client clerk is no app$"):
        issue(credentials, enrol(holders), app="clerk")


def test_a_revoked_app_gets_no_credential(
    credentials: Credentials, holders: Holders, database: Database
) -> None:
    add_client(database, "old-app", revoked_at=NOW)
    with pytest.raises(FailedPrecondition, match=r"^credentials\[0\].app: client old-app was revoked$"):
        issue(credentials, enrol(holders), app="old-app")


@pytest.mark.parametrize(("left_s", "is_issued"), [(1, True), (0, False), (-1, False)])
def test_a_credential_ends_in_the_future(
    credentials: Credentials, holders: Holders, left_s: int, is_issued: bool
) -> None:
    holder_id = enrol(holders)
    if is_issued:
        index = issue(credentials, holder_id, valid_until=NOW + left_s)
        assert credentials.entry(index).valid_until == NOW + left_s
        return
    with pytest.raises(InvalidArgument, match=r"^credentials\[0\].valid_until: "):
        issue(credentials, holder_id, valid_until=NOW + left_s)


def test_an_external_id_belongs_to_one_credential(credentials: Credentials, holders: Holders) -> None:
    holder_id = enrol(holders)
    issue(credentials, holder_id, external_id="order-1")
    with pytest.raises(
        FailedPrecondition, match=r"^credentials\[0\].external_id: credential 1 has it already$"
    ):
        issue(credentials, holder_id, external_id="order-1")
    twice = [NewCredential(holder_id, PHONE, external_id="order-2")] * 2
    with pytest.raises(FailedPrecondition, match=r"^credentials\[1\].external_id: an earlier entry has it"):
        credentials.issue(twice, now=NOW)


# Imports


def row(number: int, **changed: Any) -> NewCredential:
    fields = {
        "holder_id": None,
        "kind": PAPER,
        "holder_external_id": f"person-{number}",
        "external_id": f"order-{number}",
    }
    return NewCredential(**{**fields, **changed})


def refused_of(
    credentials: Credentials, rows: Sequence[NewCredential | RowRefused]
) -> Sequence[tuple[int, str]]:
    return credentials.enter_rows(rows, now=NOW).refused


def test_good_rows_go_in_and_bad_ones_are_told_of(
    credentials: Credentials, holders: Holders, outbox: Outbox
) -> None:
    enrol(holders, 1)
    enrol(holders, 2)
    entered = credentials.enter_rows([row(1), RowRefused("kind: expected it"), row(9), row(2)], now=NOW)
    assert list(entered.ids) == [1, 0, 0, 2]
    assert entered.refused == [(1, "kind: expected it"), (2, "holder_external_id: no holder has it")]
    assert outbox.last_seq() == entered.outbox_seq
    assert list(published(outbox)) == [1, 2]


def test_a_row_that_is_known_keeps_its_index_and_is_not_published_again(
    credentials: Credentials, holders: Holders, outbox: Outbox
) -> None:
    enrol(holders, 1)
    credentials.enter_rows([row(1, valid_until=NOW + 1)], now=NOW)
    published(outbox)
    again = credentials.enter_rows([row(1, valid_until=NOW + 1)], now=NOW + 100)
    assert (list(again.ids), again.known, again.refused, again.outbox_seq) == ([1], 1, [], 0)
    assert published(outbox) == {}


def test_a_known_external_id_of_another_holder_or_kind_is_refused(
    credentials: Credentials, holders: Holders
) -> None:
    enrol(holders, 1)
    enrol(holders, 2)
    credentials.enter_rows([row(1)], now=NOW)
    others = [row(1, kind=PHONE), row(2, external_id="order-1")]
    reason = "external_id: credential 1 has it, of another holder or kind"
    assert refused_of(credentials, others) == [(0, reason), (1, reason)]


def test_a_row_that_is_twice_in_a_batch_is_issued_once(credentials: Credentials, holders: Holders) -> None:
    enrol(holders, 1)
    entered = credentials.enter_rows([row(1), row(1), row(1, kind=PHONE)], now=NOW)
    assert (list(entered.ids), entered.known) == ([1, 1, 0], 1)
    assert entered.refused == [(2, "external_id: an earlier row has it, of another holder or kind")]


def test_a_row_of_one_who_was_erased_is_refused(credentials: Credentials, holders: Holders) -> None:
    enrol(holders, 1)
    holders.erase(1, now=NOW)
    assert refused_of(credentials, [row(1)]) == [(0, "holder_external_id: holder 1 was erased")]


# Changes


def test_replacing_gives_the_next_generation_and_lifts_a_suspension(
    credentials: Credentials, holders: Holders, outbox: Outbox
) -> None:
    index = issue(credentials, enrol(holders))
    credentials.suspend(index)
    changed = credentials.replace(index)
    assert (changed.generation, changed.outbox_seq) == (2, outbox.last_seq())
    entry = credentials.entry(index)
    assert (entry.state, entry.generation) == (CredentialStanding.ACTIVE, 2)
    assert published(outbox) == {index: StatusRecord(Colour.NONE, CredentialState.ACTIVE, 2)}


def test_no_replacement_brings_the_first_card_back_into_force(
    credentials: Credentials, holders: Holders, outbox: Outbox
) -> None:
    index = issue(credentials, enrol(holders))
    for _ in range(255):
        credentials.replace(index)
    assert credentials.entry(index).generation == 256
    assert published(outbox)[index].generation == 0
    with pytest.raises(FailedPrecondition, match="issue a new one"):
        credentials.replace(index)
    assert credentials.entry(index).generation == 256


def test_a_suspended_credential_can_be_resumed(
    credentials: Credentials, holders: Holders, outbox: Outbox
) -> None:
    index = issue(credentials, enrol(holders))
    states = []
    for step in (suspend, resume):
        step(credentials, index)
        states.append(published(outbox)[index].state)
    assert states == [CredentialState.SUSPENDED, CredentialState.ACTIVE]


def suspend(credentials: Credentials, index: int) -> object:
    return credentials.suspend(index)


def resume(credentials: Credentials, index: int) -> object:
    return credentials.resume(index)


def revoke(credentials: Credentials, index: int) -> object:
    return credentials.revoke(index)


def replace(credentials: Credentials, index: int) -> object:
    return credentials.replace(index)


def expire(credentials: Credentials, _index: int) -> object:
    return credentials.expire_due(now=NOW + 60, limit=10)


def nothing(_credentials: Credentials, _index: int) -> None:
    return None


Step = Callable[[Credentials, int], object]


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ((nothing, resume), "ACTIVE"),
        ((suspend, suspend), "SUSPENDED"),
        *(((revoke, step), "REVOKED") for step in (suspend, resume, revoke, replace)),
        *(((expire, step), "EXPIRED") for step in (suspend, resume, revoke, replace)),
    ],
)
def test_a_step_that_the_state_forbids_is_refused_and_leaves_no_trace(
    credentials: Credentials, holders: Holders, outbox: Outbox, steps: tuple[Step, Step], state: str
) -> None:
    index = issue(credentials, enrol(holders), valid_until=NOW + 60)
    before, step = steps
    before(credentials, index)
    entry = credentials.entry(index)
    published(outbox)
    with pytest.raises(FailedPrecondition, match=f"^credential {index} is {state}$"):
        step(credentials, index)
    assert (credentials.entry(index), published(outbox)) == (entry, {})


@pytest.mark.parametrize("step", [suspend, resume, revoke, replace, Credentials.entry])
def test_an_unknown_credential_is_not_found(credentials: Credentials, step: Step) -> None:
    with pytest.raises(NotFound, match=r"^there is no credential 999$"):
        step(credentials, NOBODY)


# Expiry


@pytest.mark.parametrize(("late_s", "state"), [(-1, "ACTIVE"), (0, "EXPIRED"), (1, "EXPIRED")])
def test_a_credential_expires_at_its_valid_until(
    credentials: Credentials, holders: Holders, late_s: int, state: str
) -> None:
    index = issue(credentials, enrol(holders), valid_until=NOW + 60)
    credentials.expire_due(now=NOW + 60 + late_s, limit=10)
    assert credentials.entry(index).state.name == state


def test_an_expired_credential_is_revoked_to_verifiers(
    credentials: Credentials, holders: Holders, outbox: Outbox
) -> None:
    index = issue(credentials, enrol(holders), valid_until=NOW + 60)
    published(outbox)
    assert credentials.expire_due(now=NOW + 60, limit=10) == (1, outbox.last_seq())
    assert published(outbox) == {index: StatusRecord(Colour.NONE, CredentialState.REVOKED, 1)}


def test_what_expires_first_is_ended_first_and_never_more_than_the_limit(
    credentials: Credentials, holders: Holders
) -> None:
    holder_id = enrol(holders)
    late, early = (issue(credentials, holder_id, valid_until=NOW + left_s) for left_s in (60, 30))
    assert credentials.expire_due(now=NOW + 60, limit=1)[0] == 1
    assert credentials.entry(early).state is CredentialStanding.EXPIRED
    assert credentials.entry(late).state is CredentialStanding.ACTIVE
    assert credentials.expire_due(now=NOW + 60, limit=1)[0] == 1
    assert credentials.expire_due(now=NOW + 60, limit=1) == (0, 0)


def test_a_suspended_credential_expires_and_a_revoked_one_stays_revoked(
    credentials: Credentials, holders: Holders
) -> None:
    holder_id = enrol(holders)
    suspended, revoked = (issue(credentials, holder_id, valid_until=NOW + 60) for _ in range(2))
    credentials.suspend(suspended)
    credentials.revoke(revoked)
    assert credentials.expire_due(now=NOW + 60, limit=10)[0] == 1
    assert credentials.entry(suspended).state is CredentialStanding.EXPIRED
    assert credentials.entry(revoked).state is CredentialStanding.REVOKED


def test_the_next_expiry_is_that_of_what_has_not_ended(credentials: Credentials, holders: Holders) -> None:
    holder_id = enrol(holders)
    issue(credentials, holder_id)
    assert credentials.next_expiry() is None
    first, second = (issue(credentials, holder_id, valid_until=NOW + left_s) for left_s in (30, 60))
    assert credentials.next_expiry() == NOW + 30
    credentials.revoke(first)
    assert credentials.next_expiry() == NOW + 60
    credentials.suspend(second)
    assert credentials.next_expiry() == NOW + 60
    credentials.expire_due(now=NOW + 60, limit=10)
    assert credentials.next_expiry() is None


def test_looking_for_what_expires_uses_its_index(sqlite_url: str) -> None:
    database = Database.open(sqlite_url)
    statements: list[str] = []
    with database.write() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(statements.append)
    credentials = Credentials(database=database)
    people = Holders(database=database, documents=DocumentHasher(b"the document key of these tests."))
    issue(credentials, enrol(people), valid_until=NOW + 60)
    statements.clear()
    assert credentials.expire_due(now=NOW + 60, limit=10)[0] == 1
    query = next(statement for statement in statements if statement.startswith("SELECT"))
    with database.read() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()
    assert "USING INDEX credentials_to_expire" in plan[0].detail
    database.close()


def test_while_nothing_is_due_no_turn_as_a_writer_is_taken(
    credentials: Credentials, holders: Holders, database: Database
) -> None:
    issue(credentials, enrol(holders), valid_until=NOW + 60)
    with database.write(), futures.ThreadPoolExecutor(1) as other:
        assert other.submit(credentials.expire_due, now=NOW + 59, limit=10).result(timeout=2) == (0, 0)


# Reading


def test_credentials_are_read_together_and_missing_ones_left_out(
    credentials: Credentials, holders: Holders
) -> None:
    holder_id = enrol(holders)
    one, two = issue(credentials, holder_id), issue(credentials, holder_id, PAPER)
    found = credentials.entries([two, NOBODY, one])
    assert {index: entry.kind for index, entry in found.items()} == {one: PHONE, two: PAPER}
    assert credentials.entries([]) == {}


def test_a_holders_credentials_are_read_by_index(credentials: Credentials, holders: Holders) -> None:
    mine, other = enrol(holders, 1), enrol(holders, 2)
    first, _, second = (issue(credentials, holder_id) for holder_id in (mine, other, mine))
    assert [entry.credential_index for entry in credentials.of_holder(mine)] == [first, second]
    assert credentials.of_holder(NOBODY) == []


def test_a_guardian_carries_the_active_phone_credentials_of_the_dependants(
    credentials: Credentials, holders: Holders
) -> None:
    guardian, alone = enrol(holders, 1), enrol(holders, 2)
    children = [enrol(holders, number, guardian_id=guardian) for number in (3, 4)]
    mine, card, other = (
        issue(credentials, guardian),
        issue(credentials, guardian, PAPER),
        issue(credentials, alone),
    )
    second, first = (issue(credentials, child) for child in reversed(children))
    issue(credentials, children[0], PAPER)
    for step in (suspend, revoke):
        step(credentials, issue(credentials, children[0]))
    assert credentials.dependants_of([mine, card, other, NOBODY]) == {
        mine: [second, first],
        card: [second, first],
        other: [],
        NOBODY: [],
    }


def test_a_page_has_what_everything_given_applies_to(credentials: Credentials, holders: Holders) -> None:
    mine, other = enrol(holders, 1), enrol(holders, 2)
    for holder_id in (mine, other):
        for kind in (PHONE, PAPER):
            issue(credentials, holder_id, kind)
    credentials.revoke(4)

    def indices(**filters: Any) -> list[int]:
        return [entry.credential_index for entry in credentials.page(limit=10, **filters).entries]

    assert indices() == [1, 2, 3, 4]
    assert indices(after_index=2) == [3, 4]
    assert indices(holder_id=mine) == [1, 2]
    assert indices(kind=PAPER) == [2, 4]
    assert indices(state=CredentialStanding.REVOKED) == [4]
    assert indices(state=CredentialStanding.ACTIVE, kind=PAPER) == [2]


@pytest.mark.parametrize(("limit", "has_more"), [(1, True), (2, False), (3, False)])
def test_a_page_tells_whether_there_are_more(
    credentials: Credentials, holders: Holders, limit: int, has_more: bool
) -> None:
    holder_id = enrol(holders)
    for _ in range(2):
        issue(credentials, holder_id)
    assert credentials.page(limit=limit).has_more is has_more


def test_an_app_that_was_revoked_is_still_named(
    credentials: Credentials, holders: Holders, database: Database
) -> None:
    add_client(database, "city-app")
    index = issue(credentials, enrol(holders), app="city-app")
    with database.write() as connection:
        connection.execute(update(clients).values(revoked_at=NOW))
    assert credentials.entry(index).app == "city-app"
