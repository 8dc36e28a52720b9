"""The event loop that every process of Vrata runs on: uvloop where it exists, asyncio's own elsewhere."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

IS_UVLOOP = find_spec("uvloop") is not None


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop, for ``asyncio.Runner(loop_factory=new_event_loop)``."""
    if IS_UVLOOP:
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()
