"""Field lists of HTTP/2 to the text of HTTP/1 heads and back (RFC 9113 §8).

This module is the rule book; :mod:`vrata.wire.http2.compiled_session` does the frequent part of the same over C
pointers, and calls the functions here for the rest. One suite of tests runs over both.

What is refused here is what RFC 9113 calls malformed, and what could make the text mean anything else than the list
did. Whether the text is a request that may be acted on is for :mod:`vrata.wire.http1.head` to judge, as ever.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha1
from secrets import token_bytes
from typing import Final, TypeAlias

from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.fields import goes_on_in_trailers
from vrata.wire.http1.grammar import MAX_FIELDS, TEXT
from vrata.wire.http1.hop_fields import names_trailers
from vrata.wire.http1.status import STATUS_LINES, has_no_body
from vrata.wire.http1.target import checked_authority

Fields: TypeAlias = list[tuple[bytes, bytes]]

FIELD_OVERHEAD: Final = 32
"""What a field counts beside its name and value (RFC 9113 §6.5.2)."""

_FIELD_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
"""RFC 9113 §8.2.1 allows more than a token; nothing else can be written in HTTP/1, and nothing else is in use."""
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE: Final = re.compile(TEXT)
_VISIBLE: Final = re.compile(rb"[\x21-\x7e]+")
_STATUS: Final = re.compile(rb"[1-9][0-9][0-9]")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")

_REQUEST_PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_CONNECTION_SPECIFIC: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)
_NOT_IN_HTTP2: Final = _CONNECTION_SPECIFIC | {b"http2-settings", b"te", b"host"}
_MAX_TRAILERS: Final = 8192
"""Bytes of all trailer lines, without their CRLFs, as in HTTP/1."""

OVERSIZED_REQUEST: Final = b"GET / HTTP/1.1\r\n" + (MAX_FIELDS + 1) * b"x:\r\n" + b"\r\n"
"""Stands for a head over the limit: the reader of heads refuses it for its size, so that it is answered with a 431."""
OVERSIZED_HEAD_REQUEST: Final = OVERSIZED_REQUEST.replace(b"GET", b"HEAD")
"""The same where the method is HEAD, so that the answer has no content."""
OVERSIZED_RESPONSE: Final = b"HTTP/1.1 200 \r\n" + (MAX_FIELDS + 1) * b"x:\r\n" + b"\r\n"


class MalformedFields(Exception):  # noqa: N818 - it names the thing that arrived, not a fault of ours
    """A field list that is no message (RFC 9113 §8.1.1): the stream ends with PROTOCOL_ERROR. Its text says why."""


class RequestText:
    """What a field list of a request came to."""

    __slots__ = ("is_tunnel", "length", "text")

    def __init__(self, text: bytes, length: int, is_tunnel: bool) -> None:
        self.text = text
        self.length = length
        """Bytes of content that have to come; -1 when that is not known."""
        self.is_tunnel = is_tunnel
        """The client has asked for a tunnel to WebSocket (RFC 8441 §5)."""


class ResponseText:
    """What a field list of a response came to."""

    __slots__ = ("length", "status", "text")

    def __init__(self, text: bytes, length: int, status: int) -> None:
        self.text = text
        self.length = length
        """As in :class:`RequestText`."""
        self.status = status
        """That of the text: 101 where a tunnel was opened."""


class OutgoingRequest:
    """A request as a field list."""

    __slots__ = ("fields", "key", "method")

    def __init__(self, fields: Fields, method: bytes, key: bytes | None) -> None:
        self.fields = fields
        self.method = method
        """That of the text."""
        self.key = key
        """Of a request for a tunnel: its Sec-WebSocket-Key, which stays here; else None."""


def list_size(fields: Fields) -> int:
    """The size of *fields* as SETTINGS_MAX_HEADER_LIST_SIZE counts it."""
    return sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)


def request_text(fields: Fields, ended: bool) -> RequestText:
    """The text of the request that *fields* are; *ended*: nothing follows them. Raises :class:`MalformedFields`."""
    pseudo, rest = _without_pseudo(fields, _REQUEST_PSEUDO)
    method = pseudo.get(b":method")
    if method is None or _METHOD.fullmatch(method) is None:
        raise MalformedFields("no method, or no such method")
    protocol = pseudo.get(b":protocol")
    authority = pseudo.get(b":authority")
    if authority is not None:
        check_authority(authority)
    if method == b"CONNECT" and protocol is None:
        if b":scheme" in pseudo or b":path" in pseudo or authority is None:
            raise MalformedFields("CONNECT with a scheme or a path, or without an authority")  # RFC 9113 §8.5
        target = b""
    else:
        if protocol is not None and (method != b"CONNECT" or _METHOD.fullmatch(protocol) is None):
            raise MalformedFields("protocol without CONNECT, or no such protocol")  # RFC 8441 §4
        if pseudo.get(b":scheme", b"").lower() not in (b"http", b"https"):
            raise MalformedFields("no scheme, or not that of HTTP")
        target = pseudo.get(b":path", b"")
        # RFC 9113 §8.3.1. In HTTP/1 a target that begins otherwise would bring an authority of its own.
        if _VISIBLE.fullmatch(target) is None or b"#" in target:
            raise MalformedFields("malformed path")
        if target[:1] != b"/" and (target != b"*" or method != b"OPTIONS"):
            raise MalformedFields("malformed path")
    is_tunnel = protocol is not None and protocol.lower() == b"websocket"
    if method == b"CONNECT" and not is_tunnel:
        # The reader of heads answers it as it answers every CONNECT: this is not offered here.
        target = authority or b"*"
    parts = [b"%s %s HTTP/1.1" % (b"GET" if is_tunnel else method, target)]
    if authority is not None:
        parts.append(b"host: " + authority)
    cookies: list[bytes] = []
    length = -1
    host: bytes | None = None
    for name, value in rest:
        _check_field(name, value)
        if name == b"content-length":
            length = _content_length(value, length)
        elif name == b"cookie":
            cookies.append(value)
        elif name == b"host":
            if host is not None or (authority is not None and value.lower() != authority.lower()):
                raise MalformedFields("Host is not the authority, or comes twice")  # RFC 9113 §8.3.1
            if authority is None:
                check_authority(value)
                parts.append(b"host: " + value)
            host = value
        elif not (is_tunnel and name == b"sec-websocket-key"):
            parts.append(b"%s: %s" % (name, value))
    if authority is None and host is None:
        raise MalformedFields("no authority")
    if cookies:
        parts.append(b"cookie: " + b"; ".join(cookies))  # RFC 9113 §8.2.3
    if ended and length > 0:
        raise MalformedFields("content-length without content")
    if is_tunnel:
        if length >= 0:
            raise MalformedFields("content-length of a tunnel")
        parts.append(b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: " + tunnel_key())
    elif length >= 0:
        parts.append(b"content-length: %d" % length)
    elif not ended:
        parts.append(b"transfer-encoding: chunked")
    parts.append(b"\r\n")
    return RequestText(b"\r\n".join(parts), length, is_tunnel)


def response_text(fields: Fields, ended: bool, method: bytes, key: bytes | None) -> ResponseText:
    """The text of the response that *fields* are; *ended*: nothing follows them. Raises :class:`MalformedFields`.

    *method* is that of the request, and *key* what it had of :class:`OutgoingRequest`.
    """
    pseudo, rest = _without_pseudo(fields, frozenset((b":status",)))
    code = pseudo.get(b":status")
    if code is None or _STATUS.fullmatch(code) is None or code == b"101":
        raise MalformedFields("no status, or not one of HTTP/2")  # RFC 9113 §8.6: 101 is not
    status = int(code)
    if status < 200 and ended:
        raise MalformedFields("nothing follows an interim response")  # RFC 9113 §8.1
    opens_tunnel = key is not None and 200 <= status < 300
    if opens_tunnel:
        status = 101
    parts = [STATUS_LINES[status][:-2]]
    length = -1
    for name, value in rest:
        _check_field(name, value)
        if name == b"content-length":
            length = _content_length(value, length)
        elif not (opens_tunnel and name == b"sec-websocket-accept"):
            parts.append(b"%s: %s" % (name, value))
    if opens_tunnel:
        assert key is not None
        parts.append(b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: " + accepted_key(key))
        length = -1
    elif status >= 200:
        bodiless = method == b"HEAD" or has_no_body(status)
        if ended and not bodiless:
            if length > 0:
                raise MalformedFields("content-length without content")
            length = 0
        if length >= 0:
            parts.append(b"content-length: %d" % length)
        elif not ended and not bodiless:
            parts.append(b"transfer-encoding: chunked")
        if bodiless:
            length = 0
    parts.append(b"\r\n")
    return ResponseText(b"\r\n".join(parts), length, status)


def check_authority(authority: bytes) -> None:
    """Raise :class:`MalformedFields` unless *authority* is a host, perhaps with a port (RFC 9113 §8.3.1)."""
    try:
        checked_authority(authority)
    except MalformedMessage as error:
        raise MalformedFields("malformed authority") from error


def trailer_lines(fields: Fields) -> bytes:
    """Those of the trailers *fields* that may go on, each with its CRLF. Raises :class:`MalformedFields`."""
    lines = b""
    for name, value in fields:
        # What frames a message cannot come after it; in HTTP/1 that is refused as well.
        if name == b"content-length":
            raise MalformedFields("content-length in trailers")
        _check_field(name, value)
        if goes_on_in_trailers(name):
            lines += b"%s: %s\r\n" % (name, value)
    if len(fields) > MAX_FIELDS or sum(len(name) + len(value) + 2 for name, value in fields) > _MAX_TRAILERS:
        raise MalformedFields("trailers too large")
    return lines


def request_fields(head: bytes, scheme: bytes) -> OutgoingRequest:
    """The request whose text is *head* as a field list; an upgrade to WebSocket becomes a request for a tunnel."""
    line, *lines = head[:-4].split(b"\r\n")
    method, target, _ = line.split(b" ")
    authority: bytes | None = None
    key: bytes | None = None
    is_upgrade = accepts_trailers = False
    fields: Fields = []
    for each in lines:
        name, value = _split(each)
        if name not in _NOT_IN_HTTP2:
            if name == b"sec-websocket-key":
                key = value
            fields.append((name, value))
        elif name == b"host":
            authority = value
        elif name == b"upgrade":
            is_upgrade = value.lower() == b"websocket"
        elif name == b"te":
            accepts_trailers = accepts_trailers or names_trailers(value)
    pseudo: Fields
    if is_upgrade:
        pseudo = [(b":method", b"CONNECT"), (b":protocol", b"websocket")]
        fields = [field for field in fields if field[0] != b"sec-websocket-key"]
        key = key or b""
    else:
        pseudo = [(b":method", method)]
        key = None
    pseudo += [(b":scheme", scheme), (b":path", target)]
    if authority is not None:
        pseudo.append((b":authority", authority))
    if accepts_trailers:
        fields.append((b"te", b"trailers"))
    return OutgoingRequest(pseudo + fields, method, key)


def response_fields(head: bytes) -> Fields:
    """The response whose text is *head* as a field list; a 101 becomes the 200 that opens a tunnel."""
    line, *lines = head[:-4].split(b"\r\n")
    status = line[9:12]
    opens_tunnel = status == b"101"
    fields = [(b":status", b"200" if opens_tunnel else status)]
    for each in lines:
        name, value = _split(each)
        if name not in _NOT_IN_HTTP2 and not (opens_tunnel and name == b"sec-websocket-accept"):
            fields.append((name, value))
    return fields


def trailer_fields(lines: bytes) -> Fields:
    """The trailers *lines*, each with its CRLF, as a field list."""
    fields = (_split(line) for line in lines.split(b"\r\n")[:-1])
    return [(name, value) for name, value in fields if name not in _NOT_IN_HTTP2]


def tunnel_key() -> bytes:
    """A Sec-WebSocket-Key (RFC 6455 §4.1), which a client of HTTP/2 does not send."""
    return b64encode(token_bytes(16))


def accepted_key(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers *key* (RFC 6455 §4.2.2)."""
    return b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest())


def _without_pseudo(fields: Fields, known: frozenset[bytes]) -> tuple[dict[bytes, bytes], Fields]:
    """The pseudo fields of *fields*, and the others (RFC 9113 §8.3)."""
    pseudo: dict[bytes, bytes] = {}
    count = 0
    for name, value in fields:
        if name[:1] != b":":
            break
        if name not in known or name in pseudo:
            raise MalformedFields("unknown or repeated pseudo field")
        pseudo[name] = value
        count += 1
    return pseudo, fields[count:]


def _check_field(name: bytes, value: bytes) -> None:
    if _FIELD_NAME.fullmatch(name) is None:
        raise MalformedFields("malformed field name")
    if _FIELD_VALUE.fullmatch(value) is None or value[:1] in _BLANKS or value[-1:] in _BLANKS:
        raise MalformedFields("malformed field value")
    if name in _CONNECTION_SPECIFIC or (name == b"te" and value.lower() != b"trailers"):
        raise MalformedFields("field of the connection")  # RFC 9113 §8.2.2


_BLANKS: Final = (b" ", b"\t")


def _content_length(value: bytes, previous: int) -> int:
    # As in HTTP/1: repetitions are refused, even when they agree.
    if previous >= 0 or _LENGTH.fullmatch(value) is None:
        raise MalformedFields("malformed content-length")
    return int(value)


def _split(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")
