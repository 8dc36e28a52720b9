"""What all callouts have in common: where they go, what limits them, and what they count for."""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeAlias

import structlog

from vrata.net.deadlines import DeadlineSweeper, Watched
from vrata.proxy.contracts import AttemptOwner, ClientRequest, FailureClass
from vrata.proxy.destination.destination import Destination
from vrata.proxy.destination.protection import Admission
from vrata.proxy.endpoint.selection import Endpoint, EndpointSelector
from vrata.proxy.upstream.exchange import Exchange
from vrata.proxy.upstream.pool import EndpointPool
from vrata.wire.http1.head import ResponseHead

ServiceDestination: TypeAlias = Destination[EndpointSelector[EndpointPool]]

_log = structlog.get_logger("vrata.proxy.callout")


class CalloutOwner(Protocol):
    """What a callout needs of those who make it."""

    sweeper: DeadlineSweeper
    loop: asyncio.AbstractEventLoop

    def ended(self, callout: Callout) -> None:
        """*callout* is over."""
        ...


class Callout(AttemptOwner, Watched):
    """One call of the proxy to a service. Ends exactly once: by a result, or by :meth:`cancel`.

    A result is never told before the call that makes the callout has returned. Each class below this one is a way
    to read the response: it has :meth:`_send` to begin an attempt, and :meth:`_failed` to tell what became of it.
    """

    __slots__ = (
        "_admission",
        "_destination",
        "_endpoint",
        "_exchange",
        "_has_answer",
        "_is_open",
        "_is_repeated",
        "_is_starting",
        "_limit",
        "_limit_deadline",
        "_owner",
        "_request",
        "deadline",
    )

    def __init__(self, owner: CalloutOwner, request: ClientRequest, limit: float) -> None:
        """*request* is what the destination's balancing may choose by; *limit* is in seconds."""
        self._owner = owner
        self._request = request
        self._destination: ServiceDestination | None = None
        self._endpoint: Endpoint[EndpointPool] | None = None
        self._exchange: Exchange | None = None
        self._admission: Admission | None = None
        self._is_open = True
        self._is_starting = True
        self._is_repeated = False
        self._has_answer = False
        """The response has begun."""
        self._limit = limit
        self._limit_deadline = self.deadline = owner.loop.time() + limit

    def __repr__(self) -> str:
        state = "under way" if self._is_open else "over"
        return f"<{type(self).__name__} to {self._destination} at {self._endpoint}, {state}>"

    # -- for those who make it ----------------------------------------------------------------------------------------

    def start(self, destination_id: str, destination: ServiceDestination | None) -> None:
        """Choose an endpoint of *destination* and make the attempt; None: there is no destination of that ID."""
        self._owner.sweeper.watch(self)
        self._destination = destination
        if destination is None:
            self._fail(FailureClass.NO_DESTINATION, f'destination "{destination_id}" does not exist')
        else:
            endpoint = destination.selector.pick(self._request, False)
            if endpoint is None:
                self._fail(FailureClass.NO_ENDPOINT, f'destination "{destination_id}" has no healthy endpoint')
            elif self._is_admitted(destination):
                self._attempt(endpoint, fresh=False)
        self._is_starting = False

    def cancel(self) -> None:
        """Nobody wants the result any more, and nobody will be told one."""
        self._leave()
        self._dismiss()

    def abandon(self) -> None:
        """The proxy is about to end."""
        if self._is_open:
            self._fail(FailureClass.INTERNAL, "the proxy is ending")

    # -- for the classes below ----------------------------------------------------------------------------------------

    def _send(self, exchange: Exchange, destination: ServiceDestination, *, fresh: bool) -> None:
        """Begin the attempt *exchange*, over a new connection if *fresh*."""
        raise NotImplementedError

    def _is_repeatable(self) -> bool:
        """Whether what has been sent is all still at hand."""
        raise NotImplementedError

    def _failed(self, failure_class: FailureClass, reason: str) -> None:
        """The callout is over without a result: tell it, but not while it starts."""
        raise NotImplementedError

    def _dismiss(self) -> None:
        """The callout is cancelled: forget who would have been told."""
        raise NotImplementedError

    def _method(self) -> bytes:
        """The request's method."""
        return b"POST"

    def _fail(self, failure_class: FailureClass, reason: str) -> None:
        """The callout is over without a result."""
        destination, endpoint = self._destination, self._endpoint
        _log.debug(  # who asked tells what it means
            "callout failed",
            error=failure_class.label,
            detail=reason,
            destination=destination.destination_id if destination is not None else "",
            endpoint=endpoint.identifier if endpoint is not None else "",
        )
        if self._leave():
            self._failed(failure_class, reason)

    def _leave(self) -> bool:
        """Have done with the attempt; false when that was done already."""
        if not self._is_open:
            return False
        self._is_open = False
        self._owner.sweeper.forget(self)
        self._owner.ended(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.end()
        return True

    def _traced(self, head: bytes) -> bytes:
        """*head*, which is about to be sent, with the context of the trace in which it is, if that is recorded."""
        trace = self._request.trace
        return head if trace is None or not trace.is_recorded else trace.in_head(head)

    def _judge(self, status: int) -> None:
        """The attempt has come to *status*, which counts for the endpoint and the destination."""
        self._record(status)
        if self._admission is not None:
            self._admission.settle(status)

    def _begun(self) -> None:
        """The response has begun: from now on only the callout's own limit holds."""
        self._has_answer = True
        self.deadline = self._due()

    def _due(self) -> float:
        """When the call is over for those who make it, whatever the service does."""
        return self._limit_deadline

    def _is_undecided(self) -> bool:
        """Whether nothing that came of the response says how the endpoint does."""
        return not self._has_answer

    # -- the upstream's side ------------------------------------------------------------------------------------------

    def on_request_sent(self) -> None:
        """Now the service owes a response head."""
        destination = self._destination
        if self._has_answer or destination is None:
            return
        limit = destination.timeouts.response_header
        if limit < self._limit:
            due = self._owner.loop.time() + limit
            if due < self.deadline:
                self.deadline = due

    def on_informational(self, head: ResponseHead) -> None:
        """A 1xx response says nothing."""

    def on_tunnel_end(self) -> None:
        """Never: no callout asks for an upgrade."""

    def on_upstream_full(self) -> None:
        """The service reads slowly."""

    def on_upstream_ready(self) -> None:
        """The service has caught up."""

    def on_attempt_failed(self, failure_class: FailureClass, detail: str) -> None:
        """The attempt is over; where it says nothing about the service, there is one more."""
        exchange = self._exchange
        if exchange is None:
            return
        if not self._has_answer and not self._is_repeated and self._is_repeatable():
            endpoint = self._next_endpoint(exchange, failure_class)
            if endpoint is not None:
                fresh = exchange.died_idle
                if exchange.nothing_sent:  # there was no connection to be had
                    self._record(failure_class.status)
                self._is_repeated = True
                self._exchange = None
                self.deadline = self._due()
                self._attempt(endpoint, fresh=fresh)
                return
        self._attempt_over(failure_class, detail)

    def expire(self) -> None:
        """One of the limits has passed."""
        if self._owner.loop.time() >= self._limit_deadline:
            reason = "no answer within the limit of the call"
        else:
            reason = "response header time limit passed"
        self._attempt_over(FailureClass.TIMEOUT, reason)

    # -- of an attempt ------------------------------------------------------------------------------------------------

    def _is_admitted(self, destination: ServiceDestination) -> bool:
        protection = destination.protection
        if protection is not None:
            self._admission = protection.admit()
            if self._admission is None:
                self._fail(FailureClass.CIRCUIT_OPEN, protection.refusal())
                return False
        return True

    def _attempt(self, endpoint: Endpoint[EndpointPool], *, fresh: bool) -> None:
        destination = self._destination
        assert destination is not None
        self._endpoint = endpoint
        self._exchange = exchange = Exchange(self, endpoint.pool, destination.timeouts, self._method())
        self._send(exchange, destination, fresh=fresh)

    def _next_endpoint(self, exchange: Exchange, failure_class: FailureClass) -> Endpoint[EndpointPool] | None:
        """The endpoint of another attempt; None when there is to be none."""
        destination, endpoint = self._destination, self._endpoint
        assert destination is not None
        assert endpoint is not None
        if exchange.died_idle:
            return endpoint
        if not exchange.unprocessed or failure_class is FailureClass.CIRCUIT_OPEN:
            return None
        other = destination.selector.pick_other(self._request, [endpoint.identifier])
        if other is None and not exchange.nothing_sent:
            return endpoint
        return other

    def _attempt_over(self, failure_class: FailureClass, detail: str) -> None:
        """The attempt has failed for good, which counts unless it is a limit of ours that kept it from the service."""
        exchange = self._exchange
        is_ours = failure_class is FailureClass.CIRCUIT_OPEN or (exchange is not None and exchange.waits_for_place)
        if self._is_undecided() and not is_ours:
            self._judge(failure_class.status)
        self._fail(failure_class, detail)

    def _record(self, status: int) -> None:
        endpoint = self._endpoint
        if endpoint is not None and endpoint.streaks is not None:
            endpoint.streaks.record(status)
