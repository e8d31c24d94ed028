"""Requests for a second person, on both databases."""

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

from issuer.access.approval_entries import LIFE_S, ApprovalEntry
from issuer.access.approvals import ApprovalKind, ApprovalState, ApprovedRequest, CarriedOut
from issuer.access.clients import Clients
from issuer.access.roles import Caller, Role
from issuer.access.settling import MAX_PENDING_OF_CLIENT, Approvals
from issuer.errors import (
    CacheUnavailable,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RegisterUnavailable,
)
from issuer.register.database import Database
from tests.issuer.access.staff import Staff

START = 1_800_000_000
KIND = ApprovalKind.PREPARE_KEY


class Desk:
    """Approvals with an executor that writes a witness into the register and does what the test says."""

    def __init__(self, database: Database, staff: Staff) -> None:
        self.database = database
        self.now = START
        self.approvals = Approvals(database=database, clock=lambda: self.now)
        self.approvals.register(KIND, self._carry_out)
        self.first = staff.add("first", Role.OPERATOR, Role.APPROVER)
        self.second = staff.add("second", Role.APPROVER)
        self.clerk = staff.add("clerk", Role.CLERK)
        self.carried_out: list[ApprovedRequest] = []
        self.error: Exception | None = None
        self.after_commit: Callable[[], Sequence[str]] | None = None

    def ask(self, caller: Caller | None = None) -> int:
        return self.approvals.request(
            KIND, b"payload", summary="prepare a key", caller=caller or self.first, now=int(self.now)
        )

    def approve(self, approval_id: int, caller: Caller | None = None) -> ApprovalEntry:
        return self.approvals.approve(approval_id, caller=caller or self.second)

    def state(self, approval_id: int) -> ApprovalState:
        return self.approvals.get(approval_id).state

    def witnesses(self) -> int:
        with self.database.read() as connection:
            return int(connection.execute(text("SELECT count(*) FROM key_sets")).scalar_one())

    def _carry_out(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        self.carried_out.append(request)
        connection.execute(
            text("INSERT INTO key_sets (version, signed, issued_at, expires_at) VALUES (:v, :s, 0, 0)"),
            {"v": request.approval_id, "s": b"witness"},
        )
        if self.error is not None:
            raise self.error
        return CarriedOut(["done"], after_commit=self.after_commit)


@pytest.fixture
def desk(database: Database, staff: Staff) -> Desk:
    return Desk(database, staff)


def test_a_request_waits_and_names_who_asked_for_what_and_when(desk: Desk) -> None:
    entry = desk.approvals.get(desk.ask())
    assert (entry.approval_id, entry.kind) == (1, KIND)
    assert desk.approvals.payload(1) == b"payload"
    assert (entry.summary, entry.requested_by, entry.requested_at) == ("prepare a key", "first", START)
    assert (entry.state, entry.settled_by, entry.settled_at) == (ApprovalState.PENDING, "", 0)
    assert list(entry.outcome) == []
    assert desk.carried_out == []


def test_a_second_person_approves_and_it_is_carried_out_once(desk: Desk) -> None:
    approval_id = desk.ask()
    desk.now += 60
    entry = desk.approve(approval_id)
    assert (entry.state, entry.settled_by, entry.settled_at) == (ApprovalState.APPROVED, "second", START + 60)
    assert list(entry.outcome) == ["done"]
    assert desk.carried_out == [ApprovedRequest(approval_id, b"payload", desk.first, START + 60)]
    assert desk.witnesses() == 1
    assert desk.approvals.get(approval_id) == entry


def test_nobody_approves_their_own_request_also_not_an_approver(desk: Desk) -> None:
    approval_id = desk.ask(desk.first)
    with pytest.raises(PermissionDenied, match="second person"):
        desk.approve(approval_id, desk.first)
    assert desk.state(approval_id) is ApprovalState.PENDING
    assert desk.carried_out == []


def test_a_second_person_without_the_role_does_not_do(desk: Desk) -> None:
    approval_id = desk.ask()
    with pytest.raises(PermissionDenied, match="role approver"):
        desk.approve(approval_id, desk.clerk)
    assert desk.state(approval_id) is ApprovalState.PENDING


@pytest.mark.parametrize("state", [ApprovalState.APPROVED, ApprovalState.FAILED])
@pytest.mark.parametrize("settled_by", ["1", "NULL"])
def test_the_database_itself_asks_for_a_second_person(
    desk: Desk, state: ApprovalState, settled_by: str
) -> None:
    desk.ask(desk.first)
    statement = f"UPDATE approvals SET state = {int(state)}, settled_by = {settled_by}, settled_at = 1"  # noqa: S608
    with pytest.raises((DatabaseError, RegisterUnavailable)), desk.database.write() as connection:
        connection.execute(text(statement))
    assert desk.state(1) is ApprovalState.PENDING


def test_what_is_refused_is_undone_and_the_request_failed_with_the_reason(desk: Desk) -> None:
    approval_id = desk.ask()
    desk.error = FailedPrecondition("there is a key that is PREPARED")
    entry = desk.approve(approval_id)
    assert (entry.state, entry.settled_by) == (ApprovalState.FAILED, "second")
    assert list(entry.outcome) == ["there is a key that is PREPARED"]
    assert desk.witnesses() == 0


def test_every_kind_of_refusal_fails_the_request(desk: Desk) -> None:
    for error in (NotFound("x"), InvalidArgument("key_id", "x"), PermissionDenied("x")):
        desk.error = error
        assert desk.approve(desk.ask()).state is ApprovalState.FAILED


def test_what_the_register_itself_refuses_fails_the_request(desk: Desk) -> None:
    approval_id = desk.ask()
    with desk.database.write() as connection:
        connection.execute(
            text("INSERT INTO key_sets (version, signed, issued_at, expires_at) VALUES (1, :s, 0, 0)"),
            {"s": b"there already"},
        )
    entry = desk.approve(approval_id)
    assert entry.state is ApprovalState.FAILED
    assert "the register refuses this" in entry.outcome[0]


@pytest.mark.parametrize("error", [RegisterUnavailable("locked"), ZeroDivisionError("a name")])
def test_whatever_else_goes_wrong_leaves_it_to_be_approved_again(desk: Desk, error: Exception) -> None:
    approval_id = desk.ask()
    desk.error = error
    with pytest.raises(type(error)):
        desk.approve(approval_id)
    assert desk.state(approval_id) is ApprovalState.PENDING
    assert desk.witnesses() == 0
    desk.error = None
    assert desk.approve(approval_id).state is ApprovalState.APPROVED


def test_what_follows_the_commit_sees_it_and_adds_its_lines(desk: Desk) -> None:
    seen: list[int] = []

    def follow() -> list[str]:
        seen.append(desk.witnesses())
        return ["published", "and told"]

    desk.after_commit = follow
    approval_id = desk.ask()
    assert list(desk.approve(approval_id).outcome) == ["done", "published", "and told"]
    assert list(desk.approvals.get(approval_id).outcome) == ["done", "published", "and told"]
    assert seen == [1]


def test_before_what_follows_the_outcome_has_what_was_committed(desk: Desk) -> None:
    found: list[ApprovalEntry] = []

    def follow() -> list[str]:
        found.append(desk.approvals.get(1))
        return []

    desk.after_commit = follow
    desk.approve(desk.ask())
    assert found[0].state is ApprovalState.APPROVED
    assert list(found[0].outcome) == ["done"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CacheUnavailable("Redis does not answer"), "Redis does not answer"),
        (ZeroDivisionError("CANARY"), "the issuer's log says where"),
    ],
)
def test_what_follows_undoes_nothing_when_it_fails(desk: Desk, error: Exception, said: str) -> None:
    def fail() -> list[str]:
        raise error

    desk.after_commit = fail
    approval_id = desk.ask()
    entry = desk.approve(approval_id)
    assert entry.state is ApprovalState.APPROVED
    assert list(entry.outcome) == ["done", f"it is done, but what should follow failed: {said}"]
    assert list(desk.approvals.get(approval_id).outcome) == list(entry.outcome)
    assert desk.witnesses() == 1


@pytest.mark.parametrize("settle", ["approve", "reject"])
def test_what_is_settled_is_settled(desk: Desk, settle: str) -> None:
    approved, rejected = desk.ask(), desk.ask()
    desk.approve(approved)
    desk.approvals.reject(rejected, caller=desk.second)
    for approval_id, state in ((approved, "APPROVED"), (rejected, "REJECTED")):
        with pytest.raises(FailedPrecondition, match=f"request {approval_id} is {state}"):
            getattr(desk.approvals, settle)(approval_id, caller=desk.second)
    assert len(desk.carried_out) == 1


def test_an_approver_rejects_and_nothing_is_done(desk: Desk) -> None:
    approval_id = desk.ask()
    entry = desk.approvals.reject(approval_id, caller=desk.second)
    assert (entry.state, entry.settled_by, list(entry.outcome)) == (ApprovalState.REJECTED, "second", [])
    assert desk.carried_out == []


def test_whoever_asked_takes_it_back_without_being_an_approver(desk: Desk) -> None:
    entry = desk.approvals.reject(desk.ask(desk.clerk), caller=desk.clerk)
    assert (entry.state, entry.settled_by) == (ApprovalState.REJECTED, "clerk")
    assert list(entry.outcome) == ["taken back"]


def test_nobody_else_rejects(desk: Desk) -> None:
    approval_id = desk.ask()
    with pytest.raises(PermissionDenied):
        desk.approvals.reject(approval_id, caller=desk.clerk)
    assert desk.state(approval_id) is ApprovalState.PENDING


@pytest.mark.parametrize(("age_s", "is_expired"), [(LIFE_S - 1, False), (LIFE_S, True), (LIFE_S + 1, True)])
def test_a_request_lives_a_day(desk: Desk, age_s: int, is_expired: bool) -> None:
    approval_id = desk.ask()
    desk.now += age_s
    if not is_expired:
        assert desk.approve(approval_id).state is ApprovalState.APPROVED
        return
    entry = desk.approvals.get(approval_id)
    assert (entry.state, entry.settled_at) == (ApprovalState.EXPIRED, START + LIFE_S)
    for settle in (desk.approvals.approve, desk.approvals.reject):
        with pytest.raises(FailedPrecondition, match="is EXPIRED"):
            settle(approval_id, caller=desk.second)
    assert desk.carried_out == []
    desk.now = START  # a clock that was set back revives nothing
    assert desk.approvals.get(approval_id) == entry


def test_pages_by_state_count_one_that_nobody_touched_as_expired(desk: Desk) -> None:
    old = desk.ask()
    desk.now += LIFE_S
    for state, expected in ((ApprovalState.PENDING, []), (ApprovalState.EXPIRED, [old]), (None, [old])):
        entries, _ = desk.approvals.page(state=state, page_size=10, before_id=0)
        assert [entry.approval_id for entry in entries] == expected
    new = desk.ask()
    entries, _ = desk.approvals.page(state=ApprovalState.PENDING, page_size=10, before_id=0)
    assert [entry.approval_id for entry in entries] == [new]
    entries, _ = desk.approvals.page(state=ApprovalState.EXPIRED, page_size=10, before_id=0)
    assert [entry.approval_id for entry in entries] == [old]


def test_pages_are_newest_first_and_say_whether_there_are_older_ones(desk: Desk) -> None:
    for _ in range(5):
        desk.ask()
    page = desk.approvals.page
    newest, has_more = page(state=None, page_size=2, before_id=0)
    assert ([entry.approval_id for entry in newest], has_more) == ([5, 4], True)
    rest, has_more = page(state=None, page_size=3, before_id=4)
    assert ([entry.approval_id for entry in rest], has_more) == ([3, 2, 1], False)


@pytest.mark.parametrize("settle", ["approve", "reject"])
def test_a_request_that_never_was_is_not_found(desk: Desk, settle: str) -> None:
    for ask in (
        desk.approvals.get,
        lambda number: getattr(desk.approvals, settle)(number, caller=desk.second),
    ):
        with pytest.raises(NotFound, match="there is no request 7"):
            ask(7)


def test_what_a_client_asked_for_is_not_carried_out_once_it_is_revoked(desk: Desk, clients: Clients) -> None:
    approval_id = desk.ask(desk.clerk)
    clients.revoke("clerk", now=START)
    with pytest.raises(FailedPrecondition, match="client clerk, who asked for it, is revoked: reject it"):
        desk.approve(approval_id)
    assert desk.approvals.reject(approval_id, caller=desk.second).state is ApprovalState.REJECTED


def test_a_client_has_so_many_requests_waiting_and_no_more(desk: Desk) -> None:
    for _ in range(MAX_PENDING_OF_CLIENT):
        desk.ask()
    with pytest.raises(FailedPrecondition, match="take them back"):
        desk.ask()
    desk.ask(desk.clerk)
    desk.approvals.reject(1, caller=desk.first)
    desk.ask()
    desk.now += LIFE_S
    desk.ask()


def test_long_summaries_and_outcomes_are_cut(desk: Desk) -> None:
    desk.after_commit = lambda: ["长" * 100] * 100
    approval_id = desk.approvals.request(KIND, b"", summary="y" * 1_000, caller=desk.first, now=START)
    entry = desk.approve(approval_id)
    assert entry.summary == "y" * 300
    assert 1_990 < len("\n".join(entry.outcome).encode()) <= 2_000
    assert desk.approvals.get(approval_id) == entry
