"""One stream of a client's HTTP/2 connection: a request and its response, or a tunnel (RFC 9113 §8, RFC 8441).

To its request a stream is what a connection is to one of HTTP/1. Its limits of time are numbers, which the connection
looks at when the earliest of them is due.
"""

from __future__ import annotations

import structlog

from vrata.net.deadlines import NEVER
from vrata.proxy.contracts import Failure, FailureClass, LocalResponse, OwnAnswers, RequestHandler
from vrata.proxy.listener.hop import Hop
from vrata.proxy.listener.owner import ConnectionOwner
from vrata.proxy.listener.request import DownstreamRequest, ServingConnection
from vrata.proxy.listener.settings import ListenerSettings
from vrata.proxy.listener.stream_carrier import StreamCarrier
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import RequestHead, ResponseHead
from vrata.wire.http1.status import has_no_body
from vrata.wire.http2.errors import CANCEL, INTERNAL_ERROR
from vrata.wire.http2.session import Session

INTERIM_UNTAKEN = 8
"""Interim responses to a request of a client that takes nothing."""

SHARES = 64
"""Who takes less than one of so many parts of what waits for it does not take it: all that waits is kept here."""

_log = structlog.get_logger("vrata.proxy.listener")


class Http2Stream(ServingConnection):
    """Implements what :class:`DownstreamRequest` needs of its connection."""

    __slots__ = (
        "_bodiless",
        "_body_complete",
        "_body_deadline",
        "_carrier",
        "_early",
        "_handler",
        "_idle_deadline",
        "_informed",
        "_input_ended",
        "_is_paused",
        "_output_ended",
        "_owner",
        "_request",
        "_response",
        "_response_expiry",
        "_response_paused",
        "_response_started",
        "_session",
        "_settings",
        "_stall_deadline",
        "_taken",
        "_tunnel",
        "_tunnel_wanted",
        "_withheld",
        "_written",
        "hop",
        "number",
        "peer",
    )

    def __init__(
        self,
        carrier: StreamCarrier,
        owner: ConnectionOwner,
        session: Session,
        number: int,
        settings: ListenerSettings,
        hop: Hop,
    ) -> None:
        """*number* is the stream's on *session*; *settings* are those in force when its request came."""
        self._carrier = carrier
        self._owner = owner
        self._session = session
        self._settings = settings
        self.number = number
        self.hop = hop
        self.peer = hop.peer
        self._request: DownstreamRequest | None = None
        self._handler: RequestHandler | None = None
        # What comes in.
        self._body_complete = True
        self._body_deadline = NEVER
        self._is_paused = False
        self._withheld = 0
        """Bytes that came and are not dealt with, so that the client gets no leave to send as many more."""
        # What goes out.
        self._bodiless = False
        self._informed = 0
        """Interim responses so far."""
        self._response: ResponseHead | None = None
        self._response_started = False
        self._response_paused = False
        self._response_expiry = NEVER
        self._output_ended = False
        self._written = 0
        """Bytes of content of the response so far."""
        self._taken = 0
        """How many of these had gone out when that was last asked."""
        self._stall_deadline = NEVER
        self._input_ended = False
        # The tunnel.
        self._tunnel_wanted = False
        self._tunnel = False
        self._idle_deadline = NEVER
        self._early: list[bytes] | None = None
        """What the client has sent before there was a tunnel."""

    def __repr__(self) -> str:
        if self._request is None:
            state = "answered"
        else:
            state = "responding" if self._response_started else "waiting for a response"
        return f"<Http2Stream {self.number} {state}>"

    @property
    def expects_input(self) -> bool:
        """The client has not sent everything yet that is still of interest."""
        return self._request is not None and not self._input_ended

    @property
    def answers(self) -> OwnAnswers:
        """What clients are told of failures."""
        return self._settings.answers

    @property
    def is_http2(self) -> bool:
        """Whatever its request has come in."""
        return True

    def serves(self, request: DownstreamRequest) -> bool:
        """True until the response has ended."""
        return self._request is request

    # -- what comes in ------------------------------------------------------------------------------------------------

    def begin(self, head: RequestHead, content: bytes, end: bool, now: float) -> None:
        """The request has come, with the first of its *content*; *end* if that is all."""
        settings = self._settings
        request = self._request = DownstreamRequest(self, head, settings.meters, now)
        if settings.tracer is not None:
            settings.tracer.begin(request, "2")
        self._bodiless = head.method == b"HEAD"
        self._input_ended = end
        if head.upgrade:
            self._tunnel_wanted = True
            self._early = [content] if content else []
            self._owner.handle(request, b"", True)
            return
        if head.has_body and not end:
            self._body_complete = False
            self._body_deadline = now + settings.timeouts.client_request
            self._carrier.due(self._body_deadline)
        self._owner.handle(request, content, self._body_complete)
        if content:
            self._dealt_with(len(content))

    def refuse(self, error: MalformedMessage, text: bytes, end: bool, now: float) -> None:
        """Answer a request whose head, *text*, is not acceptable; *end* if nothing follows it."""
        _log.info("request refused", peer=self.peer.decode(), status=error.status, reason=error.reason)
        request = self._request = DownstreamRequest(self, RequestHead.unreadable(), self._settings.meters, now)
        request.refused(error.status)
        self._bodiless = text.startswith(b"HEAD ")
        self._input_ended = end
        self.respond(request.refusal_answer(error, self._settings, text))

    def content(self, content: bytes, end: bool) -> None:
        """More of the request's content, or of the client's side of the tunnel."""
        request = self._request
        self._input_ended = end
        if request is None:
            self._session.consumed(self.number, len(content))
            self._carrier.touched()
            return
        if self._tunnel_wanted:
            self._tunnel_data(content, end)
            return
        if not self._body_complete:
            if end:
                self._input_complete()
            if request.meters is not None:
                request.read(len(content))
            if self._handler is not None and (content or end):
                self._handler.on_request_body(content, end)
        if content:
            self._dealt_with(len(content))

    def trailers(self, lines: bytes) -> None:
        """The request's content has ended with trailers."""
        request = self._request
        self._input_ended = True
        if request is None or self._body_complete:
            return
        if lines:
            request.ended_with(lines)
        self._input_complete()
        if self._handler is not None:
            self._handler.on_request_body(b"", True)

    def gone(self, now: float) -> None:
        """The client, or the connection, has given the stream up."""
        request, self._request = self._request, None
        handler, self._handler = self._handler, None
        if request is None:
            return
        self._owner.request_ended()
        if request.is_counted:
            request.ended(now, complete=False)
        if handler is not None:
            handler.on_client_gone()

    def broken(self, now: float) -> None:
        """The client has broken a rule, so the stream is over."""
        request = self._request
        if request is not None and not self._response_started:
            request.failed("bad_request")
        self.gone(now)

    def pause_reading(self) -> None:
        """Let the client send no more than it has leave for."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Let it go on."""
        self._is_paused = False
        if self._withheld:
            size, self._withheld = self._withheld, 0
            self._dealt_with(size)

    def handled_by(self, handler: RequestHandler) -> None:
        """Body content and the client's disappearance go to *handler*."""
        self._handler = handler

    def limited_by_handler(self) -> None:
        """The client has its time from whoever handles the request; but it has to take what it is sent."""
        self._body_deadline = NEVER

    def _input_complete(self) -> None:
        self._body_complete = True
        self._body_deadline = NEVER

    def _dealt_with(self, size: int) -> None:
        if self._is_paused:
            self._withheld += size
        else:
            self._session.consumed(self.number, size)
            self._carrier.touched()

    def _tunnel_data(self, data: bytes, end: bool) -> None:
        if not self._tunnel:
            # There is no tunnel yet, and the client gets no leave to send more than it was given for a start.
            assert self._early is not None
            if data:
                self._early.append(data)
            return
        self._idle_deadline = self._carrier.time() + self._settings.timeouts.idle_between_requests
        request = self._request
        if request is not None and request.meters is not None:
            request.read(len(data))
        if self._handler is not None:
            self._handler.on_tunnel_data(data, end)
        if data:
            self._dealt_with(len(data))

    def _open_tunnel(self) -> None:
        self._tunnel = True
        self._response_expiry = NEVER
        self._idle_deadline = self._carrier.time() + self._settings.timeouts.idle_between_requests
        self._carrier.due(self._idle_deadline)
        early, self._early = self._early, None
        if early or self._input_ended:
            self._tunnel_data(b"".join(early or ()), self._input_ended)

    # -- what goes out ------------------------------------------------------------------------------------------------

    def respond(self, response: LocalResponse) -> None:
        """Send a whole response of our own."""
        request = self._request
        assert request is not None
        if self._opens_tunnel(response.status):
            self._fail_upgrade()
            return
        if request.observers is not None:
            self.start_response(response.head(), response.body, True)
            return
        head = request.answer_head(response, self._settings) + b"\r\n"
        body = b"" if self._bodiless or has_no_body(response.status) else response.body
        if request.is_counted:
            request.answered(response.status, len(body))
        self._begin_response()
        self._session.respond(self.number, head, not body)
        if body:
            self._send(body, True)
        self._response_ended()

    def fail(self, failure: Failure) -> None:
        """Send the error body for *failure*; a response that has begun is cut instead, so that it cannot look whole."""
        request = self._request
        assert request is not None
        if self._response_started:
            request.failed(failure.failure_class.label)
        else:
            answer = request.failed_with(failure)
            if not self._opens_tunnel(answer.status):
                self.respond(answer)
                return
        if request.head.is_grpc and self._may_end_with_status():
            trailers = self._settings.answers.trailers(failure)
            if request.trace is not None:
                request.trace.ended_with(trailers)
            self._send(b"", True, trailers)
            self._response_ended()
            return
        # RFC 8441 §5: what is a reset on TCP is a stream that is cancelled.
        self._session.reset(self.number, CANCEL if self._tunnel else INTERNAL_ERROR)
        self._handler = None
        self._over(complete=False)

    def _may_end_with_status(self) -> bool:
        """Whether a response that has begun is of gRPC: no client takes that for whole whose status is not OK."""
        response = self._response
        return response is not None and response.is_grpc and response.content_length < 0 and not self._output_ended

    def inform(self, head: ResponseHead) -> None:
        """Pass a 1xx head on; who takes nothing gets no more than a few, since no window stops them."""
        self._informed += 1
        if not self._response_started and (self._informed <= INTERIM_UNTAKEN or not self._carrier.holds_up()):
            self._session.inform(self.number, head.emit(chunked=False, close=False, keep_alive_1_0=False, server=None))
            self._carrier.touched()

    def start_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """Send the head and the first of the content."""
        request = self._request
        assert request is not None
        status = head.status
        if status != 101 and self._opens_tunnel(status):
            self._fail_upgrade()
            return
        if request.observers is not None:
            head = request.observers.begun(head)
        if status != 101 and not head.body_expected(request.head.method):
            self._bodiless = True
            content = trailers = b""
        self._response = head
        if request.is_counted:
            request.answered(status, len(content))
        data = head.emit(chunked=False, close=False, keep_alive_1_0=False, server=self._settings.server)
        if request.response_lines:
            data = data[:-2] + request.response_lines + b"\r\n"
        self._begin_response()
        if end and not content and not trailers:
            self._output_ended = True
            self._session.respond(self.number, data, True)
        else:
            self._session.respond(self.number, data, False)
            if content or end:
                self._send(content, end, trailers)
            else:
                self._carrier.touched()
        if status == 101:
            self._open_tunnel()
        elif end:
            self._response_ended()

    def send_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """Send more of the response."""
        if self._tunnel:
            self._idle_deadline = self._carrier.time() + self._settings.timeouts.idle_between_requests
        if self._bodiless:
            content = trailers = b""
        if content:
            request = self._request
            if request is not None and request.is_counted:
                request.wrote(len(content))
        if (content or end) and not self._output_ended:
            self._send(content, end, trailers)
        if end:
            self._response_ended()

    def end_tunnel(self) -> None:
        """The upstream has closed its side of the tunnel: the client is told, and may go on sending."""
        if not self._output_ended:
            self._send(b"", True)

    def drained(self) -> None:
        """The client has taken most of what waited for it."""
        if self._response_paused:
            self._response_paused = False
            if self._request is not None:
                self._stall_deadline = NEVER  # else the rest has to be taken as well
            if self._handler is not None:
                self._handler.resume_response()

    def _opens_tunnel(self, status: int) -> bool:
        """Whether a client that wants a tunnel would take *status* for one (RFC 8441 §5, RFC 9110 §9.3.6)."""
        return self._tunnel_wanted and 200 <= status < 300

    def _fail_upgrade(self) -> None:
        """Who was asked to switch protocols has answered with something else, and successfully."""
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.on_client_gone()
        self.fail(Failure(FailureClass.CONNECTION_RESET, reason="no switch to WebSocket"))

    def _begin_response(self) -> None:
        self._response_started = True
        self._response_expiry = self._carrier.time() + self._settings.timeouts.client_response
        self._carrier.due(self._response_expiry)

    def _send(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        self._output_ended = end
        self._written += len(content)
        is_full = self._session.send(self.number, content, end, trailers)
        self._carrier.touched()
        if is_full and not self._response_paused:
            self._response_paused = True
            self._carrier.stalled(self.number)
            if self._handler is not None and not end:
                self._handler.pause_response()

    def _response_ended(self) -> None:
        if not self._input_ended:
            self._session.leave_input(self.number)
        self._handler = None
        self._over(complete=True)

    def _over(self, *, complete: bool) -> None:
        request, self._request = self._request, None
        if request is not None:
            if request.is_counted:
                request.ended(self._carrier.time(), complete=complete)
            self._owner.request_ended()
        self._carrier.answered(self.number)
        self._carrier.touched()

    # -- limits of time -----------------------------------------------------------------------------------------------

    def limit(self, now: float) -> float:
        """Until when the client has to do what it is its turn to do."""
        limit = NEVER
        if self._tunnel:
            if self._stall_deadline == NEVER:
                limit = self._idle_deadline
        elif self._handler is None and not self._response_started:
            limit = now  # whoever was to answer has left it without an answer
        elif self._request is not None:
            limit = self._body_deadline
            if self._response_started and self._response_expiry < limit:
                response = self._response
                if response is not None and (response.is_event_stream or response.is_grpc):
                    self._response_expiry = NEVER  # such a response is not meant to end, or ends by its own deadline
                else:
                    limit = self._response_expiry
        else:
            limit = self._response_expiry
        if self._stall_deadline != NEVER:
            unsent = self._session.unsent(self.number)
            taken = self._written - unsent - self._taken
            if taken > 0 and taken * SHARES >= unsent:
                self._begin_stall(now)
            if self._stall_deadline < limit:
                limit = self._stall_deadline
        return limit

    def expire(self, now: float) -> None:
        """A limit has passed."""
        if self._tunnel and self._stall_deadline == NEVER:
            handler, self._handler = self._handler, None
            if handler is not None:
                handler.on_client_gone()
            self.send_content(b"", True)
            return
        _log.info("client timed out", peer=self.peer.decode(), connection=repr(self))
        self._session.reset(self.number, CANCEL)
        self._carrier.answered(self.number)
        self._carrier.touched()
        self.gone(now)

    def wait_for_client(self, now: float) -> None:
        """The client does not keep up, which it may do for as long as it takes something now and then."""
        if self._stall_deadline == NEVER:
            self._begin_stall(now)

    @property
    def taken_by(self) -> float:
        """Until when a response that is complete has to be taken."""
        return self._response_expiry

    def _begin_stall(self, now: float) -> None:
        self._taken = self._written - self._session.unsent(self.number)
        self._stall_deadline = now + self._settings.timeouts.idle_between_requests
        self._carrier.due(self._stall_deadline)
