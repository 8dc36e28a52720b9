"""One ``python`` middleware in one worker."""

from __future__ import annotations

import asyncio
import copy

import structlog

from vrata.model.middleware.python import Python
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.middleware.python.modules import PythonModules
from vrata.proxy.middleware.python.stage import PythonStage
from vrata.proxy.middleware.python.user_object import CannotBeMade, UserObject
from vrata.proxy.middleware.stage import Inner, Place

_log = structlog.get_logger("vrata.proxy.middleware")


class PythonInstance:
    """One object of the user's class, for all places of the middleware.

    Making one raises ``ValueError``: there is no such class, or it cannot be made.
    """

    def __init__(
        self,
        settings: Python,
        modules: PythonModules,
        tasks: TaskSupervisor,
        sweeper: DeadlineSweeper,
        closings: set[asyncio.Task[None]],
    ) -> None:
        """Its methods run as *tasks*, in the time of *sweeper*; *closings* are those that release what objects hold."""
        self._settings = settings
        self._tasks = tasks
        self._sweeper = sweeper
        self._closings = closings
        cls = modules.find(settings.class_name)
        try:
            self._user = UserObject(settings.class_name, cls, copy.deepcopy(settings.settings))
        except CannotBeMade as failed:
            # Every plan tries again, and says so among its problems: the traceback is told once.
            if not failed.is_refusal and modules.is_news(f"{settings.class_name}: {failed}"):
                cause = failed.__cause__
                _log.error("python middleware cannot be made", middleware=settings.class_name, exc_info=cause)
            raise

    def __repr__(self) -> str:
        return f"<PythonInstance {self._user!r}>"

    def stage(self, place: Place, inner: Inner) -> Inner:
        """The stage at *place*."""
        self._user.name = place.name
        return PythonStage(place, inner, self._user, self._settings, self._tasks, self._sweeper)

    def close(self) -> None:
        """Close the object."""
        closing = self._tasks.start(self._user.close(), name=f"close {self._user.name}")
        self._closings.add(closing)
        closing.add_done_callback(self._closings.discard)
