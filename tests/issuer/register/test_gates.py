"""Gates and groups on the register, and the version of the list that is made of them."""

from collections.abc import Callable

import pytest

from issuer.errors import FailedPrecondition, NotFound
from issuer.register import gate_list, gates
from issuer.register.database import Database
from issuer.register.gates import GateCredential, GateEntry, Gates, GroupEntry
from verifier.verdict import Policy
from verifier.wire.code import MAX_U32
from verifier.wire.gate_list import ListedGate

NOW = 1_800_000_000
STRICT = Policy(max_test_age_s=86_400, max_status_age_s=0.25, is_one_entry=True, paper_entry_s=60)


def key(number: int) -> GateCredential:
    return GateCredential(bytes([number]) * 32, is_certificate=False)


def certificate(number: int) -> GateCredential:
    return GateCredential(bytes([number]) * 32, is_certificate=True)


@pytest.fixture
def city(database: Database) -> Gates:
    """Two groups, and a gate in one of them."""
    city = Gates(database=database)
    city.add_group("stations", STRICT, now=NOW)
    city.add_group("offices", Policy(yellow_opens=True), now=NOW)
    city.add("north-3", "stations", key(1), now=NOW)
    return city


def version(city: Gates) -> int:
    with city._database.read() as connection:
        return gate_list.read_version(connection)


def listed(city: Gates) -> gate_list.Listed:
    with city._database.read() as connection:
        return gate_list.read_listed(connection)


def gate(city: Gates, gate_id: str = "north-3") -> GateEntry:
    entries, _ = city.page(group="", page_size=100, after_gate_id="")
    return next(entry for entry in entries if entry.gate_id == gate_id)


# Groups


def test_groups_are_listed_by_name_with_policy_and_count(city: Gates) -> None:
    assert city.groups() == [
        GroupEntry("offices", Policy(yellow_opens=True), 0),
        GroupEntry("stations", STRICT, 1),
    ]


def test_a_policy_is_replaced_whole(city: Gates) -> None:
    city.set_policy("stations", Policy(max_status_age_s=3.0), now=NOW)
    assert city.groups()[1].policy == Policy(max_status_age_s=3.0)


def test_a_group_is_removed_once_no_gate_belongs_to_it(city: Gates) -> None:
    with pytest.raises(FailedPrecondition, match=r"gates belong to group stations \(1\)"):
        city.remove_group("stations", now=NOW)
    city.move("north-3", "offices", now=NOW)
    city.remove_group("stations", now=NOW)
    assert [group.name for group in city.groups()] == ["offices"]


def test_a_group_is_there_once(city: Gates) -> None:
    with pytest.raises(FailedPrecondition, match="already"):
        city.add_group("stations", Policy(), now=NOW)


# Gates


def test_a_gate_has_up_to_two_credentials_the_oldest_first(city: Gates) -> None:
    city.add_credential("north-3", certificate(0), now=NOW + 1)
    assert gate(city) == GateEntry("north-3", "stations", [key(1), certificate(0)], NOW)
    with pytest.raises(FailedPrecondition, match="take the old one away first"):
        city.add_credential("north-3", key(3), now=NOW)


def test_a_credential_is_one_gates_and_free_again_when_that_is_removed(city: Gates) -> None:
    for taken in (key(1), certificate(1)):
        with pytest.raises(FailedPrecondition, match="gate north-3 is known by this"):
            city.add("north-4", "stations", taken, now=NOW)
    city.remove("north-3", now=NOW)
    city.add("north-4", "stations", key(1), now=NOW)


def test_a_credential_is_taken_away_but_not_the_only_one(city: Gates) -> None:
    city.add_credential("north-3", key(2), now=NOW)
    city.remove_credential("north-3", key(1), now=NOW)
    assert gate(city).credentials == [key(2)]
    with pytest.raises(FailedPrecondition, match="only credential"):
        city.remove_credential("north-3", key(2), now=NOW)
    with pytest.raises(NotFound):
        city.remove_credential("north-3", certificate(2), now=NOW)


def test_what_is_not_there_is_not_found(city: Gates) -> None:
    for attempt in (
        lambda: city.set_policy("x", Policy(), now=NOW),
        lambda: city.remove_group("x", now=NOW),
        lambda: city.add("new", "x", key(9), now=NOW),
        lambda: city.add_credential("x", key(9), now=NOW),
        lambda: city.remove_credential("x", key(1), now=NOW),
        lambda: city.move("x", "offices", now=NOW),
        lambda: city.move("north-3", "x", now=NOW),
        lambda: city.remove("x", now=NOW),
        lambda: city.page(group="x", page_size=1, after_gate_id=""),
    ):
        with pytest.raises(NotFound, match=r"there is no (gate|group) x"):
            attempt()


def test_gates_are_listed_page_by_page(city: Gates) -> None:
    for number in range(2, 6):
        city.add(f"gate-{number}", "offices" if number % 2 else "stations", key(number), now=NOW)
    found, after = [], ""
    while True:
        entries, has_more = city.page(group="", page_size=2, after_gate_id=after)
        found += [entry.gate_id for entry in entries]
        if not has_more:
            break
        after = found[-1]
    assert found == ["gate-2", "gate-3", "gate-4", "gate-5", "north-3"]
    entries, has_more = city.page(group="offices", page_size=2, after_gate_id="")
    assert ([entry.gate_id for entry in entries], has_more) == (["gate-3", "gate-5"], False)


def test_more_than_a_list_holds_is_refused(city: Gates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "MAX_GATES", 2)
    monkeypatch.setattr(gates, "MAX_GROUPS", 2)
    city.add("second", "offices", key(2), now=NOW)
    with pytest.raises(FailedPrecondition, match="there are 2 gates"):
        city.add("third", "offices", key(3), now=NOW)
    with pytest.raises(FailedPrecondition, match="there are 2 groups"):
        city.add_group("third", Policy(), now=NOW)


# The list


def test_the_list_says_everything_that_the_register_does(city: Gates) -> None:
    city.add_credential("north-3", certificate(2), now=NOW)
    city.add("east", "offices", certificate(3), now=NOW)
    found = listed(city)
    assert found.groups == {"stations": STRICT, "offices": Policy(yellow_opens=True)}
    assert list(found.gates) == [
        ListedGate("east", "offices", (), (certificate(3).sha256,)),
        ListedGate("north-3", "stations", (key(1).sha256,), (certificate(2).sha256,)),
    ]
    assert found.issued_at == NOW


def test_every_change_raises_the_version(city: Gates) -> None:
    changes: tuple[Callable[[], None], ...] = (
        lambda: city.add_group("new", Policy(), now=NOW),
        lambda: city.set_policy("new", Policy(yellow_opens=True), now=NOW),
        lambda: city.remove_group("new", now=NOW),
        lambda: city.add("east", "offices", key(2), now=NOW),
        lambda: city.add_credential("east", key(3), now=NOW),
        lambda: city.remove_credential("east", key(2), now=NOW),
        lambda: city.move("east", "stations", now=NOW),
        lambda: city.remove("east", now=NOW),
    )
    for change in changes:
        before = version(city)
        change()
        assert version(city) == before + 1


def test_a_change_that_is_refused_raises_nothing(city: Gates) -> None:
    before = version(city)
    with pytest.raises(FailedPrecondition):
        city.add_group("stations", Policy(), now=NOW)
    assert version(city) == before


@pytest.mark.parametrize(
    ("now", "expected"),
    [(NOW - 500, NOW + 4), (NOW + 500, NOW + 500), (MAX_U32 + 1, NOW + 4)],
)
def test_a_version_is_above_the_last_and_not_below_the_time(city: Gates, now: int, expected: int) -> None:
    city.add_group("new", Policy(), now=NOW)
    assert version(city) == NOW + 3
    with city._database.write() as connection:
        gate_list.raise_version(connection, now=now)
    assert version(city) == expected


def test_the_time_of_a_list_never_goes_back(city: Gates) -> None:
    with city._database.write() as connection:
        gate_list.raise_version(connection, now=NOW - 86_400)
    assert listed(city).issued_at == NOW
