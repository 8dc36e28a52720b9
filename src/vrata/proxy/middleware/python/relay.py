"""The response to a request, shown to a user's class before it goes out."""

from __future__ import annotations

import asyncio
from enum import Enum, unique
from typing import Protocol

import structlog

from vrata.middleware import Request, Response
from vrata.model.middleware.python import Python
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.contracts import ClientRequest, Failure, FailureClass
from vrata.proxy.middleware.python.call import AsyncCall
from vrata.proxy.middleware.python.user_object import CallFailed, UserObject
from vrata.proxy.middleware.python.view import FAILED, UserAnswer, changed_head, response_view
from vrata.proxy.middleware.rejection import Rejection
from vrata.proxy.relayed_request import RelayedRequest
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import ResponseHead

_log = structlog.get_logger("vrata.proxy.middleware")


class BelongsToAClass(Protocol):
    """What the relay needs of the stage that made it."""

    user: UserObject
    settings: Python
    tasks: TaskSupervisor
    sweeper: DeadlineSweeper

    def replace(self, request: ClientRequest, rejection: Rejection) -> None:
        """Answer *request* in place of what is inside."""
        ...

    def count_failure(self, request: ClientRequest) -> None:
        """The class has failed with *request*."""
        ...


@unique
class _Phase(Enum):
    BEFORE = 0
    """There is no response yet, or one is being shown at once."""
    COLLECTING = 1
    """Its body is being read."""
    ASKING = 2
    """An ``async`` method has it."""
    PASSING = 3
    """It goes out, and what follows of it as well."""
    OVER = 4
    """Whatever still comes from the inside is of no interest."""


class UserRelay(RelayedRequest):
    """One request that has gone on, until its response has been shown to the class."""

    __slots__ = (
        "_call",
        "_client_is_full",
        "_content",
        "_end",
        "_head",
        "_inside_is_paused",
        "_phase",
        "_shown",
        "_size",
        "_stage",
        "_trailers",
        "_view",
    )

    def __init__(self, outer: ClientRequest, view: Request, stage: BelongsToAClass) -> None:
        super().__init__(outer)
        self._view = view
        self._stage = stage
        self._phase = _Phase.BEFORE
        self._call: AsyncCall | None = None
        # Of the response.
        self._head: ResponseHead | None = None
        self._content: list[bytes] = []
        self._size = 0
        self._end = False
        self._trailers = b""
        self._shown: Response | None = None
        # Of the flow.
        self._client_is_full = False
        self._inside_is_paused = False

    def __repr__(self) -> str:
        return f"<UserRelay {self._phase.name} of {self.outer!r}>"

    # -- the response comes -------------------------------------------------------------------------------------------

    def relay_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes) -> None:
        """The response begins."""
        if head.status == 101:
            self._settled(_Phase.PASSING)
            self.outer.start_response(head, content, end, trailers)
            return
        self._head = head
        self._take(content, end, trailers)
        if self._stage.settings.response_body != "buffered":
            self._show(None)
        elif end or not head.body_expected(self.head.method):
            self._collected()
        elif head.content_length > self._limit or self._size > self._limit:
            self._fail(self._too_large())
        else:
            self._phase = _Phase.COLLECTING
            self.outer.handled_by(self)

    def relay_content(self, content: bytes, end: bool, trailers: bytes) -> None:
        """The response goes on."""
        phase = self._phase
        if phase is _Phase.PASSING:
            if end:
                self._part()
            self.outer.send_content(content, end, trailers)
        elif phase is _Phase.ASKING:
            self._take(content, end, trailers)
        elif phase is _Phase.COLLECTING:
            self._take(content, end, trailers)
            if self._size > self._limit:
                self._fail(self._too_large())
            elif end:
                self._collected()
        else:
            self._end = end
            if end:
                self._part()

    def relay_failure(self, failure: Failure) -> None:
        """There will be no more of the response."""
        phase = self._phase
        self._end = True
        if phase is _Phase.OVER:
            return
        if phase is _Phase.COLLECTING:
            # Nothing has gone out: the failure becomes the response.
            response = self.outer.failed_with(failure)
            self._head = response.head()
            self._content.clear()
            self._size = 0
            self._take(response.body, True, b"")
            self._collected()
            return
        self._settled(_Phase.OVER)
        self._part()
        self.outer.fail(failure)

    def _take(self, content: bytes, end: bool, trailers: bytes) -> None:
        self._content.append(content)
        self._size += len(content)
        self._end = end
        self._trailers = trailers

    @property
    def _limit(self) -> int:
        return self._stage.settings.max_body_bytes

    def _too_large(self) -> CallFailed:
        reason = ValueError(f"the response's body is larger than the {self._limit} bytes of maxBodyBytes")
        return self._stage.user.failed("on_response", reason)

    # -- the class sees it --------------------------------------------------------------------------------------------

    def _collected(self) -> None:
        if self._size > self._limit:
            self._fail(self._too_large())
            return
        body = b"".join(self._content)
        self._content = [body]
        self._show(body)

    def _show(self, body: bytes | None) -> None:
        head, stage = self._head, self._stage
        assert head is not None
        shown = self._shown = response_view(head, body)
        if stage.user.awaits_response:
            self._phase = _Phase.ASKING
            self.outer.handled_by(self)
            if not self._end:
                self._inside_is_paused = True
                super().pause_response()
            self._call = AsyncCall(stage.user, stage.settings.timeout.seconds, self._on_answer, self._view, shown)
            self._call.start(stage.tasks, stage.sweeper)
            return
        found: UserAnswer | CallFailed | None
        try:
            found = stage.user.show(self._view, shown)
        except CallFailed as failed:
            found = failed
        self._on_answer(found)

    def _on_answer(self, found: UserAnswer | CallFailed | None) -> None:
        self._call = None
        try:
            self._decide(found)
        except Exception:  # noqa: BLE001 - one request must never take the worker down, nor an upstream's connection
            _log.exception("request handling failed", request=repr(self.outer))
            self._drop()
            self.outer.fail(Failure(FailureClass.INTERNAL))

    def _decide(self, found: UserAnswer | CallFailed | None) -> None:
        head, shown = self._head, self._shown
        assert head is not None
        assert shown is not None
        if isinstance(found, CallFailed):
            self._fail(found)
        elif found is not None:
            self._replace(found)
        else:
            try:
                head = changed_head(shown, head, self.head.method)
            except MalformedMessage as error:
                self._fail(self._stage.user.failed("on_response", error))
                return
            if shown._has_new_body:
                self._content = [shown.body]
            self._pass(head)

    def _fail(self, failed: CallFailed) -> None:
        """The class has failed, as is logged: *failed* says nothing more."""
        self._stage.count_failure(self.outer)
        if self._stage.settings.failure_mode == "allow":
            assert self._head is not None
            self._pass(self._head)
        else:
            self._replace(FAILED)

    # -- and it goes out ----------------------------------------------------------------------------------------------

    def _pass(self, head: ResponseHead) -> None:
        self._settled(_Phase.PASSING)
        content = b"".join(self._content)
        self._content.clear()
        if self._end:
            self._part()
        self.outer.start_response(head, content, self._end, self._trailers)
        if self._end:
            return
        if self._client_is_full and not self._inside_is_paused:
            super().pause_response()
        elif self._inside_is_paused and not self._client_is_full:
            super().resume_response()

    def _replace(self, rejection: Rejection) -> None:
        self._drop()
        self._stage.replace(self.outer, rejection)

    def _drop(self) -> None:
        """The response of the inside goes no further."""
        self._settled(_Phase.OVER)
        self._content.clear()
        if self._end:
            self._part()
        else:
            # Not at once: the inside is just telling us of its response.
            asyncio.get_running_loop().call_soon(self._abandon)

    def _abandon(self) -> None:
        """What is inside has an answer that nobody wants: let it stop."""
        if not self._end:
            self._end = True
            super().on_client_gone()

    def forget(self) -> None:
        """There will be no response by way of this."""
        self._settled(_Phase.OVER)
        self.response_over(complete=False)
        self.handler = None

    def _part(self) -> None:
        """The inside has nothing more to say: no request waits for the garbage collector, which this would lead to."""
        if self._head is not None:  # a tunnel may still be open to the other side
            self.handler = None

    def _settled(self, phase: _Phase) -> None:
        """The class has nothing to do with it any more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._phase = phase

    # -- the client, meanwhile ----------------------------------------------------------------------------------------

    def on_client_gone(self) -> None:
        """Nobody wants a response."""
        self._settled(_Phase.OVER)
        self._end = True
        super().on_client_gone()

    def pause_response(self) -> None:
        """The client does not keep up."""
        self._client_is_full = True
        if self._phase is _Phase.PASSING:
            super().pause_response()

    def resume_response(self) -> None:
        """The client has caught up."""
        self._client_is_full = False
        if self._phase is _Phase.PASSING:
            super().resume_response()
