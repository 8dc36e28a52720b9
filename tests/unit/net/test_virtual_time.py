from __future__ import annotations

import asyncio
import time

import pytest

from vrata.net.virtual_time import START, NothingWillHappen, new_virtual_time_loop


def test_an_hour_takes_no_time() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    with asyncio.Runner(loop_factory=new_virtual_time_loop) as runner:
        assert runner.run(main()) == START + 3600
    assert time.monotonic() - began < 60


def test_timers_at_the_same_time_come_in_their_order() -> None:
    loop = new_virtual_time_loop()
    came: list[int] = []
    for number in range(100):
        loop.call_at(START + 1 + number % 2, came.append, number)
    loop.advance(5)
    assert came == [*range(0, 100, 2), *range(1, 100, 2)]
    assert loop.time() == START + 5


def test_cancelled_timers_do_not_come() -> None:
    loop = new_virtual_time_loop()
    loop.call_later(1, pytest.fail).cancel()
    assert loop.timers == 0
    loop.advance(2)


def test_time_limits_hold() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.sleep(60)
        return loop.time()

    assert new_virtual_time_loop().run_until_complete(main()) == START + 2.5


def test_who_waits_in_vain_is_told() -> None:
    loop = new_virtual_time_loop()
    with pytest.raises(NothingWillHappen):
        loop.run_until_complete(loop.create_future())


def test_what_a_callback_raises_comes_out() -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    loop = new_virtual_time_loop()
    loop.call_later(1, fail)
    with pytest.raises(ValueError, match="on purpose"):
        loop.advance(2)


def test_a_loop_that_never_rests_is_found_out() -> None:
    loop = new_virtual_time_loop()

    def again() -> None:
        loop.call_soon(again)

    again()
    with pytest.raises(AssertionError, match="rest"):
        loop.settle()
    with pytest.raises(AssertionError, match="rest"):
        loop.run_until_complete(asyncio.sleep(1))
