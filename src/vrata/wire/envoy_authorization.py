"""The messages of ``envoy.service.auth.v3``: what Envoy asks authorizers, and what they answer.

The definitions are in ``proto/envoy/service/auth/v3``, as far as they are written or read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vrata.wire.envoy_headers import HeaderOption, read_option
from vrata.wire.protobuf import LENGTH, VARINT, MessageWriter, OneOf, joined, read_fields, read_pair
from vrata.wire.protobuf_struct import check_struct

CHECK: Final = b"/envoy.service.auth.v3.Authorization/Check"
"""The method that is called."""

_STATUS: Final = 1 << 3 | LENGTH
_DENIED: Final = 2 << 3 | LENGTH
_OK: Final = 3 << 3 | LENGTH
_DYNAMIC_METADATA: Final = 4 << 3 | LENGTH
_ERROR: Final = 5 << 3 | LENGTH
_CODE: Final = 1 << 3 | VARINT
_HEADERS: Final = 2 << 3 | LENGTH
_BODY: Final = 3 << 3 | LENGTH
_HEADERS_TO_REMOVE: Final = 5 << 3 | LENGTH
_RESPONSE_HEADERS: Final = 6 << 3 | LENGTH
_QUERY_TO_SET: Final = 7 << 3 | LENGTH
_QUERY_TO_REMOVE: Final = 8 << 3 | LENGTH


class Peer:
    """One end of the connection that the request came over."""

    __slots__ = ("address", "port", "principal")

    def __init__(self, address: str, port: int, principal: str = "") -> None:
        self.address = address
        self.port = port
        """0 where it is not known."""
        self.principal = principal
        """Whose certificate it has shown; empty when it has shown none."""

    def __repr__(self) -> str:
        return f"<Peer {self.address} {self.port}>"

    def encoded(self) -> bytes:
        """The ``AttributeContext.Peer``."""
        socket_address = MessageWriter()
        socket_address.text(2, self.address)
        if self.port:
            socket_address.integer(3, self.port)
        address = MessageWriter()
        address.message(1, socket_address.finished())
        peer = MessageWriter()
        peer.message(1, address.finished())
        peer.text(4, self.principal)
        return peer.finished()


class HttpRequest:
    """A request as the authorizer is told of it. The members are those of ``AttributeContext.HttpRequest``."""

    __slots__ = ("body", "headers", "host", "id", "method", "path", "protocol", "scheme", "size")

    def __init__(self) -> None:
        self.id = ""
        self.method = ""
        self.headers: Sequence[tuple[str, str]] = ()
        """Each name once."""
        self.path = ""
        self.host = ""
        self.scheme = ""
        self.size = -1
        self.protocol = ""
        self.body = b""

    def __repr__(self) -> str:
        return f"<HttpRequest {self.method} {self.path}>"

    def encoded(self) -> bytes:
        """The message. A body that is no UTF-8 goes into ``raw_body``."""
        message = MessageWriter()
        message.text(1, self.id)
        message.text(2, self.method)
        for name, value in self.headers:
            message.entry(3, name, value)
        message.text(4, self.path)
        message.text(5, self.host)
        message.text(6, self.scheme)
        message.integer(9, self.size)
        message.text(10, self.protocol)
        try:
            message.text(11, self.body.decode("utf-8"))
        except UnicodeDecodeError:
            message.content(12, self.body)
        return message.finished()


class CheckResponse:
    """What an authorizer has decided."""

    __slots__ = (
        "body",
        "code",
        "has_failed",
        "headers",
        "headers_to_remove",
        "http_status",
        "is_denial",
        "metadata",
        "query_to_remove",
        "query_to_set",
        "response_headers",
    )

    def __init__(self) -> None:
        self.code = 0
        """Of ``google.rpc.Status``: 0 allows the request."""
        self.has_failed = False
        """It says that it could not decide (``error_response``)."""
        self.is_denial = False
        """It says what the answer to the client is (``denied_response``), whatever its code."""
        self.http_status = 0
        """Of the answer to the client when the request is denied; 0 = none is said."""
        self.body = b""
        self.headers: list[HeaderOption] = []
        """Allowed: for the request. Denied: of the answer."""
        self.headers_to_remove: list[str] = []
        self.response_headers: list[HeaderOption] = []
        self.query_to_set: list[tuple[str, str]] = []
        """Parameters of the query, by name and value."""
        self.query_to_remove: list[str] = []

        self.metadata = b""
        """What is to be kept with the request (``dynamic_metadata``): a ``google.protobuf.Struct``, or nothing."""

    def __repr__(self) -> str:
        return f"<CheckResponse {self.code}>"


def encode_request(source: Peer, destination: Peer, http: HttpRequest, nanoseconds: int) -> bytes:
    """Return a ``CheckRequest``; *nanoseconds* since the epoch is when the request has come.

    Raises UnicodeEncodeError for what is no text.
    """
    time = MessageWriter()
    time.integer(1, nanoseconds // 1_000_000_000)
    time.integer(2, nanoseconds % 1_000_000_000)
    request = MessageWriter()
    request.message(1, time.finished())
    request.message(2, http.encoded())
    attributes = MessageWriter()
    attributes.message(1, source.encoded())
    attributes.message(2, destination.encoded())
    attributes.message(4, request.finished())
    message = MessageWriter()
    message.message(1, attributes.finished())
    return message.finished()


def decode_response(message: bytes) -> CheckResponse:
    """Read a ``CheckResponse``. Raises :class:`~vrata.wire.protobuf.MalformedProtobuf`."""
    response = CheckResponse()
    http = OneOf()
    has_metadata = False
    fields = read_fields(message)
    for field in fields:
        if field.tag == _DENIED or field.tag == _OK or field.tag == _ERROR:
            http.take(field)
        elif field.tag == _DYNAMIC_METADATA:
            check_struct(field.content)
            has_metadata = True
    if has_metadata:
        response.metadata = joined(fields, _DYNAMIC_METADATA)
    for field in read_fields(joined(fields, _STATUS)):
        if field.tag == _CODE:
            response.code = field.int32
    kind, said = http.tag, http.content
    if kind == _OK:
        _read_ok(response, said)
    elif kind:
        response.has_failed = kind == _ERROR
        response.is_denial = kind == _DENIED
        _read_denied(response, said)
    return response


def _read_ok(response: CheckResponse, message: bytes) -> None:
    for field in read_fields(message):
        if field.tag == _HEADERS:
            _add_option(response.headers, field.content)
        elif field.tag == _HEADERS_TO_REMOVE:
            response.headers_to_remove.append(field.text)
        elif field.tag == _RESPONSE_HEADERS:
            _add_option(response.response_headers, field.content)
        elif field.tag == _QUERY_TO_SET:
            response.query_to_set.append(read_pair(field.content))
        elif field.tag == _QUERY_TO_REMOVE:
            response.query_to_remove.append(field.text)


def _read_denied(response: CheckResponse, message: bytes) -> None:
    fields = read_fields(message)
    for field in fields:
        if field.tag == _HEADERS:
            _add_option(response.headers, field.content)
        elif field.tag == _BODY:
            response.body = field.text.encode("utf-8")
    for field in read_fields(joined(fields, _STATUS)):
        if field.tag == _CODE:
            response.http_status = field.int32


def _add_option(options: list[HeaderOption], message: bytes) -> None:
    option = read_option(message)
    if option is not None:
        options.append(option)
