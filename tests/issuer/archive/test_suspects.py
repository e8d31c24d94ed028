"""Which showings of a code are suspected."""

from collections.abc import Sequence
from typing import Any

import pytest

from issuer.archive.suspects import codes_of, suspects_among
from issuer.register.database import Database
from issuer.register.scans import Scans
from issuer.register.showings import Showings
from issuer.register.suspects import SuspectEntry, Suspects
from tests.issuer.archive.passages import (
    EXPIRED,
    MALFORMED,
    NOW,
    NOW_MS,
    PAPER,
    RED,
    YELLOW,
    passage,
    rows,
)
from verifier.v1.scan_log_pb2 import ScanLogEntry

WALK_S = 60
CODE = b"c" * 16


class Watch:
    """The part of the archive that looks for copies, batch by batch; it remembers nothing itself."""

    def __init__(self, database: Database) -> None:
        self.scans = Scans(database=database)
        self.showings = Showings(database=database)
        self.suspects = Suspects(database=database)

    def batch(self, *entries: ScanLogEntry) -> Sequence[SuspectEntry]:
        arrived = rows(*entries)
        self.scans.store(arrived)
        found: list[SuspectEntry] = []
        for code in self.showings.shown_elsewhere(codes_of(arrived, walk_s=WALK_S)):
            found += self.suspects.add(suspects_among(self.showings.of_code(code), walk_s=WALK_S))
        return found


@pytest.fixture
def watch(sqlite_database: Database) -> Watch:
    return Watch(sqlite_database)


def shown(gate: str, after_ms: int = 0, **fields: Any) -> ScanLogEntry:
    return passage(**{"gate_id": gate, "verified_at_ms": NOW_MS + after_ms, "code_hash": CODE} | fields)


def test_a_phone_code_at_two_gates_is_suspected_once(database: Database) -> None:
    watch = Watch(database)
    assert watch.batch(shown("north"), shown("north", 1_000), passage(), passage(gate_id="south")) == []
    first, second = shown("north", 2_000), shown("south/2", 20_000)
    (suspect,) = watch.batch(first, second)
    assert (suspect.credential_index, suspect.kind) == (7, 1)
    assert (suspect.first_gate_id, suspect.first_at_ms) == (b"north", NOW_MS + 2_000)
    assert (suspect.second_gate_id, suspect.second_at_ms) == (b"south/2", NOW_MS + 20_000)
    assert watch.batch(first, second, shown("south", 21_000), shown("north", 22_000)) == []
    assert len(watch.batch(shown("west", 23_000))) == 1


def test_scans_that_arrive_late_and_in_the_wrong_order_are_suspected_too(watch: Watch) -> None:
    assert watch.batch(shown("south", 20_000)) == []
    assert watch.batch(passage(verified_at_ms=NOW_MS + 600_000)) == []
    (suspect,) = watch.batch(shown("north"))
    assert (suspect.first_gate_id, suspect.second_gate_id) == (b"north", b"south")


def test_the_lanes_of_a_hub_are_one_place(watch: Watch) -> None:
    assert watch.batch(shown("hub/1"), shown("hub/2", 1_000), shown("hub", 2_000)) == []


def test_two_credentials_and_two_codes_of_one_are_no_copy(watch: Watch) -> None:
    assert watch.batch(shown("north"), shown("south", 1_000, code_hash=b"d" * 16)) == []
    assert watch.batch(shown("west", credential_index=8, code_hash=b"e" * 16)) == []


@pytest.mark.parametrize("verdict", [MALFORMED, EXPIRED])
def test_a_code_that_was_not_in_force_is_not_counted(watch: Watch, verdict: int) -> None:
    assert watch.batch(shown("north"), shown("south", 1_000, verdict=verdict)) == []


@pytest.mark.parametrize("verdict", [YELLOW, RED])
def test_a_code_that_was_in_force_is_counted_whatever_the_answer(watch: Watch, verdict: int) -> None:
    assert len(watch.batch(shown("north"), shown("south", 1_000, verdict=verdict))) == 1


def test_codes_that_are_not_authentic_are_nobodys(watch: Watch) -> None:
    nobody = {"credential_index": 0, "kind": 0, "not_before": 0, "expires_at": 0, "verdict": 6}
    assert watch.batch(shown("north", **nobody), shown("south", 1, **nobody)) == []


@pytest.mark.parametrize(("apart_s", "is_suspected"), [(59, True), (60, True), (61, False)])
def test_a_card_is_suspected_when_nobody_walks_so_fast(
    watch: Watch, apart_s: int, is_suspected: bool
) -> None:
    card = {"kind": PAPER, "not_before": NOW - 86_400, "expires_at": NOW + 86_400}
    found = watch.batch(shown("north", **card)), watch.batch(shown("south", apart_s * 1_000, **card))
    assert [len(one) for one in found] == [0, int(is_suspected)]


def test_a_card_is_suspected_again_on_another_day(watch: Watch) -> None:
    card = {"kind": PAPER, "not_before": NOW - 86_400, "expires_at": NOW + 86_400}
    for day, expected in ((0, 1), (0, 0), (1, 1)):
        began = day * 86_400_000
        found = watch.batch(shown("north", began, **card), shown("south", began + 5_000, **card))
        assert len(found) == expected


def test_a_code_that_everybody_has_costs_a_bounded_look(watch: Watch) -> None:
    many = [shown(f"gate-{number % 40}", number) for number in range(1_200)]
    assert 39 <= len(watch.batch(*many)) <= 40
