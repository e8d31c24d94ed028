"""The calls about status over real gRPC: what each answers, what needs a second person, and each no."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest
import redis
from prometheus_client import REGISTRY
from sqlalchemy import text
from structlog.testing import capture_logs

from issuer.access.bearer import hash_key, make_key
from issuer.access.clients import NewClient
from issuer.access.roles import Role
from issuer.batch_sha256 import sha256_of_batch
from issuer.client import IssuerClient
from issuer.v1 import access_pb2
from issuer.v1 import admin_pb2 as pb
from loadtest.embedded_redis import EmbeddedRedis
from tests.eventually import eventually
from tests.issuer.refusals import refusal
from tests.issuer.running_issuer import RunningIssuer
from tests.issuer.stored_status import StoredStatus
from verifier.wire.status_record import Colour, unpack

GREEN, YELLOW, RED = 1, 2, 3
NOBODY = 4_000_000
_LIMIT = 3
_ALARM_ABOVE = 1


# What reaches the register in ways of its own is tested on both databases.
on_both = pytest.mark.parametrize("issuer", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def issuer(
    request: pytest.FixtureRequest, start_issuer: Callable[..., RunningIssuer], redis_url: str
) -> RunningIssuer:
    """An issuer whose clients may change three holders an hour by themselves."""
    options: dict[str, object] = {"second_person_above": _LIMIT, "red_alarm_per_hour": _ALARM_ABOVE}
    if getattr(request, "param", "sqlite") == "postgresql":
        options["postgres"] = request.getfixturevalue("postgres_server")
    return start_issuer(redis_url, **options)


@pytest.fixture
def clerk(issuer: RunningIssuer) -> Iterator[IssuerClient]:
    """Another clerk, who is nothing else."""
    client = client_with(issuer, Role.CLERK, name="another clerk")
    yield client
    client.close()


def client_with(issuer: RunningIssuer, *roles: Role, name: str) -> IssuerClient:
    key = make_key()
    new = NewClient(name, frozenset(roles), bearer_key_sha256=hash_key(key))
    issuer.issuer.clients.add(new, now=int(time.time()))
    return IssuerClient(issuer.address, key=key)


def change(holder_id: int = 0, colour: int = YELLOW, **changed: Any) -> pb.StatusChange:
    fields = {"reason": 0 if colour == GREEN else 12, "authority": "city health office"}
    return pb.StatusChange(**{"holder_id": holder_id, "colour": colour, **fields, **changed})


def set_statuses(
    issuer: RunningIssuer, *changes: pb.StatusChange, client: IssuerClient | None = None
) -> pb.SetStatusesResponse:
    request = pb.SetStatusesRequest(changes=changes)
    answer: pb.SetStatusesResponse = (client or issuer.client).admin.SetStatuses(request)
    return answer


def status(issuer: RunningIssuer, holder_id: int) -> pb.Status:
    answer: pb.GetStatusResponse = issuer.client.admin.GetStatus(pb.GetStatusRequest(holder_id=holder_id))
    return answer.status


def colours(issuer: RunningIssuer, holder_ids: Sequence[int]) -> list[int]:
    return [status(issuer, holder_id).colour for holder_id in holder_ids]


def history(issuer: RunningIssuer, holder_id: int, **more: int) -> pb.ListStatusChangesResponse:
    request = pb.ListStatusChangesRequest(holder_id=holder_id, **more)
    answer: pb.ListStatusChangesResponse = issuer.client.admin.ListStatusChanges(request)
    return answer


def approval(issuer: RunningIssuer, approval_id: int) -> access_pb2.Approval:
    answer: access_pb2.GetApprovalResponse = issuer.client.access.GetApproval(
        access_pb2.GetApprovalRequest(approval_id=approval_id)
    )
    return answer.approval


def stored_colour(redis_url: str, index: int) -> Colour:
    with redis.Redis.from_url(redis_url) as client:
        return unpack(StoredStatus(client).records()[index]).colour


def issue(issuer: RunningIssuer) -> tuple[int, int]:
    """Issue a credential; return holder and index."""
    index = issuer.issue()
    answer = issuer.client.admin.GetCredential(pb.GetCredentialRequest(credential_index=index))
    return answer.credential.holder_id, index


def import_statuses(
    issuer: RunningIssuer, *batches: Sequence[pb.StatusChange], approval_id: int = 0, client: Any = None
) -> list[pb.ImportOutcome]:
    requests = (pb.ImportStatusesRequest(rows=rows, approval_id=approval_id) for rows in batches)
    return [answer.outcome for answer in (client or issuer.client).admin.ImportStatuses(requests)]


def row(holder_id: int, colour: int = YELLOW, **changed: Any) -> pb.StatusChange:
    return change(holder_id, colour, **{"external_id": f"D{holder_id}-{colour}", **changed})


def request_import(
    issuer: RunningIssuer, *batches: Sequence[pb.StatusChange], client: Any = None, **changed: Any
) -> pb.RequestStatusImportResponse:
    """Ask for consent to batches; without any, where they do not matter, to one that is never sent."""
    hashes = [sha256_of_batch(pb.ImportStatusesRequest(rows=rows)) for rows in batches] or [bytes(32)]
    fields = {
        "file_sha256": bytes(32),
        "file_name": "decisions.csv",
        "batch_sha256": hashes,
        **changed,
    }
    request = pb.RequestStatusImportRequest(**fields)
    answer: pb.RequestStatusImportResponse = (client or issuer.client).admin.RequestStatusImport(request)
    return answer


def assert_history_verifies(issuer: RunningIssuer) -> None:
    *_, last = issuer.client.admin.VerifyHistory(pb.VerifyHistoryRequest())
    assert (last.is_done, last.problem) == (True, "")


# Setting by hand


@on_both
def test_a_status_is_set_published_and_read(issuer: RunningIssuer, redis_url: str) -> None:
    holder, index = issue(issuer)
    until = int(time.time()) + 3_600
    answer = set_statuses(issuer, change(holder, valid_until=until, negative_test_at=1_600_000_000))
    assert (answer.publication, answer.approval_id) == (pb.PUBLICATION_PUBLISHED, 0)
    assert status(issuer, holder) == pb.Status(
        colour=YELLOW,  # type: ignore[arg-type]
        reason=12,
        reason_text="close contact of a case",
        valid_until=until,
        last_negative_test=1_599_999_960,  # minutes are kept
    )
    assert stored_colour(redis_url, index) is Colour.YELLOW


@on_both
def test_a_change_is_kept_with_who_and_why(issuer: RunningIssuer) -> None:
    (holder,) = issuer.enrol()
    set_statuses(issuer, change(holder, evidence="file 4"))
    (entry,) = history(issuer, holder).changes
    assert (entry.seq, entry.holder_id, entry.colour, entry.reason) == (1, holder, YELLOW, 12)
    assert (entry.authority, entry.operator, entry.evidence) == ("city health office", "local", "file 4")
    assert (entry.source, entry.approval_id) == (pb.CHANGE_SOURCE_MANUAL, 0)
    assert abs(entry.changed_at - time.time()) < 60
    assert len(entry.own_hash) == 32


@on_both
def test_changes_are_listed_page_by_page(issuer: RunningIssuer) -> None:
    (holder,) = issuer.enrol()
    for colour in (GREEN, YELLOW, GREEN):
        set_statuses(issuer, change(holder, colour))
    page = history(issuer, holder, page_size=2)
    assert ([entry.seq for entry in page.changes], page.has_more) == ([3, 2], True)
    page = history(issuer, holder, page_size=2, before_seq=2)
    assert ([entry.seq for entry in page.changes], page.has_more) == ([1], False)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"holder_id": 0}, "changes[1].holder_id: expected the id of a holder, from 1 on"),
        ({"holder_external_id": "H1"}, "changes[1].holder_external_id: expected none: it is for imports"),
        ({"external_id": "D1"}, "changes[1].external_id: expected none: it is for imports"),
        ({"colour": 0}, "changes[1].colour: expected GREEN, YELLOW or RED, got 0"),
        ({"colour": 9}, "changes[1].colour: expected GREEN, YELLOW or RED, got 9"),
        ({"reason": 0}, "changes[1].reason: expected a reason for YELLOW, got none"),
        (
            {"reason": 4711},
            "changes[1].reason: 4711 is not on the list, see: gatelight-issuer status reasons",
        ),
        (
            {"reason": 1},
            "changes[1].reason: 1 is no reason for YELLOW, see: gatelight-issuer status reasons",
        ),
        ({"authority": " "}, "changes[1].authority: expected 1 to 64 characters, got none"),
        ({"authority": 65 * "x"}, "changes[1].authority: expected at most 64 characters, got 65"),
        ({"authority": "a\nb"}, "changes[1].authority: expected no control characters"),
        ({"authority": "a\u200bb"}, "changes[1].authority: expected no invisible characters"),
        ({"evidence": "a\u202eb"}, "changes[1].evidence: expected no control characters"),
        ({"evidence": 129 * "x"}, "changes[1].evidence: expected at most 128 characters, got 129"),
        (
            {"negative_test_at": 4_000_000_000},
            "changes[1].negative_test_at: expected Unix seconds that are not in the future",
        ),
        (
            {"negative_test_at": -1},
            "changes[1].negative_test_at: expected Unix seconds that are not in the future",
        ),
        ({"valid_until": 1_600_000_000}, "changes[1].valid_until: expected Unix seconds in the future"),
        (
            {"valid_until": -1},
            "changes[1].valid_until: expected Unix seconds in the future, or 0 for no end",
        ),
        (
            {"valid_until": 253_402_300_800},
            "changes[1].valid_until: expected Unix seconds in the future, or 0 for no end",
        ),
        (
            {"colour": GREEN, "reason": 0, "valid_until": 4_000_000_000},
            "changes[1].valid_until: expected none: GREEN does not end by itself",
        ),
    ],
    ids=str,
)
def test_a_change_that_breaks_the_api_is_refused_by_its_field(
    running_issuer: RunningIssuer, changed: dict[str, Any], problem: str
) -> None:
    holder, other = running_issuer.enrol(2)
    bad = change(other)
    for name, value in changed.items():
        setattr(bad, name, value)
    request = pb.SetStatusesRequest(changes=[change(holder), bad])
    assert refusal(running_issuer.client.admin.SetStatuses, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        problem,
    )
    assert status(running_issuer, holder).colour == 0


@pytest.mark.parametrize("count", [0, 1_001])
def test_a_list_has_1_to_1000_changes(running_issuer: RunningIssuer, count: int) -> None:
    request = pb.SetStatusesRequest(changes=count * [change(1)])
    code, problem = refusal(running_issuer.client.admin.SetStatuses, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert problem == f"changes: expected 1 to 1000 entries, got {count}"


def test_the_status_of_nobody_is_not_found(issuer: RunningIssuer) -> None:
    admin = issuer.client.admin
    for call, request in (
        (admin.SetStatuses, pb.SetStatusesRequest(changes=[change(NOBODY)])),
        (admin.GetStatus, pb.GetStatusRequest(holder_id=NOBODY)),
        (admin.ListStatusChanges, pb.ListStatusChangesRequest(holder_id=NOBODY)),
    ):
        assert refusal(call, request)[0] is grpc.StatusCode.NOT_FOUND


@on_both
def test_an_erased_holder_cannot_be_changed(issuer: RunningIssuer) -> None:
    (holder,) = issuer.enrol()
    set_statuses(issuer, change(holder))
    issuer.client.admin.EraseHolder(pb.EraseHolderRequest(holder_id=holder))
    request = pb.SetStatusesRequest(changes=[change(holder, GREEN)])
    assert refusal(issuer.client.admin.SetStatuses, request) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        f"changes[0].holder_id: holder {holder} was erased",
    )
    assert len(history(issuer, holder).changes) == 1


def test_the_reasons_are_those_of_the_list(running_issuer: RunningIssuer) -> None:
    answer = running_issuer.client.admin.ListReasons(pb.ListReasonsRequest())
    codes = [reason.code for reason in answer.reasons]
    assert codes == sorted(codes)
    (twelve,) = [reason for reason in answer.reasons if reason.code == 12]
    assert (twelve.text, list(twelve.colours)) == ("close contact of a case", [YELLOW, RED])


@pytest.mark.parametrize("role", [Role.APP, Role.APPROVER, Role.OPERATOR, Role.AUDITOR])
def test_only_clerks_set_statuses(running_issuer: RunningIssuer, role: Role) -> None:
    client = client_with(running_issuer, role, name="not a clerk")
    request = pb.SetStatusesRequest(changes=[change(1)])
    assert refusal(client.admin.SetStatuses, request)[0] is grpc.StatusCode.PERMISSION_DENIED
    client.close()


# By a second person


@on_both
def test_a_red_waits_for_a_second_person(issuer: RunningIssuer, redis_url: str) -> None:
    holder, index = issue(issuer)
    answer = set_statuses(issuer, change(holder, RED))
    assert answer.approval_id > 0
    assert answer.publication == pb.PUBLICATION_UNSPECIFIED
    assert status(issuer, holder).colour == 0
    assert issuer.approve(answer.approval_id) == ["changed: 1 RED", "published"]
    assert status(issuer, holder).colour == RED
    assert stored_colour(redis_url, index) is Colour.RED
    (entry,) = history(issuer, holder).changes
    assert (entry.operator, entry.approval_id) == ("local", answer.approval_id)
    assert_history_verifies(issuer)


def test_the_second_person_is_told_what_to_agree_to(issuer: RunningIssuer) -> None:
    first, second = issuer.enrol(2)
    answer = set_statuses(issuer, change(second, RED), change(first, GREEN))
    assert approval(issuer, answer.approval_id).summary == (
        f"1 GREEN, 1 RED; holders {first}, {second}; reason 12; decided by city health office"
    )


def test_the_second_person_sees_every_change(issuer: RunningIssuer) -> None:
    first, second = issuer.enrol(2)
    changes = [
        change(first, RED, evidence="file 7", valid_until=int(issuer.clock()) + 86_400),
        change(second, YELLOW, negative_test_at=1_700_000_040),
    ]
    approval_id = set_statuses(issuer, *changes).approval_id
    request = access_pb2.GetApprovalRequest(approval_id=approval_id)
    assert list(issuer.approver.access.GetApproval(request).status_changes) == changes
    other = access_pb2.GetApprovalRequest(approval_id=request_import(issuer, red=1).approval_id)
    assert not issuer.approver.access.GetApproval(other).status_changes


def test_who_may_not_read_a_status_does_not_read_it_in_a_request(issuer: RunningIssuer) -> None:
    (holder,) = issuer.enrol()
    approval_id = set_statuses(issuer, change(holder, RED)).approval_id
    operator = client_with(issuer, Role.OPERATOR, name="operator")
    request = access_pb2.GetApprovalRequest(approval_id=approval_id)
    assert not operator.access.GetApproval(request).status_changes
    operator.close()


def test_of_many_holders_the_second_person_is_told_the_first(issuer: RunningIssuer) -> None:
    holders = issuer.enrol(12)
    answer = set_statuses(issuer, *(change(holder) for holder in holders))
    shown = ", ".join(str(holder) for holder in holders[:10])
    assert f"12 YELLOW; holders {shown} and 2 more;" in approval(issuer, answer.approval_id).summary


def test_one_red_makes_the_whole_list_wait(issuer: RunningIssuer) -> None:
    first, second = issuer.enrol(2)
    answer = set_statuses(issuer, change(first), change(second, RED))
    assert colours(issuer, [first, second]) == [0, 0]
    issuer.approve(answer.approval_id)
    assert colours(issuer, [first, second]) == [YELLOW, RED]


@pytest.mark.parametrize(("count", "waits"), [(_LIMIT - 1, False), (_LIMIT, False), (_LIMIT + 1, True)])
def test_more_holders_than_the_limit_wait(issuer: RunningIssuer, count: int, waits: bool) -> None:
    holders = issuer.enrol(count)
    answer = set_statuses(issuer, *(change(holder) for holder in holders))
    assert (answer.approval_id > 0) == waits
    assert colours(issuer, holders) == count * [0 if waits else YELLOW]


@on_both
def test_splitting_the_list_does_not_help(issuer: RunningIssuer) -> None:
    *first, last = issuer.enrol(_LIMIT + 1)
    for holder in first:
        assert set_statuses(issuer, change(holder)).approval_id == 0
    assert set_statuses(issuer, change(last)).approval_id > 0


def test_the_limit_is_each_clients_own(issuer: RunningIssuer, clerk: IssuerClient) -> None:
    *first, last = issuer.enrol(_LIMIT + 1)
    set_statuses(issuer, *(change(holder) for holder in first))
    assert set_statuses(issuer, change(last), client=clerk).approval_id == 0


def test_what_was_approved_does_not_count_against_the_limit(issuer: RunningIssuer) -> None:
    *first, last = issuer.enrol(_LIMIT + 2)
    issuer.approve(set_statuses(issuer, *(change(holder) for holder in first)).approval_id)
    assert set_statuses(issuer, change(last)).approval_id == 0


def test_what_cannot_be_done_is_refused_before_a_second_person_is_asked(issuer: RunningIssuer) -> None:
    request = pb.SetStatusesRequest(changes=[change(NOBODY, RED)])
    assert refusal(issuer.client.admin.SetStatuses, request)[0] is grpc.StatusCode.NOT_FOUND
    assert not issuer.client.access.ListApprovals(access_pb2.ListApprovalsRequest()).approvals


@on_both
def test_what_cannot_be_done_any_more_fails_when_it_is_approved(issuer: RunningIssuer) -> None:
    holder, erased = issuer.enrol(2)
    ending = set_statuses(issuer, change(holder, RED, valid_until=int(time.time()) + 1_000)).approval_id
    gone = set_statuses(issuer, change(holder, RED), change(erased, RED)).approval_id
    issuer.client.admin.EraseHolder(pb.EraseHolderRequest(holder_id=erased))
    issuer.clock_skew_s = 1_001
    for approval_id, outcome in (
        (ending, "changes[0].valid_until: expected Unix seconds in the future"),
        (gone, f"changes[1].holder_id: holder {erased} was erased"),
    ):
        settled = issuer.approver.access.Approve(access_pb2.ApproveRequest(approval_id=approval_id)).approval
        assert settled.state == access_pb2.APPROVAL_STATE_FAILED
        assert list(settled.outcome) == [outcome]
    assert status(issuer, holder).colour == 0


def test_an_approval_says_when_redis_is_away(
    start_issuer: Callable[..., RunningIssuer], own_redis: EmbeddedRedis
) -> None:
    issuer = start_issuer(own_redis.url)
    holder, _ = issue(issuer)
    approval_id = set_statuses(issuer, change(holder, RED)).approval_id
    own_redis.kill()
    assert issuer.approve(approval_id) == [
        "changed: 1 RED",
        "not in Redis yet: it gets there as soon as Redis answers",
    ]


def test_reds_by_hand_are_counted_and_raise_an_alarm_once(issuer: RunningIssuer) -> None:
    holders = issuer.enrol(3)
    with capture_logs() as logs:
        for holder in holders:
            issuer.approve(set_statuses(issuer, change(holder, RED)).approval_id)
    name = "gatelight_issuer_reds_by_hand_last_hour"
    assert REGISTRY.get_sample_value(name, {"operator": "local"}) == 3
    alarms = [entry for entry in logs if entry["event"] == "many reds by hand"]
    assert [(entry["operator"], entry["within_the_last_hour"]) for entry in alarms] == [("local", 2)]


# Ends


@on_both
def test_a_colour_ends_by_itself_and_is_published(issuer: RunningIssuer, redis_url: str) -> None:
    holder, index = issue(issuer)
    set_statuses(issuer, change(holder, valid_until=int(time.time()) + 1_000))
    issuer.clock_skew_s = 1_001
    eventually(lambda: stored_colour(redis_url, index) is Colour.GREEN)
    newest = history(issuer, holder).changes[0]
    assert (newest.colour, newest.source) == (GREEN, pb.CHANGE_SOURCE_ENDED)
    assert (newest.authority, newest.operator) == ("gatelight", "gatelight")


# Verification of the history


@on_both
def test_a_verification_returns_the_head_which_holds_later(issuer: RunningIssuer) -> None:
    first, second = issuer.enrol(2)
    set_statuses(issuer, change(first))
    *_, done = issuer.client.admin.VerifyHistory(pb.VerifyHistoryRequest())
    assert (done.is_done, done.verified, done.total, done.head_seq) == (True, 1, 1, 1)
    set_statuses(issuer, change(second))
    noted = pb.VerifyHistoryRequest(expected_seq=done.head_seq, expected_hash=done.head_hash)
    *_, done = issuer.client.admin.VerifyHistory(noted)
    assert (done.problem, done.head_seq) == ("", 2)


@on_both
def test_a_verification_finds_what_was_edited(issuer: RunningIssuer) -> None:
    first, second = issuer.enrol(2)
    set_statuses(issuer, change(first), change(second))
    with issuer.database.write() as connection:
        if issuer.database.dialect == "sqlite":
            query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'status_changes'"
            for name in connection.scalars(text(query)).all():
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            connection.execute(text("ALTER TABLE status_changes DISABLE TRIGGER USER"))
        connection.execute(text("UPDATE status_changes SET evidence = 'x' WHERE seq = 2"))
    *_, done = issuer.client.admin.VerifyHistory(pb.VerifyHistoryRequest())
    assert (done.is_done, done.verified, done.broken_seq, done.problem) == (True, 1, 2, "change 2 was edited")


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (pb.VerifyHistoryRequest(expected_seq=1), "expected_hash: expected 32 bytes, got 0"),
        (
            pb.VerifyHistoryRequest(expected_seq=1, expected_hash=bytes(31)),
            "expected_hash: expected 32 bytes, got 31",
        ),
        (
            pb.VerifyHistoryRequest(expected_hash=bytes(32)),
            "expected_seq: expected the seq of a change, from 1 on",
        ),
    ],
    ids=["no hash", "short hash", "no seq"],
)
def test_half_a_head_is_refused(
    running_issuer: RunningIssuer, request_: pb.VerifyHistoryRequest, problem: str
) -> None:
    assert refusal(running_issuer.client.admin.VerifyHistory, request_) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        problem,
    )


# Imports


@on_both
def test_an_import_changes_statuses_and_reaches_redis(issuer: RunningIssuer, redis_url: str) -> None:
    holder, index = issue(issuer)
    (outcome,) = import_statuses(issuer, [row(holder)])
    assert (list(outcome.ids), outcome.known, list(outcome.refused)) == ([1], 0, [])
    eventually(lambda: stored_colour(redis_url, index) is Colour.YELLOW)
    assert history(issuer, holder).changes[0].source == pb.CHANGE_SOURCE_IMPORT


def test_batches_are_answered_in_order(issuer: RunningIssuer) -> None:
    first, second = issuer.enrol(2)
    outcomes = import_statuses(issuer, [row(first)], [row(second), row(first)])
    assert [list(outcome.ids) for outcome in outcomes] == [[1], [2, 1]]
    assert [outcome.known for outcome in outcomes] == [0, 1]


def test_a_row_that_breaks_the_api_is_refused_alone(issuer: RunningIssuer) -> None:
    (holder,) = issuer.enrol()
    bad = [
        row(holder, external_id=""),
        row(holder, reason=4711),
        row(0),
        row(holder, holder_external_id="H1"),
        row(0, holder_external_id="nobody"),
    ]
    (outcome,) = import_statuses(issuer, [*bad, row(holder)])
    assert [(refused.position, refused.reason) for refused in outcome.refused] == [
        (0, "external_id: expected 1 to 64 characters, got none"),
        (1, "reason: 4711 is not on the list, see: gatelight-issuer status reasons"),
        (2, "holder_id: expected the id of a holder, from 1 on"),
        (3, "holder_id: expected this or holder_external_id, got both"),
        (4, "holder_external_id: there is no such holder"),
    ]
    assert list(outcome.ids) == [0, 0, 0, 0, 0, 1]


@on_both
def test_without_consent_reds_and_what_is_above_the_limit_are_refused_row_by_row(
    issuer: RunningIssuer,
) -> None:
    holders = issuer.enrol(_LIMIT + 2)
    rows = [row(holders[0], RED), *(row(holder) for holder in holders[1:])]
    (outcome,) = import_statuses(issuer, rows)
    assert [(refused.position, refused.reason) for refused in outcome.refused] == [
        (
            0,
            "colour: RED needs the consent of a second person: ask for it with "
            "gatelight-issuer status import, and import when it is approved",
        ),
        (
            _LIMIT + 1,
            f"more than {_LIMIT} holders an hour need the consent of a second person: ask for it with "
            "gatelight-issuer status import, and import when it is approved",
        ),
    ]
    assert colours(issuer, holders) == [0, *_LIMIT * [YELLOW], 0]


@pytest.mark.parametrize(("count", "is_needed"), [(_LIMIT, False), (_LIMIT + 1, True)])
def test_consent_is_needed_above_the_limit(issuer: RunningIssuer, count: int, is_needed: bool) -> None:
    answer = request_import(issuer, yellow=count - 1, green=1)
    assert (answer.approval_id > 0, answer.is_approved) == (is_needed, False)


def test_consent_is_needed_for_a_red(issuer: RunningIssuer) -> None:
    assert request_import(issuer, red=1).approval_id > 0


def test_consent_is_needed_where_the_hour_is_used_up(issuer: RunningIssuer) -> None:
    set_statuses(issuer, *(change(holder) for holder in issuer.enrol(_LIMIT)))
    assert request_import(issuer, yellow=1).approval_id > 0


@on_both
def test_the_same_request_for_consent_asks_once(issuer: RunningIssuer, clerk: IssuerClient) -> None:
    first = request_import(issuer, red=2)
    assert request_import(issuer, red=2, file_name="renamed.csv") == first
    assert request_import(issuer, red=3).approval_id != first.approval_id
    assert request_import(issuer, red=2, file_sha256=bytes([1]) * 32).approval_id != first.approval_id
    assert request_import(issuer, red=2, batch_sha256=[bytes([1]) * 32]).approval_id != first.approval_id
    assert request_import(issuer, red=2, client=clerk).approval_id != first.approval_id
    issuer.approve(first.approval_id)
    assert request_import(issuer, red=2) == pb.RequestStatusImportResponse(
        approval_id=first.approval_id, is_approved=True
    )


@on_both
def test_a_request_for_consent_that_was_rejected_or_is_too_old_is_made_again(issuer: RunningIssuer) -> None:
    rejected = request_import(issuer, red=2).approval_id
    issuer.approver.access.Reject(access_pb2.RejectRequest(approval_id=rejected))
    old = request_import(issuer, red=2).approval_id
    assert old != rejected
    issuer.clock_skew_s = 86_400
    another = request_import(issuer, red=2).approval_id
    assert another not in (rejected, old)
    issuer.approve(another)
    issuer.clock_skew_s += 7 * 86_400
    assert request_import(issuer, red=2).approval_id not in (rejected, old, another)


def test_the_second_person_is_told_what_is_in_the_file(issuer: RunningIssuer) -> None:
    approval_id = request_import(issuer, red=2, green=1).approval_id
    assert approval(issuer, approval_id).summary == (
        f"import of 1 GREEN, 2 RED from decisions.csv, SHA-256 {64 * '0'}"
    )


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"file_sha256": b""}, "file_sha256: expected 32 bytes, got 0"),
        ({"file_name": ""}, "file_name: expected 1 to 128 characters, got none"),
        ({"file_name": "a\u200bb.csv"}, "file_name: expected no invisible characters"),
        ({"batch_sha256": []}, "batch_sha256: expected the SHA-256 of each batch, got none"),
        ({"batch_sha256": [bytes(32), b"a"]}, "batch_sha256[1]: expected 32 bytes, got 1"),
        (
            {"batch_sha256": 100_001 * [bytes(32)]},
            "batch_sha256: expected at most 100000 entries, got 100001",
        ),
        ({"red": 2**64 - 1}, "red: expected 0 to 9223372036854775807, got 18446744073709551615"),
    ],
    ids=["hash", "name", "invisible", "no batches", "batch", "batches", "count"],
)
def test_a_request_for_consent_that_breaks_the_api_is_refused(
    running_issuer: RunningIssuer, changed: dict[str, Any], problem: str
) -> None:
    fields = {
        "file_sha256": bytes(32),
        "file_name": "decisions.csv",
        "red": 1,
        "batch_sha256": [bytes(32)],
        **changed,
    }
    request = pb.RequestStatusImportRequest(**fields)
    assert refusal(running_issuer.client.admin.RequestStatusImport, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        problem,
    )


@on_both
def test_with_consent_reds_are_imported_as_many_as_were_asked_for(issuer: RunningIssuer) -> None:
    first, second, third = issuer.enrol(3)
    batches = (
        [row(first, RED)],
        [row(first, RED), row(second, RED), row(third, RED), row(third, YELLOW)],
    )
    approval_id = request_import(issuer, *batches, red=2).approval_id
    assert issuer.approve(approval_id) == ["the import may begin: repeat the command that asked for it"]
    outcomes = import_statuses(issuer, *batches, approval_id=approval_id)
    assert [list(outcome.ids) for outcome in outcomes] == [[1], [1, 2, 0, 0]]
    assert outcomes[1].known == 1
    assert [refused.reason for refused in outcomes[1].refused] == [
        f"colour: the consent {approval_id} covers no further change to RED",
        f"colour: the consent {approval_id} covers no further change to YELLOW",
    ]
    assert history(issuer, first).changes[0].approval_id == approval_id
    assert_history_verifies(issuer)


@on_both
def test_a_consent_covers_the_batches_that_were_asked_for_and_no_others(issuer: RunningIssuer) -> None:
    agreed, other = issuer.enrol(2)
    approval_id = request_import(issuer, [row(agreed, RED)], red=1).approval_id
    issuer.approve(approval_id)
    changed, as_asked_for = import_statuses(
        issuer, [row(other, RED)], [row(agreed, RED)], approval_id=approval_id
    )
    assert [(refused.position, refused.reason) for refused in changed.refused] == [
        (
            0,
            f"the consent {approval_id} is for other rows: the file was changed since it was asked for; "
            "ask anew with gatelight-issuer status import --restart",
        )
    ]
    assert list(as_asked_for.ids) == [1]
    assert colours(issuer, [agreed, other]) == [RED, 0]


def test_a_reason_or_an_end_that_was_changed_is_not_covered_either(issuer: RunningIssuer) -> None:
    (holder,) = issuer.enrol()
    approval_id = request_import(issuer, [row(holder, RED)], red=1).approval_id
    issuer.approve(approval_id)
    (outcome,) = import_statuses(
        issuer, [row(holder, RED, valid_until=int(issuer.clock()) + 60)], approval_id=approval_id
    )
    assert len(outcome.refused) == 1


def test_a_consent_may_have_as_many_batches_as_there_can_be(issuer: RunningIssuer) -> None:
    (holder,) = issuer.enrol()
    batch = pb.ImportStatusesRequest(rows=[row(holder, RED)])
    hashes = [*(number.to_bytes(32, "big") for number in range(99_999)), sha256_of_batch(batch)]
    first = request_import(issuer, red=1, batch_sha256=hashes)
    issuer.approve(first.approval_id)
    assert request_import(issuer, red=1, batch_sha256=hashes).is_approved
    (outcome,) = import_statuses(issuer, batch.rows, approval_id=first.approval_id)
    assert list(outcome.ids) == [1]


@on_both
def test_a_consent_that_is_pending_unknown_or_anothers_is_refused(
    issuer: RunningIssuer, clerk: IssuerClient
) -> None:
    (holder,) = issuer.enrol()
    approval_id = request_import(issuer, red=1).approval_id

    def code(approval_id: int, client: IssuerClient) -> grpc.StatusCode:
        request = pb.ImportStatusesRequest(rows=[row(holder, RED)], approval_id=approval_id)
        return refusal(client.admin.ImportStatuses, iter([request]))[0]

    assert code(approval_id, issuer.client) is grpc.StatusCode.FAILED_PRECONDITION
    assert code(2**64 - 1, issuer.client) is grpc.StatusCode.NOT_FOUND
    issuer.approve(approval_id)
    assert code(approval_id, clerk) is grpc.StatusCode.PERMISSION_DENIED
    assert status(issuer, holder).colour == 0


@on_both
def test_an_import_that_was_broken_off_goes_on_where_it_was(issuer: RunningIssuer) -> None:
    holders = issuer.enrol(4)
    rows = [row(holder, RED) for holder in holders]
    batches = (rows[:2], rows[2:])
    approval_id = request_import(issuer, *batches, red=4).approval_id
    issuer.approve(approval_id)
    import_statuses(issuer, rows[:2], approval_id=approval_id)
    known, new = import_statuses(issuer, *batches, approval_id=approval_id)
    assert (list(known.ids), known.known, list(known.refused)) == ([1, 2], 2, [])
    assert (list(new.ids), new.known, list(new.refused)) == ([3, 4], 0, [])
    assert colours(issuer, holders) == 4 * [RED]


@pytest.mark.parametrize("count", [0, 1_001])
def test_a_batch_has_1_to_1000_rows(running_issuer: RunningIssuer, count: int) -> None:
    requests = iter([pb.ImportStatusesRequest(rows=count * [row(1)])])
    code, problem = refusal(running_issuer.client.admin.ImportStatuses, requests)
    assert (code, problem) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"rows: expected 1 to 1000 entries, got {count}",
    )


def import_tests(issuer: RunningIssuer, *rows: pb.NegativeTest) -> pb.ImportOutcome:
    answers: list[pb.ImportTestsResponse] = list(
        issuer.client.admin.ImportTests(iter([pb.ImportTestsRequest(rows=rows)]))
    )
    (answer,) = answers
    return answer.outcome


@on_both
def test_tests_are_imported_without_a_limit_and_the_newest_counts(issuer: RunningIssuer) -> None:
    holders = issuer.enrol(_LIMIT + 2)
    first = holders[0]
    rows = [
        pb.NegativeTest(holder_id=holder, taken_at=1_600_000_020, authority="lab", external_id=f"T{holder}")
        for holder in holders
    ]
    older = pb.NegativeTest(holder_id=first, taken_at=1_599_999_960, authority="lab", external_id="T0")
    outcome = import_tests(issuer, *rows, older)
    assert (list(outcome.ids), list(outcome.refused)) == ([1, 2, 3, 4, 5, 6], [])
    assert status(issuer, first) == pb.Status(last_negative_test=1_600_000_020)
    (oldest,) = history(issuer, holders[1]).changes
    assert (oldest.source, oldest.colour) == (pb.CHANGE_SOURCE_TEST, 0)


def test_a_test_that_breaks_the_api_is_refused_alone(running_issuer: RunningIssuer) -> None:
    (holder,) = running_issuer.enrol()

    def negative(**changed: Any) -> pb.NegativeTest:
        fields = {"holder_id": holder, "taken_at": 1_600_000_000, "authority": "lab", "external_id": "T1"}
        return pb.NegativeTest(**{**fields, **changed})

    outcome = import_tests(
        running_issuer,
        negative(taken_at=59),
        negative(taken_at=4_000_000_000),
        negative(authority=""),
        negative(external_id=""),
        negative(holder_id=0),
        negative(),
    )
    assert [refused.reason for refused in outcome.refused] == [
        "taken_at: expected Unix seconds that are not in the future",
        "taken_at: expected Unix seconds that are not in the future",
        "authority: expected 1 to 64 characters, got none",
        "external_id: expected 1 to 64 characters, got none",
        "holder_id: expected the id of a holder, from 1 on",
    ]
    assert outcome.ids[5] > 0
