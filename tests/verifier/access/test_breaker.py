"""When a Redis that does not answer is asked again."""

from verifier.access.breaker import FAILURES, PAUSE_S, Breaker


def _opened(at: float) -> Breaker:
    breaker = Breaker()
    for number in range(FAILURES):
        assert breaker.may_try(at + number)
        breaker.failed(at + number, at + number + 0.5)
    return breaker


def test_failures_in_a_row_make_a_pause_and_one_claim_finds_out_when_it_is_over() -> None:
    breaker = _opened(10.0)
    opened_at = 10.0 + FAILURES - 0.5
    assert not breaker.may_try(opened_at + 0.9 * PAUSE_S)
    is_over_at = opened_at + 1.1 * PAUSE_S
    assert [breaker.may_try(is_over_at) for _ in range(3)] == [True, False, False]
    breaker.failed(is_over_at, is_over_at)
    assert not breaker.may_try(is_over_at + 0.9 * PAUSE_S)
    assert breaker.may_try(is_over_at + 1.1 * PAUSE_S)
    breaker.succeeded()
    assert all(breaker.may_try(is_over_at + 1.1 * PAUSE_S) for _ in range(3))


def test_an_answer_in_between_begins_the_row_again() -> None:
    breaker = Breaker()
    for number in range(10 * FAILURES):
        assert breaker.may_try(float(number))
        breaker.failed(number, number + 0.5)
        if number % (FAILURES - 1) == 0:
            breaker.succeeded()


def test_claims_that_fail_at_the_same_time_count_once() -> None:
    breaker = Breaker()
    for thread in range(16):
        breaker.failed(10.0 + thread / 1_000, 10.5 + thread / 1_000)
    assert breaker.may_try(11.0)
