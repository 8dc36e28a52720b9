"""What the stages of the proxy know of each other: the client's request, its handler, one attempt, and failures.

The stages (``listener``, ``routing``, ``destination``, ``endpoint``, ``upstream``, ``action``) import this module and
not one another; ``action.forward`` and ``compile`` put them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any, Protocol

from vrata.expressions import RequestVariables
from vrata.policy import grpc_status
from vrata.policy.header_rules import HeaderPatterns
from vrata.policy.session_cookie import SessionCookie
from vrata.proxy.meters import ListenerMeters
from vrata.proxy.seen_body import SeenBody
from vrata.proxy.tracing.trace import RequestTrace
from vrata.wire.http1.editing import SAME_LENGTH
from vrata.wire.http1.head import MAX_FIELDS, MAX_HEAD, RequestHead, ResponseHead, parse_response_head
from vrata.wire.http1.status import has_no_body

MAX_METADATA = 65536
"""Bytes of what is kept with a request (:meth:`ClientRequest.keep_metadata`)."""
_OWN_LINES = 128
"""Bytes of the status line and of Content-Length, which no answer is without."""


@unique
class FailureClass(Enum):
    """Why the proxy itself answers a request: the name clients see, and the status (docs/behaviour.md).

    The last is the code for clients of gRPC: that of the public table for the status of HTTP, but where the proxy knows
    better what has happened. A limit of time is their deadline, or the like of it, and no 504 of somebody on the way.
    """

    NO_ROUTE = ("no_route", 404, "no matching route", grpc_status.UNIMPLEMENTED)
    REQUEST_HEADERS_TOO_LARGE = (
        "request_headers_too_large",
        431,
        "request headers too large",
        grpc_status.RESOURCE_EXHAUSTED,
    )
    NO_DESTINATION = ("no_destination", 502, "no destination available", grpc_status.UNAVAILABLE)
    NO_ENDPOINT = ("no_endpoint", 502, "no healthy endpoint", grpc_status.UNAVAILABLE)
    CIRCUIT_OPEN = ("circuit_open", 503, "circuit breaker open", grpc_status.UNAVAILABLE)
    TIMEOUT = ("timeout", 504, "request timeout", grpc_status.DEADLINE_EXCEEDED)
    CONNECTION_REFUSED = ("connection_refused", 502, "upstream connection refused", grpc_status.UNAVAILABLE)
    CONNECTION_RESET = ("connection_reset", 502, "upstream connection reset", grpc_status.UNAVAILABLE)
    DNS_FAILURE = ("dns_failure", 502, "upstream host could not be resolved", grpc_status.UNAVAILABLE)
    TLS_HANDSHAKE_FAILURE = (
        "tls_handshake_failure",
        502,
        "upstream TLS handshake failed",
        grpc_status.UNAVAILABLE,
    )
    INTERNAL = ("internal_error", 500, "the proxy failed to handle the request", grpc_status.INTERNAL)

    @property
    def label(self) -> str:
        """The name that clients see."""
        return self.value[0]

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return self.value[1]

    @property
    def message(self) -> str:
        """One clause for clients, free of anything that came from the system or a peer."""
        return self.value[2]

    @property
    def grpc_code(self) -> int:
        """The code of the answer to a request of gRPC."""
        return self.value[3]


@dataclass(frozen=True)
class CensusEntry:
    """How one endpoint stood when a request failed."""

    endpoint: str
    """``host:port``."""
    verdict: str
    """``tried``, ``available``, ``unhealthy`` or ``ejected``."""
    reason: str = ""
    """Why, in words that come from Vrata alone."""
    destination: str = ""
    """Destination ID; empty where only one destination was considered."""


class Considered(Protocol):
    """What can say which endpoints were considered for a request, and why each was passed over."""

    def census(self) -> Iterable[CensusEntry]:
        """One entry for each of them."""
        ...


@dataclass(frozen=True)
class Failure:
    """One failed request: the class, where it happened as far as it got, and what was considered."""

    failure_class: FailureClass
    destination: str = ""
    """Destination ID, empty when none was chosen."""
    endpoint: str = ""
    """``host:port``, empty when none was chosen."""
    reason: str = ""
    """What of the class it was, such as the limit that was reached; in words that come from Vrata alone."""
    considered: Considered | None = None
    """Asked only where the listener's level of detail is ``full``."""


@dataclass(frozen=True)
class LocalResponse:
    """A whole response made by the proxy itself."""

    status: int
    fields: bytes
    """Header lines, each with its CRLF; without Content-Length, which follows from the body."""
    body: bytes

    @property
    def is_too_large(self) -> bool:
        """Its fields are more, or longer, than an upstream's may be: nobody gets it, and what is said instead is told.

        So it is with and without somebody who has to read the head on the way.
        """
        return len(self.fields) > MAX_HEAD - _OWN_LINES or self.fields.count(b"\n") >= MAX_FIELDS

    def head(self) -> ResponseHead:
        """The head of it, as if an upstream had sent it; there is one unless it :attr:`is_too_large`."""
        length = b"" if has_no_body(self.status) else b"content-length: %d\r\n" % len(self.body)
        head = parse_response_head(b"HTTP/1.1 %d \r\n%s%s\r\n" % (self.status, self.fields, length))
        assert head is not None
        return head


class OwnAnswers(Protocol):
    """What the proxy itself answers, at a listener's level of detail: JSON, or a status where gRPC is spoken."""

    def failure(self, failure: Failure, *, grpc: bool) -> LocalResponse:
        """The answer to a request that has failed; *grpc* tells that it is one of gRPC."""
        ...

    def trailers(self, failure: Failure) -> bytes:
        """The trailer lines, each with its CRLF, that end a response of gRPC whose request fails after it has begun."""
        ...

    def refusal(self, status: int, reason: str, *, grpc: bool) -> LocalResponse:
        """The answer to what is no acceptable request: *reason* is one clause without the peer's bytes in it."""
        ...


@dataclass(frozen=True)
class UpstreamTimeouts:
    """The limits of one attempt at an upstream, in seconds; infinite where the configuration says ``0s``."""

    connect: float = 5.0
    """Name resolution and TCP connect together."""
    dual_stack_fallback: float = 0.3
    """Head start of an address before the next one is tried beside it (RFC 8305)."""
    tls_handshake: float = 5.0
    """Connected to handshake completed."""
    response_header: float = 10.0
    """Request sent to response head received."""
    expect_continue: float = 1.0
    """How long the client's body waits for the upstream's ``100 Continue``."""
    idle_connection: float = 90.0
    """How long an unused connection is kept."""


class BodyNeeded(Exception):  # noqa: N818 - a demand, not an error
    """Whether an expression holds depends on the request's body, which was not read yet; ``args[0]`` is its text."""


class RequestView(RequestVariables, Protocol):
    """The request as matchers see it: as expressions do, and whether there is more to see."""

    @property
    def body_pending(self) -> bool:
        """There is a body, and it is not known yet whether and what expressions see of it."""
        ...


class RequestHandler(Protocol):
    """What the listener tells the action about a request it has begun."""

    def on_request_body(self, content: bytes, end: bool) -> None:
        """More of the request's content has arrived; *end* with the last of it."""
        ...

    def on_tunnel_data(self, data: bytes, end: bool) -> None:
        """Bytes of the client's side of a tunnel; *end* when the client has closed its side."""
        ...

    def on_client_gone(self) -> None:
        """The client went away before the response was complete; nothing may be sent to it any more."""
        ...

    def pause_response(self) -> None:
        """The client reads slower than we write: send nothing until :meth:`resume_response`."""
        ...

    def resume_response(self) -> None:
        """The client has caught up."""
        ...


class ResponseObserver(Protocol):
    """What sees the head of a request's final response before it goes out."""

    def on_response(self, head: ResponseHead) -> ResponseHead:
        """The response begins; return the head that it is to have. Called once at most."""
        ...

    def on_response_end(self, size: int, complete: bool) -> None:
        """The response is over after *size* bytes of content, *complete* or cut; or there was none. Called once."""
        ...


class ClientRequest(RequestView, Protocol):
    """One request of a client, and the way back to it."""

    meters: ListenerMeters | None
    """What counts the listener's traffic; None when nobody wants to know."""
    trace: RequestTrace | None
    """The trace that it belongs to, where the listener is traced and the context that goes on is not just what came."""
    is_counted: bool
    """Whether somebody wants to know what becomes of it."""
    claims: Mapping[str, Any] | None
    """The claims of the token that a middleware has verified; None without one."""

    @property
    def head(self) -> RequestHead:
        """The head as read from the wire, with what middlewares have edited since."""
        ...

    @property
    def peer(self) -> bytes:
        """The TCP peer's address in text."""
        ...

    @property
    def peer_port(self) -> int:
        """The TCP peer's port; 0 where a proxy before us speaks for the client (PROXY protocol)."""
        ...

    @property
    def listener_address(self) -> str:
        """``host:port`` of the listener, as it is bound."""
        ...

    @property
    def protocol(self) -> str:
        """The version of HTTP that the client speaks: ``HTTP/1.0``, ``HTTP/1.1`` or ``HTTP/2``."""
        ...

    @property
    def request_id(self) -> str:
        """What X-Request-Id says, upstream and in logs: the client's if it is sane, else made when first asked for."""
        ...

    @property
    def trailers(self) -> bytes:
        """The trailer lines that may go on, each with its CRLF; known when the content has ended, empty until then.

        What :meth:`edit` has removed from the head does not come back in them.
        """
        ...

    @property
    def metadata(self) -> Mapping[str, bytes]:
        """What services have said of it, by namespace: a message of ``google.protobuf.Struct`` each."""
        ...

    def keep_metadata(self, namespace: str, struct: bytes) -> bool:
        """Put *struct* to what is kept in *namespace*, whose members of the same names it replaces; False: too much."""
        ...

    def withhold_trailers(self, names: HeaderPatterns) -> None:
        """Pass no trailers on that are called *names*, hyphens for their underscores."""
        ...

    def session(self, cookie: SessionCookie, starts: bool = True) -> bytes:
        """The identifier of the session that *cookie* stands for; empty when there is none.

        With *starts* one begins where there is none, and its cookie goes with the final response, whoever makes that.
        """
        ...

    def upstream_head(self, target: bytes, authority: bytes) -> bytes:
        """The head that goes to the upstream, with *target* and *authority* in it."""
        ...

    def edit(
        self, removed: tuple[bytes, ...], added: bytes, length: int = SAME_LENGTH, query: bytes | None = None
    ) -> None:
        """From now on the head is without the fields *removed*, with the lines *added*, and for content of *length*.

        With a *query* its target has that one. See :func:`vrata.wire.http1.editing.edited_request`, and the errors
        raised there.
        """
        ...

    def observed_by(self, observer: ResponseObserver) -> None:
        """Let *observer* see the final response. The last of several comes first: it is further inside."""
        ...

    def seen(self, body: SeenBody) -> None:
        """Expressions see *body*."""
        ...

    def invite_body(self) -> None:
        """Tell the client, which waits for that, to send its body (RFC 9110 §10.1.1)."""
        ...

    def forwarded_to(self, destination_id: str, endpoint: str) -> None:
        """It goes to *endpoint* (``host:port``) of a destination. To be told only where it :attr:`is_counted`."""
        ...

    def attempt_failed(self, status: int, seconds: float, outcome: str) -> None:
        """An attempt came to *status*, or in words to *outcome*, and is followed by another one. As above."""
        ...

    def retried(self, number: int, destination_id: str, endpoint: str) -> None:
        """It goes to *endpoint* for the time *number*, counted from 1, beyond the first. As above."""
        ...

    def handled_by(self, handler: RequestHandler) -> None:
        """Send what follows of this request to *handler*."""
        ...

    def limited_by_handler(self) -> None:
        """Its handler limits its time, and a stream may last: the listener's limits of requests hold no more for it."""
        ...

    def respond(self, response: LocalResponse) -> None:
        """Answer with a response of our own and be done with the request."""
        ...

    def fail(self, failure: Failure) -> None:
        """Answer with the error body that the listener's detail level asks for, or cut a response that has begun."""
        ...

    def failed_with(self, failure: Failure) -> LocalResponse:
        """Count *failure*, and return what :meth:`fail` would answer; somebody else sends it."""
        ...

    def inform(self, head: ResponseHead) -> None:
        """Pass a 1xx response on."""
        ...

    def start_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """Begin the response with an upstream's *head* and the first of its content.

        *trailers* are lines, each with its CRLF, and come with the end.
        """
        ...

    def send_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """Go on with the response; *trailers* as above."""
        ...

    def end_tunnel(self) -> None:
        """The upstream has closed its side of the tunnel; the client may go on where its transport allows it."""
        ...

    def pause_body(self) -> None:
        """Read no more of the request's content until :meth:`resume_body`."""
        ...

    def resume_body(self) -> None:
        """Read on."""
        ...


class AttemptOwner(Protocol):
    """What one attempt at an upstream tells the action that made it."""

    def on_informational(self, head: ResponseHead) -> None:
        """A 1xx response arrived."""
        ...

    def on_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The final response has begun; *end* when it is complete already.

        *trailers* are the lines that may go on, each with its CRLF, and come with the end.
        """
        ...

    def on_response_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """More of the response; *trailers* as above."""
        ...

    def on_tunnel_end(self) -> None:
        """The upstream has closed its side of the tunnel, and still reads the client's."""
        ...

    def on_attempt_failed(self, failure_class: FailureClass, detail: str) -> None:
        """The attempt is over without a complete response; *detail* is for the log."""
        ...

    def on_request_sent(self) -> None:
        """The whole request is on its way: the wait for the response head begins."""
        ...

    def on_upstream_full(self) -> None:
        """The upstream reads slower than the client writes."""
        ...

    def on_upstream_ready(self) -> None:
        """The upstream has caught up."""
        ...
