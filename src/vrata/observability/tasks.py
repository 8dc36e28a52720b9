"""Background tasks that are always owned by somebody.

A bare ``asyncio.create_task`` may be garbage-collected while it runs, and its exception surfaces only when the
task object dies. Every task of Vrata therefore belongs to a :class:`TaskSupervisor`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that tasks have to end before they are cancelled again."""

_log = structlog.get_logger("vrata.observability")


class TaskSupervisor:
    """Owns the background tasks of one component and ends them together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<TaskSupervisor {len(self._tasks)} running>"

    def start(self, coro: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run *coro* on the running loop; an exception it does not handle is logged with its traceback."""
        task = asyncio.get_running_loop().create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def stop(self) -> None:
        """Cancel every task and return when the last one has ended; those that go on are cancelled once more."""
        tasks = {task for task in self._tasks if task is not asyncio.current_task()}
        for patience in (PATIENCE, None):
            for task in tasks:
                task.cancel()
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=patience)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            _log.error("background task failed", task=task.get_name(), exc_info=error)
