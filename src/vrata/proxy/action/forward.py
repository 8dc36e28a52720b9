"""Forward a request: choose a destination and an endpoint, make an attempt, bring the response back.

:class:`ForwardAction` is the route's settings, built once per plan. :class:`Forward` is one request on its way: it
stands between the client's request and the attempt, relays both bodies with backpressure, and keeps the time limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import structlog

from vrata.net.deadlines import NEVER, DeadlineSweeper
from vrata.policy.grpc_timeout import GrpcTimeoutCap
from vrata.proxy.action.grpc_call import NO_RESULT, GrpcCall
from vrata.proxy.action.mirror import Copy, Mirror
from vrata.proxy.action.session_search import ForwardsWhereItIsTold, SessionSearch
from vrata.proxy.contracts import AttemptOwner, ClientRequest, Considered, Failure, FailureClass, RequestHandler
from vrata.proxy.destination.destination import Destination, DestinationSplit
from vrata.proxy.destination.protection import Admission, Protection
from vrata.proxy.endpoint.census import AttemptCensus
from vrata.proxy.endpoint.selection import Endpoint, EndpointSelector
from vrata.proxy.routing.candidate import Match
from vrata.proxy.routing.rewriting import Rewrite
from vrata.proxy.upstream.exchange import Exchange
from vrata.proxy.upstream.pool import EndpointPool
from vrata.wire.http1.head import ResponseHead

PooledDestination: TypeAlias = Destination[EndpointSelector[EndpointPool]]
PooledEndpoint: TypeAlias = Endpoint[EndpointPool]

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""Methods that may be sent again after a connection died under them (RFC 9110 §9.2.2)."""

MAX_REFUSALS = 3
"""How often a request is sent again at once because an upstream that speaks HTTP/2 has not acted on it."""

_CONTINUE = ResponseHead(100)

_log = structlog.get_logger("vrata.proxy.action")


class ForwardFactory(Protocol):
    """Makes the forwards of a route for which one attempt may not be all."""

    def forward(
        self,
        action: ForwardAction,
        request: ClientRequest,
        destination: PooledDestination,
        endpoint: PooledEndpoint,
        budget: float,
    ) -> Forward:
        """Return what forwards *request*; *budget* is its time in seconds."""
        ...


class ForwardAction(ForwardsWhereItIsTold):
    """What one route's ``forward`` says, ready for use."""

    def __init__(
        self,
        split: DestinationSplit[EndpointSelector[EndpointPool]],
        sweeper: DeadlineSweeper,
        *,
        request_timeout: float | None,
        rewrite: Rewrite | None,
        retrying: ForwardFactory | None = None,
        mirror: Mirror | None = None,
        grpc_timeout_cap: GrpcTimeoutCap | None = None,
    ) -> None:
        """*request_timeout* in seconds is the route's own budget; None leaves it to the destination."""
        self.loop = asyncio.get_running_loop()
        self._split = split
        self.sweeper = sweeper
        self._request_timeout = request_timeout
        self._rewrite = rewrite
        self._retrying = retrying
        self._mirror = mirror
        self._grpc_timeout_cap = grpc_timeout_cap

    def run(self, request: ClientRequest, match: Match[Any], content: bytes, end: bool) -> None:
        """Forward *request*, whose body begins with *content*."""
        split = self._split
        destinations = split.sessions
        if destinations is not None:
            SessionSearch(self, request, match, content, end).seek_destination(destinations)
            return
        destination = split.pick(request)
        if destination is None:
            self.forward(request, match, content, end, None, None)
            return
        selector = destination.selector
        endpoints = selector.sessions
        if endpoints is not None:
            SessionSearch(self, request, match, content, end).seek_endpoint(destination, endpoints)
        else:
            self.forward(request, match, content, end, destination, selector.pick(request))

    def forward(
        self,
        request: ClientRequest,
        match: Match[Any],
        content: bytes,
        end: bool,
        destination: PooledDestination | None,
        endpoint: PooledEndpoint | None,
    ) -> None:
        """Forward *request* to *endpoint* of *destination*, which were chosen; None: there is none."""
        if destination is None:
            request.fail(Failure(FailureClass.NO_DESTINATION, considered=self._split))
            return
        if endpoint is None:
            destination_id = destination.destination_id
            request.fail(Failure(FailureClass.NO_ENDPOINT, destination_id, considered=destination.selector))
            return
        head = request.head
        target, authority = head.target, head.authority
        rewrite = self._rewrite
        if rewrite is not None:
            target = rewrite.target(target, request.path, match)
            authority = rewrite.authority(authority, request.header, destination.host)
        # An HTTP/1.0 request may come without Host; the upstream must get one (RFC 9112 §3.2).
        emitted = request.upstream_head(target, authority or destination.authority)
        cap = self._grpc_timeout_cap
        if cap is not None:
            emitted = cap.in_head(emitted)
        # From here to the start of the forward nothing may fail: who is let in has to leave again.
        admission = None
        protection = destination.protection
        if protection is not None:
            admission = protection.admit()
            if admission is None:
                self._refuse(request, destination, protection)
                return
        if request.is_counted:
            request.forwarded_to(destination.destination_id, endpoint.identifier)
        budget = self._request_timeout if self._request_timeout is not None else destination.request_timeout
        call = None
        if head.is_grpc:
            call = GrpcCall(head, cap, budget)
            budget = call.budget
            request.limited_by_handler()
        retrying = self._retrying
        if retrying is None:
            forward = Forward(self, request, destination, endpoint, budget)
        else:
            forward = retrying.forward(self, request, destination, endpoint, budget)
        forward.admission = admission
        forward.call = call
        mirror = self._mirror
        if mirror is None:
            forward.start(emitted, content, end)
            return
        copy = mirror.copy(request, emitted)
        if not end:
            forward.copy = copy
        forward.start(emitted, content, end)
        if copy is not None:
            copy.add(content, end, request.trailers if end else b"")

    def _refuse(self, request: ClientRequest, destination: PooledDestination, protection: Protection) -> None:
        destination_id, reason = destination.destination_id, protection.refusal()
        _log.debug("request refused", destination=destination_id, reason=reason)
        request.fail(Failure(FailureClass.CIRCUIT_OPEN, destination_id, reason=reason, considered=destination.selector))


class Forward(RequestHandler, AttemptOwner):
    """One forwarded request. Implements RequestHandler towards the client and AttemptOwner towards the upstream."""

    __slots__ = (
        "_action",
        "_attempt_began",
        "_budget_deadline",
        "_continue_deadline",
        "_destination",
        "_endpoint",
        "_exchange",
        "_first",
        "_head_deadline",
        "_is_paused",
        "_refusals",
        "_replayable",
        "_request",
        "_response",
        "admission",
        "call",
        "copy",
        "deadline",
    )

    def __init__(
        self,
        action: ForwardAction,
        request: ClientRequest,
        destination: PooledDestination,
        endpoint: PooledEndpoint,
        budget: float,
    ) -> None:
        self._action = action
        self._request = request
        self._destination = destination
        self._endpoint = endpoint
        self._attempt_began = action.loop.time()
        self._budget_deadline = self._attempt_began + budget
        self._head_deadline = NEVER
        self._continue_deadline = NEVER
        self.deadline = self._budget_deadline
        self._exchange: Exchange | None = None
        self._response: ResponseHead | None = None
        self._first = (b"", b"", True)
        self._replayable = False
        self._is_paused = False
        """The client does not keep up."""
        self._refusals = 0
        """How often it was sent again because the upstream had not acted on it."""
        self.admission: Admission | None = None
        """The right to be under way, where the destination is protected."""
        self.call: GrpcCall | None = None
        """What there is to a request of gRPC beside; None for any other."""
        self.copy: Copy | None = None
        """What goes to the mirror, while its body is still to come."""

    def __repr__(self) -> str:
        return f"<Forward {self._request!r} to {self._destination.destination_id} {self._endpoint.identifier}>"

    def start(self, head: bytes, content: bytes, end: bool) -> None:
        """Make the attempt."""
        request = self._request
        self._first = (head, content, end)
        self._replayable = end and request.head.method in IDEMPOTENT
        self._action.sweeper.watch(self)
        request.handled_by(self)
        if request.head.expects_continue and not end:
            self._continue_deadline = self._action.loop.time() + self._destination.timeouts.expect_continue
            self._settle_deadline()
        self._attempt(fresh=False)

    def _attempt(self, *, fresh: bool) -> None:
        request_head = self._request.head
        exchange = self._exchange = Exchange(
            self, self._endpoint.pool, self._destination.timeouts, request_head.method, upgrade=request_head.upgrade
        )
        if self._is_paused:
            exchange.pause_response()
        head, content, end = self._first
        if self.call is not None:
            head = self.call.head_at(head, self._action.loop.time())
        chunked = request_head.chunked
        trailers = self._request.trailers if end else b""
        exchange.start(head, content, end, chunked=chunked, fresh=fresh, trailers=trailers)

    # -- the client's side --------------------------------------------------------------------------------------------

    def on_request_body(self, content: bytes, end: bool) -> None:
        """More of the request's content."""
        if self._continue_deadline != NEVER:
            self._continue_deadline = NEVER
            self._settle_deadline()
        exchange = self._exchange
        if exchange is not None:
            exchange.send(content, end, self._request.trailers if end else b"")
        copy = self.copy
        if copy is not None:
            copy.add(content, end, self._request.trailers if end else b"")

    def on_tunnel_data(self, data: bytes, end: bool) -> None:
        """Bytes of the client's side of the tunnel."""
        if self._exchange is not None:
            self._exchange.tunnel(data, end)

    def on_client_gone(self) -> None:
        """Nobody is there to answer: the upstream's work is cancelled."""
        self._finish()

    def pause_response(self) -> None:
        """The client does not keep up."""
        self._is_paused = True
        if self._exchange is not None:
            self._exchange.pause_response()

    def resume_response(self) -> None:
        """The client has caught up."""
        self._is_paused = False
        if self._exchange is not None:
            self._exchange.resume_response()

    # -- the upstream's side ------------------------------------------------------------------------------------------

    def on_request_sent(self) -> None:
        """Now the upstream owes a response head."""
        if self._response is None:
            self._head_deadline = self._action.loop.time() + self._destination.timeouts.response_header
            if self._head_deadline < self.deadline:
                self.deadline = self._head_deadline

    def on_informational(self, head: ResponseHead) -> None:
        """A 1xx response goes on to the client; a ``100`` ends the wait for it."""
        self._replayable = False
        if head.status == 100:
            self._continue_deadline = NEVER
            self._settle_deadline()
            if not self._request.head.expects_continue:
                return
        self._request.inform(head)

    def on_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The response begins."""
        self._response = head
        status = head.status
        call = self.call
        if call is None:
            self._judge(status)
        else:
            self._judge_call(call.begun(head, content, end, trailers), end)
        if end:
            self._finish()
        else:
            self._head_deadline = self._continue_deadline = NEVER
            if status == 101:
                # A tunnel lasts as long as it is used; the listener watches that.
                self._budget_deadline = NEVER
            self.deadline = self._budget_deadline
        self._request.start_response(head, content, end, trailers)

    def on_response_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The response goes on."""
        call = self.call
        if call is not None:
            self._judge_call(call.went_on(content, end, trailers), end)
        if end:
            self._finish()
        self._request.send_content(content, end, trailers)

    def on_tunnel_end(self) -> None:
        """The upstream has closed its side of the tunnel."""
        self._request.end_tunnel()

    def on_attempt_failed(self, failure_class: FailureClass, detail: str) -> None:
        """The attempt is over; it may have said nothing about the upstream, and then there is another one at once."""
        exchange = self._exchange
        if exchange is None or self._response is not None:
            self._attempt_over(failure_class, detail)
            return
        if exchange.unprocessed and not exchange.nothing_sent:
            # Whatever its method, the upstream has not acted on it. No connection with room is known to refuse.
            is_repeated, fresh = self._refusals < MAX_REFUSALS and self._rewind(), False
            self._refusals += 1
        else:
            # Others of the pool may have died as well, and a new connection has not.
            is_repeated = fresh = exchange.died_idle and self._replayable
        if is_repeated:
            self._head_deadline = NEVER
            self._settle_deadline()
            self._attempt(fresh=fresh)
        elif self._exchange is not None:
            self._attempt_over(failure_class, detail)

    def _rewind(self) -> bool:
        """Take the request from its beginning again; false when that is not at hand, or the request is over."""
        return self._first[2]

    def on_upstream_full(self) -> None:
        """The upstream does not keep up."""
        self._request.pause_body()

    def on_upstream_ready(self) -> None:
        """The upstream has caught up."""
        self._request.resume_body()

    # -- limits of time -----------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """One of the limits has passed: which one decides what happens."""
        now = self._action.loop.time()
        if now >= self._continue_deadline:
            # RFC 9110 §10.1.1 lets nobody wait for 100 for ever: let the client send its body.
            self._continue_deadline = NEVER
            self._settle_deadline()
            self._request.inform(_CONTINUE)
            return
        if self._response is not None and self._response.is_event_stream:
            # Such a response has no end by design; a budget for the whole exchange would cut every one of them.
            self._budget_deadline = self.deadline = NEVER
            return
        exchange = self._exchange
        if exchange is not None and self._response is None and exchange.waits_for_client:
            # Nothing that the upstream did, and nothing that another attempt would change.
            self._fail(FailureClass.TIMEOUT, "the rest of the request did not come in time")
        elif now >= self._head_deadline:
            self._attempt_over(FailureClass.TIMEOUT, "response header time limit passed")
        else:
            self._blame(FailureClass.TIMEOUT)
            self._fail(FailureClass.TIMEOUT, "request time limit passed")

    def _settle_deadline(self) -> None:
        # Not min(), which would make objects of the numbers.
        deadline = self._budget_deadline
        if self._head_deadline < deadline:
            deadline = self._head_deadline
        if self._continue_deadline < deadline:
            deadline = self._continue_deadline
        self.deadline = deadline

    def _attempt_over(self, failure_class: FailureClass, detail: str) -> None:
        """The attempt has failed for good; it may still have to be cancelled."""
        self._blame(failure_class)
        self._fail(failure_class, detail)

    def _blame(self, failure_class: FailureClass) -> None:
        """The present attempt came to *failure_class*, which counts for the endpoint if it had its chance.

        It had none when a limit of ours kept the request from it, and it is over when its response has begun: how that
        ends has been counted.
        """
        if self._is_undecided and self._exchange is not None and self._is_judged(failure_class):
            self._record(failure_class.status)

    @property
    def _is_undecided(self) -> bool:
        """Whether nothing that came of the response is its result: it has none, or is one of gRPC without a status."""
        return self._response is None or (self.call is not None and self.call.is_undecided)

    def _is_judged(self, failure_class: FailureClass) -> bool:
        """Whether a failure says something of the upstream, and not only of our limits or of the client."""
        exchange = self._exchange
        if failure_class is FailureClass.CIRCUIT_OPEN:
            return False
        call = self.call
        if (
            call is not None
            and (call.is_hurried or call.has_messages)
            and failure_class is FailureClass.TIMEOUT
            and self._action.loop.time() >= self._budget_deadline
        ):
            # A client in a hurry could have endpoints ejected, and open the circuit; and so could a stream that lasts.
            return False
        return exchange is None or not (exchange.waits_for_client or exchange.waits_for_place)

    def _judge(self, status: int) -> None:
        """The request has come to *status*, and so has the present attempt."""
        self._record(status)
        if self.admission is not None:
            self.admission.settle(status)

    def _judge_call(self, result: int, end: bool) -> None:
        """The call has come to *result*, or to none that is known."""
        if result != NO_RESULT:
            self._judge(result)
        elif not end and self.admission is not None and self.admission.is_probe:
            # A stream may last for hours, in which the circuit would let nobody else through.
            self.admission.settle(200)

    def _record(self, status: int) -> None:
        """The present attempt came to *status*."""
        streaks = self._endpoint.streaks
        if streaks is not None:
            streaks.record(status)

    def _fail(self, failure_class: FailureClass, detail: str) -> None:
        destination, endpoint = self._destination.destination_id, self._endpoint.identifier
        _log.info(
            "upstream failed", error=failure_class.label, detail=detail, destination=destination, endpoint=endpoint
        )
        reason = ""
        if failure_class is FailureClass.CIRCUIT_OPEN:
            reason = detail  # a limit of ours: nothing in it comes from the upstream
        elif self.admission is not None and self._is_undecided and self._is_judged(failure_class):
            self.admission.settle(failure_class.status)
        failure = Failure(failure_class, destination, endpoint, reason, self._considered(failure_class))
        self._finish()
        self._request.fail(failure)

    def _considered(self, failure_class: FailureClass) -> Considered:
        """What was considered for a request that fails now with *failure_class*."""
        attempts = self._earlier_attempts()
        if self._exchange is not None:  # else it fails between two attempts, and none came to this
            attempts = (*attempts, (self._endpoint.identifier, failure_class.message))
        return AttemptCensus(self._destination.selector, attempts)

    def _earlier_attempts(self) -> Sequence[tuple[str, str]]:
        """Endpoints (``host:port``) that were tried before this one, and what came of it."""
        return ()

    def _finish(self) -> None:
        self._action.sweeper.forget(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        admission, self.admission = self.admission, None
        if admission is not None:
            admission.end()
        if self.copy is not None:
            self.copy.abandon()
