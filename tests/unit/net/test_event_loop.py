"""The event loop of every process."""

from __future__ import annotations

import asyncio

import uvloop

from vrata.net.event_loop import IS_UVLOOP, new_event_loop


def test_it_is_uvloop_where_that_is_installed() -> None:
    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert isinstance(runner.run(main()), uvloop.Loop)
    assert IS_UVLOOP
