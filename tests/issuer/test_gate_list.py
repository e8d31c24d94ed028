"""When gate lists are signed, by which key, and which of them verifiers go by."""

from collections.abc import Callable
from pathlib import Path

import pytest

from issuer.clock_guard import ClockGuard
from issuer.errors import FailedPrecondition
from issuer.gate_list import LIFE_S, RENEWAL_S, GateListSigner
from issuer.register.database import Database
from issuer.register.gates import GateCredential, Gates
from tests.issuer.keys.turning import NOW, Turning
from verifier.access.gate_lists import GateLists
from verifier.verdict import Policy
from verifier.wire.errors import GateListError
from verifier.wire.gate_list import GateList, read_gate_list

LIFE = 7 * 86_400


class RedisOfTheTest:
    """Holds what the publisher would put there."""

    def __init__(self) -> None:
        self.held: list[bytes] = []
        self.answers = True

    def publish_gate_list(self, signed: bytes) -> bool:
        self.held.append(signed)
        return self.answers


class City:
    """A register with keys and gates, and what signs the list of them."""

    def __init__(self, database: Database, path: Path) -> None:
        self.turning = Turning(database, path)
        self.turning.turn()
        self.gates = Gates(database=database)
        self.gates.add_group("stations", Policy(), now=NOW)
        self.redis = RedisOfTheTest()
        self.last_recorded_at: int | None = None
        self.restart()

    def restart(self) -> None:
        self.guard = ClockGuard(
            monotonic=self.turning.clock.monotonic, last_recorded_at=lambda: self.last_recorded_at
        )
        self.signer = GateListSigner(
            database=self.turning.database,
            ring=self.turning.ring,
            publisher=self.redis,
            clock=self.turning.clock,
            clock_guard=self.guard,
        )

    def turn(self, *, at: int) -> int:
        """Turn at a time; return how many lists were signed."""
        self.turning.clock.now = at
        before = len(self.redis.held)
        self.signer.turn()
        return len(self.redis.held) - before

    def add_gate(self, number: int) -> bool:
        credential = GateCredential(bytes([number]) * 32, is_certificate=False)
        self.gates.add(f"gate-{number}", "stations", credential, now=self.turning.clock.now)
        return self.signer.publish_change()

    def newest(self) -> tuple[GateList, bytes]:
        return read_gate_list(self.redis.held[-1], self.turning.key_set().keys)


@pytest.fixture
def city(sqlite_database: Database, tmp_path: Path) -> City:
    """A city with a group and no gate, which has signed nothing yet."""
    return City(sqlite_database, tmp_path)


def test_a_list_is_signed_at_the_start_also_without_a_gate(city: City) -> None:
    assert city.turn(at=NOW) == 1
    gate_list, key_id = city.newest()
    assert (gate_list.gates, list(gate_list.groups), key_id) == (
        (),
        ["stations"],
        city.turning.signing_key_id(),
    )
    assert (gate_list.issued_at, gate_list.expires_at) == (NOW, NOW + LIFE_S)
    assert city.turn(at=NOW + 1) == 0


def test_a_change_is_signed_before_the_call_returns_and_once(city: City) -> None:
    city.turn(at=NOW)
    before = city.newest()[0]
    assert city.add_gate(1)
    gate_list, _ = city.newest()
    assert [gate.gate_id for gate in gate_list.gates] == ["gate-1"]
    assert gate_list.version == before.version + 1
    assert city.turn(at=NOW + 1) == 0


def test_a_change_says_whether_redis_has_it(city: City) -> None:
    city.redis.answers = False
    assert not city.add_gate(1)
    city.redis.answers = True
    assert city.add_gate(2)


def test_a_change_that_was_committed_and_not_signed_is_signed_by_the_next_turn(city: City) -> None:
    city.turn(at=NOW)
    city.gates.add_group("offices", Policy(), now=NOW)
    assert city.turn(at=NOW + 1) == 1
    assert sorted(city.newest()[0].groups) == ["offices", "stations"]


@pytest.mark.parametrize(("age_s", "lists"), [(RENEWAL_S - 1, 0), (RENEWAL_S, 1), (RENEWAL_S + 1, 1)])
def test_a_list_is_signed_anew_each_day(city: City, age_s: int, lists: int) -> None:
    city.turn(at=NOW)
    before = city.newest()[0]
    assert city.turn(at=NOW + age_s) == lists
    assert city.newest()[0].version >= before.version + lists
    assert city.newest()[0].expires_at == NOW + lists * age_s + LIFE_S


def test_a_start_signs_a_list_above_every_one_before(city: City) -> None:
    city.turn(at=NOW)
    city.add_gate(1)
    before = city.newest()[0]
    city.restart()
    assert city.turn(at=NOW) == 1
    assert city.newest()[0].version > before.version


def test_a_list_signed_after_a_rotation_is_the_new_keys(city: City) -> None:
    city.turn(at=NOW)
    former = city.newest()
    rotate(city)
    assert city.turn(at=NOW + LIFE) == 1
    gate_list, key_id = city.newest()
    assert key_id == city.turning.signing_key_id() != former[1]
    assert gate_list.version > former[0].version


def rotate(city: City) -> None:
    city.turning.turn(at=NOW + LIFE // 2)
    city.turning.turn(at=NOW + LIFE)
    assert city.turning.signing_key_id() != city.turning.first_key_id


def test_a_list_of_a_revoked_key_is_replaced_at_the_next_turn(city: City) -> None:
    city.turn(at=NOW)
    city.turning.revoke(city.turning.first_key_id)
    city.turning.turn()
    assert city.turn(at=NOW + 1) == 1
    assert city.newest()[1] == city.turning.signing_key_id() != city.turning.first_key_id


def test_without_a_key_that_signs_a_change_is_safe_and_signed_later(city: City) -> None:
    city.turn(at=NOW)
    signing = city.turning.ring.current(now=NOW)
    city.turning.ring.turn(None, trusted=())
    assert not city.add_gate(1)
    with pytest.raises(FailedPrecondition):
        city.signer.turn()
    city.turning.ring.turn(signing, trusted=[signing.key_id])
    assert city.turn(at=NOW + 1) == 1
    assert [gate.gate_id for gate in city.newest()[0].gates] == ["gate-1"]


# A clock that cannot be trusted


def test_while_the_clock_is_not_steady_only_changes_are_signed(city: City) -> None:
    city.turn(at=NOW)
    city.guard.is_steady(NOW)
    city.turning.clock.leap(10 * RENEWAL_S)
    assert city.turn(at=city.turning.clock.now) == 0
    assert city.add_gate(1)
    city.turning.clock.now += 301
    assert city.turn(at=city.turning.clock.now) == 0  # the change brought its validity up to date


def test_at_a_start_with_a_wrong_clock_what_redis_holds_stays(city: City) -> None:
    city.last_recorded_at = NOW + 86_400
    assert city.turn(at=NOW) == 0
    assert city.turn(at=NOW + 300) == 1


def test_a_clock_that_is_set_back_takes_nothing_from_the_validity(city: City) -> None:
    city.turn(at=NOW)
    city.turning.clock.leap(-400 * RENEWAL_S)
    city.add_gate(1)
    assert city.newest()[0].expires_at == NOW + LIFE_S


# What verifiers make of it


@pytest.fixture
def offer(city: City) -> Callable[[], bool]:
    """Offers the newest list to a verifier that has the key set of the moment."""
    gate_lists = GateLists()
    return lambda: gate_lists.offer(city.redis.held[-1], city.turning.key_set().keys)


def test_verifiers_take_every_list_in_turn(city: City, offer: Callable[[], bool]) -> None:
    city.turn(at=NOW)
    assert offer()
    for number in range(1, 4):
        city.add_gate(number)
        assert offer()
        assert not offer()
    rotate(city)
    assert not offer()  # the former key is in the key set as long as its codes are
    city.turn(at=NOW + LIFE)
    assert offer()
    city.turning.revoke(city.turning.signing_key_id())
    city.turning.turn()
    assert not offer()  # the new key set comes before the new list, and the old list stays
    city.turn(at=NOW + LIFE + 1)
    assert offer()


def test_a_verifier_that_starts_between_new_key_set_and_new_list_takes_none(city: City) -> None:
    city.turn(at=NOW)
    city.turning.revoke(city.turning.first_key_id)
    city.turning.turn()
    with pytest.raises(GateListError):
        GateLists().offer(city.redis.held[-1], city.turning.key_set().keys)
