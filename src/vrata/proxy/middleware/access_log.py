"""The ``accessLog`` middleware: a line for each request, each response, or both."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from vrata.model.middleware.access_log import AccessLog
from vrata.policy.exchange_template import EXCHANGE_PLACEHOLDERS, ExchangeValues
from vrata.policy.log_line import LogLine, json_line, pairs_line
from vrata.proxy.contracts import ClientRequest, ResponseObserver
from vrata.proxy.middleware.log_values import rfc3339_now, uuids
from vrata.proxy.middleware.log_writer import LogWriter, LogWriters
from vrata.proxy.middleware.stage import Inner, Place, Stage
from vrata.wire.http1.head import RequestHead, ResponseHead


class LoggedExchange(ResponseObserver, ExchangeValues):
    """One request and its response, as lines tell of them.

    Of the request they tell what it was when it came here, whatever is edited further inside; of the response what
    came out of there.
    """

    __slots__ = ("_began", "_head", "_id", "_request", "_response", "_seconds", "_size", "_stage")

    def __init__(self, stage: AccessLogStage, request: ClientRequest, began: float) -> None:
        self._stage = stage
        self._request = request
        self._head = request.head
        self._began = began
        self._id = ""
        self._response: ResponseHead | None = None
        self._size = 0
        self._seconds = 0.0

    @property
    def head(self) -> RequestHead:
        """The request's, as it came here."""
        return self._head

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return self._request.scheme

    @property
    def time(self) -> str:
        """The time of the line, in UTC with milliseconds (RFC 3339)."""
        return rfc3339_now()

    @property
    def client_ip(self) -> str:
        """The address of the client."""
        return self._request.client_ip

    @property
    def identifier(self) -> str:
        """A UUID, the same in both lines."""
        if not self._id:
            self._id = uuids.next()
        return self._id

    @property
    def status(self) -> int:
        """That of the response; 0 when there is none."""
        return self._response.status if self._response is not None else 0

    @property
    def size(self) -> int:
        """Bytes of the response's content that were sent."""
        return self._size

    @property
    def seconds(self) -> float:
        """What is inside has taken so long."""
        return self._seconds

    def response_header(self, name: str) -> str:
        """First value of the response's field *name*; empty without one."""
        return response_field(self._response, name) if self._response is not None else ""

    def on_response(self, head: ResponseHead) -> ResponseHead:
        """The response begins."""
        self._response = head
        return head

    def on_response_end(self, size: int, complete: bool) -> None:
        """The response is over, or was cut: a line is due."""
        self._size = size
        self._seconds = perf_counter() - self._began
        self._stage.log_response(self, self._request)


def response_field(head: ResponseHead, name: str) -> str:
    """First value of the field *name* (lower case) of a response, as lines tell it; empty without one."""
    values = head.values(name.encode("utf-8"))
    if values:
        return values[0].decode("utf-8", "surrogateescape")
    if name == "content-length" and head.content_length >= 0:
        return str(head.content_length)
    if name == "server" and head.server is not None:
        return head.server.decode("utf-8", "surrogateescape")
    return ""


class AccessLogInstance:
    """One ``accessLog`` middleware. Those of the same path share what writes there."""

    def __init__(self, settings: AccessLog, writers: LogWriters) -> None:
        make = json_line if settings.json_lines else pairs_line
        before, after = settings.on_request, settings.on_response
        self._on_request = make(before.fields, EXCHANGE_PLACEHOLDERS) if before is not None else None
        self._on_response = make(after.fields, EXCHANGE_PLACEHOLDERS) if after is not None else None
        self._writer = writers.writer(settings.path)

    def __repr__(self) -> str:
        return f"<AccessLogInstance {self._writer}>"

    def stage(self, place: Place, inner: Inner) -> Inner:
        """Make the stage at *place*."""
        return AccessLogStage(place, inner, self._writer, self._on_request, self._on_response)

    def close(self) -> None:
        """The file is closed when no request can write there any more."""


class AccessLogStage(Stage):
    """Logs each request that passes, before and after what is inside."""

    __slots__ = ("_on_request", "_on_response", "_writer")

    def __init__(
        self,
        place: Place,
        inner: Inner,
        writer: LogWriter,
        on_request: LogLine[ExchangeValues] | None,
        on_response: LogLine[ExchangeValues] | None,
    ) -> None:
        super().__init__(place, inner)
        self._writer = writer
        self._on_request = on_request
        self._on_response = on_response

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Log *request*, and have its response logged."""
        began = perf_counter()
        exchange = LoggedExchange(self, request, began)
        if self._on_request is not None:
            self._write(self._on_request, exchange, request)
        if self._on_response is not None:
            request.observed_by(exchange)
        self.pass_on(request, match, content, end, began)

    def log_response(self, exchange: LoggedExchange, request: ClientRequest) -> None:
        """The response to *request* is over."""
        if self._on_response is not None:
            self._write(self._on_response, exchange, request)

    def _write(self, line: LogLine[ExchangeValues], exchange: LoggedExchange, request: ClientRequest) -> None:
        self._writer.write(line.render(exchange), self.meter(request))
