"""Waiting for something to become true, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# Seconds between looks at what is to settle.
LOOK = 0.005


def eventually(condition: Callable[[], T], timeout: float = 30.0, *, what: str, interval: float = 0.01) -> T:
    """Poll *condition* until it is truthy and return its value.

    Raises ``AssertionError`` naming *what* after *timeout* seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(interval)


async def eventually_async(
    condition: Callable[[], T], timeout: float = 30.0, *, what: str, interval: float = 0.005
) -> T:
    """:func:`eventually` on an event loop, which runs on meanwhile."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        await asyncio.sleep(interval)


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a connection to *port* is accepted right now."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


async def settled(value: Callable[[], T], quiet: float = 0.2, timeout: float = 30.0) -> T:
    """Wait until *value* has stayed the same for *quiet* seconds, and return it.

    Those are seconds in which the loop runs: of those in which the process had no processor none is counted.
    """
    left, looks = timeout, 0
    last = value()
    while looks * LOOK < quiet:
        if left <= 0:
            raise AssertionError(f"still changing after {timeout:g} s: {last}")
        await asyncio.sleep(LOOK)
        left -= LOOK
        looks += 1
        if (found := value()) != last:
            last, looks = found, 0
    return last
