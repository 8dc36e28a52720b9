"""A channel that is one stream of gRPC, for the whole transaction."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from vrata.net.deadlines import NEVER
from vrata.policy import grpc_status
from vrata.proxy.callout.grpc_stream import GrpcStream
from vrata.proxy.callout.services import Services
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.ext_proc.channel import Channel, ChannelOwner
from vrata.proxy.middleware.ext_proc.message import (
    REQUEST_HEADERS,
    Answer,
    Contract,
    MalformedAnswer,
    MoreTime,
    OwnResponse,
    Phase,
    Refusal,
    Shown,
)
from vrata.proxy.middleware.ext_proc.settings import PlaceSettings

FAREWELL: Final = 1.0
"""Seconds that a processor has to end the stream when it was told that nothing follows."""
_LEAST_EXTENSION: Final = 0.001
"""Seconds; less cannot be asked for."""


@dataclass(frozen=True)
class GrpcService:
    """The service of gRPC that is the processor of one middleware, and how it is spoken to."""

    services: Services
    destination_id: str
    contract: Contract
    method: bytes
    """``/package.Service/Method``."""
    may_leave: bool
    """It may end the stream without an error while it owes an answer, which then is that nothing is to be changed."""


class _Owed:
    """An answer that has not come yet."""

    __slots__ = ("due", "is_duplex", "is_extended", "is_waived", "phase")

    def __init__(self, phase: Phase, due: float, is_duplex: bool) -> None:
        self.phase = phase
        self.due = due
        self.is_duplex = is_duplex
        """It comes in any number of messages, or after them."""
        self.is_waived = False
        self.is_extended = False
        """More time was given for it."""


class GrpcChannel(Channel):
    """Implements :class:`Channel` on a stream, which is opened for the first message."""

    __slots__ = (
        "_end_reason",
        "_farewell",
        "_has_taken_over",
        "_is_answered",
        "_is_paused",
        "_loop",
        "_owed",
        "_owner",
        "_request",
        "_service",
        "_settings",
        "_stream",
    )

    def __init__(
        self,
        owner: ChannelOwner,
        service: GrpcService,
        request: ClientRequest,
        settings: PlaceSettings,
        *,
        is_answered: bool,
    ) -> None:
        """Without *is_answered* nothing is expected, and what comes is dropped."""
        self._is_answered = is_answered
        self._owner: ChannelOwner | None = owner
        self._service = service
        self._request = request
        self._settings = settings
        self._loop = service.services.loop
        self._stream: GrpcStream | None = None
        self._owed: list[_Owed] = []
        self._end_reason: str | None = None
        """Why the stream is over; empty: it was ended without an error."""
        self._farewell: asyncio.TimerHandle | None = None
        self._has_taken_over = False
        """The processor makes the response."""
        self._is_paused = False

    def __repr__(self) -> str:
        return f"<GrpcChannel to {self._service.destination_id}, {len(self._owed)} answers owed>"

    @property
    def is_full(self) -> bool:
        """The processor does not read what was sent."""
        return self._stream is not None and self._stream.is_full

    def show(self, shown: Shown) -> None:
        """Send a message, and expect one."""
        if self._end_reason is not None:
            self._tell_end()
            return
        opening = self._settings.modes if self._stream is None else None
        message = self._service.contract.encode(shown, opening)
        if self._is_answered and not self._has_taken_over:
            self._owe(shown)
        stream = self._stream
        if stream is None:
            service, settings = self._service, self._settings
            stream = self._stream = service.services.stream_grpc(
                service.destination_id,
                service.method,
                self._on_message,
                self._on_end,
                request=self._request,
                max_message=settings.max_answer,
                on_ready=self._on_ready,
                destination=settings.destination,
            )
        stream.send(message)
        self._expect_next()

    def waive(self, *, of_request: bool) -> None:
        """What comes for one direction is dropped, however late it is."""
        for owed in self._owed:
            if owed.phase.is_of_request == of_request:
                owed.is_waived = True
        self._expect_next()

    def pause(self) -> None:
        """Take no more messages for now, but those that have come already. Nothing is late meanwhile."""
        self._is_paused = True
        if self._stream is not None:
            self._stream.pause()
        self._expect_next()

    def resume(self) -> None:
        """Go on."""
        self._is_paused = False
        now = self._loop.time()
        for owed in self._owed:
            if owed.due != NEVER:
                owed.due = now + self._settings.phase_timeout
        if self._stream is not None:
            self._stream.resume()
        self._expect_next()

    def finish(self) -> None:
        """End the stream, or cancel it where the processor has not answered yet."""
        self._owner = None
        stream = self._stream
        if stream is None or self._end_reason is not None:
            return
        if any(not owed.is_waived for owed in self._owed):
            stream.cancel()
            return
        stream.expect(NEVER)
        stream.end()
        self._farewell = self._loop.call_later(FAREWELL, stream.cancel)

    def _on_message(self, message: bytes) -> None:
        owner = self._owner
        if owner is None or not self._is_answered:
            return
        try:
            answer = self._service.contract.decode(message)
        except MalformedAnswer as error:
            self._fail(f"its answer is none: {error}")
            return
        if isinstance(answer, MoreTime):
            self._extend(answer.seconds)
            self._expect_next()
            return
        if isinstance(answer, OwnResponse) or self._has_taken_over:
            self._take_over(answer)
            return
        owed = self._settle(answer)
        if owed is None:
            self._fail("an answer to what was not shown")
            return
        self._expect_next()
        if not owed.is_waived:
            owner.on_answer(answer.phase if isinstance(answer, Answer) else owed.phase, answer)

    def _owe(self, shown: Shown) -> None:
        """The processor owes an answer to what is shown; of a body that is answered by another one, in the end."""
        due = self._loop.time() + self._settings.phase_timeout
        phase = shown.phase
        if not shown.is_duplex:
            self._owed.append(_Owed(phase, due, False))
            return
        is_known = False
        for owed in self._owed:
            if owed.phase.is_of_request == phase.is_of_request:
                if shown.end:
                    owed.due = due
                is_known = is_known or owed.phase is phase
        if not is_known:
            self._owed.append(_Owed(phase, due if shown.end else NEVER, True))

    def _settle(self, answer: Answer | Refusal) -> _Owed | None:
        """Take out what is answered: the oldest of the answer's direction. A refusal has none, and is of who waits."""
        found = -1
        for index, owed in enumerate(self._owed):
            if isinstance(answer, Refusal):
                if not owed.is_waived:
                    found = index
                    break
                if found < 0:
                    found = index
            elif owed.phase.is_of_request == answer.phase.is_of_request:
                if owed.phase is answer.phase:
                    found = index
                    break
                if not (owed.is_duplex and owed.phase.is_body):
                    break
        if found < 0:
            return None
        owed = self._owed[found]
        if isinstance(answer, Answer) and owed.is_duplex:
            return self._settle_duplex(answer, owed)
        return self._owed.pop(found)

    def _settle_duplex(self, answer: Answer, answered: _Owed) -> _Owed:
        """As above; one of a body comes in many messages, and each gives time for the next."""
        is_over = not answered.phase.is_body or answer.ends
        due = self._loop.time() + self._settings.phase_timeout
        left: list[_Owed] = []
        is_before = True
        for owed in self._owed:
            if owed is answered:
                is_before = False
                if is_over:
                    continue
            elif is_before and owed.phase.is_of_request == answer.phase.is_of_request:
                continue  # a body whose trailers are answered is over
            if owed.phase.is_of_request == answer.phase.is_of_request and owed.is_duplex and owed.due < due:
                owed.due = due
            left.append(owed)
        self._owed = left
        return answered

    def _extend(self, seconds: float) -> None:
        """Give more time for what is owed first, once, where that is allowed; else nothing changes."""
        if not _LEAST_EXTENSION <= seconds <= self._settings.max_phase_timeout:
            return
        for first in self._owed:
            if first.is_waived or first.due == NEVER:
                continue
            if not first.is_extended:
                due = self._loop.time() + seconds
                for owed in self._owed:
                    # What is answered after it cannot come before it.
                    if owed.phase.is_of_request == first.phase.is_of_request and (owed is first or owed.due < due):
                        owed.due = due
                first.is_extended = True
            return

    def _take_over(self, answer: Answer | Refusal | OwnResponse) -> None:
        """The processor makes the response: it begins in answer to the request's head, and goes on until its end."""
        owner = self._owner
        if not isinstance(answer, OwnResponse) or (answer.status != 0) == self._has_taken_over:
            self._fail("a response of its own that is none")
            return
        if not self._has_taken_over:
            if not self._owed or self._owed[0].phase is not REQUEST_HEADERS or self._owed[0].is_waived:
                self._fail("a response of its own to what was not the head of a request")
                return
            self._has_taken_over = True
            self._owed.clear()
            self._expect_next()
        if owner is not None:
            owner.on_own_response(answer)

    def _expect_next(self) -> None:
        stream = self._stream
        if stream is None:
            return
        due = NEVER
        if not self._is_paused:
            for owed in self._owed:
                if not owed.is_waived and owed.due < due:
                    due = owed.due
            if due == NEVER and stream.is_full:
                # Who does not have to answer yet, or at all, may at least be expected to read.
                stream.expect(self._settings.phase_timeout)
                return
        stream.expect(due - self._loop.time())

    def _on_ready(self) -> None:
        self._expect_next()
        if self._owner is not None:
            self._owner.on_ready()

    def _on_end(self, code: int, reason: str) -> None:
        if self._farewell is not None:
            self._farewell.cancel()
        if code == grpc_status.OK:
            self._end_reason = ""
        else:
            self._end_reason = f"{grpc_status.name_of(code)}: {reason}"
        if not self._is_answered or self._has_taken_over or any(not owed.is_waived for owed in self._owed):
            self._tell_end()

    def _tell_end(self) -> None:
        """Something is owed, or would be, and the stream is over."""
        owner, self._owner = self._owner, None
        if owner is None:
            return
        if self._end_reason:
            owner.on_failure(self._end_reason)
        elif self._owed and not self._service.may_leave:
            owner.on_failure("it has ended the stream without an answer")
        else:
            owner.on_done()

    def _fail(self, reason: str) -> None:
        owner, self._owner = self._owner, None
        if self._stream is not None:
            self._stream.cancel()
        if owner is not None:
            owner.on_failure(reason)
