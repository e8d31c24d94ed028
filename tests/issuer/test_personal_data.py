"""What must not leave the register does not: not to Redis, the record of calls, logs, metrics or errors."""

import prometheus_client
import pytest
import redis
from structlog.testing import capture_logs

from issuer.register.holders import Holders
from issuer.v1 import access_pb2
from issuer.v1 import admin_pb2 as pb
from tests.issuer.refusals import refusal
from tests.issuer.running_issuer import RunningIssuer

NAME, NUMBER = "金丝雀CanaryName", "CANARY110101"


def do_everything(issuer: RunningIssuer) -> None:
    """Enter a holder with telling names, and do with it what clerks do."""
    admin = issuer.client.admin
    holder = pb.NewHolder(name=NAME, document_type="ID", document_number=NUMBER, region="CANARYREGION")
    holder_id = admin.EnrolHolders(pb.EnrolHoldersRequest(holders=[holder])).holder_ids[0]
    new = [pb.NewCredential(holder_id=holder_id, kind=2)]  # type: ignore[arg-type]
    admin.IssueCredentials(pb.IssueCredentialsRequest(credentials=new))
    for colour in (1, 3, 1):
        issuer.set_colour(holder_id, colour)
    admin.GetHolder(pb.GetHolderRequest(holder_id=holder_id, reveal=True))
    admin.ListHolders(pb.ListHoldersRequest(document_type="ID", document_number=NUMBER, reveal=True))
    batch = pb.ImportHoldersRequest(rows=[holder, pb.NewHolder(name=NAME)])
    list(admin.ImportHolders(iter([batch])))
    admin.EraseHolder(pb.EraseHolderRequest(holder_id=holder_id))


def assert_no_canary(text: str) -> None:
    for canary in (NAME, NUMBER, "CANARY", "金丝雀"):
        assert canary not in text


def test_nothing_personal_reaches_redis(running_issuer: RunningIssuer, redis_url: str) -> None:
    do_everything(running_issuer)
    with redis.Redis.from_url(redis_url) as client:
        everything = b"".join(client.dump(key) or b"" for key in client.scan_iter("*"))
    assert everything
    assert_no_canary(everything.decode(errors="replace"))


def test_nothing_personal_reaches_the_record_of_calls_the_log_or_the_metrics(
    running_issuer: RunningIssuer,
) -> None:
    with capture_logs() as logs:
        do_everything(running_issuer)
    calls = running_issuer.client.access.ListCalls(access_pb2.ListCallsRequest()).calls
    assert "revealed" in " ".join(call.target for call in calls)
    assert_no_canary(str(calls))
    assert_no_canary(repr(logs))
    assert_no_canary(prometheus_client.generate_latest().decode())


def test_nothing_personal_stays_in_the_register_of_one_who_was_erased(running_issuer: RunningIssuer) -> None:
    do_everything(running_issuer)
    admin = running_issuer.client.admin
    erased = admin.GetHolder(pb.GetHolderRequest(holder_id=1, reveal=True))
    assert erased.holder.erased_at
    assert_no_canary(str(erased.holder.name) + erased.holder.document_last_four)
    assert len(admin.ListStatusChanges(pb.ListStatusChangesRequest(holder_id=1)).changes) == 3


def test_a_refusal_quotes_nothing(running_issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = running_issuer.client.admin
    holder = pb.NewHolder(name=NAME, document_type="ID", document_number=NUMBER)
    bad = [holder, pb.NewHolder(name=f"{NAME}\n", document_type="ID", document_number=NUMBER)]
    with capture_logs() as logs:
        admin.EnrolHolders(pb.EnrolHoldersRequest(holders=[holder]))
        texts = [refusal(admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[one]))[1] for one in bad]

        def fail(*_: object, **__: object) -> None:
            raise ValueError(f"{NAME} {NUMBER}")

        monkeypatch.setattr(Holders, "enrol", fail)
        texts.append(refusal(admin.EnrolHolders, pb.EnrolHoldersRequest(holders=[holder]))[1])
    assert texts[-1] == "the issuer failed; its log says where"
    assert_no_canary("".join(texts))
    assert_no_canary(repr(logs))
