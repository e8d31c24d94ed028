"""Whose batch has the next thread."""

import asyncio

from verifier.envoy.batch_turns import BatchTurns


def test_the_first_of_a_caller_goes_before_the_others_of_those_who_have_several() -> None:
    order: list[str] = []

    async def main() -> None:
        turns = BatchTurns(1)

        async def batch(name: str, *, is_first: bool) -> None:
            async with turns.turn(is_first=is_first):
                order.append(name)
                await asyncio.sleep(0)

        many = [batch(f"many {number}", is_first=number == 0) for number in range(3)]
        await asyncio.gather(*many, batch("one", is_first=True), batch("another", is_first=True))

    asyncio.run(main())
    assert order == ["many 0", "one", "another", "many 1", "many 2"]


def test_as_many_have_their_turn_at_once_as_there_are_threads() -> None:
    async def main() -> None:
        turns, under_way = BatchTurns(2), []

        async def batch() -> None:
            async with turns.turn(is_first=True):
                under_way.append(1)
                assert len(under_way) <= 2
                await asyncio.sleep(0)
                under_way.pop()

        await asyncio.gather(*(batch() for _ in range(9)))

    asyncio.run(main())


def test_a_turn_of_who_has_gone_is_the_next_ones() -> None:
    async def main() -> None:
        turns = BatchTurns(1)

        async def batch() -> None:
            async with turns.turn(is_first=True):
                pass

        async with asyncio.timeout(10):
            async with turns.turn(is_first=True):
                waiting = [asyncio.create_task(batch()) for _ in range(3)]
                await asyncio.sleep(0)
                waiting[0].cancel()
            waiting[1].cancel()  # it has had its turn, and does not know
            await waiting[2]
            await batch()
            assert (await asyncio.gather(*waiting, return_exceptions=True))[2] is None

    asyncio.run(main())
