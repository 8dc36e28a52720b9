"""The stage of a user's class: what it is asked when a request comes."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog

from vrata.middleware import Request
from vrata.model.middleware.python import Python
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.contracts import ClientRequest, Failure, FailureClass
from vrata.proxy.holding import BodyCollection, Holding
from vrata.proxy.middleware.python.call import AsyncCall
from vrata.proxy.middleware.python.relay import UserRelay
from vrata.proxy.middleware.python.user_object import CallFailed, UserObject
from vrata.proxy.middleware.python.view import FAILED, TOO_LARGE, UserAnswer, apply_changes, view_of
from vrata.proxy.middleware.stage import Inner, Place, Stage
from vrata.wire.http1.editing import is_moderate
from vrata.wire.http1.errors import MalformedMessage

_log = structlog.get_logger("vrata.proxy.middleware")


class PythonStage(Stage):
    """Asks the class about requests, and has it shown their responses."""

    __slots__ = ("_body_limit", "settings", "sweeper", "tasks", "user")

    def __init__(
        self,
        place: Place,
        inner: Inner,
        user: UserObject,
        settings: Python,
        tasks: TaskSupervisor,
        sweeper: DeadlineSweeper,
    ) -> None:
        super().__init__(place, inner)
        self.user = user
        self.settings = settings
        self.tasks = tasks
        self.sweeper = sweeper
        reads_body = user.on_request is not None and settings.request_body == "buffered"
        self._body_limit = settings.max_body_bytes if reads_body else -1

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Take *request* over, once as much of its body is here as the class wants to see."""
        began = self.began(request)
        limit = self._body_limit
        if limit >= 0 and not end and len(content) <= limit and request.head.content_length <= limit:
            BodyCollection(request, content, limit, partial(self._on_body, request, match, began)).start()
        else:
            self._on_body(request, match, began, content, end)

    def _on_body(self, request: ClientRequest, match: Any, began: float, content: bytes, end: bool) -> None:
        """What is wanted of the body is here, or it is too large."""
        limit = self._body_limit
        if limit < 0:
            self._ask(request, match, content, end, began, None)
        elif end and len(content) <= limit:
            self._ask(request, match, content, end, began, content)
        else:
            self.reject(request, TOO_LARGE, began)

    def _ask(
        self, request: ClientRequest, match: Any, content: bytes, end: bool, began: float, body: bytes | None
    ) -> None:
        user = self.user
        view = view_of(request, body)
        if user.on_request is None:
            self.go_on(request, match, content, end, began, view)
            return
        if user.awaits_request:
            _Awaiting(self, request, match, content, end, began, view).start()
            return
        found: UserAnswer | CallFailed | None
        try:
            found = user.ask(view)
        except CallFailed as failed:
            found = failed
        if self.lets_pass(request, found, began):
            self.go_on(request, match, content, end, began, view if found is None else None)

    def lets_pass(self, request: ClientRequest, found: UserAnswer | CallFailed | None, began: float) -> bool:
        """Answer *request*, if that is what was *found*, or tell that it goes on."""
        if found is None:
            return True
        if isinstance(found, UserAnswer):
            self.reject(request, found, began)
            return False
        self.count_failure(request)
        if self.settings.failure_mode == "allow":
            return True
        self.reject(request, FAILED, began)
        return False

    def go_on(
        self, request: ClientRequest, match: Any, content: bytes, end: bool, began: float, view: Request | None
    ) -> None:
        """Let *request* go on as *view* has it now; None: as if there were no middleware."""
        if view is not None:
            try:
                content = apply_changes(view, request, content)
            except MalformedMessage as error:
                if is_moderate(view.headers._changes()[1]):
                    raise  # clients whose own head leaves no room must not get past what the class does
                if not self.lets_pass(request, self.user.failed("on_request", error), began):
                    return
                view = None
        if view is None or self.user.on_response is None:
            self.pass_on(request, match, content, end, began)
            return
        relay = UserRelay(request, view, self)
        try:
            self.pass_on(relay, match, content, end, began)
        except Exception:
            relay.forget()  # whoever catches this answers the request itself
            raise


class _Awaiting(Holding):
    """One request while an ``async`` method makes up its mind."""

    __slots__ = ("_began", "_call", "_match", "_stage", "_view")

    def __init__(
        self,
        stage: PythonStage,
        request: ClientRequest,
        match: Any,
        content: bytes,
        end: bool,
        began: float,
        view: Request,
    ) -> None:
        super().__init__(request, content, end)
        self._stage = stage
        self._match = match
        self._began = began
        self._view: Request | None = view
        self._call = AsyncCall(stage.user, stage.settings.timeout.seconds, self._on_answer, view)

    def __repr__(self) -> str:
        return f"<_Awaiting {self._call!r} with {self.request!r}>"

    def start(self) -> None:
        """Ask, and wait."""
        self.hold()
        self._call.start(self._stage.tasks, self._stage.sweeper)

    def _on_answer(self, found: UserAnswer | CallFailed | None) -> None:
        try:
            if not self._stage.lets_pass(self.request, found, self._began):
                self.forget()
                return
        except Exception:  # noqa: BLE001 - one request must never take the worker down
            _log.exception("request handling failed", request=repr(self.request))
            self.forget()
            self.request.fail(Failure(FailureClass.INTERNAL))
            return
        if found is not None:
            self._view = None
        self.release()

    def go_on(self, content: bytes, end: bool) -> None:
        """The request goes on."""
        self._stage.go_on(self.request, self._match, content, end, self._began, self._view)

    def gone(self) -> None:
        """The client went away."""
        self._call.cancel()
