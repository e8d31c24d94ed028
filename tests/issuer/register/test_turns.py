import threading

from issuer.register.turns import Turns
from tests.eventually import eventually

SOON_S = 0.02
LONG_S = 60


def test_a_turn_that_is_free_is_taken_at_once() -> None:
    turns = Turns()
    assert turns.acquire(timeout_s=0)
    turns.release()
    assert turns.acquire(timeout_s=0)


def test_a_turn_that_is_taken_is_waited_for_and_then_given_up() -> None:
    turns = Turns()
    turns.acquire(timeout_s=0)
    assert not turns.acquire(timeout_s=SOON_S)


def test_whoever_gave_up_is_passed_over() -> None:
    turns = Turns()
    turns.acquire(timeout_s=0)
    turns.acquire(timeout_s=SOON_S)
    turns.release()
    assert turns.acquire(timeout_s=0)


def test_turns_come_in_the_order_of_asking() -> None:
    turns, served = Turns(), []
    turns.acquire(timeout_s=0)
    threads = []
    for number in range(20):

        def work(number: int = number) -> None:
            assert turns.acquire(timeout_s=LONG_S)
            served.append(number)
            turns.release()

        thread = threading.Thread(target=work)
        thread.start()
        threads.append(thread)
        eventually(lambda: len(turns._waiting) == len(threads))
    turns.release()
    for thread in threads:
        thread.join()
    assert served == list(range(20))


def test_an_import_that_comes_back_at_once_lets_others_in_between() -> None:
    turns = Turns()
    turns.acquire(timeout_s=0)
    clerk = threading.Thread(target=turns.acquire, kwargs={"timeout_s": LONG_S})
    clerk.start()
    eventually(lambda: len(turns._waiting) == 1)
    turns.release()
    assert not turns.acquire(timeout_s=0)  # it is the clerk's turn
    clerk.join()
