"""The hand: acts that a run asks for are carried out by who owns the servers, and failures come back."""

import shlex
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from loadtest.hand import Hand
from loadtest.processes import ProcessError


@pytest.fixture
def asking() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def ask(hand: Hand, act: str) -> subprocess.CompletedProcess[str]:
    """Ask as a generator does."""
    command = [*shlex.split(hand.command), act]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def serve(hand: Hand, asked: Future[subprocess.CompletedProcess[str]]) -> None:
    while not asked.done():
        hand.serve_one(0.05)


def test_an_act_is_carried_out_by_the_thread_that_serves(asking: ThreadPoolExecutor) -> None:
    done: list[tuple[str, threading.Thread]] = []
    with Hand(lambda act: done.append((act, threading.current_thread()))) as hand:
        asked = asking.submit(ask, hand, "freeze-redis")
        serve(hand, asked)
    assert asked.result().returncode == 0
    assert asked.result().stderr == ""
    assert done == [("freeze-redis", threading.current_thread())]


def test_an_act_that_fails_says_why_and_the_next_one_is_served(asking: ThreadPoolExecutor) -> None:
    def do(act: str) -> None:
        if act == "start-verifier":
            raise ProcessError("verifier-2 does not serve")

    with Hand(do) as hand:
        failed = asking.submit(ask, hand, "start-verifier")
        serve(hand, failed)
        done = asking.submit(ask, hand, "freeze-redis")
        serve(hand, done)
    assert failed.result().returncode == 1
    assert failed.result().stderr == "ProcessError: verifier-2 does not serve\n"
    assert done.result().returncode == 0


def test_a_hand_that_is_gone_is_a_failed_act() -> None:
    with Hand(lambda _: None) as hand:
        pass
    asked = ask(hand, "freeze-redis")
    assert asked.returncode == 1
    assert "the hand does not answer" in asked.stderr


def test_nobody_asking_is_no_reason_to_wait_longer() -> None:
    with Hand(lambda _: None) as hand:
        hand.serve_one(0.01)
