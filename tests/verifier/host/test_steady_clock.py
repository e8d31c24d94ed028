"""The time of verdicts, when the machine's clock leaps."""

import pytest

from verifier.host.steady_clock import (
    HOLD_S,
    TOLERANCE_S,
    ClockKeeper,
    SteadyClock,
    is_kept_by_time_server,
)

_NOON = 1_800_000_000.0
_DAY_S = 86_400.0


class Machine:
    """Both clocks of a machine."""

    def __init__(self) -> None:
        self.up_s = 1_000.0
        self.wall_lead_s = _NOON - self.up_s
        self.lead = memoryview(bytearray(8)).cast("d")
        self.lead[0] = self.wall_lead_s
        self.is_kept = True
        self.keeper = ClockKeeper(
            self.lead, wall=self.wall, monotonic=lambda: self.up_s, is_kept=lambda: self.is_kept
        )
        self.clock = SteadyClock(self.lead, monotonic=lambda: self.up_s)

    def wall(self) -> float:
        return self.up_s + self.wall_lead_s

    def run(self, seconds: float) -> None:
        """Let time pass, with a look each second."""
        for _ in range(int(seconds)):
            self.up_s += 1
            self.keeper.look()


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_it_shows_the_time(machine: Machine) -> None:
    machine.run(60)
    assert machine.clock() == machine.wall() == _NOON + 60
    assert machine.keeper.step_s == 0


def test_small_corrections_are_followed(machine: Machine) -> None:
    for _ in range(10):
        machine.wall_lead_s += 0.9 * TOLERANCE_S
        machine.run(61)
        assert machine.clock() == pytest.approx(machine.wall())


def test_many_small_corrections_in_a_minute_are_a_leap(machine: Machine) -> None:
    for _ in range(50):
        machine.wall_lead_s += 0.9 * TOLERANCE_S
        machine.run(1)
    assert abs(machine.clock() - _NOON - 50) <= 2 * TOLERANCE_S
    assert machine.keeper.step_s > 40


@pytest.mark.parametrize("leap_s", [300.0, -300.0, _DAY_S, -_DAY_S, 2 * TOLERANCE_S])
def test_a_leap_is_not_followed_at_first_and_believed_when_it_lasts(machine: Machine, leap_s: float) -> None:
    machine.wall_lead_s += leap_s
    machine.run(HOLD_S)
    assert machine.clock() == _NOON + HOLD_S
    assert machine.keeper.step_s == leap_s
    machine.run(1)
    assert machine.clock() == machine.wall()
    assert machine.keeper.step_s == 0
    assert machine.keeper.followed_s == leap_s
    machine.run(3_600)
    assert machine.keeper.followed_s == 0


def test_a_leap_that_is_taken_back_leaves_no_trace(machine: Machine) -> None:
    machine.wall_lead_s += _DAY_S
    machine.run(HOLD_S / 2)
    machine.wall_lead_s -= _DAY_S
    machine.run(HOLD_S)
    assert machine.clock() == machine.wall() == _NOON + 1.5 * HOLD_S


def test_each_leap_is_held_for_the_whole_time(machine: Machine) -> None:
    machine.wall_lead_s += _DAY_S
    machine.run(HOLD_S - 1)
    machine.wall_lead_s += _DAY_S
    machine.run(HOLD_S - 1)
    assert machine.clock() == _NOON + 2 * (HOLD_S - 1)


def test_a_leap_that_a_witness_denies_is_not_followed_while_it_is_heard(machine: Machine) -> None:
    machine.wall_lead_s += _DAY_S
    for _ in range(100):
        machine.keeper.hear(machine.clock() + 0.2, machine.up_s)
        machine.run(10)
    machine.run(HOLD_S)
    assert machine.clock() == _NOON + 1_000 + HOLD_S


def test_a_leap_to_the_time_of_a_witness_is_followed_at_once(machine: Machine) -> None:
    machine.wall_lead_s += _DAY_S
    machine.keeper.hear(machine.wall() - 3, machine.up_s)
    machine.run(1)
    assert machine.clock() == machine.wall()


def test_a_witness_that_leaps_with_us_is_none(machine: Machine) -> None:
    machine.keeper.hear(machine.wall(), machine.up_s)
    machine.run(1)
    machine.wall_lead_s += _DAY_S
    for _ in range(int(HOLD_S) - 1):
        machine.run(1)
        machine.keeper.hear(machine.wall(), machine.up_s)
    assert machine.clock() == _NOON + HOLD_S
    machine.run(2)
    assert machine.clock() == machine.wall()
    assert machine.keeper.followed_s == _DAY_S


def test_a_redis_with_our_own_clock_never_confirms_a_leap_that_it_made_with_us(machine: Machine) -> None:
    for leap_s in (0.0, _DAY_S, 300.0):
        machine.wall_lead_s += leap_s
        for _ in range(2 * int(HOLD_S)):
            machine.run(1)
            machine.keeper.hear(machine.wall(), machine.up_s)
        assert machine.clock() == machine.wall()
        assert machine.keeper.followed_s == leap_s


def test_a_witness_that_leapt_long_before_us_is_one_again(machine: Machine) -> None:
    machine.keeper.hear(machine.wall() - 8, machine.up_s)
    machine.keeper.hear(machine.wall(), machine.up_s)
    machine.run(HOLD_S)
    machine.wall_lead_s += _DAY_S
    machine.keeper.hear(machine.wall(), machine.up_s)
    machine.run(1)
    assert machine.clock() != machine.wall()  # it leapt just now
    machine.wall_lead_s -= _DAY_S
    machine.keeper.hear(machine.wall(), machine.up_s)
    machine.run(2 * HOLD_S)
    machine.keeper._lead[0] -= _DAY_S
    machine.keeper.hear(machine.wall(), machine.up_s)
    machine.run(1)
    assert (machine.clock(), machine.keeper.followed_s) == (machine.wall(), 0)


def test_a_witness_that_denies_a_leap_goes_on_when_it_is_itself_set_by_a_little(machine: Machine) -> None:
    machine.wall_lead_s += _DAY_S
    for ahead_s in (0, 5):
        for _ in range(2 * int(HOLD_S)):
            machine.run(1)
            machine.keeper.hear(machine.clock() + ahead_s, machine.up_s)
    assert machine.clock() == _NOON + 4 * HOLD_S


def test_who_wants_to_know_of_a_leap_is_told_just_before_it_is_followed() -> None:
    machine, told = Machine(), []
    machine.is_kept = False
    keeper = ClockKeeper(
        machine.lead,
        wall=machine.wall,
        monotonic=lambda: machine.up_s,
        is_kept=lambda: machine.is_kept,
        before_leap=lambda step_s: told.append((step_s, machine.clock())),
    )
    machine.wall_lead_s += TOLERANCE_S / 2
    keeper.look()
    before = machine.clock()
    machine.wall_lead_s += _DAY_S
    keeper.look()
    assert told == []
    machine.is_kept = True
    keeper.look()
    assert told == [(_DAY_S, before)]


def test_a_witness_that_is_close_to_neither_time_decides_nothing(machine: Machine) -> None:
    machine.wall_lead_s += 150
    for _ in range(int(HOLD_S)):
        machine.keeper.hear(machine.wall() + 50, machine.up_s)
        machine.run(1)
    assert machine.clock() == _NOON + HOLD_S
    machine.run(1)
    assert machine.clock() == machine.wall()


def test_a_witness_that_is_heard_no_more_says_nothing(machine: Machine) -> None:
    machine.keeper.hear(_NOON - 7, machine.up_s)
    assert machine.keeper.witness_difference_s == 7
    machine.wall_lead_s += _DAY_S
    machine.run(HOLD_S + 40)
    assert machine.clock() == machine.wall()
    assert machine.keeper.witness_difference_s is None


def test_a_clock_that_a_time_server_sets_right_after_the_start_is_followed(machine: Machine) -> None:
    machine.is_kept = False
    machine.run(10)
    machine.wall_lead_s += _DAY_S
    machine.run(5)
    assert machine.clock() == _NOON + 15
    machine.is_kept = True
    machine.run(1)
    assert machine.clock() == machine.wall()


def test_a_clock_that_leaps_under_a_time_server_is_held_although_it_is_kept_again(machine: Machine) -> None:
    machine.run(10)
    machine.wall_lead_s += _DAY_S
    machine.is_kept = False
    machine.run(5)
    machine.is_kept = True
    machine.run(HOLD_S - 10)
    assert machine.clock() == _NOON + 5 + HOLD_S


def test_the_system_says_whether_a_time_server_keeps_its_clock() -> None:
    assert is_kept_by_time_server() in (True, False)


def test_a_process_held_up_between_two_readings_sees_no_leap() -> None:
    machine = Machine()

    def slow_wall() -> float:
        machine.up_s += 10  # stopped, after the other clock was read
        return machine.wall()

    keeper = ClockKeeper(machine.lead, wall=slow_wall, monotonic=lambda: machine.up_s)
    keeper.look()
    assert machine.clock() == machine.wall()
