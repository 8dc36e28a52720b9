"""All services that a worker may call, and the callouts that are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from vrata.net.deadlines import NEVER, DeadlineSweeper
from vrata.proxy.callout.answer import Answer, CalloutFailure
from vrata.proxy.callout.call import Call, OnAnswer
from vrata.proxy.callout.callout import Callout, CalloutOwner, ServiceDestination
from vrata.proxy.callout.grpc_stream import GrpcStream, OnEnd, OnMessage
from vrata.proxy.callout.own_request import own_request
from vrata.proxy.callout.unary import OnGrpcAnswer, Unary
from vrata.proxy.contracts import ClientRequest

MAX_ANSWER: Final = 1 << 20
"""Bytes of an answer, or of one message, unless the caller says otherwise."""


class Cancellable(Protocol):
    """What is under way."""

    def cancel(self) -> None:
        """Nobody wants the result any more, and nobody will be told one."""
        ...


class Services(CalloutOwner):
    """One for each worker; outlives plans.

    Results are told to functions, never before the call has returned, never after ``cancel``, and otherwise exactly
    once. These functions are called by what has read the answer, so they should be short; what they raise is logged.
    """

    def __init__(self, sweeper: DeadlineSweeper) -> None:
        self.sweeper = sweeper
        self.loop = asyncio.get_running_loop()
        self.destinations: Mapping[str, ServiceDestination] = {}
        """Those of the plan in force, by ID."""
        self._under_way: dict[Callout, None] = {}
        self._is_closed = False
        self._own_request = own_request()

    def __repr__(self) -> str:
        return f"<Services {len(self.destinations)} destinations, {len(self._under_way)} calls under way>"

    @property
    def under_way(self) -> int:
        """Callouts that are not over."""
        return len(self._under_way)

    def call(
        self,
        destination_id: str,
        method: bytes,
        target: bytes,
        fields: bytes,
        body: bytes,
        limit: float,
        on_answer: OnAnswer,
        *,
        request: ClientRequest | None = None,
        max_answer: int = MAX_ANSWER,
        destination: ServiceDestination | None = None,
    ) -> Cancellable:
        """Send one request of HTTP to the destination, and tell *on_answer* what comes of it.

        *target* is a path with its query, as it stands in a request line; *fields* are lines, each with its CRLF, but
        for Host and Content-Length, and nothing of the connection. *limit* is in seconds, for the whole call. Where the
        destination chooses endpoints by what a client's request says, *request* is the one. An answer may have up to
        *max_answer* bytes. Redirects are answers like others. An attempt that died with an idle connection, found no
        connection, or was not acted on, is repeated once. *destination* is what the caller's plan knows by that ID, and
        where it goes; None = what the plan in force does.
        """
        call = Call(
            self,
            request if request is not None else self._own_request,
            limit,
            on_answer,
            method=method,
            target=target,
            fields=fields,
            body=body,
            max_answer=max_answer,
        )
        self._begin(call, destination_id, destination)
        return call

    async def fetch(
        self,
        destination_id: str,
        method: bytes,
        target: bytes,
        fields: bytes,
        body: bytes,
        limit: float,
        *,
        max_answer: int = MAX_ANSWER,
    ) -> Answer | CalloutFailure:
        """Return what comes of a request like that of :meth:`call`. To cancel the task cancels the call."""
        found: asyncio.Future[Answer | CalloutFailure] = self.loop.create_future()
        call = self.call(destination_id, method, target, fields, body, limit, _setting(found), max_answer=max_answer)
        try:
            return await found
        finally:
            call.cancel()

    def call_grpc(
        self,
        destination_id: str,
        method_path: bytes,
        message: bytes,
        limit: float,
        on_answer: OnGrpcAnswer,
        *,
        request: ClientRequest | None = None,
        fields: bytes = b"",
        max_answer: int = MAX_ANSWER,
        destination: ServiceDestination | None = None,
    ) -> Cancellable:
        """Call a method (``/package.Service/Method``) with one *message*, and tell *on_answer* the one that comes back.

        *fields* are metadata: lines, each with its CRLF. The rest is as for :meth:`call`. The destination has to speak
        HTTP/2.
        """
        unary = Unary(on_answer)
        unary.stream = self.stream_grpc(
            destination_id,
            method_path,
            unary.on_message,
            unary.on_end,
            request=request,
            fields=fields,
            limit=limit,
            max_message=max_answer,
            only=message,
            destination=destination,
        )
        return unary

    def stream_grpc(
        self,
        destination_id: str,
        method_path: bytes,
        on_message: OnMessage,
        on_end: OnEnd,
        *,
        request: ClientRequest | None = None,
        fields: bytes = b"",
        limit: float = NEVER,
        max_message: int = MAX_ANSWER,
        only: bytes | None = None,
        on_ready: Callable[[], None] | None = None,
        destination: ServiceDestination | None = None,
    ) -> GrpcStream:
        """Call a method, and exchange messages with it until its status comes, which is told to *on_end*.

        With *only* that is the one message to the service; else what is sent is what the stream is told to.
        What becomes of the call counts as a status as well: ``UNAVAILABLE`` when it cannot be made,
        ``DEADLINE_EXCEEDED`` when a limit passes. Until the service has answered anything, what was sent (up to
        :data:`~vrata.proxy.callout.grpc_stream.MAX_REPLAYED` bytes) may be sent again, as for :meth:`call`.
        """
        stream = GrpcStream(
            self,
            request if request is not None else self._own_request,
            limit,
            on_message,
            on_end,
            method_path=method_path,
            fields=fields,
            max_message=max_message,
            only=only,
            on_ready=on_ready,
        )
        self._begin(stream, destination_id, destination)
        return stream

    def close(self) -> None:
        """The worker ends: fail what is under way, and whatever is begun from now on."""
        self._is_closed = True
        for callout in list(self._under_way):
            callout.abandon()

    def ended(self, callout: Callout) -> None:
        """*callout* is over."""
        self._under_way.pop(callout, None)

    def _begin(self, callout: Callout, destination_id: str, destination: ServiceDestination | None) -> None:
        self._under_way[callout] = None
        if self._is_closed:
            callout.abandon()
        else:
            callout.start(destination_id, self.destinations.get(destination_id) if destination is None else destination)


def _setting(found: asyncio.Future[Answer | CalloutFailure]) -> OnAnswer:
    def on_answer(outcome: Answer | CalloutFailure) -> None:
        if not found.done():
            found.set_result(outcome)

    return on_answer
