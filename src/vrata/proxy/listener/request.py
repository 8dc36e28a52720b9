"""One HTTP/1 request of a client, as the rest of the proxy sees it."""

from __future__ import annotations

from typing import Protocol

from vrata.proxy.contracts import ClientRequest, Failure, LocalResponse, RequestHandler
from vrata.wire.http1.head import RequestHead, ResponseHead


class ServingConnection(Protocol):
    """What a request needs of the connection that it came in on."""

    peer: bytes

    def serves(self, request: Http1Request) -> bool: ...  # noqa: D102
    def handled_by(self, handler: RequestHandler) -> None: ...  # noqa: D102
    def respond(self, response: LocalResponse) -> None: ...  # noqa: D102
    def fail(self, failure: Failure) -> None: ...  # noqa: D102
    def inform(self, head: ResponseHead) -> None: ...  # noqa: D102
    def start_response(self, head: ResponseHead, content: bytes, end: bool) -> None: ...  # noqa: D102
    def send_content(self, content: bytes, end: bool) -> None: ...  # noqa: D102
    def pause_reading(self) -> None: ...  # noqa: D102
    def resume_reading(self) -> None: ...  # noqa: D102


class Http1Request(ClientRequest):
    """Implements :class:`vrata.proxy.contracts.ClientRequest` on a connection.

    Once the response has ended the connection serves the next request, so every call here first checks that this
    request is still the one being served: a late upstream event must never write into another response.
    """

    __slots__ = ("_connection", "_head")

    def __init__(self, connection: ServingConnection, head: RequestHead) -> None:
        self._connection = connection
        self._head = head

    def __repr__(self) -> str:
        return f"<Http1Request {self._head.method.decode()} {self._head.target.decode()}>"

    @property
    def head(self) -> RequestHead:
        """As read from the wire."""
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

    @property
    def peer(self) -> bytes:
        """The TCP peer's address in text."""
        return self._connection.peer

    @property
    def scheme(self) -> bytes:
        """Always ``http``: this build terminates no TLS."""
        return b"http"

    def handled_by(self, handler: RequestHandler) -> None:
        """Send what follows of this request to *handler*."""
        if self._connection.serves(self):
            self._connection.handled_by(handler)

    def respond(self, response: LocalResponse) -> None:
        """Answer with a response of our own."""
        if self._connection.serves(self):
            self._connection.respond(response)

    def fail(self, failure: Failure) -> None:
        """Answer with an error body, or cut a response that has begun."""
        if self._connection.serves(self):
            self._connection.fail(failure)

    def inform(self, head: ResponseHead) -> None:
        """Pass a 1xx response on."""
        if self._connection.serves(self):
            self._connection.inform(head)

    def start_response(self, head: ResponseHead, content: bytes, end: bool) -> None:
        """Begin the response."""
        if self._connection.serves(self):
            self._connection.start_response(head, content, end)

    def send_content(self, content: bytes, end: bool) -> None:
        """Go on with the response."""
        if self._connection.serves(self):
            self._connection.send_content(content, end)

    def pause_body(self) -> None:
        """Read no more of the request's content for now."""
        if self._connection.serves(self):
            self._connection.pause_reading()

    def resume_body(self) -> None:
        """Read on."""
        if self._connection.serves(self):
            self._connection.resume_reading()
