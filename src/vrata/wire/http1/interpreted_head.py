"""Message heads in plain Python: strict reading, lazy access, and emission for the next hop (RFC 9112 §3 to §6).

This module is the rule book; :mod:`vrata.wire.http1.compiled_head` does the frequent part of the same over C pointers
where a compiler was at hand, and calls the functions here for the rest. One suite of tests runs over both.

A head is checked as a whole by one regular expression, then split into lines once. The few fields that concern a
proxy are looked at; all others stay the lines they were, and are joined again when the head goes on.
"""

from __future__ import annotations

import os
import re

from vrata.wire.http1.date import http_date
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    EXPECT,
    FORWARDED_FOR,
    HOST,
    PASS,
    REQUEST_FIELDS,
    REQUEST_ID,
    RESPONSE_FIELDS,
    SERVER,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
)
from vrata.wire.http1.grammar import MAX_FIELDS, MAX_HEAD, MAX_REQUEST_LINE, TEXT, TOKEN
from vrata.wire.http1.hop_fields import asks_for_websocket, check_transfer_encoding, names_trailers, read_connection
from vrata.wire.http1.interpreted_editing import edited_request_text, edited_response_text
from vrata.wire.http1.media_type import names_event_stream, names_grpc
from vrata.wire.http1.refusal import check_unfinished_request, check_unfinished_response, diagnose_request
from vrata.wire.http1.request_id import RequestIdSource, is_sane
from vrata.wire.http1.status import STATUS_LINES, has_no_body
from vrata.wire.http1.target import checked_authority, decoded_path, first_parameters, host_of, is_plain_path, settled

_FIELD_LINES = rb"((?:" + TOKEN + rb":" + TEXT + rb"\r\n)*)\r\n"
_REQUEST_HEAD = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]++) HTTP/1\.([01])\r\n" + _FIELD_LINES)
_RESPONSE_HEAD = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: " + TEXT + rb")?\r\n" + _FIELD_LINES)

HIDDEN = frozenset(
    {
        b"host",
        b"forwarded",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-server",
        b"x-forwarded-client-cert",
        b"x-vrata-attempt-count",
        b"x-request-attempt-count",
    }
)
"""What no matcher sees: the host has a member of its own, and the others are claims that do not go on."""

_request_ids = RequestIdSource()
os.register_at_fork(after_in_child=_request_ids.forget)


class RequestHead:
    """The head of one request, as a strict reader understood it.

    ``content_length`` is -1 when the message has none; ``chunked`` and ``content_length`` are never both set.
    Names and values that nobody asks for stay bytes inside :attr:`lines`.
    """

    __slots__ = (
        "_fields",
        "_path",
        "_query_parameters",
        "_request_id",
        "_request_id_passed",
        "accepts_trailers",
        "authority",
        "chunked",
        "content_length",
        "expects_continue",
        "forwarded_for",
        "keep_alive",
        "lines",
        "method",
        "minor",
        "passed",
        "size",
        "target",
        "upgrade",
    )

    def __init__(self, method: bytes, target: bytes, minor: int, lines: list[bytes], size: int) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.lines = lines
        self.size = size
        self.authority = b""
        self.content_length = -1
        self.chunked = False
        self.keep_alive = minor == 1
        self.expects_continue = False
        self.upgrade = False
        """The client asks for a WebSocket, and so does what goes on (RFC 6455 §4.1)."""
        self.accepts_trailers = False
        """The client has said that it reads trailers (RFC 9110 §10.1.4)."""
        self.forwarded_for: list[bytes] = []
        self.passed: list[bytes] = []
        self._request_id = b""
        self._request_id_passed = False
        self._path: str | None = None
        self._fields: dict[bytes, str] | None = None
        self._query_parameters: dict[str, str] | None = None

    @classmethod
    def unreadable(cls) -> RequestHead:
        """Stands for a head that could not be read, so that its refusal can be answered."""
        return cls(b"", b"", 1, [], 0)

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.target!r}>"

    @property
    def has_body(self) -> bool:
        """True when body bytes follow this head."""
        return self.chunked or self.content_length > 0

    @property
    def fields_size(self) -> int:
        """Bytes of all names and values, without colons, line ends and the white space around values."""
        split = (line.partition(b":") for line in self.lines)
        return sum(len(name) + len(value.strip(b" \t")) for name, _, value in split)

    @property
    def host(self) -> str:
        """The authority without its port, in lower case, without a trailing dot; brackets of IPv6 stay."""
        return host_of(self.authority)

    @property
    def path(self) -> str:
        """The path, percent-decoded once and not normalised; bytes that are not UTF-8 become lone surrogates."""
        path = self._path
        if path is None:
            path = self._path = decoded_path(self.raw_path)
        return path

    def has_plain_path(self, merges_slashes: bool) -> bool:
        """See :func:`vrata.wire.http1.target.is_plain_path`."""
        return is_plain_path(self.raw_path, merges_slashes)

    @property
    def raw_path(self) -> bytes:
        """The path as it was sent."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """What follows the first ``?`` of the target, as it was sent."""
        return self.target.partition(b"?")[2]

    @property
    def request_id(self) -> bytes:
        """What X-Request-Id says to the upstream: the client's value if it is sane, else one made here, once."""
        if not self._request_id:
            self._request_id = _request_ids.next()
        return self._request_id

    @property
    def is_grpc(self) -> bool:
        """True for a request of gRPC, by its content type; gRPC-Web is another protocol, and no tunnel is a call.

        Who asks for a tunnel would take the 200 that a status comes with for one.
        """
        content_type = _content_type(self.lines)
        return content_type is not None and not self.upgrade and names_grpc(content_type)

    def values(self, name: bytes) -> list[bytes]:
        """Every value of the field *name* (lower case) in order, as the client sent it, whether it goes on or not."""
        return _values(self.lines, name)

    def header(self, name: str) -> str | None:
        """The first value of the field *name* (lower case), or None. ``Host`` is not visible here.

        Bytes that are not UTF-8 become lone surrogates.
        """
        fields = self._fields
        if fields is None:
            fields = {}
            for line in self.lines:
                key, _, value = line.partition(b":")
                key = key.lower()
                if key not in fields and key not in HIDDEN:
                    fields[key] = value.strip(b" \t").decode("utf-8", "surrogateescape")
            self._fields = fields
        return fields.get(name.encode("latin-1", "replace"))

    def edited_text(self, names: tuple[bytes, ...], added: bytes, length: int, target: bytes) -> bytes:
        """See :func:`vrata.wire.http1.interpreted_editing.edited_request_text`."""
        return edited_request_text(self, names, added, length, target)

    def query_parameter(self, name: str) -> str | None:
        """The first value of the query parameter *name*, decoded, or None."""
        parameters = self._query_parameters
        if parameters is None:
            parameters = self._query_parameters = first_parameters(self.query)
        return parameters.get(name)

    def emit(
        self, *, target: bytes, authority: bytes, client: bytes, forwarding: bytes, host: bytes | None = None
    ) -> bytes:
        """The head for the upstream: end-to-end fields as they came, our own hop's framing, and the forwarding facts.

        *authority* becomes Host. *client* is the peer's address, appended to X-Forwarded-For; *forwarding* are further
        lines, each with its CRLF; *host* becomes X-Forwarded-Host instead of the request's own authority.
        """
        parts = [b"%s %s HTTP/1.1\r\nhost: %s" % (self.method, target, authority)]
        parts += self.passed
        if self.chunked:
            parts.append(b"transfer-encoding: chunked")
        elif self.content_length >= 0:
            parts.append(b"content-length: %d" % self.content_length)
        if self.expects_continue:
            parts.append(b"expect: 100-continue")
        if self.upgrade:
            parts.append(b"connection: upgrade\r\nupgrade: websocket")
        elif self.accepts_trailers:
            # RFC 9110 §10.1.4: TE is for the next hop alone, and has to be nominated. Beside an upgrade it is left out:
            # a tunnel has no trailers, and not every backend looks for `upgrade` within a list.
            parts.append(b"connection: te\r\nte: trailers")
        forwarded_for = b", ".join([*self.forwarded_for, client]) if self.forwarded_for else client
        parts.append(b"x-forwarded-for: " + forwarded_for)
        if host is None:
            host = self.authority
        if host:
            parts.append(b"x-forwarded-host: " + host)
        if not self._request_id_passed:
            parts.append(b"x-request-id: " + self.request_id)
        return b"%s\r\n%s\r\n" % (b"\r\n".join(parts), forwarding)


class ResponseHead:
    """The head of one response, as a strict reader understood it."""

    __slots__ = (
        *("chunked", "content_length", "dated", "keep_alive", "lines", "minor", "passed", "server", "size", "status"),
    )

    def __init__(self, status: int, minor: int = 1) -> None:
        """A head without fields, as a proxy makes it itself; parsing fills in the rest."""
        self.status = status
        self.minor = minor
        self.size = 0
        self.content_length = -1
        self.chunked = False
        self.keep_alive = minor == 1
        self.dated = False
        self.server: bytes | None = None
        self.lines: list[bytes] = []
        self.passed: list[bytes] = []

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status}>"

    @property
    def is_informational(self) -> bool:
        """True for 1xx: another head follows (RFC 9110 §15.2)."""
        return self.status < 200

    @property
    def is_event_stream(self) -> bool:
        """True for ``text/event-stream``, a response that is meant never to end."""
        content_type = _content_type(self.passed)
        return content_type is not None and names_event_stream(content_type)

    @property
    def is_grpc(self) -> bool:
        """True for a response of gRPC, by its content type."""
        content_type = _content_type(self.passed)
        return content_type is not None and names_grpc(content_type)

    def values(self, name: bytes) -> list[bytes]:
        """Every value of the field *name* (lower case) that goes on, in order."""
        return _values(self.passed, name)

    def edited_text(self, names: tuple[bytes, ...], added: bytes, length: int, status: int) -> bytes:
        """See :func:`vrata.wire.http1.interpreted_editing.edited_response_text`."""
        return edited_response_text(self, names, added, length, status)

    def body_expected(self, request_method: bytes) -> bool:
        """False when no body follows whatever the fields say (RFC 9112 §6.3 rule 1)."""
        return not (request_method == b"HEAD" or self.status < 200 or has_no_body(self.status))

    def emit(self, *, chunked: bool, close: bool, keep_alive_1_0: bool, server: bytes | None) -> bytes:
        """The head for the client.

        *chunked*: the body that follows is re-framed in chunks; *close*: the connection ends after this message;
        *keep_alive_1_0*: an HTTP/1.0 client asked for persistence and gets it; *server* replaces ``Server``.
        """
        parts = [STATUS_LINES[self.status][:-2]]
        parts += self.passed
        if not self.dated and self.status >= 200:
            parts.append(b"date: " + http_date())  # RFC 9110 §6.6.1: owed by whoever forwards a response without one
        if chunked:
            parts.append(b"transfer-encoding: chunked")
        elif self.content_length >= 0:
            parts.append(b"content-length: %d" % self.content_length)
        if server is None:
            server = self.server
        if server is not None:
            parts.append(b"server: " + server)
        if self.status == 101:
            parts.append(b"connection: upgrade\r\nupgrade: websocket")
        elif close:
            parts.append(b"connection: close")
        elif keep_alive_1_0:
            parts.append(b"connection: keep-alive")
        parts.append(b"\r\n")
        return b"\r\n".join(parts)


def parse_request_head(data: bytes, max_head: int = MAX_HEAD) -> RequestHead | None:
    """Read the request head that *data* begins with; None when it is not complete yet.

    Raises :class:`MalformedMessage`: at the end of the head, or before when its first line is wrong already, LF alone
    ends its lines, or it is over a limit.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        check_unfinished_request(data, max_head)
        return None
    match = _REQUEST_HEAD.match(data)
    size = end + 4
    if match is None:
        raise diagnose_request(data[:size])
    method, target, minor, block = match.groups()
    if len(target) + len(method) > MAX_REQUEST_LINE - len("  HTTP/1.1"):
        raise MalformedMessage(414, "request line too long")
    if size > max_head:
        raise MalformedMessage(431, "request headers too large")
    lines = block.split(b"\r\n")
    lines.pop()
    if len(lines) > MAX_FIELDS:
        raise MalformedMessage(431, "too many header lines")
    head = RequestHead(method, target, 1 if minor == b"1" else 0, lines, size)
    _read_request_fields(head)
    head.target, authority = settled(method, target)
    if authority is not None:
        head.authority = authority  # RFC 9112 §3.2.2: it replaces Host
    return head


def _read_request_fields(head: RequestHead) -> None:
    passed = head.passed
    connection: list[bytes] = []
    protocols: list[bytes] = []
    request_ids: list[bytes] = []
    host: bytes | None = None
    for line in head.lines:
        colon = line.index(b":")
        field = REQUEST_FIELDS[line[:colon]]
        if field == PASS:
            passed.append(line)
            continue
        value = line[colon + 1 :].strip(b" \t")
        if field == HOST:
            if host is not None:
                raise MalformedMessage(400, "more than one Host")  # RFC 9112 §3.2
            host = value
        elif field == CONNECTION:
            connection.append(value)
        elif field == CONTENT_LENGTH:
            head.content_length = _content_length(value, head.content_length)
        elif field == TRANSFER_ENCODING:
            check_transfer_encoding(value, already=head.chunked)
            head.chunked = True
        elif field == FORWARDED_FOR:
            if value:
                head.forwarded_for.append(value)
        elif field == EXPECT:
            if value.lower() != b"100-continue":
                raise MalformedMessage(417, "unknown expectation")  # RFC 9110 §10.1.1
            head.expects_continue = True
        elif field == UPGRADE:
            protocols.append(value)
        elif field == TE:
            head.accepts_trailers = head.accepts_trailers or names_trailers(value)
        elif field == REQUEST_ID:
            request_ids.append(value)
            passed.append(line)
    # A client of HTTP/1.0 could not be sent any.
    head.accepts_trailers = head.accepts_trailers and head.minor == 1
    if head.chunked:
        if head.content_length >= 0:
            # RFC 9112 §6.1 would let us drop Content-Length; two framings are smuggling more often than not.
            raise MalformedMessage(400, "both Transfer-Encoding and Content-Length")
        if head.minor == 0:
            raise MalformedMessage(400, "Transfer-Encoding in an HTTP/1.0 request")  # RFC 9112 §6.1
    # RFC 9110 §10.1.1: an expectation of an HTTP/1.0 client, or one without a body to wait for, means nothing.
    head.expects_continue = head.expects_continue and head.minor == 1 and head.has_body
    if host is None:
        if head.minor == 1:
            raise MalformedMessage(400, "no Host")  # RFC 9112 §3.2
    else:
        head.authority = checked_authority(host)
    if connection:
        head.keep_alive, nominated = read_connection(connection, head.minor)
        if nominated:
            head.upgrade = asks_for_websocket(protocols, nominated, head.minor) and not head.has_body
            head.passed = _without(passed, nominated)
            # X-Forwarded-For stays. Proxies that pass Connection on would let their clients take out what they append.
            if b"x-request-id" in nominated:
                request_ids = []
    if request_ids:
        if len(request_ids) == 1 and is_sane(request_ids[0]):
            head._request_id = request_ids[0]
            head._request_id_passed = True
        else:
            head.passed = _without(head.passed, {b"x-request-id"})


def parse_response_head(data: bytes, max_head: int = MAX_HEAD) -> ResponseHead | None:
    """Read the response head that *data* begins with; None when it is not complete yet.

    Raises :class:`MalformedMessage` (its status then has no meaning for the client).
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        check_unfinished_response(data, max_head)
        return None
    match = _RESPONSE_HEAD.match(data)
    size = end + 4
    if match is None:
        raise MalformedMessage(502, "malformed response head")
    if size > max_head:
        raise MalformedMessage(502, "response headers too large")
    minor, status, block = match.groups()
    lines = block.split(b"\r\n")
    lines.pop()
    if len(lines) > MAX_FIELDS:
        raise MalformedMessage(502, "too many response header lines")
    head = ResponseHead(int(status), 1 if minor == b"1" else 0)
    head.size = size
    head.lines = lines
    passed = head.passed
    connection: list[bytes] = []
    for line in lines:
        colon = line.index(b":")
        field = RESPONSE_FIELDS[line[:colon]]
        if field == PASS:
            passed.append(line)
            continue
        value = line[colon + 1 :].strip(b" \t")
        if field == CONTENT_LENGTH:
            head.content_length = _content_length(value, head.content_length)
        elif field == TRANSFER_ENCODING:
            check_transfer_encoding(value, already=head.chunked)
            head.chunked = True
        elif field == CONNECTION:
            connection.append(value)
        elif field == SERVER:
            head.server = value
        elif field == DATE:
            head.dated = True
            passed.append(line)
    if head.chunked and (head.content_length >= 0 or head.minor == 0):
        raise MalformedMessage(502, "conflicting response framing")  # RFC 9112 §6.3 rule 3
    if head.status < 200 or head.status == 204:
        # RFC 9110 §8.6 and RFC 9112 §6.1 forbid framing here; what a sloppy sender wrote must not go on.
        head.content_length = -1
        head.chunked = False
    if connection:
        head.keep_alive, nominated = read_connection(connection, head.minor)
        if nominated:
            head.passed = _without(passed, nominated)
            if b"server" in nominated:
                head.server = None
    return head


def _values(lines: list[bytes], name: bytes) -> list[bytes]:
    split = (line.partition(b":") for line in lines)
    return [value.strip(b" \t") for key, _, value in split if key.lower() == name]


def _content_type(lines: list[bytes]) -> bytes | None:
    values = _values(lines, b"content-type")
    return values[0] if values else None


def _content_length(value: bytes, previous: int) -> int:
    # RFC 9112 §6.3 rule 5 allows to fold equal repetitions; refusing them is as legal and leaves nothing to interpret.
    if previous >= 0 or not value.isdigit() or len(value) > 18:
        raise MalformedMessage(400, "malformed Content-Length")
    return int(value)


def _without(lines: list[bytes], names: set[bytes]) -> list[bytes]:
    return [line for line in lines if line[: line.index(b":")].lower() not in names]
