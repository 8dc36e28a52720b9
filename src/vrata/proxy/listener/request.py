"""One request of a client, as the rest of the proxy sees it, whichever version of HTTP it came in."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from time import time
from typing import Any, Protocol

from vrata.expressions import PeerCertificate
from vrata.policy.header_rules import HeaderPatterns
from vrata.policy.session_cookie import SessionCookie
from vrata.proxy.contracts import (
    MAX_METADATA,
    ClientRequest,
    Failure,
    FailureClass,
    LocalResponse,
    OwnAnswers,
    RequestHandler,
    ResponseObserver,
)
from vrata.proxy.listener.hop import Hop
from vrata.proxy.listener.settings import ListenerSettings
from vrata.proxy.meters import UNMATCHED, DestinationMeter, ListenerMeters, RouteMeter
from vrata.proxy.observers import Observers
from vrata.proxy.seen_body import SeenBody
from vrata.proxy.tracing.trace import RequestTrace
from vrata.wire.http1.date import http_date
from vrata.wire.http1.editing import SAME_LENGTH, edited_request
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import RequestHead, ResponseHead
from vrata.wire.http1.media_type import looks_like_grpc
from vrata.wire.http1.status import STATUS_LINES, has_no_body
from vrata.wire.http1.target import first_parameters

_CONTINUE = ResponseHead(100)
_NOTHING: Mapping[str, bytes] = {}


class ServingConnection(Protocol):
    """What a request needs of the connection that it came in on, or of its stream where requests share one."""

    peer: bytes
    hop: Hop

    @property
    def is_http2(self) -> bool: ...  # noqa: D102

    @property
    def answers(self) -> OwnAnswers: ...  # noqa: D102
    def serves(self, request: DownstreamRequest) -> bool: ...  # noqa: D102
    def handled_by(self, handler: RequestHandler) -> None: ...  # noqa: D102
    def limited_by_handler(self) -> None: ...  # noqa: D102
    def respond(self, response: LocalResponse) -> None: ...  # noqa: D102
    def fail(self, failure: Failure) -> None: ...  # noqa: D102
    def inform(self, head: ResponseHead) -> None: ...  # noqa: D102
    def start_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None: ...  # noqa: D102
    def send_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None: ...  # noqa: D102
    def pause_reading(self) -> None: ...  # noqa: D102
    def resume_reading(self) -> None: ...  # noqa: D102
    def end_tunnel(self) -> None: ...  # noqa: D102


class DownstreamRequest(ClientRequest):
    """Implements :class:`vrata.proxy.contracts.ClientRequest` on a connection.

    Once the response has ended a connection serves the next request, so every call here first checks that this
    request is still the one being served: a late upstream event must never write into another response.
    """

    __slots__ = (
        "_began",
        "_body",
        "_client_ip",
        "_connection",
        "_head",
        "_invited",
        "_metadata",
        "_removed",
        "_sessions",
        "_status",
        "_trailers",
        "_withheld",
        "claims",
        "destination_meter",
        "is_counted",
        "meters",
        "observers",
        "response_lines",
        "route_meter",
        "trace",
    )

    def __init__(
        self, connection: ServingConnection, head: RequestHead, meters: ListenerMeters | None = None, now: float = 0.0
    ) -> None:
        self._connection = connection
        self._head = head
        self._trailers = b""
        self._removed: tuple[bytes, ...] = ()
        self._withheld: tuple[HeaderPatterns, ...] = ()
        self._client_ip = ""
        self._body: SeenBody | None = None
        self._invited = False
        self._sessions: dict[bytes, bytes] | None = None
        self._metadata: dict[str, bytes] | None = None
        self.response_lines = b""
        """What the final response gets beside its own fields: lines, each with its CRLF."""
        self.meters = meters
        self.is_counted = meters is not None
        """Whether somebody wants to know what becomes of it, and how much is sent."""
        self.claims: Mapping[str, Any] | None = None
        self.observers: Observers | None = None
        self.trace: RequestTrace | None = None
        if meters is not None:
            self._began = now
            self._status = 0
            self.route_meter: RouteMeter | None = None
            self.destination_meter: DestinationMeter | None = None

    def __repr__(self) -> str:
        return f"<DownstreamRequest {self._head.method.decode()} {self._head.target.decode()}>"

    @property
    def head(self) -> RequestHead:
        """As read from the wire, with what middlewares have edited since."""
        return self._head

    @property
    def method(self) -> str:
        """As received."""
        return self._head.method.decode("ascii")

    @property
    def host(self) -> str:
        """Authority without port, in lower case, without trailing dot."""
        return self._head.host

    @property
    def path(self) -> str:
        """Percent-decoded, without the query."""
        return self._head.path

    def header(self, name: str) -> str | None:
        """First value of the field *name*."""
        return self._head.header(name)

    def query_parameter(self, name: str) -> str | None:
        """First value of the parameter *name*."""
        return self._head.query_parameter(name)

    def header_values(self) -> Mapping[str, str]:
        """First value of every field."""
        head = self._head
        values: dict[str, str] = {}
        for line in head.lines:
            name = line[: line.index(b":")].decode("ascii").lower()
            if name not in values:
                value = head.header(name)
                if value is not None:
                    values[name] = value
        return values

    def query_parameters(self) -> Mapping[str, str]:
        """First value of every parameter."""
        return first_parameters(self._head.query)

    @property
    def body_pending(self) -> bool:
        """There is a body, and nobody has said yet what expressions see of it."""
        return self._body is None and self._head.has_body

    @property
    def body(self) -> bytes | None:
        """What expressions see of the body."""
        return self._body.content or None if self._body is not None else None

    @property
    def body_json(self) -> Mapping[str, Any] | None:
        """The body as a JSON object."""
        return self._body.json(self._head.header("content-type")) if self._body is not None else None

    def seen(self, body: SeenBody) -> None:
        """Expressions see *body*."""
        self._body = body

    def invite_body(self) -> None:
        """Tell the client, which waits for that, to send its body (RFC 9110 §10.1.1)."""
        self._invited = True
        if self._connection.serves(self):
            self._connection.inform(_CONTINUE)

    @property
    def certificate(self) -> PeerCertificate | None:
        """The peer's verified certificate."""
        return self._connection.hop.certificate

    @property
    def peer(self) -> bytes:
        """The TCP peer's address in text."""
        return self._connection.peer

    @property
    def peer_port(self) -> int:
        """The TCP peer's port; 0 where it is not known."""
        return self._connection.hop.peer_port

    @property
    def listener_address(self) -> str:
        """``host:port`` of the listener."""
        return self._connection.hop.address

    @property
    def protocol(self) -> str:
        """The version of HTTP that the client speaks."""
        if self._connection.is_http2:
            return "HTTP/2"
        return "HTTP/1.1" if self._head.minor else "HTTP/1.0"

    @property
    def scheme(self) -> str:
        """What a trusted proxy says that its client used, else that of the connection."""
        return self._connection.hop.scheme_of(self._head).decode("ascii")

    @property
    def client_ip(self) -> str:
        """The address of the client: the peer's, unless that is a trusted proxy."""
        if not self._client_ip:
            self._client_ip = self._connection.hop.client_of(self._head)
        return self._client_ip

    @property
    def request_id(self) -> str:
        """What X-Request-Id says, upstream and in logs."""
        return self._head.request_id.decode("ascii")

    @property
    def trailers(self) -> bytes:
        """The trailer lines that may go on; empty until the content has ended."""
        if self._trailers and (self._removed or self._withheld):
            return self._kept_trailers()
        return self._trailers

    def _kept_trailers(self) -> bytes:
        removed = {name.replace(b"_", b"-") for name in self._removed}
        kept: list[bytes] = []
        for line in self._trailers.splitlines(keepends=True):
            name = line[: line.index(b":")].lower().replace(b"_", b"-")
            if name not in removed and not any(patterns.match(name) for patterns in self._withheld):
                kept.append(line)
        return b"".join(kept)

    @property
    def metadata(self) -> Mapping[str, bytes]:
        """What services have said of it."""
        return self._metadata if self._metadata is not None else _NOTHING

    def keep_metadata(self, namespace: str, struct: bytes) -> bool:
        """Put *struct* to what is kept in *namespace*."""
        kept = self._metadata
        if kept is None:
            kept = self._metadata = {}
        if sum(map(len, kept.values())) + len(struct) > MAX_METADATA:
            return False
        # Of messages one after the other the members of the last one count.
        kept[namespace] = kept.get(namespace, b"") + struct
        return True

    def withhold_trailers(self, names: HeaderPatterns) -> None:
        """Pass no trailers on that are called so."""
        self._withheld += (names,)

    def ended_with(self, trailers: bytes) -> None:
        """The content has ended, with *trailers*."""
        self._trailers = trailers

    def session(self, cookie: SessionCookie, starts: bool = True) -> bytes:
        """The identifier of the session, the client's if it has one, else one of 32 hexadecimal digits."""
        identifier = cookie.value(self._head.values(b"cookie"))
        if identifier or not starts:
            return identifier
        if self._sessions is None:
            self._sessions = {}
        identifier = self._sessions.get(cookie.name, b"")
        if not identifier:
            self._sessions[cookie.name] = identifier = secrets.token_hex(16).encode("ascii")
            self.response_lines += cookie.line(identifier, secure=self.scheme == "https")
        return identifier

    def upstream_head(self, target: bytes, authority: bytes) -> bytes:
        """The head that goes to the upstream."""
        head, trace = self._head, self.trace
        hop = self._connection.hop
        if trace is None:
            return hop.upstream_head(head, target, authority)
        if head.values(b"traceparent") or head.values(b"tracestate"):
            return trace.in_head(hop.upstream_head(head, target, authority))
        return hop.upstream_head(head, target, authority, trace.line)

    def edit(
        self, removed: tuple[bytes, ...], added: bytes, length: int = SAME_LENGTH, query: bytes | None = None
    ) -> None:
        """From now on the head is another one."""
        self._head = edited_request(self._head, removed, added, length, query)
        self._removed += removed

    def observed_by(self, observer: ResponseObserver) -> None:
        """Let *observer* see the final response."""
        if self.observers is None:
            self.observers = Observers(observer)
            self.is_counted = True
        else:
            self.observers.add(observer)

    def handled_by(self, handler: RequestHandler) -> None:
        """Send what follows of this request to *handler*."""
        if self._connection.serves(self):
            self._connection.handled_by(handler)

    def limited_by_handler(self) -> None:
        """The time that the client has for it is its handler's business."""
        if self._connection.serves(self):
            self._connection.limited_by_handler()

    def respond(self, response: LocalResponse) -> None:
        """Answer with a response of our own."""
        if not self._connection.serves(self):
            return
        if response.is_too_large:
            self._connection.fail(Failure(FailureClass.INTERNAL))
        else:
            self._connection.respond(response)

    def fail(self, failure: Failure) -> None:
        """Answer with an error body, or cut a response that has begun."""
        if self._connection.serves(self):
            self._connection.fail(failure)

    def failed_with(self, failure: Failure) -> LocalResponse:
        """Count *failure*, and return the answer to it."""
        self.failed(failure.failure_class.label)
        return self._connection.answers.failure(failure, grpc=self._head.is_grpc)

    def inform(self, head: ResponseHead) -> None:
        """Pass a 1xx response on, but for a 100 where the client was told to send its body already."""
        if self._connection.serves(self) and not (self._invited and head.status == 100):
            self._connection.inform(head)

    def start_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """Begin the response."""
        if self._connection.serves(self):
            if trailers and self.trace is not None:
                self.trace.ended_with(trailers)
            self._connection.start_response(head, content, end, trailers)

    def send_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """Go on with the response."""
        if self._connection.serves(self):
            if trailers and self.trace is not None:
                self.trace.ended_with(trailers)
            self._connection.send_content(content, end, trailers)

    def end_tunnel(self) -> None:
        """The upstream has closed its side of the tunnel."""
        if self._connection.serves(self):
            self._connection.end_tunnel()

    def pause_body(self) -> None:
        """Read no more of the request's content for now."""
        if self._connection.serves(self):
            self._connection.pause_reading()

    def resume_body(self) -> None:
        """Read on."""
        if self._connection.serves(self):
            self._connection.resume_reading()

    # -- what it is answered with by us -------------------------------------------------------------------------------

    def answer_head(self, response: LocalResponse, settings: ListenerSettings) -> bytes:
        """The head of *response* without what is said of the connection, and without its last line."""
        parts = [STATUS_LINES[response.status], response.fields, self.response_lines, b"date: ", http_date()]
        if not has_no_body(response.status):
            parts.append(b"\r\ncontent-length: %d" % len(response.body))
        server = settings.server
        if server is not None:
            parts += (b"\r\nserver: ", server)
        parts.append(b"\r\n")
        return b"".join(parts)

    def refusal_answer(self, error: MalformedMessage, settings: ListenerSettings, text: bytes) -> LocalResponse:
        """What the client is told when the request is not acceptable; *text* is its head where that is the reason."""
        is_grpc = self._head.is_grpc or looks_like_grpc(text)
        if error.status == FailureClass.REQUEST_HEADERS_TOO_LARGE.status:
            self.failed(FailureClass.REQUEST_HEADERS_TOO_LARGE.label)
            return settings.answers.failure(Failure(FailureClass.REQUEST_HEADERS_TOO_LARGE), grpc=is_grpc)
        return settings.answers.refusal(error.status, error.reason, grpc=is_grpc)

    # -- what is counted of it; from read() on these are called only where somebody wants to know ----------------------

    def forwarded_to(self, destination_id: str, endpoint: str) -> None:
        """It goes to *endpoint* of a destination."""
        if self.meters is not None:
            self.destination_meter = self.meters.forwarded(destination_id, endpoint)
        if self.trace is not None:
            self.trace.forwarded_to(destination_id, endpoint)

    def attempt_failed(self, status: int, seconds: float, outcome: str) -> None:
        """An attempt came to *status*, or in words to *outcome*, and is followed by another one."""
        if self.trace is not None:
            self.trace.attempt_failed(outcome)
        if self.meters is not None and self.destination_meter is not None:
            self.destination_meter.attempt_failed(status, seconds)

    def retried(self, number: int, destination_id: str, endpoint: str) -> None:
        """It goes to *endpoint* for another time."""
        if self.trace is not None:
            self.trace.forwarded_to(destination_id, endpoint)
        meters = self.meters
        if meters is None:
            return
        if self.route_meter is not None:
            self.route_meter.retried(number)
        if self.destination_meter is not None:
            self.destination_meter = meters.forwarded_again(self.destination_meter, destination_id, endpoint)

    def refused(self, status: int) -> None:
        """It is no acceptable request, and will be answered with *status*."""
        if self.meters is None:
            return
        if self.route_meter is None:
            self.route_meter = self.meters.matched(UNMATCHED, 0)
        if status != FailureClass.REQUEST_HEADERS_TOO_LARGE.status:
            self.meters.failed("bad_request")

    def failed(self, error: str) -> None:
        """The proxy itself fails it; *error* is the name that its answer gives."""
        if self.meters is not None:
            self.meters.failed(error)
        if self.trace is not None:
            self.trace.failed(error)

    def read(self, size: int) -> None:
        """More of its content has come."""
        if self.meters is not None and self.route_meter is not None:
            self.route_meter.request_bytes += size

    def answered(self, status: int, size: int) -> None:
        """Its final response has begun, with *size* bytes of content."""
        if self.observers is not None:
            self.observers.sent(size)
        if self.meters is None:
            return
        self._status = status
        route_meter = self.route_meter
        if route_meter is not None:
            route_meter.response_bytes += size

    def wrote(self, size: int) -> None:
        """More of the response's content was sent."""
        if self.observers is not None:
            self.observers.sent(size)
        if self.meters is not None and self.route_meter is not None:
            self.route_meter.response_bytes += size

    def ended(self, now: float, *, complete: bool) -> None:
        """The response is *complete*, or there will be none, or no more of it."""
        if self.meters is not None:
            status, seconds = self._status, now - self._began
            route_meter, destination_meter = self.route_meter, self.destination_meter
            if route_meter is not None:
                route_meter.ended(self._head.method, status, seconds)
            if destination_meter is not None:
                destination_meter.ended(status, seconds)
            trace = self.trace
            if trace is not None and status and trace.is_recorded:
                self._exemplify(trace.trace_id, seconds)
        observers = self.observers
        if observers is not None:
            observers.ended(complete=complete)

    def _exemplify(self, trace_id: str, seconds: float) -> None:
        """Note it as an example of what took as long."""
        now = time()
        if self.route_meter is not None:
            self.route_meter.exemplify(self._head.method, seconds, trace_id, now)
        if self.destination_meter is not None:
            self.destination_meter.exemplify(seconds, trace_id, now)
