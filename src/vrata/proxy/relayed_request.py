"""A request as what is inside of a middleware sees it, where that middleware has a say in bodies or in the response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vrata.expressions import PeerCertificate
from vrata.policy.header_rules import HeaderPatterns
from vrata.policy.session_cookie import SessionCookie
from vrata.proxy.contracts import (
    ClientRequest,
    Failure,
    FailureClass,
    LocalResponse,
    RequestHandler,
    ResponseObserver,
)
from vrata.proxy.observers import Observers
from vrata.proxy.seen_body import SeenBody
from vrata.wire.http1.editing import SAME_LENGTH
from vrata.wire.http1.head import RequestHead, ResponseHead


class RelayedRequest(ClientRequest, RequestHandler):
    """Passes everything on, from the inside to the *outer* request and from there to the handler inside.

    Whoever inherits intervenes where it wants to: :meth:`relay_response`, :meth:`relay_content` and
    :meth:`relay_failure` get what comes from the inside, the methods of RequestHandler what comes from the client. A
    response that the proxy makes inside, a rejection or an error, comes out like one of an upstream.
    """

    __slots__ = ("_observers", "claims", "handler", "has_response", "is_counted", "meters", "outer", "trace")

    def __init__(self, outer: ClientRequest) -> None:
        self.outer = outer
        self.meters = outer.meters
        self.trace = outer.trace
        self.is_counted = outer.is_counted
        self.claims = outer.claims
        self.handler: RequestHandler | None = None
        """What is inside listens with this, until its response has ended. It knows this as well, and nothing of a
        request is to be left to the garbage collector."""
        self.has_response = False
        """The final response has begun inside."""
        self._observers: Observers | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.outer!r}>"

    # -- what the request is ------------------------------------------------------------------------------------------

    @property
    def head(self) -> RequestHead:  # noqa: D102
        return self.outer.head

    @property
    def method(self) -> str:  # noqa: D102
        return self.outer.method

    @property
    def host(self) -> str:  # noqa: D102
        return self.outer.host

    @property
    def path(self) -> str:  # noqa: D102
        return self.outer.path

    @property
    def scheme(self) -> str:  # noqa: D102
        return self.outer.scheme

    @property
    def client_ip(self) -> str:  # noqa: D102
        return self.outer.client_ip

    @property
    def peer(self) -> bytes:  # noqa: D102
        return self.outer.peer

    @property
    def peer_port(self) -> int:  # noqa: D102
        return self.outer.peer_port

    @property
    def listener_address(self) -> str:  # noqa: D102
        return self.outer.listener_address

    @property
    def protocol(self) -> str:  # noqa: D102
        return self.outer.protocol

    @property
    def certificate(self) -> PeerCertificate | None:  # noqa: D102
        return self.outer.certificate

    @property
    def request_id(self) -> str:  # noqa: D102
        return self.outer.request_id

    @property
    def trailers(self) -> bytes:  # noqa: D102
        return self.outer.trailers

    @property
    def metadata(self) -> Mapping[str, bytes]:  # noqa: D102
        return self.outer.metadata

    def keep_metadata(self, namespace: str, struct: bytes) -> bool:  # noqa: D102
        return self.outer.keep_metadata(namespace, struct)

    def withhold_trailers(self, names: HeaderPatterns) -> None:  # noqa: D102
        self.outer.withhold_trailers(names)

    def header(self, name: str) -> str | None:  # noqa: D102
        return self.outer.header(name)

    def query_parameter(self, name: str) -> str | None:  # noqa: D102
        return self.outer.query_parameter(name)

    def header_values(self) -> Mapping[str, str]:  # noqa: D102
        return self.outer.header_values()

    def query_parameters(self) -> Mapping[str, str]:  # noqa: D102
        return self.outer.query_parameters()

    @property
    def body_pending(self) -> bool:  # noqa: D102
        return self.outer.body_pending

    @property
    def body(self) -> bytes | None:  # noqa: D102
        return self.outer.body

    @property
    def body_json(self) -> Mapping[str, Any] | None:  # noqa: D102
        return self.outer.body_json

    def seen(self, body: SeenBody) -> None:  # noqa: D102
        self.outer.seen(body)

    def edit(  # noqa: D102
        self, removed: tuple[bytes, ...], added: bytes, length: int = SAME_LENGTH, query: bytes | None = None
    ) -> None:
        self.outer.edit(removed, added, length, query)

    def session(self, cookie: SessionCookie, starts: bool = True) -> bytes:  # noqa: D102
        return self.outer.session(cookie, starts)

    def upstream_head(self, target: bytes, authority: bytes) -> bytes:  # noqa: D102
        return self.outer.upstream_head(target, authority)

    # -- what is counted of it ----------------------------------------------------------------------------------------

    def forwarded_to(self, destination_id: str, endpoint: str) -> None:  # noqa: D102
        self.outer.forwarded_to(destination_id, endpoint)

    def attempt_failed(self, status: int, seconds: float, outcome: str) -> None:  # noqa: D102
        self.outer.attempt_failed(status, seconds, outcome)

    def retried(self, number: int, destination_id: str, endpoint: str) -> None:  # noqa: D102
        self.outer.retried(number, destination_id, endpoint)

    # -- what the inside says -----------------------------------------------------------------------------------------

    def handled_by(self, handler: RequestHandler) -> None:
        """What follows goes to *handler*, by way of this."""
        self.handler = handler
        self.outer.handled_by(self)

    def observed_by(self, observer: ResponseObserver) -> None:
        """Let *observer* see the response as it is inside."""
        if self._observers is None:
            self._observers = Observers(observer)
        else:
            self._observers.add(observer)

    def respond(self, response: LocalResponse) -> None:
        """A response that was made inside."""
        if response.is_too_large:
            response = self.outer.failed_with(Failure(FailureClass.INTERNAL))
        self.start_response(response.head(), response.body, True)

    def fail(self, failure: Failure) -> None:
        """The request has failed inside: a response like any other, unless one has begun."""
        if not self.has_response:
            self.respond(self.outer.failed_with(failure))
            return
        self.handler = None
        self.response_over(complete=False)
        self.relay_failure(failure)

    def failed_with(self, failure: Failure) -> LocalResponse:  # noqa: D102
        return self.outer.failed_with(failure)

    def start_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The response begins inside."""
        self.has_response = True
        if end:
            self.handler = None
        observers = self._observers
        if observers is not None:
            head = observers.begun(head)
            if head.body_expected(self.head.method):
                observers.sent(len(content))
            if end:
                observers.ended(complete=True)
        self.relay_response(head, content, end, trailers)

    def send_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The response goes on inside."""
        if end:
            self.handler = None
        observers = self._observers
        if observers is not None:
            observers.sent(len(content))
            if end:
                observers.ended(complete=True)
        self.relay_content(content, end, trailers)

    def relay_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes) -> None:
        """Bring the beginning of the response outside."""
        self.outer.start_response(head, content, end, trailers)

    def relay_content(self, content: bytes, end: bool, trailers: bytes) -> None:
        """Bring more of the response outside."""
        self.outer.send_content(content, end, trailers)

    def relay_failure(self, failure: Failure) -> None:
        """The response that has begun inside will not be complete."""
        self.outer.fail(failure)

    def response_over(self, *, complete: bool) -> None:
        """Tell the observers inside that there will be no more of the response."""
        if self._observers is not None:
            self._observers.ended(complete=complete)

    def limited_by_handler(self) -> None:  # noqa: D102
        self.outer.limited_by_handler()

    def invite_body(self) -> None:  # noqa: D102
        self.outer.invite_body()

    def inform(self, head: ResponseHead) -> None:  # noqa: D102
        self.outer.inform(head)

    def end_tunnel(self) -> None:  # noqa: D102
        self.outer.end_tunnel()

    def pause_body(self) -> None:  # noqa: D102
        self.outer.pause_body()

    def resume_body(self) -> None:  # noqa: D102
        self.outer.resume_body()

    # -- what the client says -----------------------------------------------------------------------------------------

    def on_request_body(self, content: bytes, end: bool) -> None:
        """More of the request's content."""
        if self.handler is not None:
            self.handler.on_request_body(content, end)

    def on_tunnel_data(self, data: bytes, end: bool) -> None:
        """Bytes of the client's side of a tunnel."""
        if self.handler is not None:
            self.handler.on_tunnel_data(data, end)

    def on_client_gone(self) -> None:
        """The client went away."""
        self.response_over(complete=False)
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_client_gone()

    def pause_response(self) -> None:
        """The client does not keep up."""
        if self.handler is not None:
            self.handler.pause_response()

    def resume_response(self) -> None:
        """The client has caught up."""
        if self.handler is not None:
            self.handler.resume_response()
