"""What overload is met with: how long who is refused is to wait, and whose turn is last."""

import asyncio
import contextlib

import pytest

from verifier.envoy.turns import Turns
from verifier.limits import RETRY_DELAY_MS, Limits
from verifier.shedding import RetryDelay, Suspects
from verifier.verdict import Verdict


class Clock:
    """Stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def delays(delay: RetryDelay, clock: Clock, *, per_s: int, seconds: int) -> list[int]:
    """Refuse at a rate; return the delays of the last second."""
    told = []
    for number in range(per_s * seconds):
        clock.now += 1 / per_s
        told.append(delay.next_ms())
        del told[: -per_s if number >= per_s else 0]
    return told


def test_who_is_refused_now_and_then_may_come_back_soon() -> None:
    clock = Clock()
    told = delays(RetryDelay(monotonic=clock), clock, per_s=100, seconds=5)
    assert min(told) >= 0.7 * RETRY_DELAY_MS
    assert max(told) <= 1.5 * RETRY_DELAY_MS


def test_the_delay_grows_with_those_who_are_refused_and_shrinks_again() -> None:
    clock = Clock()
    delay = RetryDelay(monotonic=clock)
    assert min(delays(delay, clock, per_s=4_000, seconds=2)) >= 1_500
    assert max(delays(delay, clock, per_s=100, seconds=3)) <= 1.5 * RETRY_DELAY_MS
    delays(delay, clock, per_s=4_000, seconds=2)
    clock.now += 60
    assert delay.next_ms() <= 1_500, "after a minute without a refusal, it begins anew"


def test_those_who_are_refused_together_do_not_come_back_together() -> None:
    clock = Clock()
    delay = RetryDelay(monotonic=clock)
    assert len({delay.next_ms() for _ in range(10)}) > 4


def test_a_connection_is_suspect_until_its_next_authentic_code() -> None:
    suspects = Suspects()
    suspects.note("a", Verdict.BAD_SIGNATURE)
    assert "a" in suspects
    assert "b" not in suspects
    suspects.note("b", Verdict.GREEN)
    assert "a" in suspects
    suspects.note("a", Verdict.GREEN)
    assert not suspects


@pytest.mark.parametrize("verdict", Verdict)
def test_what_anybody_can_make_takes_no_suspicion_away(verdict: Verdict) -> None:
    suspects = Suspects()
    suspects.note("a", Verdict.BAD_SIGNATURE)
    suspects.note("a", verdict)
    not_authentic = {Verdict.MALFORMED, Verdict.UNKNOWN_KEY, Verdict.BAD_SIGNATURE}
    assert ("a" in suspects) == (verdict in not_authentic)


def test_suspects_are_bounded() -> None:
    suspects = Suspects()
    for number in range(10_000):
        suspects.note(number, Verdict.BAD_SIGNATURE)
    assert len(suspects._forged) <= 4_096
    assert 9_999 in suspects


def test_a_forger_shows_nothing_but_forged_codes() -> None:
    suspects = Suspects()
    for _ in range(7):
        suspects.note("a", Verdict.BAD_SIGNATURE)
        suspects.note("a", Verdict.MALFORMED)
    assert not suspects.is_forger("a")
    suspects.note("a", Verdict.BAD_SIGNATURE)
    assert suspects.is_forger("a")
    assert not suspects.is_forger("b")
    suspects.note("a", Verdict.EXPIRED)
    assert not suspects.is_forger("a")


def test_all_forgers_together_get_a_few_verdicts_a_second_and_hold_up_nobody() -> None:
    clock = Clock()
    suspects = Suspects(monotonic=clock)
    for _ in range(8):
        suspects.note("forger", Verdict.BAD_SIGNATURE)
    answered: list[str] = []

    async def main() -> None:
        turns = Turns(Limits(), suspects)

        async def call(connection: str) -> None:
            await turns.turn(connection)
            answered.append(connection)

        async with asyncio.timeout(10), asyncio.TaskGroup() as calls:
            for _ in range(100):
                calls.create_task(call("forger"))
            await call("honest")
            while answered.count("forger") < 40:
                await asyncio.sleep(0)
            for _ in range(50):
                await call("honest")
            assert answered.count("forger") == 40, "a tenth of a second's"
            while len(answered) < 151:
                await asyncio.sleep(0)
                clock.now += 0.001
            assert len(turns) == 0

    asyncio.run(main())


def served(connections: list[str], suspects: Suspects) -> list[str]:
    """Return in which order calls that come at once have their turn."""
    order = []

    async def main() -> None:
        turns = Turns(Limits(), suspects)

        async def call(connection: str) -> None:
            await turns.turn(connection)
            order.append(connection)

        await asyncio.gather(*(call(connection) for connection in connections))
        assert len(turns) == 0

    asyncio.run(main())
    return order


def test_calls_have_their_turns_as_they_came() -> None:
    connections = [str(number) for number in range(100)]
    assert served(connections, Suspects()) == connections


def test_suspects_wait_behind_the_others() -> None:
    suspects = Suspects()
    suspects.note("forger", Verdict.BAD_SIGNATURE)
    order = served(["forger"] * 50 + ["honest"] * 3, suspects)
    assert max(at for at, who in enumerate(order) if who == "honest") < 20


def test_new_calls_are_heard_while_others_wait() -> None:
    heard_at: list[int] = []

    async def main() -> None:
        turns, answered = Turns(Limits(), Suspects()), []

        async def call() -> None:
            await turns.turn("c")
            answered.append(1)

        calls = [asyncio.create_task(call()) for _ in range(1_000)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        heard_at.append(len(answered))
        await asyncio.gather(*calls)

    asyncio.run(main())
    assert heard_at[0] < 50


@pytest.mark.parametrize(("max_wait_s", "is_long"), [(0.0, True), (60.0, False)])
def test_calls_are_refused_while_one_has_waited_too_long(max_wait_s: float, is_long: bool) -> None:
    async def main() -> None:
        turns = Turns(Limits(max_wait_s=max_wait_s), Suspects())
        assert not turns.is_long("c"), "nobody waits"
        calls = [asyncio.create_task(turns.turn("c")) for _ in range(50)]
        await asyncio.sleep(0)
        assert len(turns) > 0
        assert turns.is_long("c") is is_long
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await turns.turn("c")

    asyncio.run(main())
