"""One call of an ``async`` method of a user's class."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from vrata.middleware import Request, Response
from vrata.net.deadlines import NEVER, DeadlineSweeper
from vrata.observability.tasks import PATIENCE, TaskSupervisor
from vrata.proxy.middleware.python.user_object import CallFailed, UserObject
from vrata.proxy.middleware.python.view import UserAnswer

Answered: TypeAlias = Callable[[UserAnswer | CallFailed | None], None]
"""Gets what a method returned, or that it has failed."""


class AsyncCall:
    """A task, and a limit of time that holds whatever the method does: nobody waits for one that will not be cancelled.

    *on_answer* is called once with what the method returned, or with :class:`CallFailed`, which was logged then; never
    after :meth:`cancel`. With a *response* the method is ``on_response``.
    """

    __slots__ = ("_is_over", "_limit", "_on_answer", "_request", "_response", "_sweeper", "_task", "_user", "deadline")

    def __init__(
        self, user: UserObject, limit: float, on_answer: Answered, request: Request, response: Response | None = None
    ) -> None:
        self._user = user
        self._limit = limit
        self._on_answer: Answered | None = on_answer
        self._request = request
        self._response = response
        self._is_over = False
        self._task: asyncio.Task[None] | None = None
        self._sweeper: DeadlineSweeper | None = None
        self.deadline = NEVER

    def __repr__(self) -> str:
        return f"<AsyncCall of {self._method} of {self._user!r}>"

    @property
    def _method(self) -> str:
        return "on_request" if self._response is None else "on_response"

    def start(self, tasks: TaskSupervisor, sweeper: DeadlineSweeper) -> None:
        """Run it as one of *tasks*; *sweeper* tells when its time is over."""
        self._sweeper = sweeper
        self.deadline = asyncio.get_running_loop().time() + self._limit
        sweeper.watch(self)
        self._task = tasks.start(self._run(), name=f"{self._method} of {self._user.name}")

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        task = self._task
        self._end()
        if task is not None:
            _give_up(task)

    async def _run(self) -> None:
        user, request, response = self._user, self._request, self._response
        answer: UserAnswer | CallFailed | None
        try:
            if response is None:
                answer = await user.await_request(request)
            else:
                answer = await user.await_response(request, response)
        except CallFailed as failed:
            answer = failed
        except asyncio.CancelledError:
            if not self._is_over:
                self._answer(CallFailed(user.name))  # the worker ends
            raise
        if not self._is_over:
            self._answer(answer)

    def expire(self) -> None:
        """Its time is over."""
        self._user.took_too_long(self._method, self._limit)
        task = self._task
        if task is not None:
            _give_up(task)
        self._answer(CallFailed(self._user.name))

    def _answer(self, answer: UserAnswer | CallFailed | None) -> None:
        on_answer = self._on_answer
        assert on_answer is not None
        self._end()
        on_answer(answer)

    def _end(self) -> None:
        self._is_over = True
        # Each of these leads back to this: nothing of a request is to wait for the garbage collector.
        self._on_answer = self._task = None
        if self._sweeper is not None:
            self._sweeper.forget(self)
            self._sweeper = None


def _give_up(task: asyncio.Task[None]) -> None:
    """Cancel *task*, and once more if it goes on: nobody waits for it, but there is no end to how many there may be."""
    task.cancel()
    asyncio.get_running_loop().call_later(PATIENCE, task.cancel)
