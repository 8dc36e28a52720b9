"""A channel that is one stream of gRPC, for the whole transaction."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from vrata.net.deadlines import NEVER
from vrata.policy import grpc_status
from vrata.proxy.callout.callout import ServiceDestination
from vrata.proxy.callout.grpc_stream import GrpcStream
from vrata.proxy.callout.services import Services
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.ext_proc.channel import Channel, ChannelOwner
from vrata.proxy.middleware.ext_proc.message import Answer, Contract, MalformedAnswer, Modes, Phase, Refusal, Shown

FAREWELL: Final = 1.0
"""Seconds that a processor has to end the stream when it was told that nothing follows."""


@dataclass(frozen=True)
class GrpcPeer:
    """A processor, and how it is spoken to."""

    services: Services
    destination_id: str
    contract: Contract
    method: bytes
    """``/package.Service/Method``."""
    may_leave: bool
    """It may end the stream without an error while it owes an answer, which then is that nothing is to be changed."""


class _Owed:
    """An answer that has not come yet."""

    __slots__ = ("due", "is_waived", "phase")

    def __init__(self, phase: Phase, due: float) -> None:
        self.phase = phase
        self.due = due
        self.is_waived = False


class GrpcChannel(Channel):
    """Implements :class:`Channel` on a stream, which is opened for the first message."""

    __slots__ = (
        "_destination",
        "_end_reason",
        "_farewell",
        "_is_answered",
        "_loop",
        "_max_answer",
        "_modes",
        "_owed",
        "_owner",
        "_peer",
        "_request",
        "_stream",
        "_timeout",
    )

    def __init__(
        self,
        owner: ChannelOwner,
        peer: GrpcPeer,
        request: ClientRequest,
        modes: Modes,
        timeout: float,
        max_answer: int,
        is_answered: bool,
        destination: ServiceDestination | None,
    ) -> None:
        """*timeout* is what each answer may take, in seconds; *max_answer* its bytes. The processor is what the
        request's plan knows as the *destination*.

        Without *is_answered* nothing is expected, and what comes is dropped.
        """
        self._is_answered = is_answered
        self._owner: ChannelOwner | None = owner
        self._peer = peer
        self._destination = destination
        self._request = request
        self._modes = modes
        self._timeout = timeout
        self._max_answer = max_answer
        self._loop = peer.services.loop
        self._stream: GrpcStream | None = None
        self._owed: list[_Owed] = []
        self._end_reason: str | None = None
        """Why the stream is over; empty: it was ended without an error."""
        self._farewell: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<GrpcChannel to {self._peer.destination_id}, {len(self._owed)} answers owed>"

    @property
    def is_full(self) -> bool:
        """The processor does not read what was sent."""
        return self._stream is not None and self._stream.is_full

    def show(self, shown: Shown) -> None:
        """Send a message, and expect one."""
        if self._end_reason is not None:
            self._tell_end()
            return
        opening = self._modes if self._stream is None else None
        message = self._peer.contract.encode(shown, opening)
        if self._is_answered:
            self._owed.append(_Owed(shown.phase, self._loop.time() + self._timeout))
        stream = self._stream
        if stream is None:
            peer = self._peer
            stream = self._stream = peer.services.stream_grpc(
                peer.destination_id,
                peer.method,
                self._on_message,
                self._on_end,
                request=self._request,
                max_message=self._max_answer,
                on_ready=self._on_ready,
                destination=self._destination,
            )
        stream.send(message)
        self._expect_next()

    def waive(self, *, of_request: bool) -> None:
        """What comes for one direction is dropped, however late it is."""
        for owed in self._owed:
            if owed.phase.is_of_request == of_request:
                owed.is_waived = True
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
            answer = self._peer.contract.decode(message)
        except MalformedAnswer as error:
            self._fail(f"its answer is none: {error}")
            return
        if answer is not None:
            owed = self._settle(answer)
            if owed is None:
                self._fail("an answer to what was not shown")
                return
            self._expect_next()
            if not owed.is_waived:
                owner.on_answer(owed.phase, answer)
        else:
            self._expect_next()

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
        return self._owed.pop(found) if found >= 0 else None

    def _expect_next(self) -> None:
        stream = self._stream
        if stream is None:
            return
        for owed in self._owed:
            if not owed.is_waived:
                stream.expect(owed.due - self._loop.time())
                return
        # Who gives no answers may at least be expected to read.
        stream.expect(self._timeout if stream.is_full and not self._is_answered else NEVER)

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
            name = grpc_status.NAMES[code] if code < len(grpc_status.NAMES) else str(code)
            self._end_reason = f"{name}: {reason}"
        if not self._is_answered or any(not owed.is_waived for owed in self._owed):
            self._tell_end()

    def _tell_end(self) -> None:
        """Something is owed, or would be, and the stream is over."""
        owner, self._owner = self._owner, None
        if owner is None:
            return
        if self._end_reason:
            owner.on_failure(self._end_reason)
        elif self._owed and not self._peer.may_leave:
            owner.on_failure("it has ended the stream without an answer")
        else:
            owner.on_done()

    def _fail(self, reason: str) -> None:
        owner, self._owner = self._owner, None
        if self._stream is not None:
            self._stream.cancel()
        if owner is not None:
            owner.on_failure(reason)
