"""The client of a :class:`DownstreamConnection`, on a transport in memory and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.manual_loop import ManualLoop
from tests.support.memory_transport import MemoryTransport
from vrata.net.deadlines import DeadlineSweeper
from vrata.proxy.contracts import Failure, LocalResponse
from vrata.proxy.failures import FailureAnswers
from vrata.proxy.listener.connection import DownstreamConnection
from vrata.proxy.listener.owner import ConnectionOwner
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.listener.settings import ListenerSettings, ListenerTimeouts
from vrata.wire.http1.head import ResponseHead, parse_response_head

DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
GET_1_0 = b"GET / HTTP/1.0\r\n%s\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
LIMITS = ListenerTimeouts(client_header=10, client_request=60, client_response=40, idle_between_requests=120)


class ShortAnswers:
    """Implements ``OwnAnswers``: says of a failure what it is called, and to gRPC no more than the code."""

    def failure(self, failure: Failure, *, grpc: bool) -> LocalResponse:
        failure_class = failure.failure_class
        if grpc:
            return LocalResponse(200, self.trailers(failure), b"")
        return LocalResponse(failure_class.status, b"", failure_class.label.encode())

    def trailers(self, failure: Failure) -> bytes:
        return b"grpc-status: %d\r\n" % failure.failure_class.grpc_code

    def refusal(self, status: int, reason: str, *, grpc: bool) -> LocalResponse:
        return FailureAnswers("standard").refusal(status, reason, grpc=grpc)


def settings(**changes: object) -> ListenerSettings:
    values: dict[str, object] = {"answers": ShortAnswers(), "timeouts": LIMITS, **changes}
    return ListenerSettings("l1", "listener", "127.0.0.1:3000", **values)  # type: ignore[arg-type]


def response_head(*lines: bytes, status: int = 200, minor: int = 1) -> ResponseHead:
    text = b"HTTP/1.%d %d x\r\n" % (minor, status) + DATE + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    head = parse_response_head(text)
    assert head is not None
    return head


def local(body: bytes = b"own", status: int = 200) -> LocalResponse:
    return LocalResponse(status, b"", body)


class HandledRequest:
    """A request that the owner was given, and the handler that the test drives by hand."""

    def __init__(self, request: DownstreamRequest, content: bytes, end: bool) -> None:
        self.request = request
        self.content = content
        self.end = end
        self.tunnelled = b""
        self.tunnel_ended = False
        self.client_gone = 0
        self.paused = False
        request.handled_by(self)

    def on_request_body(self, content: bytes, end: bool) -> None:
        assert not self.end
        self.content += content
        self.end = end

    def on_tunnel_data(self, data: bytes, end: bool) -> None:
        assert self.request.head.upgrade, "no tunnel was asked for"
        assert not self.tunnel_ended
        self.tunnelled += data
        self.tunnel_ended = end

    def on_client_gone(self) -> None:
        self.client_gone += 1

    def pause_response(self) -> None:
        self.paused = True

    def resume_response(self) -> None:
        self.paused = False


class DownstreamClient:
    """A connection with its peer, its listener and its time."""

    def __init__(
        self,
        listener_settings: ListenerSettings | None = None,
        answer: Callable[[DownstreamRequest], None] | None = None,
    ) -> None:
        self.loop = ManualLoop()
        self.sweeper = DeadlineSweeper(self.loop.as_event_loop())
        self.sweeper.start()
        self.handled: list[HandledRequest] = []
        self._answer = answer
        self.owner = ConnectionOwner(
            self.loop.as_event_loop(), self.sweeper, listener_settings or settings(), self._handle
        )
        self.connection = DownstreamConnection(self.owner)
        self.transport = MemoryTransport(self.loop, self.connection)

    def _handle(self, request: DownstreamRequest, content: bytes, end: bool) -> None:
        self.handled.append(HandledRequest(request, content, end))
        if self._answer is not None:
            self._answer(request)

    def send(self, data: bytes) -> None:
        self.transport.receive(data)

    @property
    def last(self) -> HandledRequest:
        return self.handled[-1]

    @property
    def targets(self) -> list[bytes]:
        return [handled.request.head.target for handled in self.handled]

    def answer(self, body: bytes = b"own", status: int = 200) -> None:
        self.last.request.respond(local(body, status))
        self.loop.settle()

    def respond(self, head: ResponseHead, content: bytes = b"", *, end: bool = False) -> None:
        self.last.request.start_response(head, content, end)
        self.loop.settle()

    def content(self, content: bytes, *, end: bool = False) -> None:
        self.last.request.send_content(content, end)
        self.loop.settle()

    def drain(self) -> None:
        for connection in list(self.owner.connections):
            connection.drain()


def head_and_body(data: bytes) -> tuple[list[bytes], bytes]:
    """The lines of the one response in *data*, without its date, and what follows its head."""
    head, separator, body = data.partition(b"\r\n\r\n")
    assert separator, data
    return [line for line in head.split(b"\r\n") if not line.lower().startswith(b"date:")], body


def lines_of(data: bytes) -> list[bytes]:
    return head_and_body(data)[0]


def immediately(request: DownstreamRequest) -> None:
    request.respond(local(request.head.target))
