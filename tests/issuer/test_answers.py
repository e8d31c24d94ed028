"""What becomes of a call: who may, what is recorded, what is said."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from issuer.errors import (
    CacheUnavailable,
    FailedPrecondition,
    ForeignCache,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RegisterRefused,
    RegisterUnavailable,
    TooMany,
)
from issuer.v1 import admin_pb2, cache_pb2, issuer_pb2
from tests.eventually import eventually
from tests.issuer.refusals import refused_call, retry_after_s
from tests.issuer.serving import AdminServicer, Serving

STATUS = admin_pb2.GetStatusRequest(holder_id=17)
GET_STATUS = "AdminService/GetStatus"


def test_a_call_is_recorded_with_who_what_to_whom_and_its_outcome(serving: Serving) -> None:
    serving.client("clerk").admin.GetStatus(STATUS)
    assert serving.recorded() == [("clerk", GET_STATUS, "holder 17", "OK")]


def test_a_call_is_recorded_before_anything_is_done(serving: Serving) -> None:
    serving.held = threading.Event()
    future = serving.client("clerk").admin.GetStatus.future(STATUS)
    assert serving.begun.acquire(timeout=10)
    assert serving.recorded() == [("clerk", GET_STATUS, "holder 17", "")]
    serving.held.set()
    future.result()
    assert serving.recorded() == [("clerk", GET_STATUS, "holder 17", "OK")]


def test_a_caller_without_the_role_is_denied_told_which_and_recorded(serving: Serving) -> None:
    error = refused_call(serving.client("auditor").admin.GetStatus, STATUS)
    assert (error.code(), error.details()) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "this needs the role clerk",
    )
    assert serving.recorded() == [("auditor", GET_STATUS, "holder 17", "PERMISSION_DENIED")]
    assert not serving.begun.acquire(blocking=False)


def test_an_anonymous_call_is_refused_and_not_recorded(serving: Serving) -> None:
    assert refused_call(serving.client().admin.GetStatus, STATUS).code() is grpc.StatusCode.UNAUTHENTICATED
    assert serving.recorded() == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidArgument("holder_id", "expected 1 or more"), grpc.StatusCode.INVALID_ARGUMENT),
        (NotFound("there is no holder 17"), grpc.StatusCode.NOT_FOUND),
        (FailedPrecondition("holder 17 is erased"), grpc.StatusCode.FAILED_PRECONDITION),
        (PermissionDenied("it is your own"), grpc.StatusCode.PERMISSION_DENIED),
        (RegisterUnavailable("the register is busy"), grpc.StatusCode.UNAVAILABLE),
        (RegisterRefused("the register refuses this"), grpc.StatusCode.FAILED_PRECONDITION),
        (CacheUnavailable("Redis does not answer"), grpc.StatusCode.UNAVAILABLE),
        (ForeignCache("Redis is another issuer's"), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_each_error_of_the_family_has_its_code_its_text_and_its_record(
    serving: Serving, error: Exception, code: grpc.StatusCode
) -> None:
    serving.error = error
    refused = refused_call(serving.client("clerk").admin.GetStatus, STATUS)
    assert (refused.code(), refused.details()) == (code, str(error))
    assert serving.recorded() == [("clerk", GET_STATUS, "holder 17", code.name)]


def test_what_nobody_foresaw_says_nothing_to_the_caller(serving: Serving) -> None:
    serving.error = ZeroDivisionError("CANARY 王秀英")
    refused = refused_call(serving.client("clerk").admin.GetStatus, STATUS)
    assert (refused.code(), refused.details()) == (
        grpc.StatusCode.INTERNAL,
        "the issuer failed; its log says where",
    )
    assert serving.recorded() == [("clerk", GET_STATUS, "holder 17", "INTERNAL")]


def test_too_many_says_when_to_come_back(serving: Serving) -> None:
    serving.error = TooMany("too often", retry_after_s=42)
    refused = refused_call(serving.client("clerk").admin.GetStatus, STATUS)
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_after_s(refused) == 42


def test_a_text_that_is_too_long_for_grpc_is_cut_and_its_code_arrives(serving: Serving) -> None:
    serving.error = FailedPrecondition("长" * 50_000)
    refused = refused_call(serving.client("clerk").admin.GetStatus, STATUS)
    assert refused.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.details() == "长" * 500


def test_a_call_whose_caller_has_given_up_before_its_turn_is_not_carried_out(serving: Serving) -> None:
    serving.held = threading.Event()
    client = serving.client("clerk")
    busy = [client.admin.GetStatus.future(STATUS) for _ in range(4)]  # all threads there are
    for _ in busy:
        assert serving.begun.acquire(timeout=10)
    assert (
        refused_call(client.admin.GetStatus, STATUS, timeout=0.2).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    )
    serving.held.set()
    for call in busy:
        call.result()
    client.admin.GetStatus(STATUS)
    assert [outcome for *_, outcome in serving.recorded()] == ["OK"] * 5


def test_a_stream_is_recorded_when_it_ends(serving: Serving) -> None:
    batches = [admin_pb2.ImportHoldersRequest(rows=[admin_pb2.NewHolder()] * n) for n in (1, 2, 3)]
    answers = list(serving.client("clerk").admin.ImportHolders(iter(batches)))
    assert [answer.outcome.known for answer in answers] == [1, 2, 3]
    assert serving.recorded() == [("clerk", "AdminService/ImportHolders", "", "OK")]


def test_a_stream_that_is_refused_half_way_says_why(serving: Serving) -> None:
    answers = serving.client("clerk").admin.ImportHolders(batches_until(serving.ending))
    next(answers)
    serving.error = NotFound("there is no approval 3")
    with pytest.raises(grpc.RpcError) as caught:
        list(answers)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert serving.recorded() == [("clerk", "AdminService/ImportHolders", "", "NOT_FOUND")]


def test_a_client_revoked_while_its_import_is_open_writes_no_further_batch(serving: Serving) -> None:
    is_revoked = threading.Event()

    def batches() -> Iterator[admin_pb2.ImportHoldersRequest]:
        yield admin_pb2.ImportHoldersRequest(rows=[admin_pb2.NewHolder()])
        is_revoked.wait(10)
        yield admin_pb2.ImportHoldersRequest(rows=[admin_pb2.NewHolder()] * 2)

    answers = serving.client("clerk").admin.ImportHolders(batches())
    assert next(answers).outcome.known == 1
    serving.clients.revoke("clerk", now=5)
    is_revoked.set()
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert serving.recorded() == [("clerk", "AdminService/ImportHolders", "", "UNAUTHENTICATED")]


def test_a_client_that_goes_away_while_the_server_waits_for_its_next_request_is_recorded_as_cancelled(
    serving: Serving,
) -> None:
    sent = threading.Event()

    def one_and_no_more() -> Iterator[admin_pb2.ImportHoldersRequest]:
        yield admin_pb2.ImportHoldersRequest()
        sent.set()
        serving.ending.wait(10)

    call = serving.client("clerk").admin.ImportHolders(one_and_no_more())
    next(call)
    assert sent.wait(10)
    call.cancel()
    eventually(lambda: serving.recorded()[0][3] == "CANCELLED")


class CancelledALittleLate:
    """The context of a call of which gRPC says that its requests ended, and then that it is cancelled."""

    def __init__(self, key: str) -> None:
        self._key = key

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self._key}")]

    def add_callback(self, call: Callable[[], None]) -> bool:
        threading.Timer(0.001, call).start()
        return True


def test_requests_that_end_a_moment_before_the_call_is_cancelled_are_no_success(serving: Serving) -> None:
    context: Any = CancelledALittleLate(serving.staff.keys["clerk"])
    assert list(AdminServicer(serving).ImportHolders(iter(()), context)) == []
    assert serving.recorded() == [("clerk", "AdminService/ImportHolders", "", "CANCELLED")]


def test_a_client_that_goes_away_while_the_server_sends_is_recorded_as_cancelled(serving: Serving) -> None:
    call = serving.client("operator").cache.RebuildCache(cache_pb2.RebuildCacheRequest())
    next(call)
    call.cancel()
    eventually(lambda: serving.recorded()[0][3] == "CANCELLED")


def test_a_stream_of_a_caller_without_the_role_is_denied(serving: Serving) -> None:
    error = refused_call(serving.client("auditor").admin.ImportHolders, iter(()))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert serving.recorded() == [("auditor", "AdminService/ImportHolders", "", "PERMISSION_DENIED")]


def test_the_calls_of_apps_are_not_recorded(serving: Serving) -> None:
    serving.client("app").issuer.GetKeySet(issuer_pb2.GetKeySetRequest())
    serving.client("app").issuer.IssueBundle(issuer_pb2.IssueBundleRequest())
    assert serving.recorded() == []


def batches_until(ending: threading.Event) -> Iterator[admin_pb2.ImportHoldersRequest]:
    while not ending.wait(0.01):
        yield admin_pb2.ImportHoldersRequest()
