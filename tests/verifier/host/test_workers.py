"""Workers are started again, replaced and ended: on a clock of the test's own, with fake processes."""

import signal
from typing import cast

import pytest
from structlog.testing import capture_logs

from verifier.host.engine import Process
from verifier.host.place import FROZEN_S, GRACE_MARGIN_S, MAX_SILENCE_S, START_TIMEOUT_S
from verifier.host.restarts import MAX_DEATHS, MAX_DELAY_S, WITHIN_S, Restarts
from verifier.host.rows import Phase, Row
from verifier.host.shared import SharedMemory
from verifier.host.supervisor import Configure
from verifier.host.worker_config import WorkerConfig
from verifier.host.workers import SERVE_TIMEOUT_S, NeverReady, Workers, WorkersFailed

GRACE_S = 5.0


class FakeConfig:
    """What a place needs of a WorkerConfig, and a name to tell it by."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.grace_s = GRACE_S


class FakeProcess:
    """A process that does what the test says."""

    def __init__(self, config: FakeConfig) -> None:
        self.config = config
        self.pid = 1
        self.code: int | None = None
        self.signals: list[int] = []

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, sig: int) -> None:
        self.signals.append(sig)
        if sig == signal.SIGKILL:
            self.code = -sig


class FakeEngine:
    """Starts fake processes, those of bad configurations dead."""

    name = "fake"

    def __init__(self) -> None:
        self.started: list[FakeProcess] = []
        self.drained: list[Process] = []
        self.bad: set[str] = set()
        self.not_serving: set[str] = set()
        self.trouble: Exception | None = None

    def spawn(self, config: WorkerConfig) -> Process:
        given = cast("FakeConfig", config)
        if given.name == "cannot start":
            raise OSError(2, "No such file or directory")
        if self.trouble is not None:
            raise self.trouble
        process = FakeProcess(given)
        if given.name in self.bad:
            process.code = 2
        self.started.append(process)
        return process

    def drain(self, process: Process, config: WorkerConfig) -> None:  # noqa: ARG002
        self.drained.append(process)


class Stage:
    """Workers with a fake engine, on a fake clock."""

    def __init__(self, count: int = 2) -> None:
        self.now = 1_000.0
        self.cpu_time: int | None = None  # of every process; None: not to be known
        self.count = count
        self.engine = FakeEngine()
        self.rows: tuple[Row, ...] = SharedMemory.create(partitions=1, capacity=16, rows=count + 1).rows
        self.workers = Workers(
            self.engine,
            self.rows,
            count=count,
            configure=self.configure("first"),
            monotonic=lambda: self.now,
            cpu_time=lambda _: self.cpu_time,
        )

    def configure(self, name: str) -> Configure:
        return lambda number: cast("WorkerConfig", FakeConfig(number, name))

    @property
    def alive(self) -> list[FakeProcess]:
        return [process for process in self.engine.started if process.code is None]

    @property
    def names(self) -> list[str]:
        return sorted(process.config.name for process in self.alive)

    def row_of(self, process: FakeProcess) -> Row:
        return self.rows[process.config.number]

    def pass_time(self, seconds: float = 0.0, *, frozen: FakeProcess | None = None) -> None:
        """Let time pass, workers tick, and the supervisor look."""
        end = self.now + seconds
        while True:
            for process in self.alive:
                if process is not frozen:
                    row = self.row_of(process)
                    row.heartbeat_s = self.now
                    if row.phase in (Phase.EMPTY, Phase.STARTING):
                        is_serving = process.config.name not in self.engine.not_serving
                        row.phase = Phase.SERVING if is_serving else Phase.NOT_SERVING
            self.workers.look()
            if self.now >= end:
                return
            self.now += min(0.1, end - self.now)

    def finish(self, process: FakeProcess) -> None:
        """End as one that was asked to."""
        assert process in self.engine.drained
        process.code = 0


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.workers.start()
    stage.pass_time(0.1)
    assert stage.workers.are_all_ready
    return stage


def test_a_worker_that_dies_is_started_again_after_a_moment(stage: Stage) -> None:
    stage.alive[0].code = -9
    stage.pass_time()
    assert len(stage.alive) == 1
    stage.pass_time(0.1)
    assert len(stage.alive) == 2
    stage.pass_time(0.1)
    assert stage.workers.are_all_ready
    assert stage.workers.restarted == 1


def test_the_wait_doubles_up_to_a_bound_and_ends_in_giving_up() -> None:
    restarts = Restarts()
    now, delays = 0.0, []
    for _ in range(MAX_DEATHS - 1):
        delay = restarts.died(now)
        assert delay is not None
        delays.append(delay)
        now += delay
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, MAX_DELAY_S, MAX_DELAY_S])
    assert now < WITHIN_S
    assert restarts.died(now) is None


def test_deaths_of_more_than_a_minute_ago_are_forgotten() -> None:
    restarts = Restarts()
    assert restarts.died(0.0) == 0.1
    assert restarts.died(WITHIN_S - 1) == 0.2
    assert restarts.died(WITHIN_S) == 0.2
    assert restarts.died(3 * WITHIN_S) == 0.1


def test_workers_that_die_again_and_again_end_it_all(stage: Stage) -> None:
    stage.engine.bad.add("first")
    for process in stage.alive:
        process.code = 1
    with pytest.raises(WorkersFailed):
        stage.pass_time(WITHIN_S)
    assert len(stage.engine.started) == 2 * MAX_DEATHS


def test_a_worker_that_dies_again_and_again_ends_none_that_answers(stage: Stage) -> None:
    stage.engine.bad.add("first")
    stage.alive[0].code = 1
    with capture_logs() as logs:
        stage.pass_time(3 * WITHIN_S)
    events = [log["event"] for log in logs]
    given_up = events.index("worker dies again and again, others answer")
    assert events[given_up + 1] == "worker is started again"
    assert logs[given_up + 1]["in_s"] == MAX_DELAY_S
    assert len(stage.alive) == 1
    stage.engine.bad.clear()
    stage.pass_time(MAX_DELAY_S + 0.1)
    assert stage.workers.are_all_ready


def test_whoever_asks_while_a_worker_starts_is_told_of_none_that_is_outdated() -> None:
    stage, told = Stage(), []

    def monotonic() -> float:
        told.append(stage.workers.outdated)
        return stage.now

    for place in stage.workers._places:
        place._monotonic = monotonic
    stage.workers.start()
    assert told == [0, 0]


def test_a_worker_that_never_was_ready_ends_the_first_start() -> None:
    stage = Stage()
    stage.engine.bad.add("first")
    stage.workers.start()
    with pytest.raises(NeverReady):
        stage.workers.look()


def test_a_worker_that_hangs_at_the_first_start_ends_it_in_time() -> None:
    stage = Stage()
    stage.workers.start()
    with pytest.raises(NeverReady):
        stage.pass_time(START_TIMEOUT_S + 1, frozen=stage.alive[0])


def test_a_frozen_worker_is_killed_and_started_again(stage: Stage) -> None:
    frozen = stage.alive[0]
    stage.pass_time(MAX_SILENCE_S - 0.5, frozen=frozen)
    assert frozen.code is None
    stage.pass_time(1.0, frozen=frozen)
    assert frozen.signals == [signal.SIGKILL]
    stage.pass_time(0.5)
    assert stage.workers.are_all_ready


def test_a_worker_that_uses_no_processor_time_is_killed_while_gates_still_wait_for_it(stage: Stage) -> None:
    stage.cpu_time = 7
    frozen = stage.alive[0]
    stage.pass_time(FROZEN_S - 0.2, frozen=frozen)
    assert frozen.code is None
    stage.pass_time(0.4, frozen=frozen)
    assert frozen.signals == [signal.SIGKILL]


def test_a_worker_that_is_late_and_busy_is_left_its_time(stage: Stage) -> None:
    stage.cpu_time = 7
    busy = stage.alive[0]
    for _ in range(int(2 * MAX_SILENCE_S) - 1):
        stage.pass_time(0.5, frozen=busy)
        stage.cpu_time += 1
    assert not busy.signals


def test_the_only_worker_is_left_its_time() -> None:
    stage = Stage(count=1)
    stage.workers.start()
    stage.pass_time(0.1)
    stage.cpu_time = 7
    stage.pass_time(MAX_SILENCE_S - 0.5, frozen=stage.alive[0])
    assert not stage.alive[0].signals


def test_a_supervisor_that_was_frozen_itself_kills_nobody(stage: Stage) -> None:
    stage.cpu_time = 7
    stage.now += 3_600
    stage.workers.look()
    stage.pass_time(MAX_SILENCE_S)
    assert all(not process.signals for process in stage.engine.started)


def test_a_rolling_restart_has_the_new_worker_ready_before_the_old_one_drains(stage: Stage) -> None:
    old = list(stage.alive)
    stage.workers.replace(stage.configure("second"))
    stage.workers.look()
    assert stage.names == ["first", "first", "second"]
    assert not stage.engine.drained
    stage.pass_time()
    stage.workers.look()
    assert stage.engine.drained == old[:1]
    assert stage.rows[old[0].config.number].is_to_drain
    assert stage.workers.serving == 2
    stage.pass_time(1.0)
    assert stage.names == ["first", "first", "second"]  # one at a time
    stage.finish(old[0])
    stage.pass_time(0.5)
    stage.finish(old[1])
    stage.pass_time(0.5)
    assert stage.names == ["second", "second"]
    assert stage.workers.restarted == 0


def test_a_worker_that_does_not_drain_is_killed_and_the_rolling_restart_goes_on(stage: Stage) -> None:
    stage.workers.replace(stage.configure("second"))
    stage.pass_time(2 * (GRACE_S + GRACE_MARGIN_S + 1))
    assert stage.names == ["second", "second"]


@pytest.mark.parametrize("name", ["second", "cannot start"])
def test_a_configuration_that_does_not_run_leaves_the_old_workers(stage: Stage, name: str) -> None:
    stage.engine.bad.add("second")
    stage.workers.replace(stage.configure(name))
    stage.pass_time(1.0)
    assert stage.names == ["first", "first"]
    assert not stage.engine.drained
    stage.alive[0].code = -9
    stage.pass_time(1.0)
    assert stage.names == ["first", "first"]


@pytest.mark.parametrize("trouble", [OSError(24, "Too many open files"), ValueError("inf")])
def test_a_worker_that_cannot_be_started_for_minutes_is_nobodys_death(
    stage: Stage, trouble: Exception
) -> None:
    stage.engine.trouble = trouble
    stage.alive[0].code = -9
    stage.pass_time(3 * WITHIN_S)
    assert stage.names == ["first"]
    stage.engine.trouble = None
    stage.pass_time(MAX_DELAY_S)
    assert stage.workers.are_all_ready


def test_workers_that_serve_are_not_given_up_for_one_that_does_not(stage: Stage) -> None:
    stage.engine.not_serving.add("second")
    stage.workers.replace(stage.configure("second"))
    stage.pass_time(SERVE_TIMEOUT_S + 1)
    first, second, third = stage.engine.started
    assert stage.engine.drained == [third]
    assert stage.workers.outdated == 2
    stage.finish(third)
    stage.pass_time(2 * WITHIN_S)
    assert stage.alive == [first, second]


def test_where_nobody_serves_the_next_configuration_need_not_serve_either() -> None:
    stage = Stage()
    stage.engine.not_serving |= {"first", "second"}
    stage.workers.start()
    stage.pass_time(0.1)
    assert stage.workers.are_all_ready
    stage.workers.replace(stage.configure("second"))
    stage.pass_time(2 * (GRACE_S + GRACE_MARGIN_S + 1))
    assert stage.names == ["second", "second"]


def test_once_a_new_worker_served_the_others_are_replaced_however_often_it_takes(stage: Stage) -> None:
    stage.workers.replace(stage.configure("second"))
    assert stage.workers.outdated == 2
    stage.pass_time(0.5)
    stage.engine.trouble = OSError(12, "Cannot allocate memory")
    stage.pass_time(2 * WITHIN_S)
    assert stage.names == ["first", "second"]
    assert stage.workers.outdated == 1
    stage.engine.trouble = None
    stage.pass_time(MAX_DELAY_S + GRACE_S + GRACE_MARGIN_S + 1)
    assert stage.names == ["second", "second"]
    assert stage.workers.outdated == 0


def test_a_second_replacement_overtakes_the_first(stage: Stage) -> None:
    stage.engine.bad.add("second")
    stage.workers.replace(stage.configure("second"))
    stage.workers.look()
    stage.workers.replace(stage.configure("third"))
    stage.pass_time(2 * (GRACE_S + GRACE_MARGIN_S + 1))
    assert stage.names == ["third", "third"]


def test_a_configuration_that_mends_what_workers_die_of_is_taken_up(stage: Stage) -> None:
    stage.engine.bad.add("first")
    for process in stage.alive:
        process.code = 1
    stage.pass_time(2.0)  # all have died several times, and wait
    assert not stage.alive
    stage.workers.replace(stage.configure("second"))
    stage.pass_time(5.0)
    assert stage.names == ["second", "second"]


def test_a_worker_that_dies_during_a_rolling_restart_leaves_as_many_as_there_should_be(stage: Stage) -> None:
    stage.workers.replace(stage.configure("second"))
    stage.alive[0].code = -9
    stage.alive[0].code = -9
    stage.pass_time(3 * (GRACE_S + GRACE_MARGIN_S + 1))
    assert stage.names == ["second", "second"]
    assert stage.workers.are_all_ready


def test_a_drain_asks_all_and_starts_none_again(stage: Stage) -> None:
    stage.alive[0].code = -9
    stage.workers.look()
    stage.workers.drain()
    (last,) = stage.alive
    assert stage.engine.drained == [last]
    stage.now += 60
    assert len(stage.engine.started) == 2
    stage.finish(last)
    stage.workers.wait_step()
    assert stage.workers.are_gone


def test_a_worker_that_does_not_drain_is_killed_after_its_grace(stage: Stage) -> None:
    stage.workers.drain()
    stage.now += GRACE_S + GRACE_MARGIN_S - 0.1
    stage.workers.wait_step()
    assert not stage.workers.are_gone
    stage.now += 0.1
    stage.workers.wait_step()
    stage.workers.wait_step()
    assert stage.workers.are_gone


def test_a_frozen_worker_is_woken_to_drain(stage: Stage) -> None:
    stage.workers.drain()
    assert all(process.signals == [signal.SIGCONT] for process in stage.alive)


@pytest.mark.parametrize(("except_for", "end"), [([], ""), (["journal"], " except journal: restart for it")])
def test_the_last_line_of_a_rolling_restart_is_true(stage: Stage, except_for: list[str], end: str) -> None:
    old = stage.alive
    stage.workers.replace(stage.configure("second"), except_for=except_for)
    with capture_logs() as logs:
        for process in old:
            stage.pass_time(0.2)
            stage.finish(process)
        stage.pass_time(0.2)
    assert stage.names == ["second", "second"]
    assert logs[-1]["event"] == "every worker runs with the new configuration" + end
