"""A coroutine that is cancelled at a chosen point: the n-th time that it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any


class Interruption:
    """Runs a coroutine in the current task and cancels that task at the coroutine's wait number *at*, from 0."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.happened = False

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of *work* if it does not wait that often. Raises :class:`asyncio.CancelledError` else."""
        return await self._steps(work)

    @coroutine
    def _steps(self, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        waits = 0
        sent: Any = None
        error: BaseException | None = None
        while True:
            try:
                waited = work.send(sent) if error is None else work.throw(error)
            except StopIteration as stop:
                return stop.value
            if waits == self.at:
                self.happened = True
                asyncio.get_running_loop().call_soon(task.cancel)
            waits += 1
            sent, error = None, None
            try:
                sent = yield waited
            except BaseException as raised:  # noqa: BLE001 - whatever it is, it is for *work*
                error = raised
