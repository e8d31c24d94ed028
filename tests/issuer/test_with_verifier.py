"""What the issuer signs and writes, the verifier's own pipeline takes."""

import time
from collections.abc import Iterator

import pytest
import redis

from issuer.v1 import admin_pb2, cache_pb2
from issuer.v1 import issuer_pb2 as pb
from tests.eventually import eventually
from tests.issuer.running_issuer import RunningIssuer
from verifier.boot_clock import boot_time_s
from verifier.errors import NotReady
from verifier.key_set_follower import KeySetFollower, KeySets
from verifier.loop import Loop
from verifier.mirror import HeapTable, Mirror
from verifier.mirror_follower import MirrorFollower
from verifier.service import Verifier
from verifier.status_reader import StatusReader
from verifier.verdict import Policy, Verdict


class Gate:
    """A verifier on the Redis that an issuer writes."""

    def __init__(self, issuer: RunningIssuer, redis_url: str) -> None:
        self._issuer = issuer
        self._reader = StatusReader(
            redis_url, root_key_id=issuer.root_key_id, partition=0, partitions=1, block_ms=100
        )
        key_sets = KeySets(issuer.root)
        mirror = Mirror(partitions=1, monotonic=boot_time_s)
        self._key_sets = KeySetFollower(redis_url=redis_url, key_sets=key_sets)
        follower = MirrorFollower(
            reader=self._reader,
            mirror=mirror.partitions[0],
            monotonic=boot_time_s,
            new_table=lambda: HeapTable(1_024),
        )
        self._loops = [
            Loop(self._key_sets.refresh, name="key set", pause_s=0.05, retry_s=0.05),
            Loop(follower.step, name="mirror", pause_s=0, retry_s=0.05),
        ]
        self._verifier = Verifier(key_sets=key_sets, mirror=mirror, clock=time.time)
        self.partition = mirror.partitions[0]
        for loop in self._loops:
            loop.start()
        eventually(self._is_ready)

    def scan(self, qr_text: bytes) -> Verdict:
        return self._verifier.verify(qr_text, Policy()).verdict

    def scan_current(self, index: int) -> Verdict:
        answer = self._issuer.client.issuer.IssueBundle(pb.IssueBundleRequest(credential_index=index))
        return self.scan(answer.codes[0].qr_text.encode())

    def _is_ready(self) -> bool:
        try:
            self._verifier.check_ready()
        except NotReady:
            return False
        return True

    def close(self) -> None:
        for loop in self._loops:
            loop.stop()
        self._reader.close()
        self._key_sets.close()


@pytest.fixture
def gate(running_issuer: RunningIssuer, redis_url: str) -> Iterator[Gate]:
    gate = Gate(running_issuer, redis_url)
    yield gate
    gate.close()


def test_each_change_reaches_the_gate(running_issuer: RunningIssuer, gate: Gate) -> None:
    admin, index = running_issuer.client.admin, running_issuer.issue()
    eventually(lambda: gate.scan_current(index) is Verdict.NO_STATUS)
    for colour, verdict in ((1, Verdict.GREEN), (2, Verdict.YELLOW), (3, Verdict.RED), (1, Verdict.GREEN)):
        running_issuer.set_colour(1, colour)
        eventually(lambda verdict=verdict: gate.scan_current(index) is verdict)  # type: ignore[misc]
    old = running_issuer.client.issuer.IssueBundle(pb.IssueBundleRequest(credential_index=index)).codes[0]
    admin.ReplaceCredential(admin_pb2.ReplaceCredentialRequest(credential_index=index))
    eventually(lambda: gate.scan(old.qr_text.encode()) is Verdict.REPLACED)
    new = running_issuer.client.issuer.IssueBundle(pb.IssueBundleRequest(credential_index=index)).codes[0]
    admin.SuspendCredential(admin_pb2.SuspendCredentialRequest(credential_index=index))
    eventually(lambda: gate.scan(new.qr_text.encode()) is Verdict.SUSPENDED)
    admin.RevokeCredential(admin_pb2.RevokeCredentialRequest(credential_index=index))
    eventually(lambda: gate.scan(new.qr_text.encode()) is Verdict.REVOKED)


def test_a_running_gate_never_notices_that_redis_was_emptied(
    running_issuer: RunningIssuer, gate: Gate, redis_url: str
) -> None:
    index, code = green(running_issuer, gate)
    table = gate.partition.table
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter("gatelight:*"):
            client.delete(key)
    while gate.partition.table is table:
        assert gate.scan(code) is Verdict.GREEN
    assert gate.scan(code) is Verdict.GREEN
    running_issuer.set_colour(index, 3)
    eventually(lambda: gate.scan(code) is Verdict.RED)


def test_a_running_gate_never_notices_a_rebuild(running_issuer: RunningIssuer, gate: Gate) -> None:
    index, code = green(running_issuer, gate)
    table = gate.partition.table
    *_, last = running_issuer.client.cache.RebuildCache(cache_pb2.RebuildCacheRequest())
    assert last.is_done
    while gate.partition.table is table:
        assert gate.scan(code) is Verdict.GREEN
    assert gate.scan(code) is Verdict.GREEN
    running_issuer.set_colour(index, 3)
    eventually(lambda: gate.scan(code) is Verdict.RED)


def green(issuer: RunningIssuer, gate: Gate) -> tuple[int, bytes]:
    """Issue a credential to a green holder; return its index, which is the holder's id too, and a code."""
    index = issuer.issue()
    issuer.set_colour(index, 1)
    codes = issuer.client.issuer.IssueBundle(pb.IssueBundleRequest(credential_index=index)).codes
    code = codes[0].qr_text.encode()
    eventually(lambda: gate.scan(code) is Verdict.GREEN)
    return index, code
