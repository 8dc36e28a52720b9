"""Programs that the launcher keeps running."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.ports import free_port
from tests.support.processes import is_alive
from vrata.app import child as child_module
from vrata.app.child import Child
from vrata.observability.tasks import TaskSupervisor

Scenario = Callable[[Child, list[str]], Awaitable[None]]


def run(arguments: list[str], scenario: Scenario) -> list[float]:
    """Run *scenario* with a child of these *arguments*; returns the delays before restarts."""

    async def main() -> None:
        tasks = TaskSupervisor()
        lifeline, held = os.pipe()
        unusable: list[str] = []
        child = Child("test", arguments, lifeline, lambda: unusable.append("unusable"))
        task = tasks.start(child.keep_running(), name="child")
        try:
            await scenario(child, unusable)
        finally:
            os.close(held)
            os.close(lifeline)
            await child.stop(10)
            await tasks.stop()
            assert task.done()

    with capture_logs() as logs:
        asyncio.run(main())
    return [entry["restart_in"] for entry in logs if "restart_in" in entry]


def controlplane(directory: Path) -> list[str]:
    path = directory / "config.yaml"
    path.write_text(f'controlPlane: {{address: "127.0.0.1:{free_port()}", storePath: "{directory}"}}')
    return ["controlplane", "--config", str(path)]


def pid_of(child: Child) -> int:
    assert child._process is not None
    return child._process.pid


def test_a_program_that_ends_is_started_again_ever_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(child_module, "MAX_DELAY", 0.03)

    async def scenario(child: Child, unusable: list[str]) -> None:
        pids: set[int] = set()

        def seen() -> bool:
            if child._process is not None:
                pids.add(child._process.pid)
            return len(pids) >= 5

        await eventually_async(seen, what="five starts")
        assert not unusable

    # Ends at once, with exit code 0.
    assert run(["--version"], scenario)[:4] == [0.0, 0.01, 0.02, 0.03]


def test_a_program_that_cannot_start_is_not_started_again(tmp_path: Path) -> None:
    async def scenario(child: Child, unusable: list[str]) -> None:
        await eventually_async(lambda: unusable, what="reported as unusable")

    assert run(["proxy", "--config", str(tmp_path / "nowhere.yaml")], scenario) == []


def test_a_killed_program_is_started_again_at_once_and_stopped_in_order(tmp_path: Path) -> None:
    async def scenario(child: Child, unusable: list[str]) -> None:
        await eventually_async(lambda: child._process, what="started")
        first = pid_of(child)
        os.kill(first, signal.SIGKILL)
        await eventually_async(lambda: pid_of(child) != first, what="started again")
        second = pid_of(child)
        await eventually_async(lambda: (tmp_path / "vrata.db").exists(), what="store")
        await child.stop(20)
        assert not is_alive(second)

    assert run(controlplane(tmp_path), scenario) == [0.0]


def test_a_program_ends_when_the_lifeline_does(tmp_path: Path) -> None:
    async def main() -> None:
        lifeline, held = os.pipe()
        child = Child("test", controlplane(tmp_path), lifeline, lambda: None)
        process = await child._start()
        await eventually_async(lambda: (tmp_path / "vrata.db").exists(), what="store")
        os.close(held)
        assert await asyncio.wait_for(process.wait(), 20) == 0
        os.close(lifeline)

    asyncio.run(main())


def test_a_program_that_ignores_us_is_killed(tmp_path: Path) -> None:
    async def scenario(child: Child, unusable: list[str]) -> None:
        await eventually_async(lambda: (tmp_path / "vrata.db").exists(), what="store")
        pid = pid_of(child)
        os.kill(pid, signal.SIGSTOP)
        await child.stop(0.2)
        assert not is_alive(pid)

    run(controlplane(tmp_path), scenario)
