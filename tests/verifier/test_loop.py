"""How a loop is, seen from outside it: also while its step hangs."""

import threading
from collections.abc import Iterator

import pytest
import redis
from structlog.testing import capture_logs

from tests.eventually import eventually
from verifier.loop import Loop
from verifier.trouble import WELL, Trouble

_LONG_S = 60.0


class Stepped:
    """A loop whose steps are as they are told to be, on a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.error: Exception | None = None
        self.steps = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.loop = Loop(
            self.step,
            name="stepped",
            pause_s=_LONG_S,
            retry_s=_LONG_S,
            longest_step_s=5.0,
            monotonic=lambda: self.now_s,
        )

    def step(self) -> None:
        self.goes_on.wait()
        self.steps += 1
        if self.error is not None:
            raise self.error

    def again(self) -> None:
        """Wake the loop, and wait until it has made a step."""
        before = self.steps
        self.loop.wake()
        eventually(lambda: self.steps > before and self.loop._step_at_s is None)


@pytest.fixture
def stepped() -> Iterator[Stepped]:
    stepped = Stepped()
    stepped.loop.start()
    eventually(lambda: stepped.steps == 1 and stepped.loop._step_at_s is None)
    yield stepped
    stepped.goes_on.set()
    stepped.loop.stop()


def test_trouble_lasts_from_the_last_success_until_the_next(stepped: Stepped) -> None:
    assert stepped.loop.health() == WELL
    stepped.now_s += 7
    stepped.error = redis.TimeoutError("nothing came")
    stepped.again()
    assert stepped.loop.health().trouble is Trouble.REDIS_TIMEOUT
    assert stepped.loop.health().lasts_s == 7
    stepped.error = redis.ConnectionError("refused")
    stepped.now_s += 1
    stepped.again()
    assert stepped.loop.health().trouble is Trouble.REDIS_UNREACHABLE
    assert stepped.loop.health().lasts_s == 8
    stepped.error = None
    stepped.again()
    assert stepped.loop.health() == WELL


def test_a_step_that_hangs_is_trouble_though_it_raises_nothing(stepped: Stepped) -> None:
    stepped.goes_on.clear()
    stepped.loop.wake()
    eventually(lambda: stepped.loop._step_at_s is not None)
    stepped.now_s += 5
    assert stepped.loop.health() == WELL
    assert stepped.loop.step_s == 5
    stepped.now_s += 0.5
    assert stepped.loop.health().trouble is Trouble.STALLED
    assert stepped.loop.health().lasts_s == 5.5
    stepped.goes_on.set()
    eventually(lambda: stepped.loop.health() == WELL)


def test_a_loop_that_is_woken_does_not_wait_out_its_pause(stepped: Stepped) -> None:
    for _ in range(3):
        stepped.again()
    assert stepped.steps == 4


def test_trouble_that_names_one_host_after_another_is_logged_once_for_each(stepped: Stepped) -> None:
    one, other = (redis.ConnectionError(f"{host} refused") for host in ("a:1", "b:1"))
    with capture_logs() as logs:
        for error in (one, other, one, other, one, redis.TimeoutError("nothing came"), one, None, one):
            stepped.error = error
            stepped.again()
    told = [log.get("trouble", log["event"]) for log in logs]
    a, b = (f"ConnectionError: {error}" for error in (one, other))
    assert told == [a, b, "TimeoutError", "recovered", a]


def test_trouble_with_a_new_text_at_every_attempt_does_not_fill_the_log(stepped: Stepped) -> None:
    with capture_logs() as logs:
        for attempt in range(30):
            stepped.error = redis.ConnectionError(f"attempt {attempt}")
            stepped.again()
        stepped.error = redis.TimeoutError("nothing came")  # another kind is told all the same
        stepped.again()
    assert 1 < len(logs) < 20
    assert logs[-1]["trouble"] == "TimeoutError"


def test_the_log_has_the_code_of_a_reply_and_nothing_of_what_was_sent(stepped: Stepped) -> None:
    stepped.error = redis.ResponseError(
        "Command # 1 (XADD s * card 77) of pipeline caused error: NOREPLICAS Not enough good replicas"
    )
    with capture_logs() as logs:
        stepped.again()
        stepped.error = redis.ResponseError("card 77 is unknown")
        stepped.again()
    assert [log["trouble"] for log in logs] == ["ResponseError: NOREPLICAS", "ResponseError"]
