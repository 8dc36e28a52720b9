"""The backends of the comparison fail as they are told to, and serve again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from bench.faults.backend import Backend
from bench.faults.fault import FAULTS, Fault, select
from vrata.net.event_loop import new_event_loop

CORE = min(os.sched_getaffinity(0))


def run(scenario: Callable[[Backend], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Backend("b", CORE) as backend:
            await scenario(backend)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


async def ask(port: int, path: str = "/", patience: float = 5.0) -> int:
    """The status of the answer; 0 when the connection fails or nothing comes."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: b\r\n\r\n".encode())
                line = await reader.readline()
            finally:
                writer.transport.abort()
    except OSError:
        return 0
    return int(line[9:12] or 0)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_begins_and_ends(fault: Fault) -> None:
    async def scenario(backend: Backend) -> None:
        assert await ask(backend.port) == 200
        await fault.begin(backend)
        assert await ask(backend.port, patience=0.3) == (500 if fault.name == "error" else 0)
        await fault.end(backend)
        assert await ask(backend.port) == 200

    run(scenario)


def test_health_checks_succeed_where_requests_fail_and_are_not_counted() -> None:
    async def scenario(backend: Backend) -> None:
        await backend.tell("error")
        assert [await ask(backend.port, path) for path in ("/", "/health")] == [500, 200]
        assert [(await backend.count()).requests for _ in range(2)] == [1, 0]

    run(scenario)


def test_faults_are_chosen_by_name() -> None:
    assert select([]) == FAULTS
    assert [fault.name for fault in select(["hang", "kill"])] == ["kill", "hang"]
    with pytest.raises(ValueError, match="no such fault: flood; there are: kill, hang"):
        select(["flood"])
