"""Gate lists are taken when a key of the key set signed them and they are newer; they reach the workers."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import redis

from tests.signer import Signer
from verifier.access.gate_list_follower import GateListFollower
from verifier.access.gate_lists import GateLists
from verifier.errors import StatusMissing
from verifier.key_set_follower import KeySets
from verifier.wire import cose
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import GateListError, GateListNotTrusted, GateListOutdated
from verifier.wire.gate_list import ListedGate
from verifier.wire.status_store import GATE_LIST_KEY

NOW = 1_800_000_000
THIEF = Signer("thief")


def _keys(*signers: Signer) -> dict[bytes, VerifyingKey]:
    return {cose.key_id(signer.key.public_key): signer.key for signer in signers}


@pytest.fixture
def signer() -> Signer:
    return Signer()


def _version(gate_lists: GateLists) -> int | None:
    return gate_lists.newest.version if gate_lists.newest else None


def test_a_list_by_a_key_of_the_key_set_is_taken_once(signer: Signer) -> None:
    gate_lists = GateLists()
    signed = signer.gate_list(issued_at=NOW, gates=[ListedGate("north", "all")])
    assert gate_lists.offer(signed, _keys(signer))
    assert not gate_lists.offer(signed, _keys(signer))
    assert gate_lists.newest is not None
    assert (gate_lists.newest.version, gate_lists.newest.gates) == (1, 1)


def test_a_list_by_a_key_outside_the_key_set_is_refused(signer: Signer) -> None:
    gate_lists = GateLists()
    with pytest.raises(GateListError, match="a key of the key set"):
        gate_lists.offer(THIEF.gate_list(issued_at=NOW), _keys(signer))
    with pytest.raises(GateListError):
        gate_lists.offer(signer.gate_list(issued_at=NOW), {})


@pytest.mark.parametrize("version", [6, 7])
def test_a_version_that_is_not_higher_is_refused(signer: Signer, version: int) -> None:
    gate_lists = GateLists()
    gate_lists.offer(signer.gate_list(issued_at=NOW, version=7), _keys(signer))
    with pytest.raises(GateListError, match="above 7"):
        gate_lists.offer(signer.gate_list(issued_at=NOW + 1, version=version), _keys(signer))
    assert _version(gate_lists) == 7


def test_the_highest_version_of_a_thief_is_replaced_once_the_stolen_key_is_gone(signer: Signer) -> None:
    gate_lists = GateLists()
    gate_lists.offer(THIEF.gate_list(issued_at=NOW, version=2**32 - 1), _keys(signer, THIEF))
    with pytest.raises(GateListError, match="above"):
        gate_lists.offer(signer.gate_list(issued_at=NOW, version=2), _keys(signer, THIEF))
    assert _version(gate_lists) == 2**32 - 1
    assert gate_lists.offer(signer.gate_list(issued_at=NOW, version=2), _keys(signer))
    with pytest.raises(GateListError):
        gate_lists.offer(THIEF.gate_list(issued_at=NOW, version=2**32 - 1), _keys(signer))
    assert _version(gate_lists) == 2


def test_a_list_is_in_force_until_its_end_also_from_an_issuer_whose_clock_is_fast(signer: Signer) -> None:
    gate_lists = GateLists()
    assert gate_lists.in_force(NOW) is None
    gate_lists.offer(signer.gate_list(issued_at=NOW + 3_600, valid_s=100), _keys(signer))
    assert gate_lists.in_force(NOW) is not None
    assert gate_lists.in_force(NOW + 3_699) is not None
    assert gate_lists.in_force(NOW + 3_700) is None


@dataclass
class _Publisher:
    published: list[bytes] = field(default_factory=list)
    is_full: bool = False

    def publish(self, signed: bytes) -> None:
        if self.is_full:
            raise OSError("no room")
        self.published.append(signed)


@dataclass
class _Supervisor:
    redis: redis.Redis
    follower: GateListFollower
    key_sets: KeySets
    publisher: _Publisher


@pytest.fixture
def supervisor(redis_url: str, signer: Signer) -> Iterator[_Supervisor]:
    key_sets, gate_lists, publisher = KeySets(signer.root), GateLists(), _Publisher()
    key_sets.offer(signer.key_set(issued_at=NOW))
    with redis.Redis.from_url(redis_url) as client:
        follower = GateListFollower(
            redis_url=redis_url,
            gate_lists=gate_lists,
            key_sets=key_sets,
            publish=publisher.publish,
            clock=lambda: NOW,
        )
        supervisor = _Supervisor(client, follower, key_sets, publisher)
        yield supervisor
        follower.close()


def test_a_new_list_is_published_once(supervisor: _Supervisor, signer: Signer) -> None:
    supervisor.follower.refresh()
    supervisor.redis.set(GATE_LIST_KEY, first := signer.gate_list(issued_at=NOW))
    for _ in range(3):
        supervisor.follower.refresh()
    supervisor.redis.set(GATE_LIST_KEY, second := signer.gate_list(issued_at=NOW, version=2))
    supervisor.follower.refresh()
    assert supervisor.publisher.published == [first, second]


def test_while_nothing_changes_64_bytes_are_read(supervisor: _Supervisor, signer: Signer) -> None:
    supervisor.redis.set(GATE_LIST_KEY, signer.gate_list(issued_at=NOW))
    supervisor.follower.refresh()
    supervisor.redis.config_resetstat()
    for _ in range(3):
        supervisor.follower.refresh()
    assert supervisor.redis.info("commandstats")["cmdstat_getrange"]["calls"] == 3


def test_a_refused_list_is_trouble_at_each_look_and_leaves_the_old_one(
    supervisor: _Supervisor, signer: Signer
) -> None:
    supervisor.redis.set(GATE_LIST_KEY, good := signer.gate_list(issued_at=NOW, version=5))
    supervisor.follower.refresh()
    for wrong, error in (
        (signer.gate_list(issued_at=NOW, version=4), GateListOutdated),
        (THIEF.gate_list(issued_at=NOW), GateListNotTrusted),
        (b"nonsense", GateListError),
    ):
        supervisor.redis.set(GATE_LIST_KEY, wrong)
        for _ in range(2):
            with pytest.raises(GateListError) as caught:
                supervisor.follower.refresh()
            assert type(caught.value) is error
    supervisor.redis.delete(GATE_LIST_KEY)
    with pytest.raises(StatusMissing):
        supervisor.follower.refresh()
    supervisor.redis.set(GATE_LIST_KEY, good)
    supervisor.follower.refresh()
    assert supervisor.publisher.published == [good]


def test_a_refused_list_is_looked_at_again_when_the_key_set_has_changed(
    supervisor: _Supervisor, signer: Signer
) -> None:
    supervisor.redis.set(GATE_LIST_KEY, later := THIEF.gate_list(issued_at=NOW))
    with pytest.raises(GateListError):
        supervisor.follower.refresh()
    supervisor.key_sets.offer(signer.key_set(issued_at=NOW, version=2, keys=[signer.key, THIEF.key]))
    supervisor.follower.refresh()
    assert supervisor.publisher.published == [later]


def test_a_list_that_could_not_be_published_is_published_at_a_later_look(
    supervisor: _Supervisor, signer: Signer
) -> None:
    supervisor.redis.set(GATE_LIST_KEY, signed := signer.gate_list(issued_at=NOW))
    supervisor.publisher.is_full = True
    for _ in range(2):
        with pytest.raises(OSError, match="no room"):
            supervisor.follower.refresh()
    supervisor.publisher.is_full = False
    supervisor.follower.refresh()
    assert supervisor.publisher.published == [signed]


def test_only_what_was_verified_is_published_whatever_lies_in_redis_by_then(
    supervisor: _Supervisor, signer: Signer
) -> None:
    supervisor.redis.set(GATE_LIST_KEY, signed := signer.gate_list(issued_at=NOW))
    supervisor.publisher.is_full = True
    with pytest.raises(OSError, match="no room"):
        supervisor.follower.refresh()
    supervisor.publisher.is_full = False
    # Another list with the signature of the one that was taken: no signature of it at all.
    forged = THIEF.gate_list(issued_at=NOW, version=9, gates=[ListedGate("evil", "all")])[:-64] + signed[-64:]
    supervisor.redis.set(GATE_LIST_KEY, forged)
    supervisor.follower.refresh()
    assert supervisor.publisher.published == [signed]


def test_without_a_key_set_nothing_is_taken_and_nothing_is_trouble(redis_url: str, signer: Signer) -> None:
    published: list[bytes] = []
    with redis.Redis.from_url(redis_url) as client:
        client.set(GATE_LIST_KEY, signer.gate_list(issued_at=NOW))
    follower = GateListFollower(
        redis_url=redis_url,
        gate_lists=GateLists(),
        key_sets=KeySets(signer.root),
        publish=published.append,
        clock=lambda: NOW,
    )
    follower.refresh()
    follower.close()
    assert not published
