"""What clerks do while the issuer is killed, and what it had acknowledged when it was.

Each worker has holders and credentials of its own, so what must be in the register follows from its own
calls alone: an acknowledged call is there whole; a call without an answer is there whole or not at all.
"""

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import grpc

from issuer.client import IssuerClient
from issuer.register.entries import CredentialStanding
from issuer.v1 import admin_pb2 as pb
from issuer.v1 import cache_pb2
from loadtest.residents import REASON_CLOSE_CONTACT, Staff, approve
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

_MAX_CHANGES_PER_CALL = 20
_IMPORT_BATCHES = 5
_IMPORT_ROWS = 200
_TESTED_AT = 1_790_000_000  # Unix seconds


@dataclass(slots=True)
class Ledger:
    """What was asked of the issuer, and what it acknowledged."""

    acknowledged_changes: dict[str, int] = field(default_factory=dict)  # how many, by evidence
    unanswered_changes: dict[str, int] = field(default_factory=dict)
    credentials: dict[int, tuple[int, CredentialStanding]] = field(default_factory=dict)  # as acknowledged
    uncertain_credentials: set[int] = field(default_factory=set)  # a later call has no answer
    external_ids: dict[str, set[str]] = field(default_factory=dict)  # acknowledged, by table
    calls: Counter[str] = field(default_factory=Counter)  # acknowledged, by kind
    unanswered: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, kind: str) -> None:
        """Count a call that was answered."""
        with self._lock:
            self.calls[kind] += 1

    def give_up(self) -> None:
        """Count a call that was not."""
        with self._lock:
            self.unanswered += 1


class Load:
    """Threads that change the register until they are stopped."""

    def __init__(self, staff: Staff, ledger: Ledger, indices: Sequence[int], seed: int) -> None:
        """Change the credentials `indices`, of holders with the same numbers."""
        self._staff = staff
        self._ledger = ledger
        self._stopping = threading.Event()
        fifths = [indices[start::5] for start in range(5)]
        workers: list[tuple[Callable[[random.Random, Sequence[int]], None], Sequence[int]]] = [
            (self._change_colours, fifths[0]),
            (self._change_colours, fifths[1]),
            (self._redden, fifths[2]),
            (self._change_credentials, fifths[3]),
            (self._import, fifths[4]),
            (self._rebuild, ()),
        ]
        self._threads = [
            threading.Thread(target=self._repeat, args=(work, random.Random(f"{seed} {number}"), owned))
            for number, (work, owned) in enumerate(workers)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin no further call; return when each has its answer or none."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _repeat(
        self,
        work: Callable[[random.Random, Sequence[int]], None],
        rng: random.Random,
        owned: Sequence[int],
    ) -> None:
        while not self._stopping.is_set():
            try:
                work(rng, owned)
            except grpc.RpcError:
                self._ledger.give_up()
                self._stopping.wait(0.02)

    def _change_colours(self, rng: random.Random, owned: Sequence[int]) -> None:
        chosen = rng.sample(list(owned), rng.randint(1, _MAX_CHANGES_PER_CALL))
        evidence = uuid.uuid4().hex
        changes = [
            _change(holder_id, rng.choice((Colour.GREEN, Colour.YELLOW)), evidence) for holder_id in chosen
        ]
        self._ledger.unanswered_changes[evidence] = len(changes)
        self._staff.clerk.admin.SetStatuses(pb.SetStatusesRequest(changes=changes))
        self._ledger.acknowledged_changes[evidence] = self._ledger.unanswered_changes.pop(evidence)
        self._ledger.acknowledge("statuses set")

    def _redden(self, rng: random.Random, owned: Sequence[int]) -> None:
        evidence = uuid.uuid4().hex
        changes = [_change(rng.choice(owned), Colour.RED, evidence)]
        self._ledger.unanswered_changes[evidence] = 1
        answer = self._staff.clerk.admin.SetStatuses(pb.SetStatusesRequest(changes=changes))
        approve(self._staff.approver, answer.approval_id)
        self._ledger.acknowledged_changes[evidence] = self._ledger.unanswered_changes.pop(evidence)
        self._ledger.acknowledge("reds approved")

    def _change_credentials(self, rng: random.Random, owned: Sequence[int]) -> None:
        index = rng.choice(owned)
        if index in self._ledger.uncertain_credentials:
            self._look_up(index)
            return
        generation, state = self._ledger.credentials.get(index, (1, CredentialStanding.ACTIVE))
        admin = self._staff.clerk.admin
        self._ledger.uncertain_credentials.add(index)
        if state is CredentialStanding.SUSPENDED:
            admin.ResumeCredential(pb.ResumeCredentialRequest(credential_index=index))
            state = CredentialStanding.ACTIVE
        elif rng.random() < 1 / 3:
            admin.SuspendCredential(pb.SuspendCredentialRequest(credential_index=index))
            state = CredentialStanding.SUSPENDED
        else:
            answer = admin.ReplaceCredential(pb.ReplaceCredentialRequest(credential_index=index))
            generation = answer.generation
        self._ledger.credentials[index] = generation, state
        self._ledger.uncertain_credentials.discard(index)
        self._ledger.acknowledge("credentials changed")

    def _look_up(self, index: int) -> None:
        """Learn what became of a call without an answer."""
        request = pb.GetCredentialRequest(credential_index=index)
        entry = self._staff.clerk.admin.GetCredential(request).credential
        self._ledger.credentials[index] = entry.generation, CredentialStanding(entry.state)
        self._ledger.uncertain_credentials.discard(index)

    def _import(self, rng: random.Random, owned: Sequence[int]) -> None:
        admin = self._staff.clerk.admin
        batches = _external_ids()
        holders = (pb.ImportHoldersRequest(rows=map(_holder, batch)) for batch in batches)
        self._import_rows("holders", admin.ImportHolders(holders), batches)
        new = (pb.ImportCredentialsRequest(rows=map(_credential, batch)) for batch in batches)
        self._import_rows("credentials", admin.ImportCredentials(new), batches)
        batches = _external_ids()
        tests = (
            pb.ImportTestsRequest(rows=[_test(external_id, rng, owned) for external_id in batch])
            for batch in batches
        )
        self._import_rows("status_changes", admin.ImportTests(tests), batches)

    def _import_rows(self, table: str, responses: Iterator[object], batches: Sequence[Sequence[str]]) -> None:
        for batch, _ in zip(batches, responses, strict=True):
            self._ledger.external_ids.setdefault(table, set()).update(batch)
            self._ledger.acknowledge(f"batches of {table}")

    def _rebuild(self, rng: random.Random, _: Sequence[int]) -> None:
        cache = self._staff.clerk.cache
        if rng.random() < 1 / 2:
            for _progress in cache.RebuildCache(cache_pb2.RebuildCacheRequest()):
                pass
        else:
            for _progress in cache.CheckCache(cache_pb2.CheckCacheRequest(repair=True)):
                pass
        self._ledger.acknowledge("rebuilds and repairs")


def enrol(client: IssuerClient, count: int) -> Sequence[int]:
    """Enter holders, with a PHONE credential each; return the indices, which are the holders' ids as well."""
    holders = [_holder(uuid.uuid4().hex) for _ in range(count)]
    holder_ids = client.admin.EnrolHolders(pb.EnrolHoldersRequest(holders=holders)).holder_ids
    new = [pb.NewCredential(holder_id=holder_id, kind=int(CredentialKind.PHONE)) for holder_id in holder_ids]  # type: ignore[arg-type]
    indices = client.admin.IssueCredentials(pb.IssueCredentialsRequest(credentials=new)).credential_indices
    return list(indices)


def _change(holder_id: int, colour: Colour, evidence: str) -> pb.StatusChange:
    return pb.StatusChange(
        holder_id=holder_id,
        colour=int(colour),  # type: ignore[arg-type]
        reason=0 if colour is Colour.GREEN else REASON_CLOSE_CONTACT,
        authority="load test",
        evidence=evidence,
    )


def _holder(external_id: str) -> pb.NewHolder:
    return pb.NewHolder(name="王秀", document_type="ID", document_number=external_id, external_id=external_id)


def _credential(external_id: str) -> pb.NewCredential:
    return pb.NewCredential(
        holder_external_id=external_id,
        kind=int(CredentialKind.PHONE),  # type: ignore[arg-type]
        external_id=external_id,
    )


def _test(external_id: str, rng: random.Random, holder_ids: Sequence[int]) -> pb.NegativeTest:
    return pb.NegativeTest(
        holder_id=rng.choice(holder_ids),
        taken_at=_TESTED_AT + rng.randrange(1_000_000),
        authority="laboratory",
        external_id=external_id,
    )


def _external_ids() -> Sequence[Sequence[str]]:
    return [[uuid.uuid4().hex for _ in range(_IMPORT_ROWS)] for _ in range(_IMPORT_BATCHES)]
