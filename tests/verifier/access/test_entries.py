"""One entry a window: who is let in, how far was looked, and how long it is remembered."""

from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.embedded_redis import EmbeddedRedis
from verifier.access.callers import Gate
from verifier.access.entries import Entries, forget_at_ms
from verifier.access.entry_store import EntryStore
from verifier.access.entry_table import EntryTable
from verifier.counters import Counter, Counters
from verifier.service import Answer
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Policy, Verdict
from verifier.wire.code import Code, CredentialKind

NOW = 1_800_000_000
ONE_ENTRY = Policy(is_one_entry=True, paper_entry_s=900)
NORTH, SOUTH = Gate("north", ONE_ENTRY), Gate("south", ONE_ENTRY)
PHONE = Code(CredentialKind.PHONE, 7, 1, NOW - 10, NOW + 50, "")
PAPER = Code(CredentialKind.PAPER, 8, 1, NOW - 10, NOW + 180 * 86_400, "")
GREEN = Answer(Verdict.GREEN, PHONE, None, 10, 0.0, float(NOW))
HASH = bytes(range(16))

FIRST = (Verdict.GREEN, pb.ENTRY_SCOPE_ALL)
USED = (Verdict.ALREADY_USED, pb.ENTRY_SCOPE_ALL)
FIRST_HERE = (Verdict.GREEN, pb.ENTRY_SCOPE_VERIFIER)
USED_HERE = (Verdict.ALREADY_USED, pb.ENTRY_SCOPE_VERIFIER)


class FakeStore:
    """A Redis that several verifiers may share, and that can be away."""

    def __init__(self) -> None:
        self.claims: dict[str, bytes] = {}
        self.ttls_ms: list[int] = []
        self.is_away = False
        self.late: list[str] = []

    def claim_later(self, key: str, scan: bytes, ttl_ms: int) -> None:
        assert ttl_ms > 0
        self.late.append(f"{key} {scan.decode()}")

    def claim(self, key: str, scan: bytes, ttl_ms: int) -> bool | None:
        if self.is_away:
            return None
        self.ttls_ms.append(ttl_ms)
        return self.claims.setdefault(key, scan) == scan

    def close(self) -> None:
        pass


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


def _entries(store: FakeStore, counters: Counters | None = None) -> Entries:
    return Entries(store=store, table=EntryTable(rows=16), counters=counters or Counters())


def _settle(entries: Entries, scan_id: str, gate: Gate = NORTH) -> tuple[Verdict, pb.EntryScope]:
    return entries.settle(GREEN, code_hash=HASH, scan_id=scan_id, gate=gate)


def test_a_code_opens_once_and_again_for_the_same_scan_at_the_same_gate_alone(store: FakeStore) -> None:
    entries = _entries(store)
    assert _settle(entries, "a") == FIRST
    assert _settle(entries, "a") == FIRST
    assert _settle(entries, "b") == USED
    assert _settle(entries, "a", SOUTH) == USED
    assert _settle(entries, "a", Gate("north/2", ONE_ENTRY)) == USED


def test_no_scan_and_gate_can_be_written_to_look_like_another(store: FakeStore) -> None:
    entries = _entries(store)
    assert _settle(entries, "a@b", Gate("c", ONE_ENTRY)) == FIRST
    assert _settle(entries, "a", Gate("b@c", ONE_ENTRY)) == USED


def test_two_verifiers_share_entries_and_say_so(store: FakeStore) -> None:
    assert _settle(_entries(store), "a") == FIRST
    assert _settle(_entries(store), "b", SOUTH) == USED


def test_without_redis_a_verifier_goes_by_its_own_entries_says_so_and_counts_it(store: FakeStore) -> None:
    counters = Counters()
    entries, other = _entries(store, counters), _entries(store)
    store.is_away = True
    assert _settle(entries, "a") == FIRST_HERE
    assert _settle(entries, "a") == FIRST_HERE
    assert _settle(entries, "b") == USED_HERE
    assert _settle(other, "b") == FIRST_HERE
    assert counters.get(Counter.ENTRIES_LOCAL) == 3


def test_an_entry_without_redis_is_to_be_told_to_it_later_and_a_refusal_is_not(store: FakeStore) -> None:
    entries = _entries(store)
    assert _settle(entries, "a") == FIRST
    assert store.late == []
    store.is_away = True
    _settle(entries, "a")
    _settle(entries, "b")
    assert store.late == [f"7:{HASH.hex()} 1:a@north"]


def test_a_verifier_remembers_who_it_let_in_when_redis_goes_away(store: FakeStore) -> None:
    entries = _entries(store)
    assert _settle(entries, "a") == FIRST
    store.is_away = True
    assert _settle(entries, "b") == USED_HERE


def test_a_verifier_remembers_who_it_let_in_when_redis_comes_back_empty(store: FakeStore) -> None:
    entries = _entries(store)
    assert _settle(entries, "a") == FIRST
    store.claims.clear()
    assert _settle(entries, "b") == USED


def test_a_scan_that_redis_did_not_answer_in_time_but_noted_is_still_the_first(store: FakeStore) -> None:
    entries = _entries(store)
    store.is_away = True
    assert _settle(entries, "a") == FIRST_HERE
    store.is_away = False
    assert _settle(entries, "a") == FIRST
    assert _settle(_entries(store), "b") == USED


def test_workers_of_two_verifiers_share_entries_over_redis_and_those_of_one_without(
    own_redis: EmbeddedRedis, tmp_path: Path
) -> None:
    workers = []
    for name, number in (("one", 0), ("one", 1), ("other", 0)):
        (tmp_path / name).mkdir(exist_ok=True)
        entries = Entries.open(
            redis_url=own_redis.url, run_folder=tmp_path / name, number=number, workers=2, counters=Counters()
        )
        assert isinstance(entries._store, EntryStore)
        entries._store._budget_s = 10.0
        workers.append(entries)
    mine, beside_me, elsewhere = workers
    assert _settle(mine, "a") == FIRST
    assert _settle(elsewhere, "b") == USED
    assert _settle(beside_me, "a") == FIRST
    own_redis.freeze()
    for entries in workers:
        assert isinstance(entries._store, EntryStore)
        entries._store._budget_s = 0.005
    try:
        assert _settle(beside_me, "b") == USED_HERE
        assert _settle(mine, "a") == FIRST_HERE
        assert _settle(elsewhere, "b") == FIRST_HERE
    finally:
        own_redis.thaw()
        for entries in workers:
            entries.close()


def test_a_claim_lasts_until_no_verifier_takes_the_code_any_more(store: FakeStore) -> None:
    _settle(_entries(store), "a")
    assert store.ttls_ms == [(50 + 30 + 30) * 1_000]


def test_a_card_of_paper_may_enter_again_after_the_time_of_the_policy() -> None:
    now_ms = 1_000 * NOW
    assert forget_at_ms(PAPER, ONE_ENTRY, now_ms) == now_ms + 900_000
    ending = Code(CredentialKind.PAPER, 8, 1, NOW - 10, NOW + 100, "")
    assert forget_at_ms(ending, ONE_ENTRY, now_ms) == now_ms + 160_000
    assert forget_at_ms(PHONE, replace(ONE_ENTRY, paper_entry_s=1), now_ms) == now_ms + 110_000
