"""The ending: what is due ends within a step, in bounded batches, and the alarm for reds goes up and down."""

import functools
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import update
from structlog.testing import capture_logs

from issuer import ending
from issuer.access.calls import Calls
from issuer.clock_guard import ClockGuard
from issuer.ending import Ending
from issuer.metrics import REDS_BY_HAND
from issuer.red_alarm import RedAlarm
from issuer.register import schema
from issuer.register.credentials import Credentials
from issuer.register.database import Database
from issuer.register.entries import ChangeSource, CredentialStanding
from issuer.register.last_recorded import last_recorded_at
from issuer.register.statuses import Statuses
from tests.eventually import eventually
from tests.issuer.register.people import NOW, add_client, approved, enrol, red, yellow
from verifier.wire.status_record import Colour


class FakePublisher:
    """Counts how often it is woken."""

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


class Scene:
    """An ending with a clock that the test moves."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        self.leapt_s = 0  # how far the wall clock went by itself
        self.statuses = Statuses(database=database)
        self.credentials = Credentials(database=database)
        self.publisher = FakePublisher()
        self.ending = Ending(
            statuses=self.statuses,
            credentials=self.credentials,
            publisher=self.publisher,
            red_alarm=RedAlarm(statuses=self.statuses, per_hour=2),
            clock=lambda: self.now,
            clock_guard=ClockGuard(
                monotonic=lambda: self.now - self.leapt_s,
                last_recorded_at=functools.partial(last_recorded_at, database),
            ),
        )

    def step(self, *, now: int) -> None:
        self.now = now
        self.ending.step()

    def leap(self, seconds: int) -> None:
        """Move the wall clock alone, and step."""
        self.leapt_s += seconds
        self.step(now=self.now + seconds)

    def colours(self, holders: list[int]) -> list[Colour]:
        return [self.statuses.status(holder).colour for holder in holders]

    def yellow_until(self, holders: list[int], valid_until: int) -> None:
        changes = [yellow(holder, valid_until=valid_until) for holder in holders]
        self.statuses.set(changes, operator="clerk", source=ChangeSource.MANUAL, now=self.now)

    def red(self, operator: str, holders: list[int], approval_id: int) -> None:
        self.statuses.set(
            [red(holder) for holder in holders],
            operator=operator,
            source=ChangeSource.MANUAL,
            now=self.now,
            approval_id=approval_id,
        )


@pytest.fixture
def scene(database: Database) -> Iterator[Scene]:
    yield Scene(database)
    REDS_BY_HAND.clear()


def reds(operator: str) -> float | None:
    return REGISTRY.get_sample_value("gatelight_issuer_reds_by_hand_last_hour", {"operator": operator})


@pytest.mark.parametrize(("now", "expected"), [(59, Colour.YELLOW), (60, Colour.GREEN), (61, Colour.GREEN)])
def test_a_colour_ends_when_it_is_due(scene: Scene, now: int, expected: Colour) -> None:
    (holder,) = enrol(scene.database)
    scene.yellow_until([holder], NOW + 60)
    scene.step(now=NOW + now)
    assert scene.colours([holder]) == [expected]
    assert scene.publisher.woken == (expected is Colour.GREEN)


def test_a_credential_ends_when_it_is_due(scene: Scene) -> None:
    enrol(scene.database)
    with scene.database.write() as connection:
        connection.execute(update(schema.credentials).values(valid_until=NOW + 60))
    scene.step(now=NOW + 59)
    assert scene.credentials.entry(1).state is CredentialStanding.ACTIVE
    scene.step(now=NOW + 60)
    assert scene.credentials.entry(1).state is CredentialStanding.EXPIRED
    assert scene.publisher.woken == 1


def test_what_is_due_at_once_ends_in_batches_within_one_step(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "BATCH", 2)
    holders = list(enrol(scene.database, 5))
    scene.yellow_until(holders, NOW + 60)
    scene.step(now=NOW + 60)
    assert scene.colours(holders) == 5 * [Colour.GREEN]
    assert scene.publisher.woken == 3


def test_one_step_is_bounded_and_the_next_goes_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "BATCH", 2)
    monkeypatch.setattr(ending, "_MAX_BATCHES_PER_STEP", 2)
    holders = list(enrol(scene.database, 5))
    scene.yellow_until(holders, NOW + 60)
    scene.step(now=NOW + 60)
    assert scene.colours(holders).count(Colour.GREEN) == 4
    scene.step(now=NOW + 60)
    assert scene.colours(holders).count(Colour.GREEN) == 5


def test_reds_by_hand_are_counted_and_go_down_with_the_hour(scene: Scene) -> None:
    holders = list(enrol(scene.database, 2))
    approval_id = approved(scene.database)
    scene.red("clerk", holders, approval_id)
    scene.step(now=NOW)
    assert reds("clerk") == 2
    scene.step(now=NOW + 3_599)
    assert reds("clerk") == 2
    scene.step(now=NOW + 3_599 + 60)
    assert reds("clerk") == 0


def test_reds_are_counted_once_a_minute(scene: Scene) -> None:
    (holder,) = enrol(scene.database)
    approval_id = approved(scene.database)
    scene.step(now=NOW)
    scene.red("clerk", [holder], approval_id)
    scene.step(now=NOW + 59)
    assert reds("clerk") is None
    scene.step(now=NOW + 60)
    assert reds("clerk") == 1


def test_reds_are_counted_again_when_the_clock_was_set_back(scene: Scene) -> None:
    (holder,) = enrol(scene.database)
    approval_id = approved(scene.database)
    scene.step(now=NOW)
    scene.red("clerk", [holder], approval_id)
    scene.step(now=NOW - 10)
    assert reds("clerk") == 1


@pytest.mark.parametrize(("count", "warnings"), [(1, 0), (2, 0), (3, 1)])
def test_the_alarm_begins_above_the_number_that_is_set(scene: Scene, count: int, warnings: int) -> None:
    holders = list(enrol(scene.database, count))
    scene.red("clerk", holders, approved(scene.database))
    with capture_logs() as logs:
        scene.step(now=NOW)
    assert [entry["operator"] for entry in logs if entry["log_level"] == "warning"] == warnings * ["clerk"]


def test_an_alarm_is_logged_when_it_begins_and_when_it_begins_again(scene: Scene) -> None:
    holders = list(enrol(scene.database, 3))
    approval_id = approved(scene.database)
    with capture_logs() as logs:
        scene.red("clerk", holders, approval_id)
        scene.step(now=NOW)
        scene.red("clerk", holders, approval_id)
        scene.step(now=NOW + 60)
        assert len(logs) == 1
        scene.step(now=NOW + 7_200)
        scene.red("clerk", holders, approval_id)
        scene.step(now=NOW + 7_260)
        assert len(logs) == 2


@pytest.mark.parametrize(("seconds", "is_leap"), [(60, False), (61, True), (31_536_000, True)])
def test_nothing_ends_by_a_clock_that_leapt(scene: Scene, seconds: int, is_leap: bool) -> None:
    (holder,) = enrol(scene.database)
    scene.yellow_until([holder], NOW + 60)
    with scene.database.write() as connection:
        connection.execute(update(schema.credentials).values(valid_until=NOW + 60))
    scene.step(now=NOW)
    with capture_logs() as logs:
        scene.leap(seconds)
        scene.step(now=scene.now + 299)
    assert [entry["log_level"] for entry in logs] == (["warning"] if is_leap else [])
    assert scene.colours([holder]) == [Colour.YELLOW if is_leap else Colour.GREEN]
    standing = CredentialStanding.ACTIVE if is_leap else CredentialStanding.EXPIRED
    assert scene.credentials.entry(1).state is standing
    scene.step(now=scene.now + 1)
    assert scene.colours([holder]) == [Colour.GREEN]


def test_a_clock_that_leaps_back_is_waited_for_as_well(scene: Scene) -> None:
    (holder,) = enrol(scene.database)
    scene.yellow_until([holder], NOW + 60)
    scene.step(now=NOW)
    scene.leap(31_536_000)
    scene.step(now=scene.now + 200)
    scene.leap(-31_536_000)
    scene.step(now=scene.now + 299)
    assert scene.colours([holder]) == [Colour.YELLOW]
    scene.step(now=scene.now + 1)
    assert scene.colours([holder]) == [Colour.GREEN]


@pytest.mark.parametrize(
    ("start", "ends"), [(-61, False), (-60, True), (7 * 86_400, True), (7 * 86_400 + 1, False)]
)
def test_a_start_at_a_time_that_does_not_fit_the_register_ends_nothing_at_first(
    scene: Scene, start: int, ends: bool
) -> None:
    (holder,) = enrol(scene.database)  # at NOW
    with scene.database.write() as connection:
        connection.execute(update(schema.credentials).values(valid_until=NOW - 61))
    scene.step(now=NOW + start)
    assert (scene.credentials.entry(1).state is CredentialStanding.EXPIRED) == ends
    scene.step(now=scene.now + 300)
    assert scene.credentials.entry(1).state is CredentialStanding.EXPIRED
    assert holder == 1


def test_the_newest_entry_is_that_of_any_kind(scene: Scene) -> None:
    assert last_recorded_at(scene.database) is None
    (holder,) = enrol(scene.database)
    assert last_recorded_at(scene.database) == NOW
    scene.now = NOW + 1
    scene.yellow_until([holder], NOW + 60)
    assert last_recorded_at(scene.database) == NOW + 1
    client_id = add_client(scene.database, "clerk")
    Calls(database=scene.database).begin(client_id=client_id, method="m", target="", now=NOW + 2)
    assert last_recorded_at(scene.database) == NOW + 2


def test_the_loop_ends_what_is_due(scene: Scene) -> None:
    (holder,) = enrol(scene.database)
    scene.yellow_until([holder], NOW + 60)
    scene.now = NOW + 60
    scene.ending.start()
    eventually(lambda: scene.colours([holder]) == [Colour.GREEN])
    scene.ending.stop()
