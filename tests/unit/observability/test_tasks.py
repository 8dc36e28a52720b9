from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
import structlog

from vrata.observability import tasks
from vrata.observability.tasks import TaskSupervisor


def test_a_failing_task_is_logged_with_its_name() -> None:
    async def scenario() -> None:
        async def fail() -> None:
            raise RuntimeError("broken")

        supervisor = TaskSupervisor()
        task = supervisor.start(fail(), name="doomed")
        await asyncio.wait([task])
        await asyncio.sleep(0)  # done callbacks run on the next turn

    with structlog.testing.capture_logs() as logs:
        asyncio.run(scenario())
    assert [(entry["event"], entry["task"]) for entry in logs] == [("background task failed", "doomed")]


def test_stop_cancels_and_waits_for_all() -> None:
    async def scenario() -> list[str]:
        ended: list[str] = []

        async def linger(name: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(name)

        supervisor = TaskSupervisor()
        for name in ("a", "b"):
            supervisor.start(linger(name), name=name)
        await asyncio.sleep(0)
        await supervisor.stop()
        return ended

    assert sorted(asyncio.run(scenario())) == ["a", "b"]


def test_stop_cancels_again_what_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "PATIENCE", 0.01)

    async def scenario() -> None:
        async def go_on() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()

        supervisor = TaskSupervisor()
        task = supervisor.start(go_on(), name="stubborn")
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await supervisor.stop()
        assert task.cancelled()

    asyncio.run(scenario())
