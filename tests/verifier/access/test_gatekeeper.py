"""Who is let in to ask, as which gate, and by what policy."""

import pytest

from tests.signer import Signer
from verifier.access.callers import Caller, Credentials
from verifier.access.gatekeeper import ListGatekeeper
from verifier.access.known_gates import stricter
from verifier.bearer import hash_key, make_key
from verifier.call_error import CallError, Status
from verifier.host.worker_config import GateAuth
from verifier.verdict import Policy
from verifier.wire.gate_list import ListedGate

NOW = 1_800_000_000
SIGNER = Signer()
OWN = Policy(max_test_age_s=3_600)
SCHOOL = Policy(max_test_age_s=7_200, max_status_age_s=1.5, is_one_entry=True, paper_entry_s=60)
KEY, NEW_KEY, OTHER_KEY = make_key(), make_key(), make_key()
CERTIFICATE, OTHER_CERTIFICATE = bytes(32), bytes([1] * 32)
NORTH = ListedGate("north", "school", (hash_key(KEY), hash_key(NEW_KEY)), (CERTIFICATE,))
SOUTH = ListedGate("south", "all", (hash_key(OTHER_KEY),))
GROUPS = {"school": SCHOOL, "all": Policy()}
IN_SCHOOL = Policy(3_600, 1.5, is_one_entry=True, paper_entry_s=60)


class _Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def _gatekeeper(
    gate_auth: GateAuth, *gates: ListedGate, clock: _Clock | None = None, version: int = 1
) -> ListGatekeeper:
    gatekeeper = ListGatekeeper(gate_auth=gate_auth, policy=OWN, clock=clock or _Clock())
    if gates:
        _take(gatekeeper, *gates, version=version)
    return gatekeeper


def _take(gatekeeper: ListGatekeeper, *gates: ListedGate, version: int = 2) -> None:
    gatekeeper.take(SIGNER.gate_list(issued_at=NOW, valid_s=100, gates=gates, groups=GROUPS, version=version))


def _with_key(key: str, scheme: str = "Bearer") -> Credentials:
    return Credentials(authorization=(f"{scheme} {key}",))


def _status(call: Caller, gate_id: str) -> Status:
    with pytest.raises(CallError) as caught:
        call.gate(gate_id)
    assert "north" not in caught.value.message
    return caught.value.status


def test_a_gate_is_known_by_each_of_its_keys_and_gets_its_groups_policy() -> None:
    gatekeeper = _gatekeeper(GateAuth.KEY, NORTH, SOUTH)
    for credentials in (_with_key(KEY), _with_key(NEW_KEY), _with_key(KEY, "bearer")):
        caller = gatekeeper.identify(credentials)
        assert caller.gate("").gate_id == "north"
        assert caller.gate("").policy == IN_SCHOOL
        assert caller.may_be_one_entry
    other = gatekeeper.identify(_with_key(OTHER_KEY))
    assert other.gate("south").policy == OWN
    assert not other.may_be_one_entry


def test_a_gate_is_known_by_its_certificate_where_that_is_asked_for_and_by_no_key_there() -> None:
    gatekeeper = _gatekeeper(GateAuth.CERTIFICATE, NORTH)
    assert gatekeeper.identify(Credentials((), CERTIFICATE)).gate("").gate_id == "north"
    for credentials in (Credentials((), OTHER_CERTIFICATE), _with_key(KEY), Credentials()):
        with pytest.raises(CallError) as caught:
            gatekeeper.identify(credentials)
        assert caught.value.status is Status.UNAUTHENTICATED


@pytest.mark.parametrize(
    "authorization",
    [
        (),
        ("",),
        (KEY,),
        (f"Basic {KEY}",),
        (f"Bearer {KEY[:-1]}",),
        (f"Bearer {make_key()}",),
        (f"Bearer {KEY}", f"Bearer {KEY}"),
        ("Bearer ключ",),
    ],
)
def test_anything_but_one_known_key_is_nobody(authorization: tuple[str, ...]) -> None:
    with pytest.raises(CallError) as caught:
        _gatekeeper(GateAuth.KEY, NORTH).identify(Credentials(authorization, CERTIFICATE))
    assert caught.value.status is Status.UNAUTHENTICATED
    assert "gl_" not in caught.value.message


def test_a_hub_names_its_lanes_and_no_other_gate() -> None:
    caller = _gatekeeper(GateAuth.KEY, NORTH, SOUTH).identify(_with_key(KEY))
    lane = caller.gate("north/7")
    assert (lane.gate_id, lane.policy) == ("north/7", IN_SCHOOL)
    for other in ("south", "north/", "north/7/8", "north7", "nort", "/7", "/", "south/north", " north"):
        assert _status(caller, other) is Status.PERMISSION_DENIED


def test_without_a_list_in_force_no_gate_is_known_and_health_says_so() -> None:
    clock = _Clock()
    gatekeeper = _gatekeeper(GateAuth.KEY, clock=clock)
    assert gatekeeper.not_ready() == "there is no gate list yet"
    with pytest.raises(CallError) as caught:
        gatekeeper.identify(_with_key(KEY))
    assert caught.value.status is Status.UNAVAILABLE
    _take(gatekeeper, NORTH)
    assert gatekeeper.not_ready() is None
    caller = gatekeeper.identify(_with_key(KEY))
    clock.now = NOW + 99.9
    assert caller.gate("").gate_id == "north"
    clock.now = NOW + 100
    assert gatekeeper.not_ready() == "gate list 2 is not in force"
    assert _status(caller, "") is Status.UNAVAILABLE


def test_a_caller_that_stays_connected_follows_the_list() -> None:
    gatekeeper = _gatekeeper(GateAuth.KEY, NORTH)
    caller = gatekeeper.identify(_with_key(KEY))
    caller.gate("")
    _take(gatekeeper, ListedGate("north", "all", (hash_key(KEY),)))
    assert not caller.may_be_one_entry
    assert caller.gate("").policy == OWN
    _take(gatekeeper, SOUTH, version=3)
    assert _status(caller, "") is Status.UNAUTHENTICATED
    _take(gatekeeper, NORTH, version=4)
    assert caller.gate("").policy == IN_SCHOOL


def test_where_no_credential_is_asked_for_a_gate_is_who_it_says_it_is() -> None:
    gatekeeper = _gatekeeper(GateAuth.NONE)
    caller = gatekeeper.identify(Credentials())
    assert gatekeeper.not_ready() is None
    assert caller.gate("anything at all").policy == OWN
    assert not caller.may_be_one_entry
    assert _status(caller, "") is Status.INVALID_ARGUMENT
    _take(gatekeeper, NORTH, SOUTH)
    assert caller.may_be_one_entry
    assert caller.gate("north").policy == IN_SCHOOL
    assert caller.gate("north/2").policy == IN_SCHOOL
    assert caller.gate("north/2").gate_id == "north/2"
    assert caller.gate("east").policy == OWN


def test_a_listed_gate_without_a_credential_is_not_opened_by_another_policy_when_its_list_ran_out() -> None:
    clock = _Clock()
    caller = _gatekeeper(GateAuth.NONE, NORTH, clock=clock).identify(Credentials())
    clock.now = NOW + 100
    assert _status(caller, "north") is Status.UNAVAILABLE
    assert caller.gate("east").policy == OWN


def test_of_two_policies_the_lower_ages_hold_and_the_rest_is_the_groups() -> None:
    none, some = Policy(), Policy(max_test_age_s=10, max_status_age_s=2.0)
    assert stricter(none, some) == stricter(some, none) == some
    low, high = Policy(max_test_age_s=5, max_status_age_s=9.0), Policy(max_test_age_s=6, max_status_age_s=8.0)
    assert stricter(low, high) == stricter(high, low) == Policy(max_test_age_s=5, max_status_age_s=8.0)
    assert stricter(none, Policy(yellow_opens=True)).yellow_opens
    assert not stricter(Policy(yellow_opens=True), none).yellow_opens
