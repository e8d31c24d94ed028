"""Gates over a real socket, in a real Redis, and what a verifier there makes of them."""

import time
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
import pytest
import redis

from issuer.access.calls import Calls
from issuer.v1 import cache_pb2, keys_pb2
from issuer.v1 import gates_pb2 as pb
from loadtest.embedded_redis import EmbeddedRedis
from tests.eventually import eventually
from tests.issuer.refusals import refusal
from tests.issuer.running_issuer import RunningIssuer
from verifier.access.callers import Credentials
from verifier.access.gate_list_follower import GateListFollower
from verifier.access.gate_lists import GateLists
from verifier.access.gatekeeper import ListGatekeeper
from verifier.bearer import hash_key, make_key
from verifier.call_error import CallError
from verifier.errors import StatusMissing
from verifier.host.worker_config import GateAuth
from verifier.key_set_follower import KeySetFollower, KeySets
from verifier.verdict import Policy
from verifier.wire.errors import GateListError
from verifier.wire.status_store import GATE_LIST_KEY


class Doors:
    """What a verifier knows of gates, from the Redis that the issuer writes."""

    def __init__(self, issuer: RunningIssuer, redis_url: str) -> None:
        self.key_sets = KeySets(issuer.root)
        self.gate_lists = GateLists()
        self._gatekeeper = ListGatekeeper(gate_auth=GateAuth.KEY, policy=Policy())
        self._key_sets = KeySetFollower(redis_url=redis_url, key_sets=self.key_sets)
        self._gates = GateListFollower(
            redis_url=redis_url,
            gate_lists=self.gate_lists,
            key_sets=self.key_sets,
            publish=self._gatekeeper.take,
            clock=time.time,
        )

    def look(self) -> None:
        """Look at key set and gate list, as a verifier does each second."""
        self._key_sets.refresh()
        self._gates.refresh()

    def look_at_keys(self) -> None:
        self._key_sets.refresh()

    def signer(self) -> bytes:
        assert self.gate_lists.newest is not None
        return self.gate_lists.newest.key_id

    def knows(self, key: str) -> str | None:
        """Return the gate that a bearer key is; None: it is refused."""
        try:
            caller = self._gatekeeper.identify(Credentials(authorization=(f"Bearer {key}",)))
            return caller.gate("").gate_id
        except CallError:
            return None

    def policy(self, key: str) -> Policy:
        caller = self._gatekeeper.identify(Credentials(authorization=(f"Bearer {key}",)))
        return caller.gate("").policy

    def close(self) -> None:
        self._key_sets.close()
        self._gates.close()


@pytest.fixture
def doors(running_issuer: RunningIssuer, redis_url: str) -> Iterator[Doors]:
    doors = Doors(running_issuer, redis_url)
    yield doors
    doors.close()


def add_group(issuer: RunningIssuer, name: str = "stations", **policy: object) -> bool:
    asked = pb.GatePolicy(**policy)  # type: ignore[arg-type]
    return bool(issuer.client.gates.AddGroup(pb.AddGroupRequest(name=name, policy=asked)).is_published)


def known_by(key: str) -> pb.GateCredential:
    return pb.GateCredential(bearer_key_sha256=hash_key(key))


def add_gate(issuer: RunningIssuer, gate_id: str = "north-3", group: str = "stations") -> str:
    """Add a gate; return its key."""
    key = make_key()
    request = pb.AddGateRequest(gate_id=gate_id, group=group, credential=known_by(key))
    assert issuer.client.gates.AddGate(request).is_published
    return key


# From the call to the verifier


def test_a_gate_is_known_to_verifiers_with_the_policy_of_its_group(
    running_issuer: RunningIssuer, doors: Doors
) -> None:
    assert add_group(running_issuer, max_test_age_s=86_400, max_status_age_ms=2_500, is_one_entry=True)
    key = add_gate(running_issuer)
    doors.look()
    assert doors.knows(key) == "north-3"
    assert doors.policy(key) == Policy(max_test_age_s=86_400, max_status_age_s=2.5, is_one_entry=True)
    assert doors.knows(make_key()) is None


def test_each_change_holds_as_soon_as_verifiers_look(running_issuer: RunningIssuer, doors: Doors) -> None:
    gates = running_issuer.client.gates
    add_group(running_issuer)
    add_group(running_issuer, "offices", yellow_opens=True)
    old, new = add_gate(running_issuer), make_key()
    assert gates.AddGateCredential(
        pb.AddGateCredentialRequest(gate_id="north-3", credential=known_by(new))
    ).is_published
    doors.look()
    assert (doors.knows(old), doors.knows(new)) == ("north-3", "north-3")
    drop = pb.RemoveGateCredentialRequest(gate_id="north-3", credential=known_by(old))
    assert gates.RemoveGateCredential(drop).is_published
    assert gates.MoveGate(pb.MoveGateRequest(gate_id="north-3", group="offices")).is_published
    doors.look()
    assert (doors.knows(old), doors.knows(new)) == (None, "north-3")
    assert doors.policy(new).yellow_opens
    stricter = pb.SetGroupPolicyRequest(name="offices", policy=pb.GatePolicy(max_test_age_s=60))
    assert gates.SetGroupPolicy(stricter).is_published
    doors.look()
    assert doors.policy(new) == Policy(max_test_age_s=60)
    assert gates.RemoveGate(pb.RemoveGateRequest(gate_id="north-3")).is_published
    assert gates.RemoveGroup(pb.RemoveGroupRequest(name="offices")).is_published
    doors.look()
    assert doors.knows(new) is None


def test_a_city_without_gates_has_a_list_without_gates(running_issuer: RunningIssuer, doors: Doors) -> None:
    def is_there() -> bool:
        doors.look()
        return doors.gate_lists.newest is not None

    eventually(is_there)
    assert doors.gate_lists.newest is not None
    assert doors.gate_lists.newest.gates == 0


def test_a_list_that_redis_lost_is_put_back(
    running_issuer: RunningIssuer, redis_url: str, doors: Doors
) -> None:
    add_group(running_issuer)
    with redis.Redis.from_url(redis_url) as client:
        held = client.get(GATE_LIST_KEY)
        for damage in (None, b"nonsense"):
            client.delete(GATE_LIST_KEY)
            if damage:
                client.rpush(GATE_LIST_KEY, damage)
            running_issuer.publisher.publish_key_set()
            assert client.get(GATE_LIST_KEY) == held
    doors.look()


def test_a_check_of_the_cache_finds_a_list_that_is_not_ours_and_a_repair_mends_it(
    running_issuer: RunningIssuer, redis_url: str
) -> None:
    add_group(running_issuer)
    check = running_issuer.client.cache.CheckCache
    with redis.Redis.from_url(redis_url) as client:
        held = client.get(GATE_LIST_KEY)
        assert isinstance(held, bytes)
        client.setrange(GATE_LIST_KEY, len(held) // 2, b"\xff")  # its signature is still the same
        *_, found = check(cache_pb2.CheckCacheRequest())
        assert found.problems == [f"{GATE_LIST_KEY}: not the newest gate list"]
        *_, found = check(cache_pb2.CheckCacheRequest(repair=True))
        assert found.is_repaired
        assert client.get(GATE_LIST_KEY) == held


def test_a_change_while_redis_is_down_is_not_published_and_arrives_later(
    start_issuer: Callable[..., RunningIssuer], own_redis: EmbeddedRedis
) -> None:
    issuer = start_issuer(own_redis.url)
    eventually(issuer.publisher.publish_key_set)
    own_redis.kill()
    assert not add_group(issuer)
    own_redis.restart()
    doors = Doors(issuer, own_redis.url)

    def has_arrived() -> bool:
        try:
            doors.look()
        except (redis.RedisError, GateListError, StatusMissing):
            return False
        return doors.gate_lists.newest is not None

    eventually(has_arrived)
    doors.close()


def test_changes_at_the_same_time_are_all_in_the_list(running_issuer: RunningIssuer, doors: Doors) -> None:
    add_group(running_issuer)
    with futures.ThreadPoolExecutor(4) as operators:
        names = [f"gate-{number}" for number in range(12)]
        keys = list(operators.map(lambda name: add_gate(running_issuer, name), names))
    doors.look()
    assert [doors.knows(key) for key in keys] == names


# Keys of the issuer


def signing_key_id(issuer: RunningIssuer) -> bytes:
    keys = issuer.client.keys.ListKeys(keys_pb2.ListKeysRequest()).keys
    return next(bytes(key.key_id) for key in keys if key.is_signing)


def has_another_signer(doors: Doors, former: bytes) -> bool:
    try:
        doors.look()
    except GateListError:  # still the one by the revoked key
        return False
    return doors.signer() != former


def test_after_a_rotation_the_new_key_signs_the_list_and_gates_notice_nothing(
    running_issuer: RunningIssuer, doors: Doors
) -> None:
    add_group(running_issuer)
    key = add_gate(running_issuer)
    doors.look()
    former = doors.signer()
    asked = running_issuer.client.keys.PrepareKey(keys_pb2.PrepareKeyRequest())
    made = bytes.fromhex(running_issuer.approve(asked.approval_id)[0].split()[1])
    running_issuer.clock_skew_s = 6
    activate = keys_pb2.ActivateKeyRequest(key_id=made)
    running_issuer.approve(running_issuer.client.keys.ActivateKey(activate).approval_id)
    running_issuer.issuer.gate_list.turn()
    assert has_another_signer(doors, former)
    assert doors.signer() == made == signing_key_id(running_issuer)
    assert doors.knows(key) == "north-3"


def test_after_a_revocation_the_old_list_holds_until_the_new_keys_is_there(
    running_issuer: RunningIssuer, doors: Doors
) -> None:
    add_group(running_issuer)
    key = add_gate(running_issuer)
    doors.look()
    stolen = doors.signer()
    revoke = keys_pb2.RevokeKeyRequest(key_id=stolen)
    running_issuer.approve(running_issuer.client.keys.RevokeKey(revoke).approval_id)
    doors.look_at_keys()
    assert stolen not in doors.key_sets.in_force(int(time.time())).keys
    assert doors.knows(key) == "north-3"
    eventually(lambda: has_another_signer(doors, stolen))
    assert doors.signer() == signing_key_id(running_issuer)
    assert doors.knows(key) == "north-3"


# Lists and refusals


def test_gates_and_groups_are_listed_as_they_were_given(running_issuer: RunningIssuer) -> None:
    gates = running_issuer.client.gates
    add_group(running_issuer, max_status_age_ms=1_500, is_one_entry=True)
    key = add_gate(running_issuer)
    certificate = pb.GateCredential(certificate_sha256=bytes(32))
    gates.AddGateCredential(pb.AddGateCredentialRequest(gate_id="north-3", credential=certificate))
    add_gate(running_issuer, "east")
    (group,) = gates.ListGroups(pb.ListGroupsRequest()).groups
    assert group == pb.GateGroup(
        name="stations",
        policy=pb.GatePolicy(max_status_age_ms=1_500, is_one_entry=True, paper_entry_s=900),
        gates=2,
    )
    page = gates.ListGates(pb.ListGatesRequest(group="stations", page_size=1))
    assert ([gate.gate_id for gate in page.gates], page.has_more) == (["east"], True)
    (gate,) = gates.ListGates(pb.ListGatesRequest(after_gate_id="east")).gates
    assert (gate.gate_id, gate.group) == ("north-3", "stations")
    assert sorted(gate.credentials, key=str) == sorted([known_by(key), certificate], key=str)
    assert abs(gate.added_at - time.time()) < 60


BROKEN = (
    ("AddGroup", pb.AddGroupRequest(name="a b"), "name"),
    ("AddGroup", pb.AddGroupRequest(name="x" * 65), "name"),
    (
        "AddGroup",
        pb.AddGroupRequest(name="a", policy=pb.GatePolicy(max_test_age_s=0)),
        "policy.max_test_age_s",
    ),
    (
        "AddGroup",
        pb.AddGroupRequest(name="a", policy=pb.GatePolicy(max_status_age_ms=0)),
        "policy.max_status_age_ms",
    ),
    ("AddGate", pb.AddGateRequest(gate_id="north/3", group="a"), "gate_id"),
    ("AddGate", pb.AddGateRequest(gate_id="x" * 49, group="a"), "gate_id"),
    ("AddGate", pb.AddGateRequest(gate_id="a", group=""), "group"),
    ("AddGate", pb.AddGateRequest(gate_id="a", group="a"), "credential.known_by"),
    (
        "AddGate",
        pb.AddGateRequest(gate_id="a", group="a", credential=pb.GateCredential(bearer_key_sha256=bytes(31))),
        "credential.bearer_key_sha256",
    ),
    ("ListGates", pb.ListGatesRequest(page_size=1_001), "page_size"),
)


def test_a_request_that_breaks_the_api_names_the_field(running_issuer: RunningIssuer) -> None:
    for call, request, field in BROKEN:
        code, said = refusal(getattr(running_issuer.client.gates, call), request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT, request
        assert said.startswith(f"{field}: "), said


def test_calls_are_recorded_with_the_gate_and_never_with_anything_else(running_issuer: RunningIssuer) -> None:
    add_group(running_issuer)
    add_gate(running_issuer)
    refusal(
        running_issuer.client.gates.RemoveGate, pb.RemoveGateRequest(gate_id="whatever somebody types here")
    )
    recorded, _ = Calls(database=running_issuer.database).page(client="", page_size=3, before_seq=0)
    assert [(call.method, call.target, call.outcome) for call in recorded] == [
        ("GateService/RemoveGate", "", "INVALID_ARGUMENT"),
        ("GateService/AddGate", "gate north-3", "OK"),
        ("GateService/AddGroup", "group stations", "OK"),
    ]
